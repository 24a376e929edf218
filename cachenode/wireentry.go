// HOT PATH

package cachenode

import (
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// Marks of the kind of an entry.
const (
	taggedKind = 1 << 5 // the first item is the tags that the key is bound to; version 1 refuses it
	rawKind    = 1 << 6 // a string that was edited in place
)

// wireEntry turns entries of the store into those of the protocol and back, reusing its memory.
type wireEntry struct {
	out peer.Entry
	in  peer.Entry
}

// append appends e as the protocol has it.
func (w *wireEntry) append(b []byte, e *store.Entry) []byte {
	o := &w.out
	o.Key, o.Version, o.ExpireAt, o.Deleted = e.Key, e.Version, e.ExpireAt, e.Deleted
	o.Kind = uint8(e.Kind)
	if e.Raw {
		o.Kind |= rawKind
	}
	o.Items = o.Items[:0]
	if len(e.Tags) > 0 {
		o.Kind |= taggedKind
		o.Items = append(o.Items, e.Tags)
	}
	switch {
	case e.Deleted:
	case e.Kind == store.KindString:
		o.Items = append(o.Items, e.Value)
	default:
		o.Items = append(o.Items, e.Items...)
	}
	return peer.AppendEntry(b, o)
}

// next reads the entry at the front of b into e and returns what follows. e points into b.
func (w *wireEntry) next(b []byte, e *store.Entry) (rest []byte, err error) {
	i := &w.in
	if rest, err = peer.NextEntry(b, i); err != nil {
		return nil, err
	}
	items, content := e.Items[:0], i.Items
	*e = store.Entry{
		Key:      i.Key,
		Version:  i.Version,
		ExpireAt: i.ExpireAt,
		Deleted:  i.Deleted,
		Kind:     store.Kind(i.Kind &^ (rawKind | taggedKind)),
		Raw:      i.Kind&rawKind != 0,
	}
	if i.Kind&taggedKind != 0 && !e.Deleted {
		if len(content) == 0 {
			return nil, peer.ErrEntry
		}
		e.Tags, content = content[0], content[1:]
	}
	switch {
	case e.Deleted:
	case e.Kind == store.KindString:
		if len(content) != 1 {
			return nil, peer.ErrEntry
		}
		e.Value = content[0]
	default:
		items = append(items, content...)
	}
	e.Items = items
	return rest, nil
}

// apply gives all entries of body to the store. Older ones than it has are passed over.
func (w *worker) apply(body []byte) error {
	for len(body) > 0 {
		rest, err := w.applyNext(body)
		if err != nil {
			return err
		}
		body = rest
	}
	return nil
}

// applyNext gives the entry at the front of body to the store, leaves it in w.incoming, and in w.applied whether it was news,
// and returns what follows.
func (w *worker) applyNext(body []byte) (rest []byte, err error) {
	if rest, err = w.wire.next(body, &w.incoming); err != nil {
		return nil, err
	}
	w.applied = false
	if w.n.cfg.Layout != nil && store.IsLocal(w.n.store.PartitionOf(w.incoming.Key)) {
		return rest, nil // of a node with another layout: ours is our own
	}
	if w.applied, err = w.n.store.Apply(&w.incoming, w.now()); err != nil {
		w.n.stats.refused.Add(1)
	}
	if w.n.store.Awaited(w.incoming.Key) {
		w.serveWaiting(w.incoming.Key)
	}
	return rest, nil
}
