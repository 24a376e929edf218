package cachenode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// All nodes have the table of tags. X.INVALIDATE is acknowledged when each node in sight has noted it, with one version that is
// not older than anything written before at any of them: when somebody has a higher one, the others are told once more. A node whose
// ring is another one than the asker's may have given something to nodes that the asker does not see yet: it is asked again when
// the rings are the same. Whoever connects to another node compares tables with it first, so nothing is exchanged between nodes
// that do not know of the same invalidations.

const (
	// maxInvalidations bounds those that wait; they are told together.
	maxInvalidations = 4096
	// maxInvalidated bounds the bytes of the tags that are told at once.
	maxInvalidated = 256 << 10
	// sweepItems is how many items are looked at ten times a second, after an invalidation, until all have been.
	sweepItems = 10_000
	// tagRetry is how long a node that has not been told, and is still there, is left alone.
	tagRetry = time.Second
)

// invalidation is a command that waits until all know.
type invalidation struct {
	tags [][]byte
	w    *worker
	to   replyTo
}

// tagger tells the other nodes of invalidations. Its goroutine runs while the node does.
type tagger struct {
	n     *Node
	queue chan invalidation

	// Owned by the goroutine.
	lines map[*remote]*Line
	owing map[*remote]bool // nodes that have not been told
}

func newTagger(n *Node) *tagger {
	return &tagger{n: n, queue: make(chan invalidation, maxInvalidations), lines: map[*remote]*Line{}, owing: map[*remote]bool{}}
}

// invalidate has all nodes know of a command's tags.
func (w *worker) invalidate(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	if wrong := command.CheckTags(c.args[1:]); wrong != "" {
		return resp.AppendError(out, wrong), true
	}
	for _, to := range pl.peers {
		if to.version < peer.Invalidate.Since() {
			return resp.AppendError(out, "ERR "+to.name+" knows nothing of tags. HINT: upgrade it first"), true
		}
	}
	tags := make([][]byte, 0, len(c.args)-1)
	for _, tag := range c.args[1:] {
		tags = append(tags, slices.Clone(tag))
	}
	// Only this loop's own calls race with each other for the last place, and other loops' with them.
	if len(w.n.tagger.queue) >= maxInvalidations-len(w.n.workers) {
		w.n.stats.busy.Add(1)
		return resp.AppendError(out, "BUSY too many invalidations wait, try again later"), true
	}
	w.n.tagger.queue <- invalidation{tags, w, c.later()}
	return out, false
}

// run tells invalidations until ctx ends.
func (t *tagger) run(ctx context.Context) {
	ticker := time.NewTicker(tagRetry)
	defer ticker.Stop()
	defer func() {
		for _, line := range t.lines {
			line.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			t.makeUp(ctx)
		case one := <-t.queue:
			t.tell(ctx, t.gather(one))
		}
	}
}

// gather takes what waits besides.
func (t *tagger) gather(first invalidation) (batch []invalidation) {
	batch = append(batch, first)
	for size := 0; size < maxInvalidated; {
		select {
		case one := <-t.queue:
			batch = append(batch, one)
			for _, tag := range one.tags {
				size += len(tag) + 1
			}
		default:
			return batch
		}
	}
	return batch
}

// drain refuses what waits when the node has stopped.
func (t *tagger) drain() {
	for {
		select {
		case one := <-t.queue:
			one.w.loop.Post(func() { one.to.Resolve(appendFailure(nil, errStopped)) })
		default:
			return
		}
	}
}

