package pgpool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// upstream is a primary and its replicas. All databases that live there share one.
type upstream struct {
	roles   Roles
	servers atomic.Pointer[[]Server] // a reload may change how they are logged in to, not which they are
	stop    context.CancelFunc

	standings []*standing // constant; by server
}

func (u *upstream) server(i int) *Server { return &(*u.servers.Load())[i] }
func (u *upstream) count() int           { return len(*u.servers.Load()) }

// primary returns the index of the server that takes writes, or did so last.
func (u *upstream) primary() int {
	index, _ := u.roles.Primary()
	return index
}

func newUpstream(roles Roles, servers []Server) *upstream {
	u := &upstream{roles: roles}
	u.servers.Store(&servers)
	for range servers {
		u.standings = append(u.standings, &standing{})
	}
	return u
}

// upstreamKey is equal for servers whose connections can stand for each other.
func upstreamKey(servers []Server) string {
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "%s %s %s %d %t\n", s.Network, s.Addr, s.Credentials.User(), s.SSLMode, s.Spread)
	}
	return b.String()
}

// groupKey names the pools of one database, as clients call it, and one user, as servers know it.
type groupKey struct{ database, user string }

// sharedGroup is what the workers share of a group.
type sharedGroup struct {
	// constant
	key   groupKey
	up    *upstream
	name  string // of the database, on the servers
	slots []*slots

	users       atomic.Int32                // clients, those that are logging in included
	unused      atomic.Bool                 // it is given up: see Pooler.disuse
	epoch       atomic.Int32                // connections of an earlier one are closed when they are free
	removed     atomic.Bool                 // the database is no longer configured
	paused      atomic.Bool                 // each worker's group follows
	moved       atomic.Pointer[sharedGroup] // what replaces it since a reload
	policy      atomic.Pointer[Policy]
	welcome     atomic.Pointer[map[string]string] // what servers report at login
	starts      starts
	credentials atomic.Pointer[auth.Credentials] // of the client, who logs in as himself; nil: the server's own
	listening   atomic.Int32                     // 1 while its listener is connected
	catalog     atomic.Pointer[catalog]
	learnAt     atomic.Int64  // Unix nanoseconds: no look at the catalog before
	codeChanges atomic.Uint64 // changes of code that were seen
	lookWanted  atomic.Bool   // something depends on what is overdue for a look
	sequences   atomic.Bool   // currval or lastval has been seen
	varies      atomic.Bool   // servers have said different things at login
}

// dial connects to a server of the group.
func (g *sharedGroup) dial(ctx context.Context, index int, settings ...pgwire.Param) (auth.Session, error) {
	server := g.up.server(index)
	credentials := g.credentials.Load()
	if credentials == nil {
		credentials = server.Credentials
	}
	return server.dial(ctx, credentials, g.name, settings...)
}

// connect is dial for a server that clients will use. What is known of how far a replica is does not count for a connection
// that was made since: it may have been started again.
func (g *sharedGroup) connect(ctx context.Context, index int) (auth.Session, error) {
	session, err := g.dial(ctx, index)
	if err != nil || g.up.primary() == index {
		return session, err
	}
	if err := g.up.roles.Confirm(ctx, index); err != nil {
		session.Conn.Close()
		return auth.Session{}, fmt.Errorf("confirm the state of %s: %w", g.up.server(index).Addr, err)
	}
	return session, nil
}

// setUpstreams starts to watch the servers of t and stops to watch those that are gone. p.mu is held, until t is stored.
func (p *Pooler) setUpstreams(t *Tuning) error {
	wanted := make(map[string][]Server)
	for _, d := range t.Databases {
		if len(d.Servers) > 0 {
			wanted[upstreamKey(d.Servers)] = d.Servers
		}
	}
	for key, servers := range wanted {
		if u := p.upstreams[key]; u != nil {
			servers = inPlaces(servers, *u.servers.Load())
			u.servers.Store(&servers)
			if w, ok := u.roles.(*Watcher); ok {
				w.reload(servers, t)
			}
			continue
		}
		servers = inPlaces(servers, nil)
		roles, err := p.cfg.Roles(servers)
		if err != nil {
			return err
		}
		u := newUpstream(roles, servers)
		if w, ok := roles.(*Watcher); ok {
			w.reload(servers, t)
			changed := func() { p.rolesChanged(u) }
			w.changed.Store(&changed)
		}
		p.upstreams[key] = u
		if p.watching {
			p.watch(u)
		}
	}
	for key, u := range p.upstreams {
		if wanted[key] == nil {
			delete(p.upstreams, key)
			if u.stop != nil {
				u.stop()
			}
		}
	}
	return nil
}

