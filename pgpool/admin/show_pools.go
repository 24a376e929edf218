package admin

import (
	"fmt"
	"strings"
)

func showPools() []command {
	return []command{
		show("show pools", "Connections by database and user.", poolColumns(), addedUp),
		show("show databases", "Databases, as clients name them, and their limits.", databaseColumns(), Source.Databases),
		show("show users", "Users and their limits.", userColumns(), Source.Users),
		show("show lists", "How many there are of what.", listColumns(), lists),
		show("show config", "Settings.", configColumns(), Source.Config),
		show("show state", "Whether the pooler is paused or suspended.", stateColumns(), states),
		show("show mem", "Memory by use.", memoryColumns(), Source.Memory),
		show("show version", "Version of the console and of the program.", textColumns("version"), func(src Source) []string {
			return []string{fmt.Sprintf("PgBouncer %s (Outrigger %s)", consoleVersion, src.Version())}
		}),
		show("show peers", "Always empty: cancel requests need no peers.", []column[struct{}]{
			absent("peer_id", oidInt4), absent("host", oidText), absent("port", oidInt4), absent("pool_size", oidInt4)}, none),
		show("show peer_pools", "Always empty, like SHOW PEERS.", []column[struct{}]{
			absent("peer_id", oidInt4), absent("cl_active_cancel_req", oidInt4), absent("cl_waiting_cancel_req", oidInt4),
			absent("sv_active_cancel", oidInt4), absent("sv_login", oidInt4)}, none),
		show("show dns_hosts", "Names of servers, and the addresses found for them.", []column[DNSHost]{
			text("hostname", func(h *DNSHost) string { return h.Host }),
			int8("ttl", func(h *DNSHost) uint64 { return uint64(max(0, seconds(h.TTL))) }),
			text("addrs", func(h *DNSHost) string { return strings.Join(h.Addrs, ",") })}, Source.DNSHosts),
		show("show dns_zones", "Always empty: zones are not asked for their serial numbers.", []column[struct{}]{
			absent("zonename", oidText), absent("serial", oidInt8), absent("count", oidInt4)}, none),
	}
}

// addedUp has one row for each database and user: those who scrape PgBouncer take the two for a key.
func addedUp(src Source) []Pool {
	type key struct{ database, user string }
	place := make(map[key]int)
	var sums []Pool
	for _, p := range src.Pools() {
		k := key{p.Database, p.User}
		i, ok := place[k]
		if !ok {
			place[k] = len(sums)
			sums = append(sums, p)
			continue
		}
		sums[i].Counts.add(p.Counts)
		sums[i].MaxWait = max(sums[i].MaxWait, p.MaxWait)
	}
	return sums
}

func (c *Counts) add(o Counts) {
	c.ClientsActive += o.ClientsActive
	c.ClientsWaiting += o.ClientsWaiting
	c.CancelsActive += o.CancelsActive
	c.CancelsWaiting += o.CancelsWaiting
	c.ServersActive += o.ServersActive
	c.ServersActiveCancel += o.ServersActiveCancel
	c.ServersBeingCanceled += o.ServersBeingCanceled
	c.ServersIdle += o.ServersIdle
	c.ServersUsed += o.ServersUsed
	c.ServersTested += o.ServersTested
	c.ServersLogin += o.ServersLogin
}

func (c *Counts) clients() int {
	return c.ClientsActive + c.ClientsWaiting + c.CancelsActive + c.CancelsWaiting
}

func (c *Counts) servers() int {
	return c.ServersActive + c.ServersActiveCancel + c.ServersBeingCanceled + c.ServersIdle + c.ServersUsed + c.ServersTested + c.ServersLogin
}

func poolColumns() []column[Pool] {
	return []column[Pool]{
		text("database", func(p *Pool) string { return p.Database }),
		text("user", func(p *Pool) string { return p.User }),
		int4("cl_active", func(p *Pool) int { return p.ClientsActive }),
		int4("cl_waiting", func(p *Pool) int { return p.ClientsWaiting }),
		int4("cl_active_cancel_req", func(p *Pool) int { return p.CancelsActive }),
		int4("cl_waiting_cancel_req", func(p *Pool) int { return p.CancelsWaiting }),
		int4("sv_active", func(p *Pool) int { return p.ServersActive }),
		int4("sv_active_cancel", func(p *Pool) int { return p.ServersActiveCancel }),
		int4("sv_being_canceled", func(p *Pool) int { return p.ServersBeingCanceled }),
		int4("sv_idle", func(p *Pool) int { return p.ServersIdle }),
		int4("sv_used", func(p *Pool) int { return p.ServersUsed }),
		int4("sv_tested", func(p *Pool) int { return p.ServersTested }),
		int4("sv_login", func(p *Pool) int { return p.ServersLogin }),
		int4("maxwait", func(p *Pool) int { return seconds(p.MaxWait) }),
		int4("maxwait_us", func(p *Pool) int { return micros(p.MaxWait) }),
		text("pool_mode", func(p *Pool) string { return p.PoolMode }),
		null[Pool]("load_balance_hosts", oidText), // PgBouncer's, for a list of hosts in one pool
	}
}