// tell has every node note the tags of a batch, and answers. It is over when all nodes that this one sees have noted the same
// version by the ring of this one: then nobody has got anything from a node that was told later.
func (t *tagger) tell(ctx context.Context, batch []invalidation) {
	var tags [][]byte
	for _, one := range batch {
		tags = append(tags, one.tags...)
	}
	ctx, cancel := context.WithTimeout(ctx, t.n.cfg.PeerTimeout)
	defer cancel()
	version := t.n.invalidated(tags, 0)
	told := map[*remote]noted{}
	var err error
	for {
		pl := t.n.placement.Load()
		want := noted{version, pl.epoch}
		highest, errs := t.ask(ctx, pl, want, tags, told)
		switch {
		case highest > version: // who has heard of less is told once more
			version = t.n.invalidated(tags, highest)
			continue
		case errs == nil && t.n.placement.Load() == pl && agreed(pl, want, told):
			err = nil
		default:
			if errs != nil {
				err = errs
			}
			select {
			case <-time.After(parkRetry):
				continue
			case <-ctx.Done():
				err = errors.Join(err, ctx.Err())
			}
			for _, to := range pl.peers {
				if told[to] != want {
					t.owing[to] = true
				}
			}
		}
		break
	}
	t.forget()
	reply := resp.AppendOK(nil)
	if err != nil {
		t.n.cfg.Logger.Warn("not all nodes know of invalidated tags yet", "error", err)
		reply = resp.AppendError(nil, "TRYAGAIN some nodes do not answer: there, keys with these tags may be found until they do. HINT: try again")
	}
	for _, one := range batch {
		one.w.loop.Post(func() { one.to.Resolve(reply) })
	}
}

// noted is what a node has noted: the version, and the ring that it had then.
type noted struct{ version, epoch uint64 }

// ask tells those who have not noted what is wanted, and puts down what they have. It returns the highest version that any has.
func (t *tagger) ask(ctx context.Context, pl *placement, want noted, tags [][]byte, told map[*remote]noted) (highest uint64, err error) {
	answers, errs := make([]noted, len(pl.peers)), make([]error, len(pl.peers))
	body := appendInvalidate(nil, want.version, tags)
	var asking sync.WaitGroup
	for i, to := range pl.peers {
		if answers[i] = told[to]; answers[i] == want {
			continue
		}
		line := t.line(to)
		asking.Go(func() {
			var answer []byte
			if answer, errs[i] = line.Ask(ctx, peer.Invalidate, body); errs[i] == nil && len(answer) == 16 {
				answers[i] = noted{binary.BigEndian.Uint64(answer), binary.BigEndian.Uint64(answer[8:])}
			}
		})
	}
	asking.Wait()
	for i, to := range pl.peers {
		told[to] = answers[i]
		highest = max(highest, answers[i].version)
	}
	return highest, errors.Join(errs...)
}

func agreed(pl *placement, want noted, told map[*remote]noted) bool {
	return !slices.ContainsFunc(pl.peers, func(to *remote) bool { return told[to] != want })
}

func (t *tagger) line(to *remote) *Line {
	line := t.lines[to]
	if line == nil {
		line = &Line{n: t.n, to: to}
		t.lines[to] = line
	}
	return line
}

// forget lets go of nodes that are no members any more.
func (t *tagger) forget() {
	pl := t.n.placement.Load()
	for to, line := range t.lines {
		if !pl.alive(to) {
			line.Close()
			delete(t.lines, to)
		}
	}
	for to := range t.owing {
		if !pl.alive(to) {
			delete(t.owing, to)
		}
	}
}

// makeUp compares tables with nodes that have not been told of something, which a new connection does.
func (t *tagger) makeUp(ctx context.Context) {
	t.forget()
	for to := range t.owing {
		nc, err := t.n.dial(ctx, to)
		if err != nil {
			continue
		}
		nc.Close()
		delete(t.owing, to)
	}
}

// invalidated notes tags here.
func (n *Node) invalidated(tags [][]byte, atLeast uint64) (version uint64) {
	version = n.store.Invalidate(tags, atLeast, time.Now().UnixMilli())
	n.tagsChanged()
	return version
}

// tagsChanged drops all copies, here and elsewhere, of keys that may have become invalid. Nobody knows which those are: clients
// drop what they remember, this node its copies of other nodes' keys, and they theirs of ours.
func (n *Node) tagsChanged() {
	n.store.ForgetCopies()
	n.forgetCopies()
	for _, w := range n.workers {
		w.loop.Post(w.mistrust)
	}
}

