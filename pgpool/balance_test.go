package pgpool

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// fakeRoles has its primary first, and replicas that are what the test says.
type fakeRoles struct {
	alone
	usable  []bool
	reached atomic.Uint64 // by all; 0: everything
}

func (r *fakeRoles) Usable(i int, _ *Policy) bool { return i > 0 && r.usable[i] }
func (r *fakeRoles) Reached(_ int, f uint64) bool {
	return r.reached.Load() == 0 || f <= r.reached.Load()
}

// switchedRoles has one replica, which comes and goes.
type switchedRoles struct {
	alone
	up atomic.Bool
}

func (r *switchedRoles) Usable(i int, _ *Policy) bool { return i > 0 && r.up.Load() }
func (r *switchedRoles) Reached(int, uint64) bool     { return true }

// chooser is a group whose servers cannot be reached: a primary, and replicas.
func chooser(t testing.TB, balance Balance, replicas ...Server) *group {
	t.Helper()
	servers := append([]Server{{Addr: "primary"}}, replicas...)
	roles := &fakeRoles{usable: slices.Repeat([]bool{true}, len(servers))}
	w := &worker{pooler: &Pooler{}, loop: &netloop.Loop{}, groups: make(map[*sharedGroup]*group)}
	w.pooler.tuning.Store(&Tuning{BreakerFailures: 1, BreakerTimeout: time.Second})
	shared := &sharedGroup{up: newUpstream(roles, servers)}
	for range servers {
		shared.slots = append(shared.slots, &slots{})
	}
	shared.policy.Store(&Policy{PoolSize: 1, Balance: balance})
	g := w.group(shared)
	for _, p := range g.pools {
		p.credit = 0
	}
	return g
}

// reader is a client of the group.
func (g *group) reader() *client {
	return &client{w: g.w, group: g, policy: g.shared.policy.Load()}
}

func (g *group) roles() *fakeRoles { return g.shared.up.roles.(*fakeRoles) }

// plausible tells whether k of n is to be expected of a chance of p for each. It errs once in a billion times: by
// Chernoff's bound for the binomial, P(|X/n - p| as large) ≤ 2·exp(-n·KL(k/n ‖ p)).
func plausible(k, n int, p float64) bool {
	term := func(q, p float64) float64 {
		if q == 0 {
			return 0
		}
		return q * math.Log(q/p)
	}
	q := float64(k) / float64(n)
	return float64(n)*(term(q, p)+term(1-q, 1-p)) <= math.Log(2e9)
}

