// HOT PATH

package pgpool

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Balance says how a replica is chosen among those that can take a read.
type Balance uint8

// The ways to choose.
const (
	LeastConnections Balance = iota
	RoundRobin
	Latency // the faster of two that chance picks
)

var balanceNames = [...]string{LeastConnections: "least_connections", RoundRobin: "round_robin", Latency: "latency"}

func (b Balance) String() string { return balanceNames[b] }

// ParseBalance reads the name of a way to choose.
func ParseBalance(s string) (Balance, error) {
	for b, name := range balanceNames {
		if s == name {
			return Balance(b), nil
		}
	}
	return 0, fmt.Errorf("unknown load_balance %q: use least_connections, round_robin or latency", s)
}

// standing is what the workers share of a server, over all databases and users.
type standing struct {
	breaker
	busy atomic.Int32 // reads that run there or wait for a connection

	latency  atomic.Int64 // nanoseconds from a read to its answer, as an average of the last; kept for load_balance latency
	measured atomic.Int64 // when, on the pooler's clock
}

// fitness is what speaks against a server for a read, if anything.
type fitness uint8

// The worst comes last.
const (
	fitnessUsable   fitness = iota
	fitnessBroken           // its breaker is open
	fitnessRefusing         // it has just refused a login of this database and user
	fitnessBehind           // it has not replayed what the client must see
	fitnessUnusable         // it is down, no replica of the primary, or too far behind
	fitnessPrimary          // reads go there if no replica may have them
)

var fitnesses = [...]string{fitnessUsable: "usable", fitnessBroken: "breaker is open", fitnessRefusing: "has just refused a connection",
	fitnessBehind: "behind what the client must see", fitnessUnusable: "down, or not following the primary", fitnessPrimary: "primary"}

func (v fitness) String() string { return fitnesses[v] }

// judge tells whether server i may serve a read that need not show anything in particular, within the policy's limits for
// lag.
func (u *upstream) judge(i, primary int, limits *Policy) fitness {
	switch {
	case i == primary:
		return fitnessPrimary
	case !u.roles.Usable(i, limits):
		return fitnessUnusable
	case u.standings[i].avoids():
		return fitnessBroken
	}
	return fitnessUsable
}

// judge adds what c must see, and what is known of logins by the pool's user to its database.
func (p *pool) judge(c *client, primary int, limits *Policy) fitness {
	f := p.group.shared.up.judge(p.index, primary, limits)
	switch {
	case f >= fitnessBehind:
	case !p.shows(c):
		return fitnessBehind
	case f == fitnessUsable && !p.retryAt.IsZero() && p.w.loop.Now().Before(p.retryAt):
		return fitnessRefusing
	}
	return f
}

// nowhere is the rank of a server that may not serve a read.
const nowhere = ^uint8(0)

// rank says how near a server is: the lower the better. Backups come last, and other zones after our own.
func (s *Server) rank(zone string) (rank uint8) {
	if s.Backup {
		rank += 2
	}
	if zone != "" && s.Zone != zone {
		rank++
	}
	return rank
}

// weight is at least 1.
func (s *Server) weight() int64 { return int64(max(1, s.Weight)) }

// choose returns the replica for a read of c, one of the nearest, by load_balance. Who has a replica of its own (its index,
// or -1) stays there as long as it may serve the read, unless it is time to look around and another is nearer or has less
// to do. If none may serve it, choose returns what speaks least against any, and the replica, if there is one, that
// nothing but its breaker or a refused login speaks against.
func (g *group) choose(c *client, own, primary int) (*pool, fitness) {
	limits := g.shared.policy.Load()
	if own >= 0 && g.pools[own].judge(c, primary, limits) == fitnessUsable && !c.looksAround() {
		return g.pools[own], fitnessUsable
	}
	servers, zone := *g.shared.up.servers.Load(), g.w.tuning().Zone
	nearest, among, least := nowhere, 0, fitnessPrimary
	var spare *pool
	for i, p := range g.pools {
		p.rank = nowhere
		f := p.judge(c, primary, limits)
		if f < least {
			least = f
			if f <= fitnessRefusing && !p.failing {
				spare = p
			}
		}
		if f != fitnessUsable {
			continue
		}
		p.rank = servers[i].rank(zone)
		if p.rank < nearest {
			nearest, among = p.rank, 0
		}
		if p.rank == nearest {
			among++
		}
	}
	if least != fitnessUsable {
		return spare, least
	}
	var best *pool
	now := g.w.clock()
	switch c.policy.Balance {
	case RoundRobin:
		best = g.turn(nearest, nil, servers)
	case Latency:
		best = g.faster(nearest, among, servers, now)
	default:
		best = g.turn(nearest, g.idlest(nearest, servers), servers)
	}
	if own >= 0 && g.pools[own].rank == nearest && !c.leaves(g.pools[own], best, servers, now) {
		best = g.pools[own]
	}
	return best, fitnessUsable
}