// Watchers returns what watches the servers, one for each upstream, in an order that lasts.
func (p *Pooler) Watchers() []*Watcher {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*Watcher
	for _, key := range slices.Sorted(maps.Keys(p.upstreams)) {
		if w, ok := p.upstreams[key].roles.(*Watcher); ok {
			all = append(all, w)
		}
	}
	return all
}

// relocate returns what replaces a group whose database lives elsewhere since a reload, or nil. p.mu is held.
func (p *Pooler) relocate(g *sharedGroup, d Database, t *Tuning) *sharedGroup {
	up := p.upstreams[upstreamKey(d.Servers)]
	if up == g.up && d.Name == g.name {
		return nil
	}
	to := &sharedGroup{key: g.key, up: up, name: d.Name}
	to.credentials.Store(g.credentials.Load())
	if to.credentials.Load() == nil {
		to.key.user = d.Servers[0].Credentials.User()
	}
	delete(p.groups, g.key)
	if known := p.groups[to.key]; known != nil { // clients that came after the reload were faster
		g.moved.Store(known)
		return known
	}
	for range up.count() {
		to.slots = append(to.slots, &slots{})
	}
	to.paused.Store(g.paused.Load())
	to.policy.Store(t.policy(to.key.database, to.key.user))
	to.welcome.Store(g.welcome.Load())
	p.groups[to.key] = to
	g.moved.Store(to)
	return to
}

// watch runs what knows the roles of an upstream's servers. p.mu is held.
func (p *Pooler) watch(u *upstream) {
	if p.closed {
		return
	}
	ctx, stop := context.WithCancel(p.ctx)
	u.stop = stop
	p.tasks.Go(func() {
		if err := u.roles.Run(ctx); err != nil {
			p.log.Error("watching servers failed", "error", err)
		}
	})
}

// firstDials are logins for groups that have not been seen yet: one for each, however many clients ask for it.
type firstDials struct {
	mu      sync.Mutex
	running map[groupKey]*firstDial // under mu
}

type firstDial struct {
	done   chan struct{}
	shared *sharedGroup
	err    error
}

// shared returns what the workers share of a group, counted as one more user's. The first client to ask waits until a server
// has let us in: the database exists, and what servers report at login is known.
func (p *Pooler) shared(ctx context.Context, w *worker, name, user string, credentials *auth.Credentials) (*sharedGroup, error) {
	p.mu.Lock()
	t := p.tuning.Load()
	d, ok := t.database(name)
	up := p.upstreams[upstreamKey(d.Servers)]
	p.mu.Unlock()
	if !ok {
		return nil, noSuchDatabase.with(name)
	}
	key := groupKey{name, d.Servers[0].Credentials.User()}
	if t.AsClient {
		key.user = user
		if credentials == nil {
			return nil, noCredentials.with(user)
		}
	} else {
		credentials = nil
	}
	p.first.mu.Lock()
	p.mu.Lock()
	g := p.groups[key]
	if g != nil {
		g.users.Add(1)
	}
	p.mu.Unlock()
	if g != nil {
		p.first.mu.Unlock()
		g.credentials.Store(credentials) // the password may have changed
		return g, nil
	}
	dial := p.first.running[key]
	if dial == nil {
		dial = &firstDial{done: make(chan struct{}), shared: &sharedGroup{key: key, up: up, name: d.Name}}
		dial.shared.credentials.Store(credentials)
		if p.first.running == nil {
			p.first.running = make(map[groupKey]*firstDial)
		}
		p.first.running[key] = dial
		if !p.task(func(ctx context.Context) { p.dialFirst(ctx, w, dial) }) {
			dial.err = context.Canceled
			delete(p.first.running, key)
			close(dial.done)
		}
	}
	dial.shared.users.Add(1)
	p.first.mu.Unlock()
	err := error(nil)
	select {
	case <-dial.done:
		err = dial.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		dial.shared.users.Add(-1)
		return nil, err
	}
	return dial.shared, nil
}