func TestPlausible(t *testing.T) {
	for _, tc := range []struct {
		k, n int
		p    float64
		want bool
	}{{500, 1000, 0.5, true}, {550, 1000, 0.5, true}, {650, 1000, 0.5, false}, {0, 10, 0.5, true}, {0, 100, 0.5, false}, {333, 1000, 1.0 / 3, true}} {
		if got := plausible(tc.k, tc.n, tc.p); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

// shares checks how often each server was chosen, against weights.
func shares(t *testing.T, counts []int, weights ...int) {
	t.Helper()
	n, total := 0, 0
	for i, k := range counts {
		n += k
		total += weights[i]
	}
	for i, k := range counts {
		p := float64(weights[i]) / float64(total)
		if p == 0 || p == 1 {
			if k != int(p)*n {
				t.Errorf("server %d was chosen %d times of %d, want %v: %v", i, k, n, p, counts)
			}
		} else if !plausible(k, n, p) {
			t.Errorf("server %d was chosen %d times of %d, want %.3f: %v", i, k, n, p, counts)
		}
	}
}

// play has crowd clients read all the time; each read ends after as many others as chance says. It returns how often each
// server was chosen.
func play(t *testing.T, g *group, crowd, rounds int) []int {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	counts := make([]int, len(g.pools))
	var running []*pool
	c := g.reader()
	for range rounds {
		if len(running) == crowd {
			k := random.IntN(crowd)
			running[k].standing.busy.Add(-1)
			running[k] = running[crowd-1]
			running = running[:crowd-1]
		}
		p, v := g.choose(c, -1, 0)
		if v != fitnessUsable {
			t.Fatal(v)
		}
		p.standing.busy.Add(1)
		running = append(running, p)
		counts[p.index]++
	}
	for _, p := range running {
		p.standing.busy.Add(-1)
	}
	return counts
}

func TestDistribution(t *testing.T) {
	const rounds = 20000
	for _, balance := range []Balance{LeastConnections, RoundRobin, Latency} {
		for _, crowd := range []int{1, 12, 60} {
			t.Run(balance.String(), func(t *testing.T) {
				shares(t, play(t, chooser(t, balance, Server{}, Server{}, Server{}), crowd, rounds), 0, 1, 1, 1)
				if balance == Latency {
					return // which weighs by the load, and not how often
				}
				shares(t, play(t, chooser(t, balance, Server{Weight: 1}, Server{Weight: 2}, Server{Weight: 3}), crowd, rounds), 0, 1, 2, 3)
			})
		}
	}
}

// Turns are spread out: of seven in a row, a server of weight 5 of 7 does not take five and then none.
func TestTurnsAreSpreadOut(t *testing.T) {
	g := chooser(t, RoundRobin, Server{Weight: 5}, Server{Weight: 1}, Server{Weight: 1})
	var got []int
	for range 14 {
		p, _ := g.choose(g.reader(), -1, 0)
		got = append(got, p.index)
	}
	if want := []int{1, 1, 2, 1, 3, 1, 1, 1, 1, 2, 1, 3, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The server with fewer reads is chosen, not the one with more.
func TestLeastConnections(t *testing.T) {
	g := chooser(t, LeastConnections, Server{}, Server{Weight: 4}, Server{})
	for i, busy := range []int32{0, 2, 7, 3} {
		g.pools[i].standing.busy.Store(busy)
	}
	if p, _ := g.choose(g.reader(), -1, 0); p.index != 2 {
		t.Errorf("2/1, 7/4 and 3/1: %d was chosen", p.index)
	}
	g.pools[2].standing.busy.Store(9)
	if p, _ := g.choose(g.reader(), -1, 0); p.index != 1 {
		t.Errorf("2/1, 9/4 and 3/1: %d was chosen", p.index)
	}
}

// Of two at random the faster is taken: the slowest of three never, the others alike. What was measured long ago is
// forgotten, and more reads take longer.
func TestLatency(t *testing.T) {
	g := chooser(t, Latency, Server{}, Server{}, Server{})
	for i, took := range []time.Duration{0, 200, 200, 500} {
		g.pools[i].standing.answered(took*time.Microsecond, 0)
	}
	counts := make([]int, 4)
	for range 10000 {
		p, _ := g.choose(g.reader(), -1, 0)
		counts[p.index]++
	}
	shares(t, counts, 0, 1, 1, 0)
	slow, fast := g.pools[3].standing, g.pools[1].standing
	fast.busy.Store(2)
	if slow.expected(0) > fast.expected(0) {
		t.Error("three reads at 200 µs are taken to be sooner than one at 500")
	}
	fast.busy.Store(0)
	fast.answered(200*time.Microsecond, 3*oblivion)
	if slow.expected(3*oblivion) > fast.expected(3*oblivion) {
		t.Error("a server that was slow once is never asked again")
	}
	for range 50 {
		slow.answered(100*time.Microsecond, 3*oblivion)
	}
	if d := time.Duration(slow.latency.Load()); d < 99*time.Microsecond || d > 110*time.Microsecond {
		t.Errorf("after 50 answers in 100 µs the average is %v", d)
	}
}

func TestLatencyGoesByWeight(t *testing.T) {
	g := chooser(t, Latency, Server{Weight: 1}, Server{Weight: 3})
	for _, tc := range []struct {
		busy [2]int32
		want int
	}{{[2]int32{0, 4}, 1}, {[2]int32{1, 4}, 2}, {[2]int32{0, 0}, 2}} {
		for i, n := range tc.busy {
			g.pools[i+1].standing.busy.Store(n)
		}
		for range 20 {
			if p, _ := g.choose(g.reader(), -1, 0); p.index != tc.want {
				t.Fatalf("with %v reads, of weights 1 and 3 number %d was chosen", tc.busy, p.index)
			}
		}
	}
}

func TestNearestServersComeFirst(t *testing.T) {
	g := chooser(t, RoundRobin, Server{Zone: "a", Backup: true}, Server{Zone: "b"}, Server{Zone: "a"}, Server{Zone: "a"}, Server{Backup: true})
	g.w.tuning().Zone = "a"
	for _, step := range []struct {
		lost int
		want []int
	}{{0, []int{3, 4}}, {3, []int{4}}, {4, []int{2}}, {2, []int{1}}, {1, []int{5}}, {5, nil}} {
		g.roles().usable[step.lost] = false
		var got []int
		for range 10 {
			if p, _ := g.choose(g.reader(), -1, 0); p != nil && !slices.Contains(got, p.index) {
				got = append(got, p.index)
			}
		}
		if slices.Sort(got); !slices.Equal(got, step.want) {
			t.Errorf("after %d was lost: %v, want %v", step.lost, got, step.want)
		}
	}
	if _, v := g.choose(g.reader(), -1, 0); v != fitnessUnusable {
		t.Errorf("with none: %v", v)
	}
}

// A client stays with its own replica, unless it looks around and another is nearer or has less to do.
func TestAClientStaysWithItsReplica(t *testing.T) {
	g := chooser(t, LeastConnections, Server{}, Server{}, Server{Backup: true})
	c := g.reader()
	chosen := func(own int, looks bool) int {
		if c.settled = c.w.clientsTime() + 1; looks {
			c.settled = c.w.clientsTime()
		}
		p, f := g.choose(c, own, 0)
		if f != fitnessUsable {
			t.Fatal(f)
		}
		return p.index
	}
	g.pools[2].standing.busy.Store(1)
	for range 50 {
		for own := 1; own <= 3; own++ {
			if got := chosen(own, false); got != own {
				t.Fatalf("%d is its own, %d chosen", own, got)
			}
		}
		if got := chosen(2, true); got != 2 {
			t.Fatal("it has left although no other has less to do")
		}
		if got := chosen(3, true); got != 1 {
			t.Fatalf("%d instead of one that is no backup", got)
		}
	}
	g.pools[2].standing.busy.Store(10) // of ten who look around five leave, when there are none elsewhere
	left := 0
	for range 10000 {
		if chosen(2, true) == 1 {
			left++
		}
	}
	if !plausible(left, 10000, 0.5) {
		t.Errorf("%d of 10000 have left", left)
	}
	g.roles().usable[2] = false
	if got := chosen(2, false); got != 1 {
		t.Errorf("%d instead of the one that is down", got)
	}
	if got := chosen(0, false); got == 0 {
		t.Error("it stays with what is the primary now")
	}
}

// Only those that show what the client must see are chosen.
func TestChosenServersShowWhatTheyMust(t *testing.T) {
	g := chooser(t, LeastConnections, Server{}, Server{})
	c := g.reader()
	c.floor = 5
	g.roles().reached.Store(4)
	if p, f := g.choose(c, -1, 0); p != nil || f != fitnessBehind {
		t.Errorf("%v, %v", p, f)
	}
	g.pools[1].standing.fail(0, 1, time.Second)
	if p, f := g.choose(c, -1, 0); p != nil || f != fitnessBehind {
		t.Errorf("%v, %v: an open breaker counts for less", p, f)
	}
	g.roles().reached.Store(5)
	if p, f := g.choose(c, -1, 0); p == nil || p.index != 2 || f != fitnessUsable {
		t.Errorf("%v, %v", p, f)
	}
}

// An open breaker turns reads away, but not from the last server that there is.
func TestLastUsableServerIsNotEjected(t *testing.T) {
	g := chooser(t, LeastConnections, Server{}, Server{})
	g.pools[1].standing.fail(0, 1, time.Second)
	for range 10 {
		if p, _ := g.choose(g.reader(), -1, 0); p.index != 2 {
			t.Fatal("a server was chosen whose breaker is open")
		}
	}
	g.pools[2].standing.fail(0, 1, time.Second)
	if p, v := g.choose(g.reader(), -1, 0); p == nil || v != fitnessBroken {
		t.Errorf("%v, %v", p, v)
	}
	g.roles().usable[1] = false
	if p, v := g.choose(g.reader(), -1, 0); p == nil || p.index != 2 || v != fitnessBroken {
		t.Errorf("%v, %v", p, v)
	}
	g.roles().usable[2] = false
	if p, v := g.choose(g.reader(), -1, 0); p != nil || v != fitnessUnusable {
		t.Errorf("%v, %v", p, v)
	}
}

func TestChoosingAllocatesNothing(t *testing.T) {
	for _, balance := range []Balance{LeastConnections, RoundRobin, Latency} {
		g := chooser(t, balance, Server{}, Server{}, Server{})
		c := g.reader()
		if n := testing.AllocsPerRun(1000, func() { g.choose(c, -1, 0) }); n != 0 {
			t.Errorf("%v: %v allocations", balance, n)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, balance := range []Balance{LeastConnections, RoundRobin, Latency} {
		for _, replicas := range []int{1, 2, 8} {
			b.Run("balance="+balance.String()+"/replicas="+string(rune('0'+replicas)), func(b *testing.B) {
				g := chooser(b, balance, make([]Server, replicas)...)
				c := g.reader()
				b.ReportAllocs()
				for b.Loop() {
					p, _ := g.choose(c, -1, 0)
					p.standing.busy.Add(1)
					p.standing.busy.Add(-1)
				}
			})
		}
	}
}
