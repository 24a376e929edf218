package pgpool

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// maxPolicies bounds the policies that are remembered.
const maxPolicies = 1024

// policyOf returns what holds for a client. Those of one database and user share it.
func (p *Pooler) policyOf(database, user string) *Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := groupKey{database, user}
	if known := p.policies[key]; known != nil {
		return known
	}
	if len(p.policies) >= maxPolicies {
		clear(p.policies)
	}
	policy := p.tuning.Load().policy(database, user)
	p.policies[key] = policy
	return policy
}

// headcount counts clients that are logged in, for limits. Names without clients take no room.
type headcount struct{ byDatabase, byUser map[string]int }

func newHeadcount() headcount {
	return headcount{byDatabase: make(map[string]int), byUser: make(map[string]int)}
}

// enter counts a client in that has logged in, unless a limit of its database or user is reached.
func (p *Pooler) enter(database, user string, limits *Policy) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.clients
	switch {
	case limits.MaxDBClients > 0 && h.byDatabase[database] >= limits.MaxDBClients:
		return tooManyClients.with(fmt.Sprintf("clients of database %q", database), "max_db_client_connections", limits.MaxDBClients)
	case limits.MaxUserClients > 0 && h.byUser[user] >= limits.MaxUserClients:
		return tooManyClients.with(fmt.Sprintf("clients of user %q", user), "max_user_client_connections", limits.MaxUserClients)
	}
	h.byDatabase[database]++
	h.byUser[user]++
	return nil
}

// clientGone forgets a client.
func (p *Pooler) clientGone(c *client) {
	p.unregister(&c.cancelKey)
	p.nclients.Add(-1)
	p.exit(c.group.shared.key.database, c.user.Value())
}

// exit counts a client out.
func (p *Pooler) exit(database, user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	less(p.clients.byDatabase, database)
	less(p.clients.byUser, user)
}

func less(counts map[string]int, name string) {
	if counts[name]--; counts[name] <= 0 {
		delete(counts, name)
	}
}

// reserve takes a slot for one more connection of the pool, within its size and the limits of its database and user.
func (p *pool) reserve() bool {
	g := p.group.shared
	limits := g.policy.Load()
	size := p.size(limits)
	if limits.ReservePoolDelay > 0 && p.waiting.longest(p.w.loop.Now()) > limits.ReservePoolDelay {
		size += limits.ReservePoolSize
	}
	if limits.MaxDBServers == 0 && limits.MaxUserServers == 0 {
		return p.slots.take(size)
	}
	return p.w.pooler.reserveWithin(g, p.index, size, limits, p.waiting.n == 0)
}

// size bounds the pool's connections over all workers, without the reserve: what the server's URL says comes first.
func (p *pool) size(limits *Policy) int {
	if own := p.server().PoolSize; own > 0 {
		return own
	}
	return limits.PoolSize
}

// least is how many connections the pool keeps.
func (p *pool) least(limits *Policy) int { return min(p.group.shared.least(limits), p.size(limits)) }

// reserveWithin takes a slot unless the database's or the user's connections to the same server have reached a limit. When
// they have, another pool is asked to give up a free one, but not for min_pool_size: its own counts as much.
func (p *Pooler) reserveWithin(g *sharedGroup, index, size int, limits *Policy, filling bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ofDatabase, ofUser := p.countServers(g, index)
	full := want{group: g, index: index, ofDatabase: limits.MaxDBServers > 0 && ofDatabase >= limits.MaxDBServers,
		ofUser: limits.MaxUserServers > 0 && ofUser >= limits.MaxUserServers}
	slots := g.slots[index]
	if !full.ofDatabase && !full.ofUser {
		return slots.take(size)
	}
	if int(slots.used.Load()) < size && !filling && slots.asking.CompareAndSwap(false, true) {
		p.askFrom(0, full)
	}
	return false
}

// countServers counts the connections to a server of g that belong to its database, and to its user. p.mu is held.
func (p *Pooler) countServers(g *sharedGroup, index int) (ofDatabase, ofUser int) {
	count := func(other *sharedGroup) {
		if other.up != g.up {
			return
		}
		n := int(other.slots[index].used.Load())
		if index == other.up.primary() {
			n += int(other.listening.Load())
		}
		if other.key.database == g.key.database {
			ofDatabase += n
		}
		if other.key.user == g.key.user {
			ofUser += n
		}
	}
	for _, other := range p.groups {
		count(other)
	}
	for other := range p.arriving {
		count(other)
	}
	return ofDatabase, ofUser
}

