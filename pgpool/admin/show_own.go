package admin

import (
	"fmt"
	"time"
)

// showOwn are commands that PgBouncer does not have.
func showOwn() []command {
	return []command{
		show("show server_pools", "Connections by database, user and server: what SHOW POOLS adds up.", append(poolColumns(),
			text("server", func(p *Pool) string { return p.Server }),
			text("role", func(p *Pool) string { return p.Role }),
		), Source.Pools),
		show("show replicas", "Servers, and whether reads go there.", replicaColumns(), Source.Replicas),
		show("show pins", "Clients that keep their server, and the statement that made them.", pinColumns(), Source.Pins),
		show("show statements", "Prepared statements that clients share.", statementColumns(), Source.Statements),
		showRoutes(),
		showBatches(),
		show("show loops", "Event loops.", loopColumns(), Source.Loops),
		show("show health", "Postgres servers: who is primary, how far the others are behind, and which are fenced.", healthColumns(), Source.Health),
	}
}

func pinColumns() []column[Pin] {
	return []column[Pin]{
		int4("client_id", func(p *Pin) int { return int(p.ClientID) }),
		text("user", func(p *Pin) string { return p.User }),
		text("database", func(p *Pin) string { return p.Database }),
		int4("server_pid", func(p *Pin) int { return int(p.ServerPID) }),
		text("reason", func(p *Pin) string { return p.Reason }),
		text("statement", func(p *Pin) string { return shorten(p.Statement) }),
		text("since", func(p *Pin) string { return clock(p.Since) }),
	}
}

func statementColumns() []column[Prepared] {
	return []column[Prepared]{
		text("name", func(p *Prepared) string { return p.Name }),
		text("statement", func(p *Prepared) string { return shorten(p.SQL) }),
		int8("uses", func(p *Prepared) uint64 { return p.Uses }),
		int4("servers", func(p *Prepared) int { return p.Servers }),
		int4("bytes", func(p *Prepared) int { return p.Bytes }),
	}
}

func replicaColumns() []column[Replica] {
	return []column[Replica]{
		text("databases", func(r *Replica) string { return r.Databases }),
		text("server", func(r *Replica) string { return r.Server }),
		text("role", func(r *Replica) string { return r.Role }),
		text("usable", func(r *Replica) string { return yes(r.Usable) }),
		text("reason", func(r *Replica) string { return r.Reason }),
		text("breaker", func(r *Replica) string { return r.Breaker }),
		int4("failures", func(r *Replica) int { return r.Failures }),
		int8("opened", func(r *Replica) uint64 { return r.Opened }),
		int4("weight", func(r *Replica) int { return r.Weight }),
		text("backup", func(r *Replica) string { return yes(r.Backup) }),
		text("zone", func(r *Replica) string { return r.Zone }),
		int8OrNull("pool_size", func(r *Replica) int64 { return known(int64(r.PoolSize)) }),
		int4("reads", func(r *Replica) int { return r.Reads }),
		int8OrNull("latency_us", func(r *Replica) int64 { return known(r.Latency.Microseconds()) }),
		int8OrNull("lag_us", func(r *Replica) int64 { return lagMicros(r.Lag) }),
		int8OrNull("lag_bytes", func(r *Replica) int64 { return r.LagBytes }),
	}
}

// known makes a negative number of one that is 0 as long as it is not known.
func known(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// lagMicros keeps what is negative so: -1 ns is no lag of 0 µs.
func lagMicros(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Microseconds()
}

func loopColumns() []column[Loop] {
	return []column[Loop]{
		int4("loop", func(l *Loop) int { return l.ID }),
		int4("clients", func(l *Loop) int { return l.Clients }),
		int4("servers", func(l *Loop) int { return l.Servers }),
		int8("ticks", func(l *Loop) uint64 { return l.Ticks }),
		int8("events", func(l *Loop) uint64 { return l.Events }),
		int8("writes", func(l *Loop) uint64 { return l.Writes }),
		int8("bytes_in", func(l *Loop) uint64 { return l.BytesIn }),
		int8("bytes_out", func(l *Loop) uint64 { return l.BytesOut }),
		int8("posts", func(l *Loop) uint64 { return l.Posts }),
		int8("longest_tick_us", func(l *Loop) uint64 { return uint64(l.LongestTick.Microseconds()) }),
	}
}

func healthColumns() []column[Health] {
	return []column[Health]{
		text("server", func(h *Health) string { return h.Server }),
		text("role", func(h *Health) string { return h.Role }),
		text("primary", func(h *Health) string { return yes(h.Primary) }),
		text("state", func(h *Health) string { return h.State }),
		textOrNull("reason", func(h *Health) string { return shorten(h.Reason) }),
		int8OrNull("lag_us", func(h *Health) int64 { return lagMicros(h.Lag) }),
		int8OrNull("lag_bytes", func(h *Health) int64 { return h.LagBytes }),
		int4("timeline", func(h *Health) int { return int(h.Timeline) }),
		numeric("system_identifier", func(h *Health) uint64 { return h.SystemID }),
		text("lsn", func(h *Health) string { return fmt.Sprintf("%X/%X", h.LSN>>32, uint32(h.LSN)) }), // as pg_lsn_out
		int4("server_version_num", func(h *Health) int { return h.Version }),
		text("checked", func(h *Health) string { return clock(h.CheckedAt) }),
	}
}
