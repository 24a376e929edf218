package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// What the cache has promised, remembered by those whom it was promised: an actor is a client that writes keys of its own,
// and knows of each what it may hold. A write that was acknowledged must be there, until the next; one that failed may
// have been executed, now or later; anything else is a wrong value.

const (
	ownKeys    = 40 // registers of an actor
	listLength = 30 // after that many pushes an actor begins another list
	sharedKeys = 2000
)

// traffic is actors at work.
type traffic struct {
	actors []*actor
	over   chan struct{}
	end    func() // closes over, once
	acting sync.WaitGroup

	state atomic.Int32
	phase atomic.Int32 // of the test: 0 before, 1 while something happens
	acks  atomic.Int64
	// hits and misses are of the shared keys, which nobody writes, by phase.
	hits, misses [2]atomic.Int64
}

// States of a cluster, as far as clients must know them.
const (
	whole    = iota
	breaking // parts are lost, or come back
	apart    // what was written in another part may be missing, or old
)

// actor is one client. Its fields are its goroutine's until traffic.stop, but for those that are atomic.
type actor struct {
	name    string
	node    *node
	client  *redis.Client
	traffic *traffic
	pace    time.Duration // between two commands

	registers []register
	counter   counter
	lists     []*list

	going    atomic.Bool  // its node ends: errors are no surprise
	rotated  atomic.Int32 // how often it has begun a new list
	rotate   atomic.Bool  // asks for that
	failures int
	row      atomic.Int64 // commands since the last error
	failed   error        // the first that is a surprise
	wrong    []string
	late     int // failed writes that have been executed after later ones
	took     [2][]time.Duration
}

// register is a key that is set and deleted. Its values are numbers that grow; 0 is no value.
type register struct {
	last  int
	next  int
	maybe []int // failed writes
	erase bool  // a failed delete is among them
}

type counter struct{ acked, tried int64 }

// list is pushed to at its head, numbers that grow.
type list struct {
	key   string
	torn  bool // it was pushed to in several parts of a cluster: the newest part is what is left
	acked []int
	maybe []int
	next  int
}

// startTraffic starts clients of each node, each with a command every pace.
func startTraffic(t *testing.T, f fleet, clients int, pace time.Duration) *traffic {
	t.Helper()
	tr := &traffic{over: make(chan struct{})}
	tr.end = sync.OnceFunc(func() { close(tr.over) })
	t.Cleanup(tr.stop)
	fill(t, f[0])
	for i := range clients {
		n := f[i%len(f)]
		a := &actor{name: fmt.Sprintf("%s.%d", n.name, i), node: n, client: n.client(t), traffic: tr, pace: pace,
			registers: make([]register, ownKeys)}
		tr.actors = append(tr.actors, a)
		tr.acting.Go(func() { a.run(t.Context()) })
	}
	return tr
}

func sharedKey(i int) string { return "page:" + strconv.Itoa(i) }

