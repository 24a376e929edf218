package near

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const bound = 500 * time.Millisecond

// world is a Cache under a clock that a test sets, with one owner.
type world struct {
	*Cache
	t     *testing.T
	owner Source
	bytes int64
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	var err error
	w.Cache, err = New(Config{MaxBytes: 1 << 20, Staleness: bound, Charge: func(n int64) { w.bytes += n }})
	if err != nil {
		t.Fatal(err)
	}
	var all [Words]uint64
	for i := range all {
		all[i] = ^uint64(0)
	}
	w.owner.Vouch(&all)
	w.owner.Proven(w.Now())
	return w
}

// pass lets time pass: for the cache it is as if this process had been stopped for d.
func (w *world) pass(d time.Duration) { w.base = w.base.Add(-d) }

func (w *world) ask(key string) (a Asked, ok bool) {
	ok = w.Ask(&a, &w.owner, Hash([]byte(key)), 0, []byte(key))
	return a, ok
}

// keep asks for a key and keeps the reply at once.
func (w *world) keep(key, value string, ttl time.Duration) {
	w.t.Helper()
	a, ok := w.ask(key)
	if !ok {
		w.t.Fatalf("%s must not be kept", key)
	}
	w.Keep(&a, []byte(value), ttl)
}

func (w *world) get(key string) string {
	got, found := w.Append(nil, &w.owner, Hash([]byte(key)), 0, []byte(key))
	return [...]string{"missing", "due", string(got)}[found]
}

func (w *world) expect(key, want string) {
	w.t.Helper()
	if got := w.get(key); got != want {
		w.t.Errorf("%s is read as %q, want %q", key, got, want)
	}
}

func TestACopyIsGivenWhileItIsProven(t *testing.T) {
	w := newWorld(t)
	w.keep("k", "v", 0)
	w.expect("k", "v")
	w.expect("other", "missing")
	w.pass(bound - 100*time.Millisecond)
	w.expect("k", "v")
	asked := w.Now()
	w.pass(100 * time.Millisecond)
	w.expect("k", "missing")
	w.owner.Proven(asked) // of when the owner was asked, not of when it has answered
	w.expect("k", "v")
	w.pass(bound - 100*time.Millisecond)
	w.expect("k", "missing")
	// The node stands still for longer, and goes on.
	w.owner.Proven(w.Now())
	w.expect("k", "v")
	w.pass(30 * time.Second)
	w.expect("k", "missing")
}