// shedExcess has connections leave that are beyond the limits, which a reload may have lowered: of each database and user
// those of the pools that have most. They leave as they become free. p.mu is held.
func (p *Pooler) shedExcess() {
	for _, g := range p.groups {
		for _, s := range g.slots {
			s.excess.Store(0)
		}
	}
	for _, g := range p.groups {
		limits := g.policy.Load()
		for index := range g.slots {
			ofDatabase, ofUser := p.countServers(g, index)
			if limits.MaxDBServers > 0 {
				p.shedFrom(index, ofDatabase-limits.MaxDBServers, func(o *sharedGroup) bool { return o.up == g.up && o.key.database == g.key.database })
			}
			if limits.MaxUserServers > 0 {
				p.shedFrom(index, ofUser-limits.MaxUserServers, func(o *sharedGroup) bool { return o.up == g.up && o.key.user == g.key.user })
			}
		}
	}
}

// shedFrom has n of the connections leave that the chosen groups have to the server, those that are to leave already
// included.
func (p *Pooler) shedFrom(index, n int, chosen func(*sharedGroup) bool) {
	var from []*slots
	for _, g := range p.groups {
		if chosen(g) {
			from = append(from, g.slots[index])
			n -= int(g.slots[index].excess.Load() + g.slots[index].leaving.Load())
		}
	}
	stay := func(s *slots) int32 { return s.used.Load() - s.leaving.Load() - s.excess.Load() }
	for ; n > 0; n-- {
		most := slices.MaxFunc(from, func(a, b *slots) int { return cmp.Compare(stay(a), stay(b)) })
		if stay(most) <= 0 {
			return
		}
		most.excess.Add(1)
	}
}

// reserveFirst takes the slot for a group's first connection, and waits for it if a limit is reached.
func (p *Pooler) reserveFirst(ctx context.Context, g *sharedGroup, index int) error {
	p.mu.Lock()
	p.arriving[g] = true
	p.mu.Unlock()
	again := time.NewTicker(shortHousekeeping)
	defer again.Stop()
	limits := g.policy.Load()
	for !p.reserveWithin(g, index, 1, limits, false) {
		select {
		case <-again.C:
		case <-ctx.Done():
			p.arrivedFirst(g)
			return noServerWithinLimits.with(limits.MaxDBServers, limits.MaxUserServers)
		}
	}
	return nil
}

// arrivedFirst is told that a group's first connection was made, or not.
func (p *Pooler) arrivedFirst(g *sharedGroup) {
	p.mu.Lock()
	delete(p.arriving, g)
	p.mu.Unlock()
}

// want says for whom another pool is to give up a connection, and which limits are in the way.
type want struct {
	group              *sharedGroup
	index              int
	ofDatabase, ofUser bool
}

// askFrom asks one worker after the other, from a number on, until one gives up a connection. There is one request at a
// time for each pool that wants: more would close more than it needs.
func (p *Pooler) askFrom(number int, to want) {
	if number == len(p.workers) {
		to.group.slots[to.index].asking.Store(false)
		return
	}
	w := p.workers[number]
	w.loop.Post(func() {
		if !w.giveUp(to) {
			p.askFrom(number+1, to)
		}
	})
}

// giveUp closes the free server of another pool that was free for longest, so that the group that wants one stays within
// the limits. It reports whether there is one.
func (w *worker) giveUp(to want) bool {
	var from *pool
	for other, group := range w.groups {
		helps := to.ofDatabase && other.key.database == to.group.key.database || to.ofUser && other.key.user == to.group.key.user
		if other == to.group || other.up != to.group.up || !helps {
			continue
		}
		p := group.pools[to.index]
		if len(p.free) > 0 && p.waiting.n == 0 && (from == nil || p.free[0].lastUsed.Before(from.free[0].lastUsed)) {
			from = p
		}
	}
	if from == nil {
		return false
	}
	s := from.free[0]
	from.free = append(from.free[:0], from.free[1:]...)
	s.successor = to.group
	s.retire()
	return true
}

// freed is told that a connection which was given up for g is closed.
func (p *Pooler) freed(g *sharedGroup, index int) {
	g.slots[index].asking.Store(false)
	for _, w := range p.workers {
		w.loop.Post(func() {
			if group := w.groups[g]; group != nil && group.pools[index].waiting.n > 0 {
				w.markDirty(group.pools[index])
			}
		})
	}
}
