package cachenode

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
)

// register is a key with one writer, who counts up. A write that was lost on its way and comes late changes nothing.
type register struct {
	key string

	mu    sync.Mutex
	acked []time.Time // when the write of each number, from 1 on, had been acknowledged
}

const countUp = "if tonumber(redis.call('GET', KEYS[1]) or 0) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end return 1"

// tooOld tells by how much a read of number, begun at began, is over the bound: a newer number had been acknowledged
// that much before the bound.
func (r *register) tooOld(number int, began time.Time, bound time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number >= len(r.acked) {
		return 0
	}
	return began.Sub(r.acked[number]) - bound // of number+1
}

// watch has writers and readers at work while disturb runs, and returns the reads that were older than bound, the worst of them,
// and how many there were in all.
func watch(t *testing.T, nodes []*testNode, registers []*register, bound time.Duration, disturb func(over *atomic.Int64)) (over int64, worst time.Duration, reads int64) {
	t.Helper()
	var overs, total, most atomic.Int64
	var stop atomic.Bool
	var writers, readers sync.WaitGroup
	for i, r := range registers {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for !stop.Load() {
				r.mu.Lock()
				number := len(r.acked) + 1
				r.mu.Unlock()
				// Not through the first node, which would drop its own copy.
				if got := nodes[1+rng.IntN(len(nodes)-1)].do("EVAL", countUp, "1", r.key, strconv.Itoa(number)); got == ":1\r\n" {
					now := time.Now()
					r.mu.Lock()
					r.acked = append(r.acked, now)
					r.mu.Unlock()
				}
				time.Sleep(time.Duration(50+rng.IntN(250)) * time.Millisecond) // long enough for copies to be made
			}
		})
	}
	for i := range 4 * len(nodes) {
		readers.Go(func() {
			n, rng := nodes[i%len(nodes)], rand.New(rand.NewPCG(uint64(i), 2))
			for !stop.Load() {
				r := registers[rng.IntN(len(registers))]
				began := time.Now()
				got := n.do("GET", r.key)
				number := 0
				switch {
				case got == "$-1\r\n":
					continue // a cache may have lost it
				case strings.HasPrefix(got, "$"):
					number, _ = strconv.Atoi(strings.Split(got, "\r\n")[1])
				default:
					time.Sleep(5 * time.Millisecond)
					continue
				}
				total.Add(1)
				if late := r.tooOld(number, began, bound); late > 0 {
					overs.Add(1)
					for was := most.Load(); int64(late) > was && !most.CompareAndSwap(was, int64(late)); was = most.Load() {
					}
				}
			}
		})
	}
	disturb(&overs)
	stop.Store(true)
	writers.Wait()
	readers.Wait()
	return overs.Load(), time.Duration(most.Load()), total.Load()
}

// fleet runs three nodes whose connections go through valves, and keys that each of the others owns for the first.
func fleet(t *testing.T, staleness time.Duration) (nodes []*testNode, valves map[string]*valve, registers []*register) {
	t.Helper()
	valves = map[string]*valve{}
	for _, name := range []string{"a", "b", "c"} {
		valves[name] = newValve(t)
		nodes = append(nodes, startTuned(t, name, 2, func(cfg *Config, _ *cluster.Config) {
			keeping(cfg, nil)
			cfg.NearStaleness, cfg.PeerTimeout, cfg.Dial = staleness, 300*time.Millisecond, valves[name].dial
		}, nodes...))
	}
	waitSettled(t, nodes...)
	for i := range 6 {
		owner := nodes[i%3]
		registers = append(registers, &register{key: "{" + nodes[0].place(t, owner, nodes[(i+1)%3]) + "}" + fmt.Sprint(i)})
	}
	return nodes, valves, registers
}

func (n *testNode) peerAddr() string { return n.cfg.Peers.Addr().String() }

// A read that begins later than the bound after a write was acknowledged sees it, or something newer, whatever happens to the
// connections and the nodes in between.
func TestStalenessBound(t *testing.T) {
	const bound = 500 * time.Millisecond
	nodes, valves, registers := fleet(t, bound)
	a, b, c := nodes[0], nodes[1], nodes[2]
	over, worst, reads := watch(t, nodes, registers, bound, func(*atomic.Int64) {
		for range 3 { // nothing is lost on its way yet, so that what is flushed cannot come back
			time.Sleep(200 * time.Millisecond)
			b.do("FLUSHALL")
		}
		rng := rand.New(rand.NewPCG(3, 3))
		for range 2 {
			time.Sleep(600 * time.Millisecond) // for copies to be made that are then cut off
			valves["a"].hold(b.peerAddr(), 1500*time.Millisecond)
			resume := c.stall()
			time.Sleep(time.Duration(600+rng.IntN(300)) * time.Millisecond)
			resume()
			valves["b"].cut(c.peerAddr())
			valves["c"].hold(a.peerAddr(), 100*time.Millisecond)
			valves["c"].cut("")
		}
	})
	if over > 0 {
		t.Errorf("%d of %d reads are older than %v, by up to %v", over, reads, bound, worst)
	}
	hits := a.Stats().NearHits + b.Stats().NearHits + c.Stats().NearHits
	t.Logf("%d reads, %d of them from copies; a: %+v", reads, hits, a.Stats())
	if hits < uint64(reads)/20 {
		t.Errorf("%d of %d reads are answered from copies", hits, reads)
	}
}

// The bound holds while the ring changes.
func TestStalenessBoundWhileTheRingChanges(t *testing.T) {
	const bound = 500 * time.Millisecond
	nodes, _, registers := fleet(t, bound)
	over, worst, reads := watch(t, nodes, registers, bound, func(*atomic.Int64) {
		more := startTuned(t, "more", 1, keeping, nodes...)
		waitSettled(t, append([]*testNode{more}, nodes...)...)
		time.Sleep(300 * time.Millisecond)
		if err := more.Leave(t.Context()); err != nil {
			t.Errorf("leave: %v", err)
		}
		more.stop()
		waitSettled(t, nodes...)
	})
	if over > 0 {
		t.Errorf("%d of %d reads are older than %v, by up to %v", over, reads, bound, worst)
	}
}

// What the tests above look for is seen where there is no bound.
func TestStalenessIsSeen(t *testing.T) {
	const bound = 500 * time.Millisecond
	nodes, valves, registers := fleet(t, time.Minute)
	over, _, reads := watch(t, nodes, registers, bound, func(seen *atomic.Int64) {
		for try := 0; try < 20 && seen.Load() == 0; try++ {
			time.Sleep(500 * time.Millisecond)
			valves["a"].hold(nodes[1].peerAddr(), 1300*time.Millisecond)
		}
	})
	if over == 0 {
		t.Errorf("none of %d reads is older than %v", reads, bound)
	}
}
