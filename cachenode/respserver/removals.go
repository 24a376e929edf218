package respserver

import (
	"sync"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// maxRemovals bounds the keys that wait to be reported. Of those beyond it nobody hears as an event; clients that cache
// values are told to drop them all.
const maxRemovals = 64 << 10

// Removals takes the keys that expire or are evicted, while the store is locked, to where they can be reported.
type Removals struct {
	mu    sync.Mutex
	keys  []removal
	lost  bool
	spare []removal
}

type removal struct {
	stored []byte
	why    store.Removal
}

// WantsRemovals tells whether anybody has to hear of keys that expire or are evicted.
func WantsRemovals(notify command.Event, tracking bool) bool {
	return tracking || notify&(command.EventExpired|command.EventEvicted|command.EventHash|command.EventGeneric) != 0
}

// Note makes the function for Store.OnRemoval. report is called on l for each key, with nil when some were lost.
func (r *Removals) Note(l *netloop.Loop, report func(stored []byte, why store.Removal)) func(stored []byte, why store.Removal) {
	return func(stored []byte, why store.Removal) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.keys) == maxRemovals {
			r.lost = true
			return
		}
		r.keys = append(r.keys, removal{append([]byte(nil), stored...), why})
		if len(r.keys) == 1 {
			l.Post(func() { r.report(report) })
		}
	}
}

func (r *Removals) report(report func(stored []byte, why store.Removal)) {
	r.mu.Lock()
	keys, lost := r.keys, r.lost
	r.keys, r.spare, r.lost = r.spare[:0], nil, false
	r.mu.Unlock()
	for i := range keys {
		report(keys[i].stored, keys[i].why)
	}
	if lost {
		report(nil, store.Expired)
	}
	clear(keys)
	r.mu.Lock()
	r.spare = keys
	r.mu.Unlock()
}

// ReportRemoval tells of one key. A nil key stands for many.
func ReportRemoval(a Audience, l *netloop.Loop, notify command.Event, stored []byte, why store.Removal) {
	a.Changed(l, stored, 0)
	if stored == nil {
		return
	}
	if notify != 0 {
		a.Happened(l, notify, happened(why, store.Key{Bytes: stored}))
	}
}

// happened are the events of each removal.
func happened(why store.Removal, key store.Key) []command.Happened {
	switch why {
	case store.Evicted:
		return []command.Happened{{Class: command.EventEvicted, Name: "evicted", Key: key}}
	case store.StaleGone:
		return nil
	case store.FieldsExpired:
		return []command.Happened{{Class: command.EventHash, Name: "hexpired", Key: key}}
	case store.LastFieldExpired:
		return []command.Happened{{Class: command.EventHash, Name: "hexpired", Key: key}, {Class: command.EventGeneric, Name: "del", Key: key}}
	}
	return []command.Happened{{Class: command.EventExpired, Name: "expired", Key: key}}
}