func TestACopyEnds(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"changed":     func(w *world) { w.Drop(Hash([]byte("k"))) },
		"written":     func(w *world) { w.BeginWrite(Hash([]byte("k"))) },
		"cleared":     func(w *world) { w.owner.Clear() },
		"flushed":     func(w *world) { w.owner.BeginFlush() },
		"not vouched": func(w *world) { w.owner.Vouch(new([Words]uint64)) },
		"its time":    func(w *world) { w.pass(time.Second); w.owner.Proven(w.Now()) },
		"300 seconds": func(w *world) { w.keep("k", "v", time.Hour); w.pass(longest); w.owner.Proven(w.Now()) },
	} {
		w := newWorld(t)
		w.keep("k", "v", time.Second)
		w.expect("k", "v")
		end(w)
		if got := w.get("k"); got != "missing" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A reply that was asked for before something changed is not kept when it comes.
func TestALateReplyIsNotKept(t *testing.T) {
	hash := Hash([]byte("k"))
	for name, change := range map[string]func(w *world){
		"changed": func(w *world) { w.Drop(hash) },
		"written": func(w *world) { w.BeginWrite(hash); w.EndWrite(hash) },
		"writing": func(w *world) { w.BeginWrite(hash) },
		"cleared": func(w *world) { w.owner.Clear() },
		"flushed": func(w *world) { w.owner.BeginFlush(); w.owner.EndFlush() },
	} {
		w := newWorld(t)
		a, _ := w.ask("k")
		change(w)
		w.Keep(&a, []byte("v"), 0)
		if got := w.get("k"); got != "missing" {
			t.Errorf("%s: %q", name, got)
		}
	}
	w := newWorld(t)
	w.BeginWrite(hash)
	w.BeginWrite(hash)
	w.EndWrite(hash)
	if _, ok := w.ask("k"); ok {
		t.Error("a reply is to be kept while a write is under way")
	}
	w.EndWrite(hash)
	w.keep("k", "v", 0)
	w.expect("k", "v")
	w.owner.BeginFlush()
	if _, ok := w.ask("k"); ok {
		t.Error("a reply is to be kept while a flush is under way")
	}
}

// One reader in a while is sent to the owner, others are given the copy meanwhile.
func TestACopyIsRenewed(t *testing.T) {
	w := newWorld(t)
	w.keep("k", "v", 0)
	w.pass(renewEvery)
	w.owner.Proven(w.Now())
	w.expect("k", "due")
	w.expect("k", "v")
	w.keep("k", "w", 0)
	w.expect("k", "w")
	if s := w.Stats(); s.Copies != 1 || s.Bytes != w.bytes || s.Bytes != int64(overhead+len("kw")) {
		t.Errorf("%+v, %d bytes are booked", s, w.bytes)
	}
}

// Keys of equal hashes, or of other owners, are not taken for each other.
func TestACopyIsOfOneKey(t *testing.T) {
	w := newWorld(t)
	w.keep("k", "v", 0)
	if _, found := w.Append(nil, &w.owner, Hash([]byte("k")), 0, []byte("other")); found != Missing {
		t.Error("another key with this hash is read")
	}
	var other Source
	other.Vouch(&[Words]uint64{1})
	other.Proven(w.Now())
	if _, found := w.Append(nil, &other, Hash([]byte("k")), 0, []byte("k")); found != Missing {
		t.Error("the copy of another owner is read")
	}
}

// What is booked is what copies take, whatever comes and goes.
func TestBytesOfCopies(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 6000 {
		key := fmt.Sprint("key", rng.IntN(3000))
		switch rng.IntN(4) {
		case 0:
			w.Drop(Hash([]byte(key)))
		default:
			w.keep(key, strings.Repeat("v", rng.IntN(2000)), 0)
		}
	}
	if s := w.Stats(); s.Bytes != w.bytes || w.bytes > 1<<20 || w.bytes < 1<<19 {
		t.Errorf("%+v, %d bytes are booked", s, w.bytes)
	}
	w.keep("big", strings.Repeat("v", 1<<20/largest), 0)
	w.expect("big", "missing")
}

// A key is hot when it is read eight times within two seconds or so, more often than others of its place.
func TestHeat(t *testing.T) {
	read := func(h *Heat, hash uint64, times int, now int64) (hot int) {
		for range times {
			if h.Hot(hash, now) {
				hot++
			}
		}
		return hot
	}
	const k, neighbour = 1<<40 | 5, 2<<40 | 5
	h := &Heat{halved: 1000}
	if got := read(h, k, 7, 1000); got != 0 {
		t.Errorf("hot %d times in 7 reads", got)
	}
	if got := read(h, k, 17, 1000); got != 3 {
		t.Errorf("hot %d times in 24 reads", got)
	}
	h = &Heat{halved: 1000}
	hot := 0
	for s := range int64(100) {
		hot += read(h, k, 3, 1000+1000*s)
	}
	if hot != 0 {
		t.Errorf("hot %d times by 3 reads a second", hot)
	}
	h = &Heat{halved: 1000}
	hot = 0
	for range 100 {
		hot += read(h, k, 3, 1000) + 1000*read(h, neighbour, 1, 1000)
	}
	if hot < 10 || hot >= 1000 {
		t.Errorf("hot %d times beside a neighbour", hot)
	}
}

func TestACopyIsReadWithoutMemory(t *testing.T) {
	w := newWorld(t)
	w.keep("k", "v", 0)
	key, out := []byte("k"), make([]byte, 0, 100)
	hash := Hash(key)
	if n := testing.AllocsPerRun(1000, func() {
		w.owner.Proven(w.Now())
		w.Append(out, &w.owner, hash, 0, key)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	c, err := New(Config{MaxBytes: 1 << 20, Staleness: time.Hour, Charge: func(int64) {}})
	if err != nil {
		b.Fatal(err)
	}
	var owner Source
	owner.Vouch(&[Words]uint64{1})
	owner.Proven(c.Now())
	key, out := []byte("key:000000000001"), make([]byte, 0, 100)
	var a Asked
	c.Ask(&a, &owner, Hash(key), 0, key)
	c.Keep(&a, []byte("$5\r\nvalue\r\n"), 0)
	for b.Loop() {
		c.Append(out, &owner, Hash(key), 0, key)
	}
}
