package hitratio

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// Names of the policies.
const (
	Ours      = "outrigger"
	LRU       = "LRU"
	Otter     = "otter v2"
	Ristretto = "ristretto"
)

// cache is one that a trace is played against, by one goroutine.
type cache interface {
	// access asks for a key and stores it when it is not there. It reports whether it was.
	access(key uint64) bool
	close()
}

// policies in the order of the report.
var policies = []struct {
	name string
	open func(entries int) (cache, error)
}{
	{Ours, openStore},
	{LRU, openLRU},
	{Otter, openOtter},
	{Ristretto, openRistretto},
}

// Policies are the names, ours first.
func Policies() []string {
	var names []string
	for _, p := range policies {
		names = append(names, p.name)
	}
	return names
}

// stored is the program's own store, as commands use it. Tables, slabs and the ghost are within its budget.
type stored struct {
	store *store.Store
	tx    store.Tx
	keys  [1]store.Key
	name  [8]byte
	value []byte
}

// storedValue makes the bytes of an entry outweigh the share of tables that double.
const storedValue = 440

// openStore finds the budget first that holds so many entries when others leave all the time.
func openStore(entries int) (cache, error) {
	each := store.ItemGrowth(len(stored{}.name) + storedValue)
	budget := int64(entries) * each
	trial := newStored(budget)
	for i := range 4 * entries {
		trial.access(uint64(i))
	}
	if held := int64(trial.store.Stats().Keys[0]); held > 0 {
		budget = budget * int64(entries) / held
	}
	return newStored(budget), nil
}

func newStored(budget int64) *stored {
	return &stored{store: store.New(store.Config{MaxBytes: budget}), value: make([]byte, storedValue)}
}

func (s *stored) access(key uint64) bool {
	binary.LittleEndian.PutUint64(s.name[:], key)
	s.keys[0] = s.store.Key(s.name[:])
	const now = 1 // nothing expires
	s.tx.Begin(s.store, s.keys[:], now, 0)
	hit := s.tx.Get(&s.keys[0]) != nil
	s.tx.End()
	if hit {
		return true
	}
	if s.tx.Begin(s.store, s.keys[:], now, store.ItemGrowth(len(s.name)+len(s.value))) {
		s.tx.SetString(&s.keys[0], s.value, 0)
		s.tx.End()
	}
	return false
}

func (s *stored) close() {}

// recency is LRU: what was used last leaves last.
type recency struct {
	places map[uint64]int32
	nodes  []recent // a ring; 0 is its begin and end, behind which is the latest
	room   int
}

type recent struct {
	key        uint64
	prev, next int32
}

func openLRU(entries int) (cache, error) {
	return &recency{places: make(map[uint64]int32, entries), nodes: make([]recent, 1, entries+1), room: max(entries, 1)}, nil
}

func (l *recency) access(key uint64) bool {
	at, hit := l.places[key]
	switch {
	case hit:
		l.unlink(at)
	case len(l.nodes) <= l.room:
		at = int32(len(l.nodes))
		l.nodes = append(l.nodes, recent{})
	default:
		at = l.nodes[0].prev
		l.unlink(at)
		delete(l.places, l.nodes[at].key)
	}
	if !hit {
		l.nodes[at].key = key
		l.places[key] = at
	}
	first := l.nodes[0].next
	l.nodes[at].prev, l.nodes[at].next = 0, first
	l.nodes[first].prev, l.nodes[0].next = at, at
	return hit
}

func (l *recency) unlink(at int32) {
	n := l.nodes[at]
	l.nodes[n.prev].next, l.nodes[n.next].prev = n.next, n.prev
}

func (l *recency) close() {}

// ottered is otter, whose maintenance runs where it falls due and not some time later: else the hits would depend on how
// busy the machine is.
type ottered struct {
	cache *otter.Cache[uint64, struct{}]
}

func openOtter(entries int) (cache, error) {
	c, err := otter.New(&otter.Options[uint64, struct{}]{MaximumSize: entries, Executor: func(task func()) { task() }})
	if err != nil {
		return nil, fmt.Errorf("open otter: %w", err)
	}
	return ottered{c}, nil
}

func (o ottered) access(key uint64) bool {
	if _, ok := o.cache.GetIfPresent(key); ok {
		return true
	}
	o.cache.Set(key, struct{}{})
	return false
}

func (o ottered) close() { o.cache.StopAllGoroutines() }

// ristretted is ristretto, told to finish each write: those that it drops when they come too fast would not be the
// policy's fault.
type ristretted struct {
	cache *ristretto.Cache[uint64, struct{}]
}

func openRistretto(entries int) (cache, error) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{ // as its documentation advises
		NumCounters: int64(entries) * 10, MaxCost: int64(entries), BufferItems: 64, IgnoreInternalCost: true})
	if err != nil {
		return nil, fmt.Errorf("open ristretto: %w", err)
	}
	return ristretted{c}, nil
}

func (r ristretted) access(key uint64) bool {
	if _, ok := r.cache.Get(key); ok {
		return true
	}
	r.cache.Set(key, struct{}{}, 1)
	r.cache.Wait()
	return false
}

func (r ristretted) close() { r.cache.Close() }
