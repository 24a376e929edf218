package pgpool

import (
	"context"
	"fmt"
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
	p.exit(c.group.shared.key.database, c.user)
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
	size := limits.PoolSize
	if limits.ReservePoolDelay > 0 && p.waiting.longest(p.w.loop.Now()) > limits.ReservePoolDelay {
		size += limits.ReservePoolSize
	}
	if limits.MaxDBServers == 0 && limits.MaxUserServers == 0 {
		return p.slots.take(size)
	}
	return p.w.pooler.reserveWithin(g, p.index, size, limits, p.waiting.n == 0)
}

// reserveWithin takes a slot unless the database's or the user's connections to the same server have reached a limit. When
// they have, other pools are asked to give up a free one, but not for min_pool_size: theirs counts as much.
func (p *Pooler) reserveWithin(g *sharedGroup, index, size int, limits *Policy, filling bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ofDatabase, ofUser := 0, 0
	count := func(other *sharedGroup) {
		if other.up != g.up {
			return
		}
		n := int(other.slots[index].used.Load())
		if index == other.up.roles.Primary() {
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
	full := limits.MaxDBServers > 0 && ofDatabase >= limits.MaxDBServers || limits.MaxUserServers > 0 && ofUser >= limits.MaxUserServers
	if !full {
		return g.slots[index].take(size)
	}
	if int(g.slots[index].used.Load()) < size && !filling {
		for _, w := range p.workers {
			w.loop.Post(func() { w.giveUp(g, index) })
		}
	}
	return false
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

// giveUp closes the free server of another pool that was free for longest, so that g may have one more within the limits
// of its database and user.
func (w *worker) giveUp(g *sharedGroup, index int) {
	var from *pool
	for other, group := range w.groups {
		if other == g || other.up != g.up || other.key.database != g.key.database && other.key.user != g.key.user {
			continue
		}
		p := group.pools[index]
		if len(p.free) > 0 && p.waiting.n == 0 && (from == nil || p.free[0].lastUsed.Before(from.free[0].lastUsed)) {
			from = p
		}
	}
	if from == nil {
		return
	}
	s := from.free[0]
	from.free = append(from.free[:0], from.free[1:]...)
	s.successor = g
	s.retire()
}

// freed is told that a connection which was given up for g is closed.
func (p *Pooler) freed(g *sharedGroup, index int) {
	for _, w := range p.workers {
		w.loop.Post(func() {
			if group := w.groups[g]; group != nil && group.pools[index].waiting.n > 0 {
				w.markDirty(group.pools[index])
			}
		})
	}
}