// leaves tells whether c goes from its own replica to another that has less to do, or is twice as fast where latency
// decides. Of those who could, as many do as even it out, by chance: they do not know of each other.
func (c *client) leaves(own, other *pool, servers []Server, now time.Duration) bool {
	mine, theirs := &servers[own.index], &servers[other.index]
	here, there := int64(own.standing.busy.Load()), int64(other.standing.busy.Load())
	margin := mine.weight() // then the other has less to do even with this one's reads
	if c.policy.Balance == Latency {
		here, there = own.standing.expected(now), other.standing.expected(now)
		margin = there * mine.weight()
	}
	here, there = here*theirs.weight(), there*mine.weight()
	return here > there+margin && rand.Int64N(2*here) < here-there
}

// idlest returns one of the servers of a rank that are least busy for their weight, and notes how busy each is.
func (g *group) idlest(rank uint8, servers []Server) (idlest *pool) {
	for i, p := range g.pools {
		if p.rank != rank {
			continue
		}
		p.reads = int64(p.standing.busy.Load())
		if idlest == nil || p.reads*servers[idlest.index].weight() < idlest.reads*servers[i].weight() {
			idlest = p
		}
	}
	return idlest
}

// turn returns the server of a rank, if need be one as idle as another, whose turn it is. Turns are as frequent as weights
// say, and spread out: each gets credit by its weight, and who has most pays for all.
func (g *group) turn(rank uint8, asIdleAs *pool, servers []Server) *pool {
	var next *pool
	total := int64(0)
	for i, p := range g.pools {
		w := servers[i].weight()
		if p.rank != rank || asIdleAs != nil && p.reads*servers[asIdleAs.index].weight() > asIdleAs.reads*w {
			continue
		}
		p.credit += w
		total += w
		if next == nil || p.credit > next.credit {
			next = p
		}
	}
	next.credit -= total
	return next
}

// faster returns the one of two servers of a rank, taken at random, where an answer is expected sooner: to compare all of
// them would send everybody to the same one.
func (g *group) faster(rank uint8, among int, servers []Server, now time.Duration) *pool {
	if among == 1 {
		return g.nth(rank, 0)
	}
	i, j := rand.IntN(among), rand.IntN(among-1)
	if j >= i {
		j++
	}
	a, b := g.nth(rank, i), g.nth(rank, j)
	if b.standing.expected(now)*servers[a.index].weight() < a.standing.expected(now)*servers[b.index].weight() {
		return b
	}
	return a
}

// nth returns one of the servers of a rank.
func (g *group) nth(rank uint8, n int) *pool {
	for _, p := range g.pools {
		if p.rank == rank {
			if n == 0 {
				return p
			}
			n--
		}
	}
	return nil
}

// oblivion is the time after which half of a latency is forgotten: a server that was slow once, and is not asked, is to be
// asked again.
const oblivion = 10 * time.Second

// expected is when an answer is expected, for comparison: the latency times the reads that are there, this one included.
func (s *standing) expected(now time.Duration) int64 {
	age := max(0, int64(now)-s.measured.Load())
	return max(1, s.latency.Load()>>min(62, age/int64(oblivion))) * int64(1+s.busy.Load())
}

// answered notes how long an answer took. Workers that do so at once may each lose what the other noted.
func (s *standing) answered(took, now time.Duration) {
	average := s.latency.Load()
	if average == 0 {
		average = int64(took)
	}
	s.latency.Store(max(1, average+(int64(took)-average)/8))
	s.measured.Store(int64(now))
}

// works notes that the server has answered what it was given at s.since.
func (s *server) works(now time.Time) {
	p := s.pool
	if p.standing.avoids() {
		p.serverWorks()
	}
	if s.counted && s.client != nil && s.client.policy.Balance == Latency {
		p.standing.answered(now.Sub(s.since), p.w.clock())
	}
}

// count and uncount keep standing.busy for a server that reads.
func (s *server) count() {
	if !s.counted {
		s.counted = true
		s.pool.standing.busy.Add(1)
	}
}

func (s *server) uncount() {
	if s.counted {
		s.counted = false
		s.pool.standing.busy.Add(-1)
	}
}

// clock is the time at the start of the tick since the pooler was made.
func (w *worker) clock() time.Duration { return w.loop.Now().Sub(w.pooler.started) }