// use counts a user of a group, or of what stands for it since.
func (p *Pooler) use(g *sharedGroup) *sharedGroup {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch known := p.groups[g.key]; {
	case known != nil:
		g = known
	case !g.removed.Load():
		g.unused.Store(false)
		p.groups[g.key] = g
	}
	g.users.Add(1)
	return g
}

// disuse gives a group up that has neither clients nor connections, and tells whether it is given up: with as_client, or
// many databases behind "*", there are as many groups as names. What it knows is asked for again when a client comes.
func (p *Pooler) disuse(g *sharedGroup) bool {
	idle := func() bool {
		return g.users.Load() == 0 && g.least(g.policy.Load()) == 0 && g.connections() == 0 && g.listening.Load() == 0
	}
	if g.unused.Load() || !idle() {
		return g.unused.Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if idle() {
		g.unused.Store(true)
		if p.groups[g.key] == g {
			delete(p.groups, g.key)
		}
	}
	return g.unused.Load()
}

// least is how many connections are kept for the group: none for users who log in as themselves and are not there.
func (g *sharedGroup) least(limits *Policy) int {
	if g.credentials.Load() != nil && g.users.Load() == 0 {
		return 0
	}
	return min(limits.MinPoolSize, limits.PoolSize)
}

// prefill opens the pools that have a min_pool_size, before a client asks for them: those of databases in the
// configuration, "*" as the one that its URL names. Housekeeping keeps them filled.
func (p *Pooler) prefill(t *Tuning) {
	if t.AsClient {
		return // only clients know who they are
	}
	for name, d := range t.Databases {
		if name == "*" {
			name = d.Servers[0].Database
		}
		if t.policy(name, d.Servers[0].Credentials.User()).MinPoolSize == 0 {
			continue
		}
		p.task(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, t.ServerConnect)
			defer cancel()
			g, err := p.shared(ctx, p.workers[0], name, "", nil)
			if err == nil {
				g.users.Add(-1)
			} else if p.ctx.Err() == nil {
				p.log.Warn("min_pool_size cannot be met", "database", name, "error", err)
			}
		})
	}
}

func (p *Pooler) dialFirst(ctx context.Context, w *worker, d *firstDial) {
	g, t := d.shared, p.tuning.Load()
	defer func() {
		p.first.mu.Lock()
		delete(p.first.running, g.key)
		p.first.mu.Unlock()
		close(d.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, t.ServerConnect)
	defer cancel()
	var session auth.Session
	index, count := g.up.primary(), g.up.count()
	for range count {
		g.slots = append(g.slots, &slots{})
	}
	g.policy.Store(t.policy(g.key.database, g.key.user))
	if d.err = p.reserveFirst(ctx, g, index); d.err != nil {
		return
	}
	defer p.arrivedFirst(g)
	epoch := g.epoch.Load()
	for k := range count { // any server will do while the primary is away
		i := (index + k) % count
		var err error
		if session, err = g.connect(ctx, i); err == nil {
			g.slots[index].used.Store(0)
			index, d.err = i, nil
			break
		}
		if d.err == nil {
			d.err = err
		}
		if _, ok := errors.AsType[*pgwire.Error](err); ok && !isAway(err) {
			break // it is there and refuses
		}
	}
	if d.err != nil {
		return
	}
	g.welcome.Store(&session.Params)
	g.slots[index].used.Store(1)
	p.mu.Lock()
	now := p.tuning.Load() // there may have been a reload meanwhile
	g.policy.Store(now.policy(g.key.database, g.key.user))
	g.paused.Store(p.switches[""].paused || p.switches[g.key.database].paused)
	if other := p.groups[g.key]; other != nil { // which a reload has made of another
		g.moved.Store(other)
	} else {
		p.groups[g.key] = g
		if database, ok := now.database(g.key.database); ok {
			p.relocate(g, database, now)
		}
	}
	p.mu.Unlock()
	err := w.loop.Adopt(session.Conn, func(c *netloop.Conn) netloop.Handler {
		to := w.group(g).pools[index]
		w.startHouse()
		return to.arrived(c, session, epoch)
	})
	if err != nil {
		g.slots[index].used.Add(-1)
	}
}
