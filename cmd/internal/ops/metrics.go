package ops

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metric is a row of the table for a snapshot of type T.
type metric[T any] struct {
	name  string
	kind  prometheus.ValueType
	help  string
	value func(T) float64
	// state, when set, is the constant value of the label "state": several rows then share a name.
	state string
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

func poolMetrics() []metric[Pool] {
	return []metric[Pool]{
		{"outrigger_pool_clients", gauge, "Clients of the pool by state.", func(p Pool) float64 { return float64(p.ClientsActive) }, "active"},
		{"outrigger_pool_clients", gauge, "Clients of the pool by state.", func(p Pool) float64 { return float64(p.ClientsWaiting) }, "waiting"},
		{"outrigger_pool_servers", gauge, "Server connections of the pool by state.", func(p Pool) float64 { return float64(p.ServersActive) }, "active"},
		{"outrigger_pool_servers", gauge, "Server connections of the pool by state.", func(p Pool) float64 { return float64(p.ServersIdle) }, "idle"},
		{"outrigger_pool_servers", gauge, "Server connections of the pool by state.", func(p Pool) float64 { return float64(p.ServersLogin) }, "login"},
		{"outrigger_pool_max_wait_seconds", gauge, "How long the client that waits longest has waited.", func(p Pool) float64 { return p.MaxWait.Seconds() }, ""},
	}
}

func databaseMetrics() []metric[Database] {
	return []metric[Database]{
		{"outrigger_database_assignments_total", counter, "Times that a client was given a server connection.", func(d Database) float64 { return float64(d.Assignments) }, ""},
		{"outrigger_database_transactions_total", counter, "Transactions finished.", func(d Database) float64 { return float64(d.Transactions) }, ""},
		{"outrigger_database_queries_total", counter, "Queries finished.", func(d Database) float64 { return float64(d.Queries) }, ""},
		{"outrigger_database_received_bytes_total", counter, "Bytes from clients.", func(d Database) float64 { return float64(d.Received) }, ""},
		{"outrigger_database_sent_bytes_total", counter, "Bytes to clients.", func(d Database) float64 { return float64(d.Sent) }, ""},
		{"outrigger_database_transaction_seconds_total", counter, "Time that server connections spent in transactions.", func(d Database) float64 { return d.TransactionTime.Seconds() }, ""},
		{"outrigger_database_query_seconds_total", counter, "Time that server connections spent on queries.", func(d Database) float64 { return d.QueryTime.Seconds() }, ""},
		{"outrigger_database_client_parses_total", counter, "Named statements that clients prepared.", func(d Database) float64 { return float64(d.ClientParses) }, ""},
		{"outrigger_database_server_parses_total", counter, "Statements that were prepared on servers for that.", func(d Database) float64 { return float64(d.ServerParses) }, ""},
		{"outrigger_database_binds_total", counter, "Runs of named statements.", func(d Database) float64 { return float64(d.Binds) }, ""},
		{"outrigger_database_wait_seconds_total", counter, "Time that clients waited for a server connection.", func(d Database) float64 { return d.WaitTime.Seconds() }, ""},
	}
}

func routeMetrics() []metric[Route] {
	return []metric[Route]{
		{"outrigger_route_decisions_total", counter, "Times that a client's messages were sent to the primary or to a replica, by what decided it.", func(r Route) float64 { return float64(r.Decisions) }, ""},
	}
}

func batchMetrics() []metric[Batch] {
	return []metric[Batch]{
		{"outrigger_batching_total", counter, "While clients waited: batches, units shared in them or taken off again, units alone on a server by what kept them from sharing, and surprises, which should not be.", func(b Batch) float64 { return float64(b.Count) }, ""},
	}
}

const breakerHelp = "1 for the state that the server's breaker is in. While it is not closed reads go elsewhere."

func serverMetrics() []metric[Upstream] {
	return []metric[Upstream]{
		{"outrigger_server_up", gauge, "Whether the Postgres server answers and can be used.", func(s Upstream) float64 { return truth(s.Up) }, ""},
		{"outrigger_server_fenced", gauge, "Whether the Postgres server answers and is used for nothing: SHOW HEALTH tells why.", func(s Upstream) float64 { return truth(s.Fenced) }, ""},
		{"outrigger_server_timeline", gauge, "Timeline of the Postgres server; 0 when unknown.", func(s Upstream) float64 { return float64(s.Timeline) }, ""},
		{"outrigger_server_lag_seconds", gauge, "How much earlier the primary was where the replica is now; -1 when unknown.", func(s Upstream) float64 { return max(s.Lag.Seconds(), -1) }, ""},
		{"outrigger_server_lag_bytes", gauge, "WAL that the replica has not replayed; -1 when unknown.", func(s Upstream) float64 { return float64(max(s.LagBytes, -1)) }, ""},
		{"outrigger_server_breaker", gauge, breakerHelp, func(s Upstream) float64 { return truth(s.Breaker == "closed") }, "closed"},
		{"outrigger_server_breaker", gauge, breakerHelp, func(s Upstream) float64 { return truth(s.Breaker == "open") }, "open"},
		{"outrigger_server_breaker", gauge, breakerHelp, func(s Upstream) float64 { return truth(s.Breaker == "half-open") }, "half-open"},
		{"outrigger_server_breaker_opened_total", counter, "Times that the server failed so often that reads were kept away from it.", func(s Upstream) float64 { return float64(s.Opened) }, ""},
		{"outrigger_server_reads", gauge, "Reads that run on the replica or wait for a connection to it.", func(s Upstream) float64 { return float64(s.Reads) }, ""},
	}
}

func pgMetrics() []metric[PoolStats] {
	return []metric[PoolStats]{
		{"outrigger_pg_clients", gauge, "Clients that have logged in.", func(s PoolStats) float64 { return float64(s.Clients) }, ""},
		{"outrigger_pg_logins", gauge, "Clients that are logging in.", func(s PoolStats) float64 { return float64(s.Logins) }, ""},
		{"outrigger_pg_clients_pinned", gauge, "Clients that keep their server connection between transactions: SHOW PINS tells why.", func(s PoolStats) float64 { return float64(s.Pinned) }, ""},
		{"outrigger_pg_accept_failures_total", counter, "Clients that could not be accepted at once, as without file descriptors.", func(s PoolStats) float64 { return float64(s.AcceptFailures) }, ""},
		{"outrigger_pg_clients_limit", gauge, "max_client_conn.", func(s PoolStats) float64 { return float64(s.MaxClients) }, ""},
	}
}

func cacheMetrics() []metric[CacheStats] {
	return []metric[CacheStats]{
		{"outrigger_cache_ready", gauge, "Whether this node has joined and received what it owns.", func(s CacheStats) float64 { return truth(s.Ready) }, ""},
		{"outrigger_cache_clients", gauge, "Cache client connections.", func(s CacheStats) float64 { return float64(s.Clients) }, ""},
		{"outrigger_cache_keys", gauge, "Keys that this node holds.", func(s CacheStats) float64 { return float64(s.Keys) }, ""},
		{"outrigger_cache_memory_bytes", gauge, "Memory that the keys take, overhead included.", func(s CacheStats) float64 { return float64(s.Bytes) }, ""},
		{"outrigger_cache_memory_limit_bytes", gauge, "max_memory.", func(s CacheStats) float64 { return float64(s.Budget) }, ""},
		{"outrigger_cache_partitions_owned", gauge, "Partitions that this node owns.", func(s CacheStats) float64 { return float64(s.Owned) }, ""},
		{"outrigger_cache_partitions_missing", gauge, "Partitions that this node should hold and that have not arrived.", func(s CacheStats) float64 { return float64(s.Missing) }, ""},
		{"outrigger_cache_hits_total", counter, "Reads that found their key.", func(s CacheStats) float64 { return float64(s.Hits) }, ""},
		{"outrigger_cache_misses_total", counter, "Reads that did not.", func(s CacheStats) float64 { return float64(s.Misses) }, ""},
		{"outrigger_cache_evicted_total", counter, "Keys that went to make room.", func(s CacheStats) float64 { return float64(s.Evicted) }, ""},
		{"outrigger_cache_expired_total", counter, "Keys whose time was up.", func(s CacheStats) float64 { return float64(s.Expired) }, ""},
		{"outrigger_cache_stale_total", counter, "Values given after their time, by cache_prefixes.", func(s CacheStats) float64 { return float64(s.Stale) }, ""},
		{"outrigger_cache_leases_total", counter, "Readers that were to make a value anew.", func(s CacheStats) float64 { return float64(s.Leases) }, ""},
		{"outrigger_cache_commands_total", counter, "Commands from clients.", func(s CacheStats) float64 { return float64(s.Commands) }, ""},
		{"outrigger_cache_forwarded_total", counter, "Commands that another member executed.", func(s CacheStats) float64 { return float64(s.Forwarded) }, ""},
		{"outrigger_cache_near_hits_total", counter, "Reads of other members' keys that a copy here has answered.", func(s CacheStats) float64 { return float64(s.NearHits) }, ""},
		{"outrigger_cache_near_copies", gauge, "Copies of other members' keys.", func(s CacheStats) float64 { return float64(s.NearCopies) }, ""},
		{"outrigger_cache_near_bytes", gauge, "Memory that these copies take, within max_memory as the keys are.", func(s CacheStats) float64 { return float64(s.NearBytes) }, ""},
		{"outrigger_cache_near_dropped_total", counter, "Copies dropped because their keys have changed.", func(s CacheStats) float64 { return float64(s.NearDropped) }, ""},
		{"outrigger_cache_near_lost_total", counter, "Times that all copies of a member were dropped because not every change was known.", func(s CacheStats) float64 { return float64(s.NearLost) }, ""},
	}
}

func clusterMetrics() []metric[ClusterStats] {
	return []metric[ClusterStats]{
		{"outrigger_cluster_members", gauge, "Members that this node sees alive, itself included.", func(s ClusterStats) float64 { return float64(len(s.Members)) }, ""},
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// family is a table made ready: descriptors in the order of the rows.
type family[T any] struct {
	rows  []metric[T]
	descs []*prometheus.Desc
}

func newFamily[T any](rows []metric[T], labels ...string) family[T] {
	f := family[T]{rows: rows}
	for _, row := range rows {
		names := labels
		if row.state != "" {
			names = append(append([]string{}, labels...), "state")
		}
		f.descs = append(f.descs, prometheus.NewDesc(row.name, row.help, names, nil))
	}
	return f
}

func (f family[T]) describe(ch chan<- *prometheus.Desc) {
	for _, d := range f.descs {
		ch <- d
	}
}

func (f family[T]) collect(ch chan<- prometheus.Metric, snapshot T, labels ...string) {
	for i, row := range f.rows {
		values := make([]string, 0, len(labels)+1)
		for _, l := range labels {
			values = append(values, printable(l))
		}
		if row.state != "" {
			values = append(values, row.state)
		}
		ch <- prometheus.MustNewConstMetric(f.descs[i], row.kind, row.value(snapshot), values...)
	}
}

// printable is a name as a label. Those of databases and users come from clients and are in any encoding; Prometheus takes
// UTF-8 alone, and would show no metrics at all. No two names become the same.
func printable(name string) string {
	if utf8.ValidString(name) && !strings.HasPrefix(name, `"`) {
		return name
	}
	return strconv.Quote(name)
}

// collector turns snapshots of the halves into metrics when it is scraped.
type collector struct {
	sources  *Sources
	pg       family[PoolStats]
	pool     family[Pool]
	database family[Database]
	route    family[Route]
	batch    family[Batch]
	server   family[Upstream]
	cache    family[CacheStats]
	cluster  family[ClusterStats]
	info     *prometheus.Desc
	version  string
}

func newRegistry(sources *Sources, version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{
			sources:  sources,
			pg:       newFamily(pgMetrics()),
			pool:     newFamily(poolMetrics(), "database", "user", "server", "role"),
			database: newFamily(databaseMetrics(), "database"),
			route:    newFamily(routeMetrics(), "database", "side", "reason"),
			batch:    newFamily(batchMetrics(), "database", "what", "reason"),
			server:   newFamily(serverMetrics(), "server", "role"),
			cache:    newFamily(cacheMetrics()),
			cluster:  newFamily(clusterMetrics()),
			info:     prometheus.NewDesc("outrigger_build_info", "Always 1; the label tells the version.", []string{"version"}, nil),
			version:  version,
		},
	)
	return registry
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	c.pg.describe(ch)
	c.pool.describe(ch)
	c.database.describe(ch)
	c.route.describe(ch)
	c.batch.describe(ch)
	c.server.describe(ch)
	c.cache.describe(ch)
	c.cluster.describe(ch)
	ch <- c.info
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(c.info, gauge, 1, c.version)
	if c.sources.Pooler != nil {
		s := c.sources.Pooler.PoolStats()
		c.pg.collect(ch, s)
		for _, p := range s.Pools {
			c.pool.collect(ch, p, p.Database, p.User, p.Server, p.Role)
		}
		for _, d := range s.Databases {
			c.database.collect(ch, d, d.Name)
		}
		for _, r := range s.Routes {
			c.route.collect(ch, r, r.Database, r.Side, r.Reason)
		}
		for _, b := range s.Batches {
			c.batch.collect(ch, b, b.Database, b.What, b.Reason)
		}
		for _, server := range s.Servers {
			c.server.collect(ch, server, server.Address, server.Role)
		}
	}
	if c.sources.Cache != nil {
		c.cache.collect(ch, c.sources.Cache.CacheStats())
	}
	if c.sources.Cluster != nil {
		c.cluster.collect(ch, c.sources.Cluster.ClusterStats())
	}
}
