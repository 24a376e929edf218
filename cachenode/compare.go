package cachenode

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// Owner and backup compare what they hold, slowly, in case something was missed that nothing has noticed. The owner sends a
// digest of each of some partitions; where the backup's is another one, it sends the versions of all keys, and each key that
// differs is repaired: the newer version wins. Where the owner has the last word, what it does not have the backup drops: it
// was deleted or evicted. What was written or expires about now is left out, for it is on its way.
//
// Each node evicts by itself. So that full ones do not send each other what the other has just evicted, a backup without room
// does not ask for what it lacks.
const (
	compareEvery = 10 * time.Second // one peer at a time, in turn
	// compareItems and comparePartitions bound what is compared in one go, after the first partition.
	compareItems      = 64 << 10
	comparePartitions = 256
	compareChunk      = 16 << 10 // versions in a frame
	compareLook       = 128      // items that one look into the store takes
	compareGrace      = 10 * time.Second
	compareGiven      = 1 << 20 // bytes from which a backup gives no more entries; the rest comes the next time
)

// mark is a key and its version.
type mark struct{ hash, version uint64 }

// survey collects the marks of partition p, in the order of their hashes. It may be slow: no loop runs it.
func (n *Node) survey(p int, s peer.Survey) (marks []mark) {
	n.scan(p, s, func(it *store.Item, hash uint64) { marks = append(marks, mark{hash, it.Version()}) })
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Compare(a.hash, b.hash) })
	return slices.Compact(marks) // a scan may meet an item twice
}

// scan visits the items of partition p that are compared. visit runs with the shard held.
func (n *Node) scan(p int, s peer.Survey, visit func(it *store.Item, hash uint64)) {
	now := time.Now().UnixMilli()
	for cursor := uint64(0); ; {
		cursor = n.store.ScanPartition(p, cursor, compareLook, now, func(it *store.Item) {
			if it.Deleted() || it.Version() > s.Until || it.ExpireAt() != 0 && it.ExpireAt() <= s.Expiring || n.store.Single(it.Key()) {
				return
			}
			if hash := xxhash.Sum64(it.Key()); hash >= s.From && hash <= s.To {
				visit(it, hash)
			}
		})
		if cursor == 0 {
			return
		}
	}
}

// digest sums marks up.
func digest(marks []mark) (sum uint64) {
	var b [16]byte
	for _, m := range marks {
		binary.BigEndian.PutUint64(b[:], m.hash)
		binary.BigEndian.PutUint64(b[8:], m.version)
		sum += xxhash.Sum64(b[:])
	}
	return sum
}

// comparer compares what this node owns with the copies. It belongs to one goroutine.
type comparer struct {
	n    *Node
	turn int
	next map[*remote]int // the partition to go on with
	size [store.Partitions]int32
}

// run compares until ctx ends.
func (c *comparer) run(ctx context.Context) {
	ticker := time.NewTicker(compareEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		pl := c.n.placement.Load()
		if len(pl.peers) == 0 || c.n.missing(pl) > 0 {
			continue
		}
		c.turn = (c.turn + 1) % len(pl.peers)
		if _, err := c.compare(ctx, pl, int16(c.turn)); err != nil {
			c.n.cfg.Logger.Debug("copies not compared", "peer", pl.peers[c.turn].name, "error", err)
		}
	}
}

