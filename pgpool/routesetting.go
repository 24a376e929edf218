package pgpool

import (
	"bytes"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Servers take any value for a setting that they do not know, and none that was never set. So SET outrigger.route with a
// wrong one is replaced by a statement that every server refuses, where and as it would refuse the SET: the transaction
// fails, the unit is skipped. Its error becomes the one that PostgreSQL has for a wrong value. And SHOW is replaced by a
// query, which knows what the rules say for a client that has set nothing.

// routeShown is the query for a client whom the rules send to a route. Whatever set_config was given, only a route counts.
func routeShown(rule Route) string {
	return "SELECT CASE WHEN own OPERATOR(pg_catalog.=) ANY ('{auto,primary,replica}'::pg_catalog.text[]) THEN own ELSE '" + rule.String() + "' END AS \"" +
		routeSetting + "\" FROM pg_catalog.lower(pg_catalog.current_setting('" + routeSetting + "', true)) own"
}

// useRoute looks for the route in a new statement.
func (s *statement) useRoute() {
	r := &s.class
	if r.Statements != 1 || r.Name.End == r.Name.Start || s.settingName() != routeSetting {
		return
	}
	if r.Class == classify.Session {
		s.refuseRoute()
	} else { // SHOW
		s.token = &tokenUse{shows: true, route: true}
		s.reword(routeShown(RouteAuto))
	}
}

// ownRoute returns what stands for SHOW outrigger.route of the client.
func (c *client) ownRoute(st *statement, scope string) *statement {
	rule, _ := c.w.tuning().sessionRoute(c.set.without(routeSetting), c.policy)
	sql, text := routeShown(rule), textOf([]byte(st.body))
	if string(text) == sql {
		return st
	}
	own := c.w.texts.find([]byte(sql+st.body[len(text):]), scope)
	own.reworded, own.token = true, st.token
	return own
}

// refusedMark begins the name of the statement that is asked for in vain. What is left of the value follows.
const refusedMark = statementPrefix + "route:"

// maxRefused bounds what is quoted of a wrong value, so that the name is not cut (NAMEDATALEN).
const maxRefused = 40

// refuseRoute replaces a SET of the route to what is none.
func (s *statement) refuseRoute() {
	if s.class.Value.End == s.class.Value.Start { // RESET, or to its default
		return
	}
	v := setting{value: s.body[s.class.Value.Start:s.class.Value.End], sql: true}
	if _, err := ParseRoute(strings.ToLower(v.plain())); err == nil {
		return
	}
	s.reword(`DEALLOCATE "` + refusedMark + quotable(v.plain()) + `"`)
}

// quotable makes a value fit for a name and for an error in any encoding.
func quotable(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, value[:min(len(value), maxRefused)])
}

// wrongRoute returns what a client is told in place of a server's error, if that is about a SET that was replaced.
func wrongRoute(frame []byte) (replaced []byte, ok bool) {
	i := bytes.Index(frame, []byte(refusedMark))
	if i < 0 {
		return nil, false
	}
	value := frame[i+len(refusedMark):]
	if end := bytes.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' || r == '"' }); end >= 0 {
		value = value[:end]
	}
	return pgwire.AppendErrorResponse(nil, badRoute.with(string(value))), true
}
