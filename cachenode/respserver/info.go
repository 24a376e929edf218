package respserver

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// infoCommand is INFO: the sections that clients parse, then the backend's own.
func (s *session) infoCommand(args [][]byte) {
	want := map[string]bool{}
	for _, a := range args[1:] {
		want[strings.ToLower(string(a))] = true
	}
	all := len(want) == 0 || want["all"] || want["default"] || want["everything"]
	srv := s.st.srv
	stats := srv.cfg.Store.Stats()
	var b []byte
	section := func(name string, lines func()) {
		if !all && !want[strings.ToLower(name)] {
			return
		}
		if len(b) > 0 {
			b = append(b, '\r', '\n')
		}
		b = fmt.Appendf(b, "# %s\r\n", name)
		lines()
	}
	line := func(key string, value any) { b = fmt.Appendf(b, "%s:%v\r\n", key, value) }

	section("Server", func() {
		up := int64(time.Since(srv.started).Seconds())
		line("redis_version", CompatVersion)
		line("redis_mode", "standalone")
		line("outrigger_version", srv.cfg.Version)
		line("os", runtime.GOOS)
		line("arch_bits", 64)
		line("process_id", os.Getpid())
		line("uptime_in_seconds", up)
		line("uptime_in_days", up/86400)
	})
	section("Clients", func() {
		line("connected_clients", srv.Clients())
		line("maxclients", srv.cfg.MaxClients)
		line("blocked_clients", srv.blocked.Load())
	})
	section("Memory", func() {
		used := srv.cfg.Store.Used()
		line("used_memory", used)
		line("used_memory_human", human(used))
		line("maxmemory", srv.cfg.Store.MaxBytes())
		line("maxmemory_human", human(srv.cfg.Store.MaxBytes()))
		line("maxmemory_policy", srv.cfg.Store.Policy())
	})
	section("Persistence", func() {
		line("loading", 0)
		line("rdb_bgsave_in_progress", 0)
		line("aof_enabled", 0)
	})
	section("Stats", func() {
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
	})
	section("Replication", func() {
		line("role", "master")
		line("connected_slaves", 0)
		line("master_repl_offset", 0)
	})
	section("Keyspace", func() {
		for db, n := range stats.Keys {
			if n > 0 {
				b = fmt.Appendf(b, "db%d:keys=%d,expires=%d,avg_ttl=0\r\n", db, n, stats.Expires[db])
			}
		}
	})
	if all {
		b = srv.cfg.Backend.Info(b)
	}
	s.st.w = resp.AppendVerbatim(s.st.w, "txt", string(b), s.proto)
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
