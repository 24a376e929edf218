package pgpool

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// Rules.
//
// Who says where a client's units go, the strongest first: a hint in the text, SET outrigger.route, the rule for its
// application_name, route of its user, route of its database. All of them choose among the sides that can run a unit. What
// only the primary can run gets there, at the latest when a replica has refused it.
//
// A session that begins with the route replica, whoever says so, is one on a standby: it begins read-only
// (default_transaction_read_only), and is told in_hot_standby, so that libpq's target_session_attrs finds there what it
// looks for. Its writes are refused by the server, whichever it is.

// routeSetting is the setting by which a session chooses. Servers know it as any custom setting: it follows the client, and
// RESET, ROLLBACK, SET LOCAL and set_config mean with it what they always mean.
const routeSetting = "outrigger.route"

// applicationRoute returns the rule for an application_name: its own, or that of the longest prefix with * behind it.
func (t *Tuning) applicationRoute(name string) (r Route, ok bool) {
	if r, ok = t.ApplicationRoutes[name]; ok {
		return r, true
	}
	longest := -1
	for pattern, to := range t.ApplicationRoutes {
		if prefix, open := strings.CutSuffix(pattern, "*"); open && len(prefix) > longest && strings.HasPrefix(name, prefix) {
			r, ok, longest = to, true, len(prefix)
		}
	}
	return r, ok
}

// sessionRoute works out where a session with these settings has its units go, and who says so.
func (t *Tuning) sessionRoute(set *settings, policy *Policy) (r Route, from string) {
	if v, ok := set.find(routeSetting); ok {
		if r, err := ParseRoute(strings.ToLower(v.plain())); err == nil {
			return r, "SET " + routeSetting
		}
	}
	if len(t.ApplicationRoutes) > 0 {
		v, _ := set.find("application_name")
		name := v.plain()
		if i := strings.LastIndex(name, hostMark); t.AddHost && i >= 0 {
			name = name[:i]
		}
		if r, ok := t.applicationRoute(name); ok {
			return r, "application_routes"
		}
	}
	return policy.Route, "route of the user or the database"
}

// has gives the client settings, and the route that goes with them.
func (c *client) has(set *settings) {
	c.set = set
	c.reroute()
}

// reroute is called when the settings or the rules have changed.
func (c *client) reroute() { c.route, _ = c.w.tuning().sessionRoute(c.set, c.policy) }

// asksForPrimary tells whether a hint or a rule sends st to the primary.
func (c *client) asksForPrimary(st *statement) (why routeReason, ok bool) {
	switch {
	case st.class.Hint == classify.HintPrimary:
		return forHint, true
	case st.class.Hint == classify.HintNone && c.route == RoutePrimary:
		return forRoute, true
	}
	return 0, false
}

// asksForReplica tells whether a hint or a rule sends st to a replica. What turns out to be a write there is repeated on the
// primary.
func (c *client) asksForReplica(st *statement) (why routeReason, ok bool) {
	switch {
	case st.class.Hint == classify.HintReplica && c.triable(st):
		return forReplicaHint, true
	case st.class.Hint == classify.HintNone && c.route == RouteReplica && c.triable(st):
		return forReplicaRoute, true
	}
	return 0, false
}

// triable tells whether a replica may be tried: it either refuses the whole of st, or runs it to the same effect. So it must
// not lock or leave anything there, nor read what a replica has otherwise.
func (c *client) triable(st *statement) bool {
	if st.class.Flags == classify.TellsRole && st.class.Statements == 1 {
		return true
	}
	if !st.mayRead() || c.serializable() {
		return false
	}
	all := c.judge(st)
	if !all.within(namesRead, namesVolatile, namesTells, namesServer) {
		return false
	}
	known := c.group.shared.catalog.Load()
	if all.within(namesRead, namesTells, namesServer) && !known.hasHazards() {
		return true // what is built in leaves nothing
	}
	leaves := st.traced(known)
	return !known.unsure() && !leaves.any()
}

// asStandby makes a session's first settings those of one on a standby.
func asStandby(start *settings) *settings {
	const name = "default_transaction_read_only"
	if _, own := start.find(name); own {
		return start
	}
	return start.with(setting{name: name, value: "on"})
}

// reportStandby sets what a client is told of in_hot_standby, if its servers report it (PostgreSQL 14): the one that was
// asked may have been on the other side.
func reportStandby(reported map[string]string, standby bool) {
	const name = "in_hot_standby"
	if _, known := reported[name]; !known {
		return
	}
	reported[name] = "off"
	if standby {
		reported[name] = "on"
	}
}