// compare looks at some partitions that the peer at place backs up, and repairs them. It returns how many entries it has
// repaired.
func (c *comparer) compare(ctx context.Context, pl *placement, place int16) (repaired int, err error) {
	n, to := c.n, pl.peers[place]
	if to.version < peer.Digest.Since() {
		return 0, nil
	}
	n.store.Sizes(&c.size)
	var partitions []int
	items := 0
	p := c.next[to]
	for range ring.Partitions {
		if pl.owner[p] == self && pl.backup[p] == place && n.complete[p].Load() && !n.stale[p].Load() {
			if len(partitions) > 0 && (len(partitions) >= comparePartitions || items+int(c.size[p]) > compareItems) {
				break
			}
			partitions, items = append(partitions, p), items+int(c.size[p])
		}
		p = (p + 1) % ring.Partitions
	}
	maps.DeleteFunc(c.next, func(r *remote, _ int) bool { return !pl.alive(r) })
	if c.next[to] = p; len(partitions) == 0 {
		return 0, nil
	}
	now := time.Now()
	s := peer.Survey{
		Until:    store.VersionAt(now.Add(-compareGrace).UnixMilli()),
		Expiring: now.Add(3 * compareGrace).UnixMilli(),
		To:       1<<64 - 1,
	}
	body := peer.AppendSurvey(nil, s)
	for _, p := range partitions {
		body = peer.AppendDigest(body, p, digest(n.survey(p, s)))
	}

	h := &handover{n: n, pl: pl, place: place, to: to}
	if h.nc, err = n.dial(ctx, to); err != nil {
		return 0, err
	}
	defer h.nc.Close()
	stop := context.AfterFunc(ctx, func() { h.nc.Close() })
	defer stop()
	answer, err := h.ask(peer.Digest, 0, body)
	if err != nil {
		return 0, err
	}
	if answer.Type != peer.Accept || len(answer.Body) != len(partitions) {
		return 0, errWrongEpoch
	}
	n.stats.compared.Add(uint64(len(partitions)))
	differ := append([]byte(nil), answer.Body...)
	for i, p := range partitions {
		switch differ[i] {
		case peer.Want:
			fixed, err := h.repair(p, s)
			n.stats.repaired.Add(uint64(fixed))
			if repaired += fixed; err != nil {
				return repaired, err
			}
		case peer.Busy:
			to.lacks.Store(true)
			n.wakeMover()
		}
	}
	return repaired, h.flush()
}

// repair sends the versions of partition p, then the entries that the backup wants, and takes those that are newer there.
func (h *handover) repair(p int, s peer.Survey) (repaired int, err error) {
	n := h.n
	flags := uint8(0)
	if n.owned[p].Load() && !n.assumed[p].Load() {
		flags = peer.FlagLastWord
	}
	marks := n.survey(p, s)
	for first := true; first || len(marks) > 0; first = false {
		chunk := marks[:min(len(marks), compareChunk)]
		marks = marks[len(chunk):]
		if s.To = 1<<64 - 1; len(marks) > 0 {
			s.To = marks[0].hash - 1
		}
		body := peer.AppendDigest(peer.AppendSurvey(nil, s), p, uint64(len(chunk)))
		for _, m := range chunk {
			body = peer.AppendMark(body, m.hash, m.version)
		}
		answer, err := h.ask(peer.Versions, flags, body)
		if err != nil {
			return repaired, err
		}
		if answer.Type != peer.Versions {
			return repaired, errWrongEpoch
		}
		wants, given, err := peer.ParseWants(answer.Body)
		if err != nil {
			return repaired, err
		}
		repaired += len(wants)
		if len(wants) > 0 {
			if err := h.sendWanted(p, s, wants); err != nil {
				return repaired, err
			}
		}
		if len(given) > 0 {
			taken, err := n.take(given)
			if repaired += taken; err != nil {
				return repaired, err
			}
		}
		s.From = s.To + 1
	}
	return repaired, nil
}

// sendWanted sends the entries of these hashes.
func (h *handover) sendWanted(p int, s peer.Survey, hashes []uint64) error {
	wanted := make(map[uint64]bool, len(hashes))
	for _, hash := range hashes {
		wanted[hash] = true
	}
	var keys [][]byte
	h.n.scan(p, s, func(it *store.Item, hash uint64) {
		if wanted[hash] {
			keys = append(keys, append([]byte(nil), it.Key()...))
		}
	})
	var found []byte
	for _, key := range keys {
		if !h.n.store.Entry(key, time.Now().UnixMilli(), &h.entry) {
			continue
		}
		if found = h.wire.append(found[:0], &h.entry); len(found) <= peer.MaxBody {
			if err := h.add(found); err != nil {
				return err
			}
		}
	}
	return nil
}

// take has a loop take over entries that a backup has, and tells how many there were.
func (n *Node) take(entries []byte) (count int, err error) {
	var e peer.Entry
	for rest := entries; len(rest) > 0; count++ {
		if rest, err = peer.NextEntry(rest, &e); err != nil {
			return 0, fmt.Errorf("repair: %w", err)
		}
	}
	entries = append([]byte(nil), entries...)
	w := n.workers[0]
	w.loop.Post(func() {
		pl := n.placement.Load()
		for rest := entries; len(rest) > 0; {
			var err error
			if rest, err = w.applyNext(rest); err != nil {
				return // of a kind that this build does not know
			}
			w.arrived(pl, n.store.PartitionOf(w.incoming.Key))
		}
	})
	return count, nil
}

