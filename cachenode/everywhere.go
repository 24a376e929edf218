package cachenode

import (
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// everywhere runs a command on all nodes, each for the partitions that it owns. Commands that flush also go to nodes that
// are leaving, for those still hold what they are about to pass on.
func (w *worker) everywhere(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	return w.ask(pl, c, c.spec.Merge, out)
}

// anywhere runs a command on all nodes and takes the reply of any that has one.
func (w *worker) anywhere(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	return w.ask(pl, c, anyReply, out)
}

func (w *worker) ask(pl *placement, c *call, merge command.Merge, out []byte) (reply []byte, done bool) {
	g := &gather{merge: merge, proto: c.proto, left: 1}
	places := []int16{self}
	for i := range pl.peers {
		if pl.active[i] || c.spec.Flags&command.Write != 0 {
			places = append(places, int16(i))
		}
	}
	for _, place := range places {
		p := &part{g: g, args: c.args}
		g.parts = append(g.parts, p)
		w.send(pl, place, c, p, true)
	}
	return g.wait(c, out)
}

// runPart runs this node's part of a command that several nodes have parts of. The last argument of SCAN is the
// partition that its part ends before.
func (w *worker) runPart(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	c.limit = store.Partitions
	if c.part && c.spec.Scope == command.ByCursor {
		last := len(c.args) - 1
		limit, err := strconv.Atoi(string(c.args[last]))
		if err != nil || last < 2 || limit < 0 || limit > store.Partitions {
			return resp.AppendError(out, "ERR malformed scan of another node"), true
		}
		c.args, c.limit = c.args[:last], limit
	}
	if c.from != nil {
		c.limit = min(c.limit, ring.Partitions) // what never leaves this node is its own clients' alone
	}
	return w.run(pl, c, out)
}

// scan takes one step of a SCAN. It covers as many partitions as probably hold the number of keys asked for, so that a
// small cache is scanned in a few steps and a large one in no longer ones; those that own these partitions are asked at
// once. The order of partitions does not depend on who owns them, so a scan survives a change of the ring.
func (w *worker) scan(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	cursor, ok := command.ParseCursor(c.args[1])
	count, fine := scanCount(c.args)
	if !ok || !fine {
		return w.run(pl, c, out) // which says what is wrong
	}
	from, inner := command.SplitCursor(cursor)
	end := from + 1
	if inner == 0 {
		end = min(from+w.scanWidth(pl, c.db, count), store.Partitions)
	}
	g := &gather{merge: scanReply, proto: c.proto, left: 1, end: end}
	args := make([][]byte, 0, len(c.args)+1)
	args = append(append(args, c.args...), strconv.AppendInt(nil, int64(end), 10))
	asked := map[int16]bool{}
	for p := from; p < end; p++ {
		place := pl.owner[p]
		if asked[place] {
			continue
		}
		asked[place] = true
		part := &part{g: g, args: args}
		g.parts = append(g.parts, part)
		w.send(pl, place, c, part, true)
	}
	return g.wait(c, out)
}

// scanWidth is the number of partitions that hold count keys, if others are as full as ours.
func (w *worker) scanWidth(pl *placement, db, count int) int {
	owned := 0
	for p := range ring.Partitions {
		if pl.owner[p] == self {
			owned++
		}
	}
	w.counting, w.limit = pl, ring.Partitions
	keys := w.n.store.CountDB(db, w.owns)
	if owned == 0 || keys == 0 {
		return ring.Partitions / 4
	}
	return max(1, min(store.Partitions, count*owned/keys))
}

// scanCount finds the COUNT of a SCAN. Errors are left to the command itself.
func scanCount(args [][]byte) (count int, ok bool) {
	count = 10
	for i := 2; i+1 < len(args); i += 2 {
		if command.EqualFold(args[i], "count") {
			n, isInt := resp.ParseInt(args[i+1])
			if !isInt || n < 1 {
				return 0, false
			}
			count = int(min(n, 1<<30))
		}
	}
	return count, len(args)%2 == 0
}

// mergedScan joins the elements. The step ends where the first node stopped, for what lies behind has not been seen by
// all.
func (g *gather) mergedScan(out []byte) ([]byte, error) {
	next := command.Cursor(g.end%store.Partitions, 0)
	stop, total := g.end, 0
	for _, p := range g.parts {
		pair, _, err := openArray(p.reply, 2)
		if err != nil {
			return nil, err
		}
		h, err := resp.ReadHeader(pair)
		if err != nil || h.Kind != '$' || h.Size == 0 || int64(len(pair)) < int64(h.Size)+h.N+2 || h.N < 0 {
			return nil, peer.ErrBody
		}
		cursor, ok := command.ParseCursor(pair[h.Size : h.Size+int(h.N)])
		if !ok {
			return nil, peer.ErrBody
		}
		if at, _ := command.SplitCursor(cursor); cursor != 0 && at < stop {
			stop, next = at, cursor
		}
		elements, n, err := openArray(pair[h.Size+int(h.N)+2:], -1)
		if err != nil {
			return nil, err
		}
		p.reply = elements
		total += n
	}
	out = resp.AppendArray(out, 2)
	out = resp.AppendBulkString(out, strconv.FormatUint(next, 10))
	out = resp.AppendArray(out, total)
	for _, p := range g.parts {
		out = append(out, p.reply...)
	}
	return out, nil
}
