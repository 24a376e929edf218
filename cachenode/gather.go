package cachenode

import (
	"math/rand/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// gather is a command that several nodes execute parts of, until all have answered.
type gather struct {
	merge command.Merge
	proto int
	to    replyTo // nil while the parts are being sent
	left  int     // parts without a reply; one more while they are being sent
	parts []*part
	width int // elements of the merged reply, where they are gathered by position
	end   int // of SCAN: the partitions below were asked for
}

// How replies become one that the command table does not know of.
const (
	anyReply  command.Merge = 100 + iota // of RANDOMKEY: one that is not null
	scanReply                            // of SCAN: all elements, and the lowest cursor
)

// part is what one node does of it.
type part struct {
	g         *gather
	reply     []byte
	positions []int // in the merged reply, of the elements of this one
	args      [][]byte
}

// Resolve takes the part's reply.
func (p *part) Resolve(reply []byte) {
	p.reply = append(p.reply, reply...)
	p.g.done()
}

func (g *gather) done() {
	if g.left--; g.left == 0 && g.to != nil {
		g.to.Resolve(g.append(nil))
	}
}

// crossSlot is Redis's class of error, and what to do about it.
const crossSlot = "CROSSSLOT the keys of this command belong to different nodes. HINT: keys with a common {hash tag} stay together, " +
	"and so do all with a prefix that cache_prefixes gives colocate: true"

// split sends each owner its keys of a command, and merges what they answer. The keys are in w.keys.
func (w *worker) split(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	if c.guest {
		return w.turnAway(c, out)
	}
	if c.spec.Flags&command.Blocking != 0 && w.waitForAll(pl, c) {
		return out, false
	}
	if c.spec.Merge == command.SameOwner {
		return resp.AppendError(out, crossSlot), true
	}
	first, _, step := c.spec.KeyRange(len(c.args))
	if (len(c.args)-first)%step != 0 {
		return w.run(pl, c, out) // which says what is wrong
	}
	g := &gather{merge: c.spec.Merge, proto: c.proto, left: 1, width: len(w.keys)}
	byPlace := map[int16]*part{}
	places := make([]int16, 0, 4)
	for i := range w.keys {
		place := pl.owner[w.keys[i].Partition()]
		p := byPlace[place]
		if p == nil {
			p = &part{g: g, args: append([][]byte(nil), c.args[0])}
			byPlace[place] = p
			places = append(places, place)
			g.parts = append(g.parts, p)
		}
		at := first + i*step
		p.args = append(p.args, c.args[at:at+step]...)
		p.positions = append(p.positions, i)
	}
	for i, p := range g.parts {
		w.send(pl, places[i], c, p, false)
	}
	return g.wait(c, out)
}

// send has one node execute a part.
func (w *worker) send(pl *placement, place int16, c *call, p *part, own bool) {
	p.g.left++
	sub := call{spec: c.spec, args: p.args, raw: resp.AppendCommand(nil, p.args), proto: c.proto, db: c.db, part: own, to: p}
	var reply []byte
	var done bool
	switch {
	case place != self:
		w.locate(&sub)
		reply, done = w.forward(pl, place, &sub, nil)
	case own:
		reply, done = w.runPart(pl, &sub, nil)
	default:
		w.locate(&sub)
		reply, done = w.runHere(pl, &sub, nil)
	}
	if done {
		p.Resolve(reply)
	}
	p.args = nil // they are the session's
}

// wait gives the reply if it is there, or keeps its place.
func (g *gather) wait(c *call, out []byte) (reply []byte, done bool) {
	if g.left--; g.left == 0 {
		return g.append(out), true
	}
	g.to = c.later()
	return out, false
}

// append appends the merged reply: the first error, if a part failed.
func (g *gather) append(out []byte) []byte {
	failed := func(p *part) bool { return len(p.reply) > 0 && (p.reply[0] == '-' || p.reply[0] == '!') }
	if g.merge == command.FirstOK {
		if merged, ok := g.largest(out); ok {
			return merged
		}
		best := g.parts[0]
		for _, p := range g.parts {
			if !failed(p) {
				best = p
				break
			}
		}
		return append(out, best.reply...)
	}
	for _, p := range g.parts {
		if failed(p) {
			return append(out, p.reply...)
		}
	}
	merged, err := g.merged(out)
	if err != nil {
		return resp.AppendError(out, "ERR merge the replies of several nodes: "+err.Error())
	}
	return merged
}

// largest appends the largest of each number, if all replies are numbers in arrays: what one node has of SCRIPT EXISTS.
func (g *gather) largest(out []byte) (_ []byte, ok bool) {
	var numbers []int64
	for i, p := range g.parts {
		rest, n, err := openArray(p.reply, -1)
		if err != nil || i > 0 && n != len(numbers) {
			return out, false
		}
		if i == 0 {
			numbers = make([]int64, n)
		}
		for j := range numbers {
			h, err := resp.ReadHeader(rest)
			if err != nil || h.Kind != ':' {
				return out, false
			}
			numbers[j], rest = max(numbers[j], h.N), rest[h.Size:]
		}
	}
	out = resp.AppendArray(out, len(numbers))
	for _, n := range numbers {
		out = resp.AppendInt(out, n)
	}
	return out, true
}

func (g *gather) merged(out []byte) ([]byte, error) {
	switch g.merge {
	case command.Sum:
		sum := int64(0)
		for _, p := range g.parts {
			h, err := resp.ReadHeader(p.reply)
			if err != nil || h.Kind != ':' {
				return nil, peer.ErrBody
			}
			sum += h.N
		}
		return resp.AppendInt(out, sum), nil
	case command.Gather:
		elements := make([][]byte, g.width)
		for _, p := range g.parts {
			rest, _, err := openArray(p.reply, len(p.positions))
			if err != nil {
				return nil, err
			}
			for _, at := range p.positions {
				n, _, err := resp.ReplyLen(rest)
				if err != nil || n == 0 {
					return nil, peer.ErrBody
				}
				elements[at], rest = rest[:n], rest[n:]
			}
		}
		out = resp.AppendArray(out, g.width)
		for _, e := range elements {
			out = append(out, e...)
		}
		return out, nil
	case command.Concat:
		total := 0
		for _, p := range g.parts {
			rest, n, err := openArray(p.reply, -1)
			if err != nil {
				return nil, err
			}
			p.reply = rest
			total += n
		}
		out = resp.AppendArray(out, total)
		for _, p := range g.parts {
			out = append(out, p.reply...)
		}
		return out, nil
	case anyReply:
		start := rand.IntN(len(g.parts))
		for i := range g.parts {
			reply := g.parts[(start+i)%len(g.parts)].reply
			if h, err := resp.ReadHeader(reply); err == nil && h.Kind == '$' && h.N >= 0 {
				return append(out, reply...), nil
			}
		}
		return resp.AppendNull(out, g.proto), nil
	case scanReply:
		return g.mergedScan(out)
	case command.AllOK:
		return append(out, g.parts[0].reply...), nil
	}
	return nil, peer.ErrBody
}

// openArray returns the elements of an array reply, of which there must be count unless that is negative.
func openArray(reply []byte, count int) (elements []byte, n int, err error) {
	h, err := resp.ReadHeader(reply)
	if err != nil || h.Kind != '*' && h.Kind != '~' || h.Size == 0 || h.N < 0 || count >= 0 && h.N != int64(count) {
		return nil, 0, peer.ErrBody
	}
	return reply[h.Size:], int(h.N), nil
}