// appendInvalidate makes the question Invalidate: a version, u64, and each tag behind its length in one byte. The answer is the
// version that was noted, and the epoch of the ring, u64 each.
func appendInvalidate(b []byte, version uint64, tags [][]byte) []byte {
	b = binary.BigEndian.AppendUint64(b, version)
	for _, tag := range tags {
		b = store.AppendTag(b, tag)
	}
	return b
}

// answerInvalidate is the Responder of Invalidate. The ring is looked at last: whoever comes into it later, from our point of view,
// has got nothing from us before.
func (n *Node) answerInvalidate(_ context.Context, body []byte) (answer []byte) {
	if len(body) < 8 {
		return nil
	}
	var tags [][]byte
	for b := body[8:]; len(b) > 0; {
		size := int(b[0])
		if size == 0 || size >= len(b) {
			return nil
		}
		tags = append(tags, b[1:1+size])
		b = b[1+size:]
	}
	version := n.invalidated(tags, binary.BigEndian.Uint64(body))
	answer = binary.BigEndian.AppendUint64(nil, version)
	return binary.BigEndian.AppendUint64(answer, n.placement.Load().epoch)
}

// compareTags makes the tables of both ends of a new connection the same, before anything else is exchanged over it. It asks
// with the sum of the digests of all buckets, which the other side answers with nothing if it has the same, else with the
// digests; and then, for each that differs, sends the bucket behind its number, and gets the other's.
func (n *Node) compareTags(nc *greeted) error {
	if nc.version < peer.Tags.Since() {
		return nil
	}
	if err := nc.SetDeadline(time.Now().Add(n.cfg.PeerTimeout)); err != nil {
		return err
	}
	id := uint64(1)<<63 - 1 // requests of a link begin at 0
	ask := func(body []byte) ([]byte, error) {
		id++
		if _, err := nc.Write(peer.Append(nil, peer.Frame{Type: peer.Tags, ID: id, Body: body})); err != nil {
			return nil, err
		}
		f, err := readFrame(nc, nil, maxAnswer)
		if err != nil {
			return nil, err
		}
		if f.Type != peer.Answer || f.ID != id {
			return nil, fmt.Errorf("frame of type %d in answer to one of type %d", f.Type, peer.Tags)
		}
		return f.Body, nil
	}
	digests := n.store.TagDigests()
	theirs, err := ask(binary.BigEndian.AppendUint64(nil, sum(&digests)))
	if err != nil {
		return fmt.Errorf("compare tags: %w", err)
	}
	for i := 0; i < len(theirs)/8; i++ {
		if i >= len(digests) || binary.BigEndian.Uint64(theirs[8*i:]) == digests[i] {
			continue
		}
		bucket, err := ask(n.store.AppendTags([]byte{byte(i)}, i))
		if err == nil {
			err = n.store.MergeTags(i, bucket, time.Now().UnixMilli())
		}
		if err != nil {
			return fmt.Errorf("compare tags: %w", err)
		}
		n.tagsChanged()
	}
	return nc.SetDeadline(time.Time{})
}

func sum(digests *[store.TagBuckets]uint64) (total uint64) {
	for _, d := range digests {
		total += d
	}
	return total
}

// answerTags answers Tags.
func (w *worker) answerTags(in *inbound, f *peer.Frame) error {
	w.scratch = w.scratch[:0]
	switch digests := w.n.store.TagDigests(); {
	case len(f.Body) == 8:
		if binary.BigEndian.Uint64(f.Body) != sum(&digests) {
			for _, d := range digests {
				w.scratch = binary.BigEndian.AppendUint64(w.scratch, d)
			}
		}
	case len(f.Body) == 0:
		return peer.ErrBody
	default:
		bucket := int(f.Body[0])
		if err := w.n.store.MergeTags(bucket, f.Body[1:], w.now()); err != nil {
			return err
		}
		w.n.tagsChanged()
		w.scratch = w.n.store.AppendTags(w.scratch, bucket)
	}
	in.send(peer.Answer, 0, f.ID, w.scratch)
	return nil
}
