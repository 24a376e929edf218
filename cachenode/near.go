// HOT PATH

package cachenode

import (
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/near"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// A GET of a key that is read here often and owned elsewhere is answered from a copy, see package near. What an owner has to do
// for that is in changes.go.

const (
	// minPoll is how far apart questions to one owner are at least. The first change after a quiet time is told at once.
	minPoll = 5 * time.Millisecond
	// lingerPoll is how long an owner is asked after the last reply that was to be kept.
	lingerPoll = 10 * time.Second
	// maxSpareWrites and maxSpareKey bound what a loop keeps to use again: of hashes, and of bytes.
	maxSpareWrites = 64
	maxSpareKey    = 1 << 10
)

// fromNear answers a GET from a copy. If there is none it counts the read, and marks the call where its reply is to be kept.
func (w *worker) fromNear(pl *placement, to *remote, c *call, out []byte) (reply []byte, done bool) {
	k := &w.keys[0]
	if c.fresh || len(pl.misplaced) > 0 || w.n.store.Strong(k.Bytes) {
		return out, false
	}
	c.hash = near.Hash(k.Bytes)
	out, found := w.n.near.Append(out, &to.copies, c.hash, k.Partition(), k.Bytes)
	if found == near.Given {
		w.nearHits.Add(1)
		return out, true
	}
	c.keep = found == near.Due || w.heat.Hot(c.hash, w.loop.Now().UnixMilli())
	return out, false
}

// attend looks after copies when a command goes to its owner, and returns flags for it. f then carries what is to be done with the
// reply, which is replied's.
func (w *worker) attend(f *forwarded, to *remote, c *call) (flags uint8) {
	cache := w.n.near
	switch {
	case c.keep:
		k := &w.keys[0]
		if f.keeps = cache.Ask(&f.asked, &to.copies, c.hash, k.Partition(), k.Bytes); f.keeps {
			flags = peer.FlagCopy
		}
		w.startPoll(to)
	case c.spec.Flags&command.Write == 0 || c.spec.Flags&command.Blocking != 0:
		// Copies are of strings: nothing that waits for its keys changes one.
	case c.part:
		to.copies.BeginFlush()
		f.flushes = &to.copies
	default:
		for i := range w.keys {
			hash := near.Hash(w.keys[i].Bytes)
			cache.BeginWrite(hash)
			f.writes = append(f.writes, hash)
		}
	}
	return flags
}

// replied takes in the owner's answer, nil where there is none, and returns what the client gets.
func (w *worker) replied(f *forwarded, answer *peer.Frame) (reply []byte) {
	if f.flushes != nil {
		f.flushes.EndFlush()
	}
	for _, hash := range f.writes {
		w.n.near.EndWrite(hash)
	}
	if answer == nil {
		return nil
	}
	if !f.keeps {
		return answer.Body
	}
	if answer.Flags&peer.FlagCopy == 0 {
		w.n.near.Drop(f.asked.Hash()) // the copy that this was to replace says something else
		return answer.Body
	}
	milliseconds, reply, err := peer.CutCopy(answer.Body)
	if err != nil {
		return appendFailure(nil, errLost)
	}
	w.n.near.Keep(&f.asked, reply, time.Duration(milliseconds)*time.Millisecond)
	return reply
}

// poll asks one owner what has changed, again and again, while its keys are hot here.
type poll struct {
	w      *worker
	to     *remote
	timer  *netloop.Timer
	sent   int64 // by near.Cache.Now
	since  uint64
	set    uint64 // hash of the partitions that the owner has vouched for
	body   []byte
	hashes []uint64
}

// startPoll begins to ask an owner, unless some loop does already.
func (w *worker) startPoll(to *remote) {
	if !to.polled.CompareAndSwap(false, true) {
		return
	}
	p := to.poll
	if p == nil {
		p = &poll{to: to}
		to.poll = p
	}
	if p.w != w {
		p.w, p.timer = w, w.loop.NewTimer(p.ask)
	}
	p.ask()
}

// stop leaves it to others to start again.
func (p *poll) stop() { p.to.polled.Store(false) }

func (p *poll) ask() {
	w, cache := p.w, p.w.n.near
	pl := w.n.placement.Load()
	now := cache.Now()
	if w.stopped || !pl.alive(p.to) || time.Duration(now-p.to.copies.Wanted()) > lingerPoll {
		p.stop()
		return
	}
	p.sent = now
	hold := uint32(min(cache.Staleness()/5, w.n.cfg.PeerTimeout/2).Milliseconds())
	p.body = peer.AppendPoll(p.body[:0], peer.PollRequest{Since: p.since, Hold: hold, Set: p.set})
	switch err := w.link(p.to).ask(peer.Poll, 0, pl.epoch, p.body, p); err {
	case nil:
	case errOlder: // it will not learn it: polled stays set
	default:
		p.later(cache.Staleness() / 5)
	}
}

func (p *poll) later(wait time.Duration) { p.timer.Reset(wait) }

// answered drops what has changed, and then notes what that proves.
func (p *poll) answered(w *worker, f *peer.Frame, err error) {
	cache := w.n.near
	if err == nil {
		err = p.take(cache, f)
	}
	if err != nil {
		p.later(cache.Staleness() / 5)
		return
	}
	p.to.copies.Proven(p.sent)
	if wait := minPoll - time.Duration(cache.Now()-p.sent); wait > 0 {
		p.later(wait)
		return
	}
	p.ask()
}

func (p *poll) take(cache *near.Cache, f *peer.Frame) error {
	if f.Type != peer.Changes {
		return errLost
	}
	last, hashes, set, err := peer.ParseChanges(p.hashes[:0], f.Body)
	p.hashes = hashes
	if err != nil {
		return err
	}
	if f.Flags&peer.FlagNewSet != 0 {
		if len(set) != 8*near.Words {
			return peer.ErrBody
		}
		var vouched [near.Words]uint64
		for i := range vouched {
			vouched[i] = binary.LittleEndian.Uint64(set[8*i:])
		}
		p.to.copies.Vouch(&vouched)
		p.set = xxhash.Sum64(set)
	}
	if f.Flags&peer.FlagAllChanged != 0 {
		if p.since != 0 {
			p.w.n.stats.nearLost.Add(1)
		}
		p.to.copies.Clear()
	}
	for _, hash := range hashes {
		cache.Drop(hash)
	}
	p.since = last
	return nil
}

// forgetCopies drops all copies that this node has of others' keys, and lets no reply be kept that is under way.
func (n *Node) forgetCopies() {
	if n.near == nil {
		return
	}
	for _, to := range n.placement.Load().peers {
		to.copies.Clear()
	}
}
