package pgpool

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// Drivers ask with SHOW for what servers report at login. Such a question takes no server when the answer is certain: what a
// fresh session has is known, from its login and from the look at the catalog, which is not older than a minute; and this
// session has changed nothing of it, nor may be about to.

// isFixed lists what no session can change. It holds as long as all servers have said the same.
func isFixed(name string) bool {
	return name == "server_version" || name == "server_encoding" || name == "integer_datetimes"
}

// isReported lists what servers report and a session can change, but for what depends on who it is and where.
func isReported(name string) bool {
	switch name {
	case "client_encoding", "datestyle", "intervalstyle", "timezone", "standard_conforming_strings", "search_path", "scram_iterations":
		return true
	}
	return false
}

// showsHere answers the SHOW at b if the answer is certain. The client has no server. It returns the unit's size; 0 if it
// is to be asked of a server.
func (c *client) showsHere(b []byte) int {
	u, ok := c.single(b)
	if !ok {
		return 0
	}
	name, ok := classify.Shows(textOf([]byte(u.st.body)))
	if !ok {
		return 0
	}
	row, ok := c.reported(strings.ToLower(string(name)))
	if !ok {
		return 0
	}
	c.answer(b, &u, &row, "SHOW", c.status)
	if c.tx == nil {
		c.group.here.xacts++
	}
	return u.size
}

// reported returns what SHOW says of a setting, if that is certain.
func (c *client) reported(name string) (row column, ok bool) {
	if !isFixed(name) && !isReported(name) {
		return row, false
	}
	g := c.group.shared
	for known, value := range *g.welcome.Load() {
		if strings.EqualFold(known, name) {
			row, ok = column{known, value}, true
		}
	}
	if isFixed(name) {
		return row, ok && !g.varies.Load()
	}
	if _, own := c.set.find(name); own || !ok {
		return row, false
	}
	catalog := g.catalog.Load()
	if catalog.unsure() || catalog.outOfDate(c.w.loop.Now()) {
		return row, false
	}
	fresh, ok := catalog.defaults[name]
	return row, ok && fresh.known && fresh.value == row.value
}

// compare notes when a server says at login something else than another did.
func (g *sharedGroup) compare(login auth.Session) {
	for name, value := range *g.welcome.Load() {
		if isFixed(name) && login.Params[name] != value {
			g.varies.Store(true)
		}
	}
}
