package dev

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// misleading are variables of the caller's that would take a client elsewhere than where dev points it, or a sidecar.
var misleading = []string{"PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGPASSWORD", "PGPASSFILE", "PGSSLMODE",
	"PRIMARY_DB_URL", "READ_REPLICA_URL", "OUTRIGGER_CONFIG"}

// override returns environ with the given variables set and the misleading ones dropped.
func override(environ []string, set map[string]string) []string {
	out := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, again := set[name]
		return again || slices.Contains(misleading, name)
	})
	for name, value := range set {
		out = append(out, name+"="+value)
	}
	return out
}

// environ is what a sidecar reads its settings from. OUTRIGGER_ variables of the caller's that are not set here reach it.
func (s *sidecar) environ(base []string, servers *devpg.Cluster, join []string) []string {
	// The newcomer may use the console, unless the caller has said who may.
	base = append([]string{"OUTRIGGER_ADMIN_USERS=" + devpg.User}, base...) // of two, the last counts
	return override(base, map[string]string{
		"OUTRIGGER_PRIMARY_URL":   servers.PrimaryURL(),
		"OUTRIGGER_REPLICA_URLS":  strings.Join(servers.ReplicaURLs(), ","),
		"OUTRIGGER_PG_LISTEN":     s.pg,
		"OUTRIGGER_CACHE_LISTEN":  s.cache,
		"OUTRIGGER_GOSSIP_LISTEN": s.gossip,
		"OUTRIGGER_PEER_LISTEN":   s.peer,
		"OUTRIGGER_HTTP_LISTEN":   s.http,
		"OUTRIGGER_NODE_NAME":     s.name,
		"OUTRIGGER_JOIN":          strings.Join(join, ","),
		"OUTRIGGER_CLUSTER_NAME":  "dev-" + strconv.Itoa(portOf(servers.Addr(0))), // two environments never merge
	})
}

func (s *sidecar) databaseURL() string {
	return (&url.URL{Scheme: "postgres", User: url.User(devpg.User), Host: s.pg, Path: "/" + devpg.Database, RawQuery: "sslmode=disable"}).String()
}

// consoleURL is the admin console's.
func (s *sidecar) consoleURL() string {
	return (&url.URL{Scheme: "postgres", User: url.User(devpg.User), Host: s.pg, Path: "/outrigger", RawQuery: "sslmode=disable"}).String()
}

func (s *sidecar) redisURL() string { return "redis://" + s.cache }
func (s *sidecar) httpURL() string  { return "http://" + s.http }

// commandEnviron is what the command of --exec finds.
func commandEnviron(base []string, servers *devpg.Cluster, sidecars []*sidecar) []string {
	first := sidecars[0]
	host, port, _ := net.SplitHostPort(first.pg)
	each := func(f func(*sidecar) string) string {
		var all []string
		for _, s := range sidecars {
			all = append(all, f(s))
		}
		return strings.Join(all, ",")
	}
	path := servers.BinDir()
	for _, entry := range base {
		if caller, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = caller + ":" + path // pgbench is not on everybody's PATH
		}
	}
	return override(base, map[string]string{
		"DATABASE_URL": first.databaseURL(),
		"REDIS_URL":    first.redisURL(),
		"PGHOST":       host,
		"PGPORT":       port,
		"PGUSER":       devpg.User,
		"PGDATABASE":   devpg.Database,
		"PRIMARY_URL":  servers.PrimaryURL(),
		"REPLICA_URLS": strings.Join(servers.ReplicaURLs(), ","),
		"PATH":         path,

		"OUTRIGGER_NODES_DATABASE_URLS": each((*sidecar).databaseURL),
		"OUTRIGGER_NODES_REDIS_URLS":    each((*sidecar).redisURL),
		"OUTRIGGER_NODES_HTTP_URLS":     each((*sidecar).httpURL),
		"OUTRIGGER_NODES_PIDS":          each(func(s *sidecar) string { return strconv.Itoa(s.child.Pid()) }),
	})
}

func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port) // our own addresses
	return n
}
