package pgpool

import (
	"cmp"
	"slices"
	"strings"
	"unique"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// routeCounts are units by why they went where they went.
type routeCounts [routeReasons]uint64

func (r *routeCounts) add(o *routeCounts) {
	for why, n := range o {
		r[why] += n
	}
}

// side names where units of a reason go.
func (r routeReason) side() string {
	if r < forAlone {
		return "replica"
	}
	return "primary"
}

// counts adds up what has been counted for each database.
func (p *Pooler) counts() map[string]*groupCounts {
	totals := make(map[string]*groupCounts)
	count := func(database string, n *groupCounts) {
		if totals[database] == nil {
			totals[database] = &groupCounts{}
		}
		totals[database].add(n)
	}
	p.each(func(w *worker) {
		for database, n := range w.pastCounts {
			count(database, n)
		}
		for shared, g := range w.groups {
			count(shared.key.database, &g.groupCounts)
		}
	})
	return totals
}

// Routes returns a row for each database and reason that has been met.
// Members returns what cmd knows of the cluster.
func (c consoleSource) Members() []admin.Member {
	if c.p.cfg.Members == nil {
		return nil
	}
	return c.p.cfg.Members()
}

func (c consoleSource) Routes() []admin.RouteCount {
	var out []admin.RouteCount
	for database, n := range c.p.counts() {
		for why, count := range n.routes {
			if why := routeReason(why); count > 0 {
				out = append(out, admin.RouteCount{Database: database, Side: why.side(), Reason: why.String(), Count: count})
			}
		}
	}
	slices.SortFunc(out, func(a, b admin.RouteCount) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Side, b.Side), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// Route tells what would become of a statement that a client of the database and user began a unit with now.
func (c consoleSource) Route(q admin.RouteQuestion) (admin.RouteAnswer, error) {
	shared, user, err := c.p.routed(q)
	if err != nil {
		return admin.RouteAnswer{}, err
	}
	policy := c.p.policyOf(shared.key.database, user)
	var answer *admin.RouteAnswer
	c.p.each(func(w *worker) {
		if g := w.groups[shared]; g != nil && answer == nil {
			answer = g.explain(user, policy, q.SQL)
		}
	})
	if answer == nil { // nobody is there
		c.p.each(func(w *worker) {
			if answer == nil {
				answer = w.newGroup(shared).explain(user, policy, q.SQL)
			}
		})
	}
	if answer == nil {
		return admin.RouteAnswer{}, shuttingDown.with()
	}
	return *answer, nil
}

// routed finds the group that a question is about. One that has no clients yet is made up.
func (p *Pooler) routed(q admin.RouteQuestion) (g *sharedGroup, user string, err error) {
	database := q.Database
	if database == "" {
		if database, err = p.onlyDatabase(); err != nil {
			return nil, "", err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tuning.Load()
	d, ok := t.database(database)
	if !ok {
		return nil, "", admin.NoDatabase(database)
	}
	user = q.User
	key := groupKey{database, d.Servers[0].Credentials.User()}
	if user == "" {
		user = key.user
	} else if t.AsClient {
		key.user = user
	}
	if g = p.groups[key]; g == nil {
		g = &sharedGroup{key: key, up: p.upstreams[upstreamKey(d.Servers)], name: d.Name}
		for range g.up.count() { // a name may have several places
			g.slots = append(g.slots, &slots{})
		}
		g.policy.Store(t.policy(database, key.user))
		g.welcome.Store(&map[string]string{})
	}
	return g, user, nil
}

// onlyDatabase returns the database that is meant when none is named: the only one that is configured or in use.
func (p *Pooler) onlyDatabase() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tuning.Load()
	var names []string
	add := func(name string) {
		if name != "*" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for name := range t.Databases {
		add(name)
	}
	for key := range p.groups {
		add(key.database)
	}
	if d, ok := t.Databases["*"]; ok && len(names) == 0 {
		return d.Servers[0].Database, nil
	}
	if len(names) != 1 {
		return "", admin.SeveralDatabases()
	}
	return names[0], nil
}

// explain answers for a client that has sent nothing yet.
func (g *group) explain(user string, policy *Policy, sql string) *admin.RouteAnswer {
	c := &client{w: g.w, group: g, policy: policy, user: unique.Make(user), status: pgwire.Idle}
	st := g.w.texts.known(sql)
	route, from := g.w.tuning().sessionRoute(nil, policy)
	if c.route = route; route == RouteReplica {
		c.set = asStandby(nil)
	}
	d := c.decide(st)
	if st.class.Flags.Has(classify.OpensTx) { // as scanUnit does with a Query
		c.see(st, d)
		c.scan.mark(wasWhole, true)
		if c.scan.has(opensReadOnly) && c.scan.fits() {
			d = decision{true, forReadOnly}
		}
	}
	credits := make([]int64, len(g.pools))
	for i, p := range g.pools {
		credits[i] = p.credit
	}
	chosen, why := g.place(c, d)
	for i, p := range g.pools {
		p.credit = credits[i] // it was nobody's turn
	}
	a := &admin.RouteAnswer{Database: g.shared.key.database, User: user, Class: st.class.Class.String(), Hint: st.class.Hint.String(),
		Flags: st.class.Flags.Names(), Route: route.String(), RouteFrom: from, Side: why.side(), Reason: why.String()}
	a.Names = g.names(st, policy)
	if chosen == nil {
		a.Side = "none" // reads_without_replica: error
	}
	for _, p := range g.pools {
		server := g.shared.up.server(p.index)
		if server.vacant() {
			continue
		}
		state := g.state(p, c)
		switch {
		case p == chosen:
			state += ", chosen"
		case chosen != nil && p.judge(c, g.shared.up.primary(), g.shared.policy.Load()) == fitnessUsable:
			state += g.farther(p, chosen)
		}
		a.Servers = append(a.Servers, admin.RouteServer{Addr: server.label(), State: state})
	}
	return a
}

// farther says why a usable replica comes behind another, if it does whatever there is to do.
func (g *group) farther(p, chosen *pool) string {
	own, other, zone := g.shared.up.server(p.index), g.shared.up.server(chosen.index), g.w.tuning().Zone
	switch {
	case chosen.isReplica() && own.rank(zone) <= other.rank(zone) || !chosen.isReplica():
		return ""
	case own.Backup && !other.Backup:
		return ", but a backup"
	}
	return ", but in another zone"
}

// names lists what st calls and names, with what is known of it.
func (g *group) names(st *statement, policy *Policy) (list []admin.RouteName) {
	known := g.shared.catalog.Load()
	n, in := known.ofNames(), new(namedLast).find(st)
	for i := range in.found {
		name := &in.found[i]
		v := n.of(in.text, name, policy, known.stalled(g.w.loop.Now()))
		row := admin.RouteName{Kind: "relation", Name: string(in.text[name.Name.Start:name.Name.End]), Verdict: v.String()}
		if name.Function {
			row.Kind = "function"
		}
		if v == namesBuiltIn || v == namesTells {
			row.Verdict = classify.WhyPrimary([]byte(strings.ToLower(strings.Trim(row.Name, `"`))))
		}
		if name.Schema.End > 0 {
			row.Name = string(in.text[name.Schema.Start:name.Schema.End]) + "." + row.Name
		}
		list = append(list, row)
	}
	return list
}

// known returns the statement of a text, with what has been learned of it. It does not remember one that is new.
func (t *statements) known(sql string) *statement {
	for _, end := range []string{"\x00", "\x00\x00\x00"} { // a Query's, a Parse's without parameter types
		if s := t.byKey[sql+end]; s != nil {
			return s
		}
	}
	return t.make("", append([]byte(sql), 0))
}

// state says what a server is to a read of c: its role, and why it gets none if it does not.
func (g *group) state(p *pool, c *client) string {
	up, limits := g.shared.up, g.shared.policy.Load()
	role := up.role(p.index)
	if reason := up.shortfall(p.index, limits); reason != "" {
		return role + ", " + reason
	}
	switch v := p.judge(c, up.primary(), limits); v {
	case fitnessPrimary:
		return role
	case fitnessUnusable:
		return v.String()
	default:
		return "replica, " + v.String()
	}
}
