package admin

import "slices"

func showConns() []command {
	fds := show("show fds", "Descriptors of connections.", fdColumns(), descriptors)
	fds.role = Admin // as in PgBouncer
	return []command{
		show("show clients", "Connections of clients.", connColumns("C", func(c *Client) *Conn { return &c.Conn }), loggedIn),
		show("show servers", "Connections to servers.", serverColumns(), Source.Servers),
		show("show sockets", "All connections, with what waits in their buffers.", socketColumns(), sockets),
		show("show active_sockets", "Connections with something in their buffers.", socketColumns(), func(src Source) []socket {
			return slices.DeleteFunc(sockets(src), func(s socket) bool { return s.Unread+s.Unsent == 0 })
		}),
		fds,
	}
}

// loggedIn leaves out clients that are no one yet.
func loggedIn(src Source) []Client {
	return slices.DeleteFunc(src.Clients(), func(c Client) bool { return c.State == "login" })
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
		text("replication", func(t *T) string { return conn(t).replication() }),
		text("state", func(t *T) string { return conn(t).State }),
		text("addr", func(t *T) string { return host(conn(t).Addr) }),
		int4("port", func(t *T) int { return port(conn(t).Addr) }),
		text("local_addr", func(t *T) string { return host(conn(t).LocalAddr) }),
		int4("local_port", func(t *T) int { return port(conn(t).LocalAddr) }),
		text("connect_time", func(t *T) string { return clock(conn(t).ConnectTime) }),
		text("request_time", func(t *T) string { return conn(t).requestTime() }),
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

func (c *Conn) replication() string {
	if c.Replication == "" {
		return "none"
	}
	return c.Replication
}

// requestTime is never empty: the Datadog agent fails at a time that it cannot read.
func (c *Conn) requestTime() string {
	if c.RequestTime.IsZero() {
		return clock(c.ConnectTime)
	}
	return clock(c.RequestTime)
}

// socket is a row of SHOW SOCKETS and SHOW FDS: a client or a server.
type socket struct {
	Conn
	server bool
}

func sockets(src Source) []socket {
	var all []socket
	for _, c := range src.Clients() {
		all = append(all, socket{c.Conn, false})
	}
	for _, s := range src.Servers() {
		all = append(all, socket{s.Conn, true})
	}
	return all
}

// socketColumns are PgBouncer's. Positions within a buffer mean nothing here and are 0; pkt_avail and send_avail are how
// many bytes wait.
func socketColumns() []column[socket] {
	columns := connColumns("", func(s *socket) *Conn { return &s.Conn })
	replace := func(c column[socket]) {
		i := slices.IndexFunc(columns, func(o column[socket]) bool { return o.name == c.name })
		columns[i] = c
	}
	replace(text("type", func(s *socket) string {
		if s.server {
			return "S"
		}
		return "C"
	}))
	replace(text("state", (*socket).state))
	for _, name := range []string{"recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain"} {
		columns = append(columns, int4(name, func(*socket) int { return 0 }))
	}
	return append(columns,
		int4("pkt_avail", func(s *socket) int { return s.Unread }),
		int4("send_avail", func(s *socket) int { return s.Unsent }),
	)
}

// state is PgBouncer's word, which here says of what the state is, and calls new servers and idle clients otherwise.
func (s *socket) state() string {
	switch {
	case s.server && s.State == "new":
		return "sv_login"
	case s.server:
		return "sv_" + s.State
	case s.State == "idle":
		return "cl_active"
	default:
		return "cl_" + s.State
	}
}

// descriptor is a row of SHOW FDS.
type descriptor struct {
	socket
	link int // descriptor of the other side
}

// descriptors leaves out connections with TLS, as PgBouncer does: nobody else could go on with them.
func descriptors(src Source) []descriptor {
	all := sockets(src)
	clients, servers := make(map[uint64]int), make(map[uint64]int)
	for _, s := range all {
		if s.server {
			servers[s.ID] = s.FD
		} else {
			clients[s.ID] = s.FD
		}
	}
	var out []descriptor
	for _, s := range all {
		switch {
		case s.FD == 0 || s.TLS != "":
		case s.server:
			out = append(out, descriptor{s, clients[s.Link]})
		default:
			out = append(out, descriptor{s, servers[s.Link]})
		}
	}
	return out
}

// fdColumns are PgBouncer's, but what is secret is not shown: cancel keys, passwords, SCRAM keys.
func fdColumns() []column[descriptor] {
	return []column[descriptor]{
		int4("fd", func(d *descriptor) int { return d.FD }),
		text("task", func(d *descriptor) string {
			if d.server {
				return "server"
			}
			return "client"
		}),
		text("user", func(d *descriptor) string { return d.User }),
		text("database", func(d *descriptor) string { return d.Database }),
		text("addr", func(d *descriptor) string { return host(d.Addr) }),
		int4("port", func(d *descriptor) int { return port(d.Addr) }),
		int8("cancel", func(*descriptor) uint64 { return 0 }),
		int4("link", func(d *descriptor) int { return d.link }),
		null[descriptor]("client_encoding", oidText),
		null[descriptor]("std_strings", oidText),
		null[descriptor]("datestyle", oidText),
		null[descriptor]("timezone", oidText),
		null[descriptor]("password", oidText),
		null[descriptor]("scram_client_key", oidBytea),
		null[descriptor]("scram_server_key", oidBytea),
	}
}
