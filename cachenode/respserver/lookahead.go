// HOT PATH

package respserver

import (
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// lookAhead is how many commands of a pipeline are read before the first of them is executed.
const lookAhead = 16

// ahead is the commands of the session being served that have been read and not yet executed. Owned by the loop.
type ahead struct {
	commands [lookAhead]readCommand
	next     int // of commands
	end      int
	used     int // of commands, since forget
	keys     [][]byte
}

// readCommand is a command as it stands in the connection's buffer, where size is its length.
type readCommand struct {
	parser resp.Parser // has the memory of args
	args   [][]byte
	size   int
}

// readAhead reads the commands at the front of b, and lets the backend get ready for all of them. When there is none, it
// reports what is wrong, or how many bytes are needed.
func (s *session) readAhead(b []byte) (need int, err error) {
	st := s.st
	a := &st.ahead
	lim := st.srv.cfg.Limits
	lim.MaxBulk = int(st.srv.maxBulk.Load())
	lim.Strict = !s.authed
	most := lookAhead
	if lim.Strict {
		most = 1 // the first may log in
	}
	a.next, a.end, a.keys = 0, 0, a.keys[:0]
	for a.end < most {
		c := &a.commands[a.end]
		a.used = max(a.used, a.end+1)
		c.args, c.size, need, err = c.parser.Parse(b, &lim)
		if err != nil || c.size == 0 {
			break
		}
		b = b[c.size:]
		a.end++
		if len(c.args) > 1 {
			a.keys = append(a.keys, c.args[1]) // of most commands it is the key, and nothing is lost if not
		}
	}
	if a.end > 0 {
		need, err = 0, nil // of what comes behind, which is met again
	}
	if len(a.keys) > 1 {
		st.srv.cfg.Backend.Warm(st.loop, s.db, a.keys)
	}
	return need, err
}

// forget drops what has not been executed: it is read again when its turn comes.
func (a *ahead) forget() {
	for i := range a.used { // the one that is incomplete, too
		c := &a.commands[i]
		c.args = nil
		c.parser.Trim()
	}
	clear(a.keys)
	a.next, a.end, a.used = 0, 0, 0
}
