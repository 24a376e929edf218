package command

import (
	"slices"
	"strconv"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// GiveBack makes the command that puts back what a blocking command has taken from a key, when its reply can reach nobody
// any more. It is nil where nothing was taken, or what was taken is elsewhere: in the other list of BLMOVE, or pending in
// the group of XREADGROUP. The arguments alias those of the command and the reply.
func GiveBack(spec *Spec, args [][]byte, reply []byte) [][]byte {
	var name string
	switch spec.Name {
	case "blpop":
		name = "lpush"
	case "brpop":
		name = "rpush"
	case "blmpop":
		name = "rpush"
		if n, err := strconv.Atoi(string(args[2])); err == nil && n >= 0 && 3+n < len(args) && EqualFold(args[3+n], "left") {
			name = "lpush"
		}
	case "bzpopmin", "bzpopmax", "bzmpop":
		name = "zadd"
	default:
		return nil
	}
	parts, ok := scalars(nil, reply)
	if !ok || len(parts) < 2 {
		return nil
	}
	back, taken := [][]byte{[]byte(name), parts[0]}, parts[1:]
	if name != "zadd" {
		slices.Reverse(taken) // the last that was taken is the first to go back
		return append(back, taken...)
	}
	back = append(back, []byte("nx")) // who has come back by itself has the score of now
	for i := 0; i+1 < len(taken); i += 2 {
		back = append(back, taken[i+1], taken[i])
	}
	return back
}

// PopsFirst tells whether the command takes from the first of its keys that has anything, and waits for that.
func (s *Spec) PopsFirst() bool {
	switch s.Name {
	case "blpop", "brpop", "bzpopmin", "bzpopmax", "blmpop", "bzmpop":
		return true
	}
	return false
}

// PoppedKeys tells where the keys are, from first to before last, of a command for which PopsFirst holds. They are counted
// in front of first where that is not 1.
func (s *Spec) PoppedKeys(args [][]byte) (first, last int) {
	if s.KeyStep > 0 {
		return 1, len(args) - 1
	}
	return 3, 3 + len(s.KeysAt(args, nil))
}

// scalars appends the strings and numbers of a reply, whatever arrays they are in. It reports false for one that is none,
// or malformed.
func scalars(parts [][]byte, reply []byte) (_ [][]byte, ok bool) {
	for len(reply) > 0 {
		h, err := resp.ReadHeader(reply)
		if err != nil || h.Size == 0 || h.N < 0 && h.Kind != ':' {
			return nil, false
		}
		switch h.Kind {
		case '*':
			reply = reply[h.Size:]
		case '$':
			end := h.Size + int(h.N)
			if len(reply) < end+2 {
				return nil, false
			}
			parts, reply = append(parts, reply[h.Size:end]), reply[end+2:]
		case ',', ':':
			parts, reply = append(parts, reply[1:h.Size-2]), reply[h.Size:]
		default:
			return nil, false
		}
	}
	return parts, true
}
