package pgpool

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

// Databases returns a row for each database that is configured, and for each that clients have reached through "*", which
// itself is none.
func (c consoleSource) Databases() []admin.Database {
	t := c.p.tuning.Load()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	names := make(map[string]bool)
	for name := range t.Databases {
		names[name] = true
	}
	servers := make(map[string]int)
	for key, g := range c.p.groups {
		names[key.database] = true
		servers[key.database] += g.connections()
	}
	var out []admin.Database
	delete(names, "*")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d, ok := t.database(name)
		if !ok {
			continue // a reload has removed it
		}
		policy := t.policy(name, "")
		primary := d.Servers[0]
		if up := c.p.upstreams[upstreamKey(d.Servers)]; up != nil {
			primary = *up.server(up.primary())
		}
		host, port := hostPort(primary)
		row := admin.Database{Name: name, Host: host, Port: port, Database: d.Name,
			PoolSize: policy.PoolSize, MinPoolSize: policy.MinPoolSize, ReservePoolSize: policy.ReservePoolSize,
			ServerLifetime: policy.ServerLifetime, PoolMode: policy.Mode.String(),
			MaxConnections: policy.MaxDBServers, CurrentConnections: servers[name],
			MaxClientConnections: policy.MaxDBClients, CurrentClientConnections: c.p.clients.byDatabase[name],
			Paused: c.p.switches[""].paused || c.p.switches[name].paused, Disabled: c.p.switches[name].disabled}
		if !t.AsClient {
			row.ForceUser = primary.Credentials.User()
		}
		out = append(out, row)
	}
	return out
}

// Users returns a row for each user who has a connection, to the pooler or to a server.
func (c consoleSource) Users() []admin.User {
	t := c.p.tuning.Load()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	servers := make(map[string]int)
	for name := range c.p.clients.byUser {
		servers[name] = 0
	}
	for key, g := range c.p.groups {
		servers[key.user] += g.connections()
	}
	var out []admin.User
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		policy := t.policy("", name)
		out = append(out, admin.User{Name: name, PoolMode: policy.Mode.String(), PoolSize: policy.PoolSize,
			ReservePoolSize: policy.ReservePoolSize, MaxConnections: policy.MaxUserServers, CurrentConnections: servers[name],
			MaxClientConnections: policy.MaxUserClients, CurrentClientConnections: c.p.clients.byUser[name]})
	}
	return out
}

// connections counts those to all servers, with those that are being made.
func (g *sharedGroup) connections() int {
	n := 0
	for _, s := range g.slots {
		n += int(s.used.Load())
	}
	return n
}

// hostPort returns where a server is: for a Unix socket no host, and the port that its name ends with.
func hostPort(s Server) (host string, port int) {
	host, number, err := net.SplitHostPort(s.Addr)
	if s.Network == "unix" || err != nil {
		host, number = "", s.Addr[strings.LastIndexByte(s.Addr, '.')+1:]
	}
	port, _ = strconv.Atoi(number)
	return host, cmp.Or(port, 5432)
}