func databaseColumns() []column[Database] {
	return []column[Database]{
		text("name", func(d *Database) string { return d.Name }),
		textOrNull("host", func(d *Database) string { return d.Host }),
		int4("port", func(d *Database) int { return d.Port }),
		text("database", func(d *Database) string { return d.Database }),
		textOrNull("force_user", func(d *Database) string { return d.ForceUser }),
		int4("pool_size", func(d *Database) int { return d.PoolSize }),
		int4("min_pool_size", func(d *Database) int { return d.MinPoolSize }),
		int4("reserve_pool_size", func(d *Database) int { return d.ReservePoolSize }),
		int4("server_lifetime", func(d *Database) int { return seconds(d.ServerLifetime) }),
		textOrNull("pool_mode", func(d *Database) string { return d.PoolMode }),
		null[Database]("load_balance_hosts", oidText),
		int4("max_connections", func(d *Database) int { return d.MaxConnections }),
		int4("current_connections", func(d *Database) int { return d.CurrentConnections }),
		int4("max_client_connections", func(d *Database) int { return d.MaxClientConnections }),
		int4("current_client_connections", func(d *Database) int { return d.CurrentClientConnections }),
		int4("paused", func(d *Database) int { return bit(d.Paused) }),
		int4("disabled", func(d *Database) int { return bit(d.Disabled) }),
	}
}

func userColumns() []column[User] {
	size := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	return []column[User]{
		text("name", func(u *User) string { return u.Name }),
		text("pool_size", func(u *User) string { return size(u.PoolSize) }),
		text("reserve_pool_size", func(u *User) string { return size(u.ReservePoolSize) }),
		textOrNull("pool_mode", func(u *User) string { return u.PoolMode }),
		int4("max_user_connections", func(u *User) int { return u.MaxConnections }),
		int4("current_connections", func(u *User) int { return u.CurrentConnections }),
		int4("max_user_client_connections", func(u *User) int { return u.MaxClientConnections }),
		int4("current_client_connections", func(u *User) int { return u.CurrentClientConnections }),
	}
}

// listRow is a row of SHOW LISTS.
type listRow struct {
	name  string
	items int
}

func listColumns() []column[listRow] {
	return []column[listRow]{
		text("list", func(l *listRow) string { return l.name }),
		int4("items", func(l *listRow) int { return l.items }),
	}
}

// lists has 0 for what only PgBouncer keeps: peers, objects in reserve, queries for names.
func lists(src Source) []listRow {
	pools := addedUp(src)
	login := src.State().LoginClients
	clients, servers := login, 0
	for i := range pools {
		clients += pools[i].clients()
		servers += pools[i].servers()
	}
	return []listRow{
		{"databases", len(src.Databases())}, {"users", len(src.Users())},
		{"peers", 0}, {"pools", len(pools)}, {"peer_pools", 0},
		{"free_clients", 0}, {"used_clients", clients}, {"login_clients", login},
		{"free_servers", 0}, {"used_servers", servers},
		{"dns_names", len(src.DNSHosts())}, {"dns_zones", 0}, {"dns_queries", 0}, {"dns_pending", 0},
	}
}

func configColumns() []column[ConfigRow] {
	return []column[ConfigRow]{
		text("key", func(c *ConfigRow) string { return c.Key }),
		text("value", func(c *ConfigRow) string { return c.Value }),
		text("default", func(c *ConfigRow) string { return c.Default }),
		text("changeable", func(c *ConfigRow) string { return yes(c.Changeable) }),
	}
}

// stateRow is a row of SHOW STATE.
type stateRow struct {
	name string
	on   bool
}

func stateColumns() []column[stateRow] {
	return []column[stateRow]{
		text("key", func(s *stateRow) string { return s.name }),
		text("value", func(s *stateRow) string { return yes(s.on) }),
	}
}

func states(src Source) []stateRow {
	s := src.State()
	return []stateRow{{"active", !s.Paused && !s.Suspended}, {"paused", s.Paused}, {"suspended", s.Suspended}}
}

func memoryColumns() []column[Memory] {
	return []column[Memory]{
		text("name", func(m *Memory) string { return m.Name }),
		int4("size", func(m *Memory) int { return m.Size }),
		int4("used", func(m *Memory) int { return m.Used }),
		int4("free", func(m *Memory) int { return m.Free }),
		int4("memtotal", func(m *Memory) int { return m.Total }),
	}
}
