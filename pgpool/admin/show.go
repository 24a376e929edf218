package admin

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// replication is none for every connection: the pooler refuses the others.
const replication = "none"

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
		null[Pool]("load_balance_hosts"), // PgBouncer's, for a list of hosts in one pool
		text("server", func(p *Pool) string { return p.Server }),
		text("role", func(p *Pool) string { return p.Role }),
	}
}

func clientColumns() []column[Client] {
	return connColumns("C", func(c *Client) *Conn { return &c.Conn })
}

func serverColumns() []column[Server] {
	return append(connColumns("S", func(s *Server) *Conn { return &s.Conn }),
		text("role", func(s *Server) string { return s.Role }),
		numeric("xact_count", func(s *Server) uint64 { return s.XactCount }),
		numeric("query_count", func(s *Server) uint64 { return s.QueryCount }),
	)
}

func connColumns[T any](kind string, conn func(*T) *Conn) []column[T] {
	return []column[T]{
		text("type", func(*T) string { return kind }),
		text("user", func(t *T) string { return conn(t).User }),
		text("database", func(t *T) string { return conn(t).Database }),
		text("replication", func(*T) string { return replication }),
		text("state", func(t *T) string { return conn(t).State }),
		text("addr", func(t *T) string { return host(conn(t).Addr) }),
		int4("port", func(t *T) int { return port(conn(t).Addr) }),
		text("local_addr", func(t *T) string { return host(conn(t).LocalAddr) }),
		int4("local_port", func(t *T) int { return port(conn(t).LocalAddr) }),
		text("connect_time", func(t *T) string { return clock(conn(t).ConnectTime) }),
		text("request_time", func(t *T) string { return clock(conn(t).RequestTime) }),
		int4("wait", func(t *T) int { return seconds(conn(t).Wait) }),
		int4("wait_us", func(t *T) int { return micros(conn(t).Wait) }),
		int4("close_needed", func(t *T) int { return bit(conn(t).CloseNeeded) }),
		text("ptr", func(t *T) string { return pointer(conn(t).ID) }),
		text("link", func(t *T) string { return pointer(conn(t).Link) }),
		int4("remote_pid", func(t *T) int { return int(conn(t).RemotePID) }),
		text("tls", func(t *T) string { return conn(t).TLS }),
		text("application_name", func(t *T) string { return conn(t).ApplicationName }),
		int4("prepared_statements", func(t *T) int { return conn(t).PreparedStatements }),
		int4("id", func(t *T) int { return int(conn(t).ID) }),
	}
}

// statColumns has PgBouncer's averages: counts and bytes for each second of the period, times in microseconds for each
// transaction, query or assignment in it.
func statColumns() []column[Stat] {
	return []column[Stat]{
		text("database", func(s *Stat) string { return s.Database }),
		numeric("total_server_assignment_count", func(s *Stat) uint64 { return s.Total.ServerAssignments }),
		numeric("total_xact_count", func(s *Stat) uint64 { return s.Total.Xacts }),
		numeric("total_query_count", func(s *Stat) uint64 { return s.Total.Queries }),
		numeric("total_received", func(s *Stat) uint64 { return s.Total.Received }),
		numeric("total_sent", func(s *Stat) uint64 { return s.Total.Sent }),
		numeric("total_xact_time", func(s *Stat) uint64 { return each(s.Total.XactTime, 1) }),
		numeric("total_query_time", func(s *Stat) uint64 { return each(s.Total.QueryTime, 1) }),
		numeric("total_wait_time", func(s *Stat) uint64 { return each(s.Total.WaitTime, 1) }),
		numeric("total_client_parse_count", func(s *Stat) uint64 { return s.Total.ClientParses }),
		numeric("total_server_parse_count", func(s *Stat) uint64 { return s.Total.ServerParses }),
		numeric("total_bind_count", func(s *Stat) uint64 { return s.Total.Binds }),
		numeric("avg_server_assignment_count", func(s *Stat) uint64 { return s.perSecond(s.Period.ServerAssignments) }),
		numeric("avg_xact_count", func(s *Stat) uint64 { return s.perSecond(s.Period.Xacts) }),
		numeric("avg_query_count", func(s *Stat) uint64 { return s.perSecond(s.Period.Queries) }),
		numeric("avg_recv", func(s *Stat) uint64 { return s.perSecond(s.Period.Received) }),
		numeric("avg_sent", func(s *Stat) uint64 { return s.perSecond(s.Period.Sent) }),
		numeric("avg_xact_time", func(s *Stat) uint64 { return each(s.Period.XactTime, s.Period.Xacts) }),
		numeric("avg_query_time", func(s *Stat) uint64 { return each(s.Period.QueryTime, s.Period.Queries) }),
		numeric("avg_wait_time", func(s *Stat) uint64 { return each(s.Period.WaitTime, s.Period.ServerAssignments) }),
		numeric("avg_client_parse_count", func(s *Stat) uint64 { return s.perSecond(s.Period.ClientParses) }),
		numeric("avg_server_parse_count", func(s *Stat) uint64 { return s.perSecond(s.Period.ServerParses) }),
		numeric("avg_bind_count", func(s *Stat) uint64 { return s.perSecond(s.Period.Binds) }),
	}
}

func helpColumns() []column[command] {
	return []column[command]{
		text("command", func(c *command) string { return strings.ToUpper(c.name) }),
		text("users", func(c *command) string { return c.role.setting() }),
		text("help", func(c *command) string { return c.help }),
	}
}

func textColumns(name string) []column[string] {
	return []column[string]{text(name, func(s *string) string { return *s })}
}

func (s *Stat) perSecond(n uint64) uint64 {
	if s.PeriodLength <= 0 {
		return 0
	}
	return uint64(float64(n) / s.PeriodLength.Seconds())
}

// each divides a sum of times by a count, in microseconds.
func each(sum time.Duration, n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return uint64(max(sum, 0).Microseconds()) / n
}

func seconds(d time.Duration) int { return int(d / time.Second) }

// micros returns the part below a second.
func micros(d time.Duration) int { return int(d % time.Second / time.Microsecond) }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pointer shows an ID where PgBouncer shows an address in memory.
func pointer(id uint64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("0x%x", id)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}

func host(a net.Addr) string {
	switch a := a.(type) {
	case nil:
		return ""
	case *net.TCPAddr:
		return a.IP.String()
	case *net.UnixAddr:
		return "unix"
	default:
		return a.String()
	}
}

func port(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