// fill writes the shared keys.
func fill(t *testing.T, n *node) {
	t.Helper()
	p := n.client(t).Pipeline()
	for i := range sharedKeys {
		p.Set(t.Context(), sharedKey(i), sharedKey(i), 0)
	}
	if _, err := p.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (tr *traffic) stop() {
	tr.end()
	tr.acting.Wait()
}

// progress waits until n more writes are acknowledged.
func (tr *traffic) progress(t *testing.T, n int64) {
	t.Helper()
	goal := tr.acks.Load() + n
	eventually(t, "writes go on", func() error {
		if got := tr.acks.Load(); got < goal {
			return fmt.Errorf("%d of %d", got, goal)
		}
		return nil
	})
}

// recover waits until the last commands of each client of some nodes have worked. From then on no error is expected.
func (tr *traffic) recover(t *testing.T, f fleet) {
	t.Helper()
	for _, a := range tr.of(f) {
		eventually(t, a.name+" is served", func() error {
			if row := a.row.Load(); row < 50 {
				return fmt.Errorf("%d commands without an error", row)
			}
			return nil
		})
		a.going.Store(false)
	}
}

// of are the actors at some nodes.
func (tr *traffic) of(f fleet) (actors []*actor) {
	for _, a := range tr.actors {
		if slices.Contains(f, a.node) {
			actors = append(actors, a)
		}
	}
	return actors
}

// expect says whether the clients of a node have to expect errors.
func (tr *traffic) expect(n *node, errors bool) {
	for _, a := range tr.of(fleet{n}) {
		a.going.Store(errors)
	}
}

// set says in which state the cluster is, and waits until all know whose nodes stay. A list lives in one state.
func (tr *traffic) set(t *testing.T, state int32) {
	t.Helper()
	tr.state.Store(state)
	for _, a := range tr.actors {
		before := a.rotated.Load()
		a.rotate.Store(true)
		eventually(t, a.name+" begins a list", func() error {
			if a.rotated.Load() == before && !a.going.Load() {
				return errors.New("not yet")
			}
			return nil
		})
	}
}

func (a *actor) run(ctx context.Context) {
	pause := time.NewTicker(a.pace)
	defer pause.Stop()
	for {
		select {
		case <-a.traffic.over:
			return
		case <-pause.C:
		}
		if a.rotate.Swap(false) || len(a.lists) == 0 || a.lists[len(a.lists)-1].next == listLength {
			a.lists = append(a.lists, &list{key: fmt.Sprintf("%s:list%d", a.name, len(a.lists)), torn: a.traffic.state.Load() == breaking})
			a.rotated.Add(1)
		}
		phase := a.traffic.phase.Load()
		begin := time.Now()
		err := a.act(ctx)
		a.took[phase] = append(a.took[phase], time.Since(begin))
		a.row.Add(1)
		if err != nil {
			a.row.Store(0)
			a.failures++
			if a.failed == nil && !a.going.Load() {
				a.failed = err
			}
		}
	}
}

// act sends one command and judges its reply.
func (a *actor) act(ctx context.Context) error {
	at := rand.IntN(ownKeys)
	r := &a.registers[at]
	key := a.register(at)
	switch rand.IntN(10) {
	case 0, 1:
		r.next++
		err := a.client.Set(ctx, key, r.next, 0).Err()
		a.wrote(r, r.next, err)
		return err
	case 2:
		n, err := a.client.Del(ctx, key).Result()
		if err == nil && n == 0 && a.traffic.state.Load() != whole {
			r.erase = true // this part did not have it, so it keeps no tombstone that could meet it later
			return nil
		}
		a.wrote(r, 0, err)
		return err
	case 3, 4:
		got, err := a.client.Get(ctx, key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		a.judge(key, r, got, "")
		return nil
	case 5:
		a.counter.tried++
		n, err := a.client.Incr(ctx, a.name+":counter").Result()
		if err != nil {
			return err
		}
		a.traffic.acks.Add(1)
		if n <= a.counter.acked && a.traffic.state.Load() == whole || n > a.counter.tried {
			a.blame("%s:counter went from %d to %d after %d increments", a.name, a.counter.acked, n, a.counter.tried)
		}
		a.counter.acked = n
	case 6:
		l := a.lists[len(a.lists)-1]
		l.next++
		n, err := a.client.LPush(ctx, l.key, l.next).Result()
		if err != nil {
			l.maybe = append(l.maybe, l.next)
			return err
		}
		a.traffic.acks.Add(1)
		l.acked = append(l.acked, l.next)
		if int(n) < len(l.acked) && !l.torn || int(n) > l.next {
			a.blame("%s has %d elements after %d acknowledged pushes of %d", l.key, n, len(l.acked), l.next)
		}
	default:
		key := sharedKey(rand.IntN(sharedKeys))
		got, err := a.client.Get(ctx, key).Result()
		phase := a.traffic.phase.Load()
		switch {
		case errors.Is(err, redis.Nil):
			a.traffic.misses[phase].Add(1)
			if a.traffic.state.Load() == whole {
				a.blame("%s is missing", key)
			}
		case err != nil:
			return err
		default:
			a.traffic.hits[phase].Add(1)
			if got != key {
				a.blame("%s is %q", key, got)
			}
		}
	}
	return nil
}

func (a *actor) register(i int) string { return a.name + ":" + strconv.Itoa(i) }

// wrote notes a write of a register; value 0 is a delete.
func (a *actor) wrote(r *register, value int, err error) {
	switch {
	case err == nil:
		r.last = value
		a.traffic.acks.Add(1)
	case value == 0:
		r.erase = true
	default:
		r.maybe = append(r.maybe, value)
	}
}

// judge compares what a register holds with what it may.
func (a *actor) judge(key string, r *register, got, when string) {
	value := 0
	if got != "" {
		var err error
		if value, err = strconv.Atoi(got); err != nil || value < 1 || value > r.next {
			a.blame("%s%s is %q, which nobody wrote", when, key, got)
			return
		}
	}
	switch {
	case value == r.last:
	case slices.Contains(r.maybe, value) || value == 0 && r.erase:
		if value < r.last {
			a.late++
		}
	case a.traffic.state.Load() != whole: // what the other part has
	case r.last == 0:
		a.blame("%s%s was deleted and is %d again", when, key, value)
	default:
		a.blame("%s%s is %d (0: nothing), acknowledged was %d, perhaps %v", when, key, value, r.last, r.maybe)
	}
}

// blame notes a broken promise.
func (a *actor) blame(format string, args ...any) {
	if len(a.wrong) < 10 {
		a.wrong = append(a.wrong, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// verify reads everything through one node, after stop, and tells all that was wrong since the start.
func (tr *traffic) verify(t *testing.T, through *node, when string) {
	t.Helper()
	ctx, c := t.Context(), through.client(t)
	when = when + ", through " + through.name + ": "
	for _, a := range tr.actors {
		var registers []*redis.StringCmd
		var lists []*redis.StringSliceCmd
		var counter *redis.StringCmd
		eventually(t, when, func() error {
			registers, lists = nil, nil
			p := c.Pipeline()
			for i := range a.registers {
				registers = append(registers, p.Get(ctx, a.register(i)))
			}
			for _, l := range a.lists {
				lists = append(lists, p.LRange(ctx, l.key, 0, -1))
			}
			counter = p.Get(ctx, a.name+":counter")
			if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			return nil
		})
		for i, got := range registers {
			a.judge(a.register(i), &a.registers[i], got.Val(), when)
		}
		for i, got := range lists {
			a.judgeList(a.lists[i], got.Val(), when)
		}
		if n, _ := strconv.ParseInt(counter.Val(), 10, 64); n < a.counter.acked || n > a.counter.tried {
			a.blame("%s%s:counter is %d, acknowledged was %d after %d increments", when, a.name, n, a.counter.acked, a.counter.tried)
		}
		if len(a.wrong) > 0 {
			t.Errorf("promises to %s were broken:\n\t%s", a.name, strings.Join(a.wrong, "\n\t"))
			a.wrong = nil
		}
	}
}

func (a *actor) judgeList(l *list, got []string, when string) {
	before := l.next + 1
	acked := 0
	for _, element := range got {
		n, err := strconv.Atoi(element)
		switch {
		case err != nil || n >= before && !slices.Contains(l.maybe, n): // one that failed may come late
			a.blame("%s%s holds %v: %s is in the wrong place", when, l.key, got, element)
			return
		case slices.Contains(l.acked, n):
			acked++
			before = n
		case !slices.Contains(l.maybe, n):
			a.blame("%s%s holds %v: nobody pushed %d", when, l.key, got, n)
			return
		}
	}
	if acked != len(l.acked) && !l.torn {
		a.blame("%s%s holds %v, acknowledged was %v, perhaps %v", when, l.key, got, l.acked, l.maybe)
	}
}

// noSurprise tells of errors that no client should have seen.
func (tr *traffic) noSurprise(t *testing.T, actors []*actor) {
	t.Helper()
	for _, a := range actors {
		if a.failed != nil {
			t.Errorf("%s saw %d errors, among them this at a time when its node stayed: %v", a.name, a.failures, a.failed)
		}
	}
}

// report tells numbers of speed, which no test depends on.
func (tr *traffic) report(t *testing.T) {
	t.Helper()
	var took [2][]time.Duration
	failures, late := 0, 0
	for _, a := range tr.actors {
		failures, late = failures+a.failures, late+a.late
		for phase := range took {
			took[phase] = append(took[phase], a.took[phase]...)
		}
	}
	for phase, name := range []string{"before", "during"} {
		all := took[phase]
		if len(all) == 0 {
			continue
		}
		slices.Sort(all)
		at := func(share float64) time.Duration {
			return all[int(share*float64(len(all)-1))].Round(10 * time.Microsecond)
		}
		hits, misses := tr.hits[phase].Load(), tr.misses[phase].Load()
		t.Logf("%s: %d commands, p50 %v, p99 %v, p99.9 %v, longest %v; hit ratio %.5f", name, len(all), at(.5), at(.99), at(.999), at(1),
			float64(hits)/float64(max(1, hits+misses)))
	}
	t.Logf("%d writes acknowledged, %d commands failed, %d failed writes were executed after later ones", tr.acks.Load(), failures, late)
}
