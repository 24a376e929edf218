package respserver

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// infoCommand is INFO: the sections that clients parse, then the backend's own.
func (s *session) infoCommand(args [][]byte) {
	want := map[string]bool{}
	for _, a := range args[1:] {
		want[strings.ToLower(string(a))] = true
	}
	everything := want["all"] || want["everything"]
	all := len(want) == 0 || want["default"] || everything
	srv := s.st.srv
	stats := srv.storeStats()
	var b []byte
	begin := func(name string) {
		if len(b) > 0 {
			b = append(b, '\r', '\n')
		}
		b = fmt.Appendf(b, "# %s\r\n", name)
	}
	section := func(name string, lines func()) {
		if all || want[strings.ToLower(name)] {
			begin(name)
			lines()
		}
	}
	// Long sections are shown only to who asks for them.
	long := func(name string, lines func()) {
		if everything || want[strings.ToLower(name)] {
			begin(name)
			lines()
		}
	}
	line := func(key string, value any) { b = fmt.Appendf(b, "%s:%v\r\n", key, value) }

	section("Server", func() {
		up := int64(time.Since(srv.started).Seconds())
		line("redis_version", CompatVersion)
		line("redis_mode", "standalone")
		line("outrigger_version", srv.cfg.Version)
		line("os", runtime.GOOS)
		line("arch_bits", 64)
		line("monotonic_clock", "POSIX clock_gettime")
		line("multiplexing_api", "epoll")
		line("process_id", os.Getpid())
		line("tcp_port", max(srv.cfg.Port, srv.cfg.TLSPort))
		line("server_time_usec", time.Now().UnixMicro())
		line("uptime_in_seconds", up)
		line("uptime_in_days", up/86400)
		line("io_threads_active", 0)
	})
	section("Clients", func() {
		line("connected_clients", srv.Clients())
		line("cluster_connections", 0)
		line("maxclients", srv.maxClients.Load())
		line("blocked_clients", srv.blocked.Load())
		line("tracking_clients", srv.trackers.count.Load())
		line("pubsub_clients", srv.subscribers())
		line("watching_clients", srv.watchers())
	})
	section("Memory", func() {
		used, limit := srv.cfg.Store.Used(), srv.cfg.Store.MaxBytes()
		total, heap := processMemory()
		line("used_memory", used)
		line("used_memory_human", human(used))
		line("used_memory_rss", total)
		line("used_memory_rss_human", human(int64(total)))
		line("used_memory_dataset", stats.Bytes)
		line("allocator_allocated", heap)
		line("allocator_resident", total)
		line("maxmemory", limit)
		line("maxmemory_human", human(limit))
		line("maxmemory_policy", srv.cfg.Store.Policy())
		line("mem_allocator", "go")
	})
	section("Persistence", func() {
		line("loading", 0)
		line("async_loading", 0)
		line("rdb_changes_since_last_save", 0)
		line("rdb_bgsave_in_progress", 0)
		line("rdb_last_bgsave_status", "ok")
		line("aof_enabled", 0)
		line("aof_rewrite_in_progress", 0)
	})
	section("Stats", func() {
		_, failures := srv.errorTotals()
		line("total_error_replies", failures)
		line("total_connections_received", srv.accepted.Load())
		line("total_commands_processed", srv.commands.Load())
		line("rejected_connections", srv.refused.Load())
		line("expired_keys", stats.Expired)
		line("evicted_keys", stats.Evicted)
		line("keyspace_hits", stats.Hits)
		line("keyspace_misses", stats.Misses)
		line("pubsub_channels", srv.hub.count(channelTopic))
		line("pubsub_patterns", srv.hub.count(patternTopic))
		line("pubsubshard_channels", srv.hub.count(shardTopic))
		line("tracking_total_keys", srv.trackers.size())
		denied := map[string]uint64{}
		for _, d := range []string{"auth", "command", "key", "channel"} {
			denied[d] = srv.denials.total(d)
		}
		line("acl_access_denied_auth", denied["auth"])
		line("acl_access_denied_cmd", denied["command"])
		line("acl_access_denied_key", denied["key"])
		line("acl_access_denied_channel", denied["channel"])
	})
	section("Replication", func() {
		line("role", "master")
		line("connected_slaves", 0)
		line("master_failover_state", "no-failover")
		line("master_replid", strings.Repeat("0", 40))
		line("master_repl_offset", 0)
		line("repl_backlog_active", 0)
	})
	section("CPU", func() {
		var use syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &use) == nil {
			line("used_cpu_sys", fmt.Sprintf("%d.%06d", use.Stime.Sec, use.Stime.Usec))
			line("used_cpu_user", fmt.Sprintf("%d.%06d", use.Utime.Sec, use.Utime.Usec))
		}
	})
	long("Commandstats", func() {
		for _, t := range srv.commandTotals() {
			each := 0.0
			if t.calls > 0 {
				each = float64(t.nanos) / 1000 / float64(t.calls)
			}
			line("cmdstat_"+t.spec.Name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
				t.calls, t.nanos/1000, each, t.rejected, t.failed))
		}
	})
	section("Errorstats", func() {
		byWord, _ := srv.errorTotals()
		for _, word := range slices.Sorted(maps.Keys(byWord)) {
			line("errorstat_"+word, fmt.Sprintf("count=%d", byWord[word]))
		}
	})
	long("Latencystats", func() {
		for _, t := range srv.commandTotals() {
			if t.timed > 0 {
				line("latency_percentiles_usec_"+t.spec.Name, fmt.Sprintf("p50=%.3f,p99=%.3f,p99.9=%.3f",
					t.percentile(0.5), t.percentile(0.99), t.percentile(0.999)))
			}
		}
	})
	section("Cluster", func() { line("cluster_enabled", s.showsCluster()) })
	section("Keyspace", func() {
		for db, n := range stats.Keys {
			if n > 0 {
				b = fmt.Appendf(b, "db%d:keys=%d,expires=%d,avg_ttl=0\r\n", db, n, stats.Expires[db])
			}
		}
	})
	if all || want["outrigger"] {
		if len(b) > 0 {
			b = append(b, '\r', '\n')
		}
		b = srv.cfg.Backend.Info(b)
	}
	s.st.w = resp.AppendVerbatim(s.st.w, "txt", string(b), s.proto)
}

// storeStats are the store's since the last CONFIG RESETSTAT.
func (srv *Server) storeStats() store.Stats {
	now := srv.cfg.Store.Stats()
	if base := srv.base.Load(); base != nil {
		now.Hits -= base.Hits
		now.Misses -= base.Misses
		now.Evicted -= base.Evicted
		now.Expired -= base.Expired
	}
	return now
}

// subscribers counts the sessions that listen to anything.
func (srv *Server) subscribers() (n int) {
	for _, s := range srv.list() {
		if s.clientInfo().topics != [topicKinds]int{} {
			n++
		}
	}
	return n
}

// watchers counts the sessions that watch keys.
func (srv *Server) watchers() (n int) {
	return len(slices.DeleteFunc(srv.list(), func(s *session) bool { return s.watching.Load() == 0 }))
}

func human(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2fG", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.2fM", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.2fK", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%dB", n)
}