// compared answers a Digest or Versions of the owner, in a goroutine: a partition may be large.
func (w *worker) compared(in *inbound, f *peer.Frame) error {
	in.silent = true
	n, pl, id, flags := w.n, w.n.placement.Load(), f.ID, f.Flags
	s, rest, err := peer.ParseSurvey(f.Body)
	if err != nil {
		return err
	}
	if in.comparing {
		return peer.ErrBody // it asks one thing at a time
	}
	if pl.epoch != f.Epoch {
		in.send(peer.Ack, peer.FlagWrongEpoch, id, nil)
		return nil
	}
	answer, kind := n.answerDigest, peer.Accept
	if f.Type == peer.Versions {
		answer, kind = func(pl *placement, s peer.Survey, body []byte) ([]byte, error) {
			return n.answerVersions(pl, s, body, flags&peer.FlagLastWord != 0)
		}, peer.Versions
	}
	body := append([]byte(nil), rest...)
	in.comparing = n.spawn(func() {
		reply, err := answer(pl, s, body)
		w.loop.Post(func() {
			in.comparing = false
			if err != nil && !in.closed {
				in.conn.Close(err)
				return
			}
			in.send(kind, 0, id, reply)
		})
	})
	return nil
}

// answerDigest says of each partition whether it is the same here, differs, or is not here as a whole.
func (n *Node) answerDigest(pl *placement, s peer.Survey, body []byte) (answer []byte, err error) {
	for len(body) > 0 {
		var p int
		var sum uint64
		if p, sum, body, err = peer.NextDigest(body, ring.Partitions); err != nil || len(answer) >= comparePartitions {
			return nil, peer.ErrBody
		}
		switch {
		case !pl.holds(self, p) || !n.complete[p].Load() || n.assumed[p].Load():
			answer = append(answer, peer.Busy)
		case digest(n.survey(p, s)) != sum:
			answer = append(answer, peer.Want)
		default:
			answer = append(answer, peer.Have)
		}
	}
	return answer, nil
}

// answerVersions compares the owner's marks of a partition with ours. It drops what an owner with the last word does not have,
// and answers with the hashes it wants and the entries that are newer here.
func (n *Node) answerVersions(pl *placement, s peer.Survey, body []byte, lastWord bool) (answer []byte, err error) {
	p, count, body, err := peer.NextDigest(body, ring.Partitions)
	if err != nil || count > compareChunk || len(body) != int(count)*peer.MarkSize {
		return nil, peer.ErrBody
	}
	theirs := make(map[uint64]uint64, count)
	for ; len(body) > 0; body = body[peer.MarkSize:] {
		hash, version := peer.MarkAt(body)
		theirs[hash] = version
	}
	var wants []uint64
	var newer, extra []mark
	for _, m := range n.survey(p, s) {
		version, known := theirs[m.hash]
		delete(theirs, m.hash)
		switch {
		case known && version > m.version:
			wants = append(wants, m.hash)
		case known && version < m.version || !known && !lastWord:
			newer = append(newer, m)
		case !known:
			extra = append(extra, m)
		}
	}
	if n.store.HasRoom() {
		for hash := range theirs {
			wants = append(wants, hash)
		}
	}
	slices.Sort(wants)
	answer = peer.AppendWants(nil, wants)
	if len(newer)+len(extra) == 0 {
		return answer, nil
	}
	var wire wireEntry
	var e store.Entry
	gone := map[uint64]uint64{}
	give := map[uint64]bool{}
	for _, m := range extra {
		gone[m.hash] = m.version
	}
	for _, m := range newer {
		give[m.hash] = true
	}
	n.scan(p, s, func(it *store.Item, hash uint64) {
		if give[hash] && len(answer) < compareGiven && it.Bytes() < compareGiven {
			e.Fill(n.store, it)
			answer = wire.append(answer, &e)
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(gone) > 0 && n.placement.Load() == pl {
		n.stats.outdated.Add(uint64(n.store.DropIf(p, func(it *store.Item) bool {
			version, drop := gone[xxhash.Sum64(it.Key())]
			return drop && it.Version() == version
		})))
	}
	return answer, nil
}
