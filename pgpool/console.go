package pgpool

import (
	"cmp"
	"crypto/tls"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// consoleSource shows the pooler to the console and to the metrics. Each question is put to all workers, which answer
// between two ticks.
type consoleSource struct{ p *Pooler }

// each runs fn on every worker's loop, one after the other, and waits.
func (p *Pooler) each(fn func(w *worker)) {
	for _, w := range p.workers {
		done := make(chan struct{})
		if w.loop.Post(func() { fn(w); close(done) }) {
			<-done
		}
	}
}

// role names a server's role as far as is known.
func (u *upstream) role(index int) string {
	switch {
	case u.primary() == index:
		return "primary"
	case u.roles.Usable(index, &Policy{}):
		return "replica"
	}
	return "unknown"
}

func (c consoleSource) Version() string { return c.p.cfg.Version }

func (c consoleSource) State() admin.State {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	in := 0
	for _, n := range c.p.clients.byDatabase {
		in += n
	}
	return admin.State{Paused: c.p.switches[""].paused, Suspended: c.p.suspended.Load(),
		LoginClients: max(0, int(c.p.nclients.Load()-c.p.consoles.Load())-in)}
}

// Config returns what cmd knows of the settings.
func (c consoleSource) Config() []admin.ConfigRow {
	if c.p.cfg.Settings == nil {
		return nil
	}
	return c.p.cfg.Settings()
}

// Loops returns a row for each event loop.
func (c consoleSource) Loops() []admin.Loop {
	var out []admin.Loop
	c.p.each(func(w *worker) {
		st := w.loop.Stats()
		row := admin.Loop{ID: len(out), Clients: len(w.clients), Ticks: st.Ticks, Events: st.Events, Writes: st.Writes,
			BytesIn: st.BytesIn, BytesOut: st.BytesOut, Posts: st.Posts, LongestTick: st.LongestTick}
		for _, g := range w.groups {
			for _, pl := range g.pools {
				row.Servers += len(pl.all)
			}
		}
		out = append(out, row)
	})
	return out
}

// Memory returns what there is most of. Sizes are those of the structs, without what they point to.
func (c consoleSource) Memory() []admin.Memory {
	clients := admin.Memory{Name: "client", Size: int(unsafe.Sizeof(client{}))}
	servers := admin.Memory{Name: "server", Size: int(unsafe.Sizeof(server{}))}
	texts := admin.Memory{Name: "statement_table", Size: 1}
	channels := admin.Memory{Name: "listen_channel", Size: int(unsafe.Sizeof("")+unsafe.Sizeof([]int32{})) + 4*len(c.p.workers)}
	subscriptions := admin.Memory{Name: "listen_subscription", Size: int(unsafe.Sizeof(""))}
	c.p.each(func(w *worker) {
		clients.Used += len(w.clients)
		for _, g := range w.groups {
			for _, pl := range g.pools {
				servers.Used += len(pl.all)
			}
		}
		for _, l := range w.listeners {
			channels.Used += len(l.channels)
			subscriptions.Used += l.subscriptions
			subscriptions.Free += l.limit - l.subscriptions
		}
		texts.Used += w.texts.bytes
		texts.Free += max(0, tableBudget-w.texts.bytes)
	})
	rows := []admin.Memory{clients, servers, texts, channels, subscriptions}
	for i := range rows {
		rows[i].Total = rows[i].Size * rows[i].Used // what is free is a budget, not memory
	}
	return rows
}

// Pins returns a row for each client that keeps its server between transactions.
func (c consoleSource) Pins() []admin.Pin {
	var out []admin.Pin
	c.p.each(func(w *worker) {
		for cl := range w.clients {
			if cl.pin == notPinned {
				continue
			}
			row := admin.Pin{ClientID: uint64(cl.pid), User: cl.user.Value(), Database: cl.group.shared.key.database, Reason: cl.pin.String(),
				Since: time.Unix(int64(cl.pinnedAt), 0)}
			if cl.server != nil {
				row.ServerPID = cl.server.pid
			}
			if cl.pinnedBy != nil {
				row.Statement = string(textOf([]byte(cl.pinnedBy.body)))
			}
			out = append(out, row)
		}
	})
	slices.SortFunc(out, func(a, b admin.Pin) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return out
}

// maxStatements bounds the rows of SHOW STATEMENTS; those used most come first.
const maxStatements = 1000

// Statements returns a row for each statement that a server has prepared.
func (c consoleSource) Statements() []admin.Prepared {
	rows := make(map[string]*admin.Prepared)
	c.p.each(func(w *worker) {
		for _, g := range w.groups {
			for _, pl := range g.pools {
				for s := range pl.all {
					for st := range s.stmts.last {
						r := rows[st.name]
						if r == nil {
							r = &admin.Prepared{Name: st.name, SQL: string(textOf([]byte(st.body))), Uses: st.uses, Bytes: len(st.body) + entryOverhead}
							rows[st.name] = r
						}
						r.Servers++
					}
				}
			}
		}
	})
	var out []admin.Prepared
	for _, r := range rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b admin.Prepared) int {
		return cmp.Or(cmp.Compare(b.Uses, a.Uses), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(len(out), maxStatements)]
}

// Pools returns a row for each database and server.
func (c consoleSource) Pools() []admin.Pool {
	type key struct {
		group groupKey
		index int
	}
	rows := make(map[key]*admin.Pool)
	c.p.each(func(w *worker) {
		for shared, g := range w.groups {
			for _, pl := range g.pools {
				if len(pl.all) == 0 && shared.up.server(pl.index).vacant() {
					continue
				}
				k := key{shared.key, pl.index}
				r := rows[k]
				if r == nil {
					r = &admin.Pool{Database: shared.key.database, User: shared.key.user, PoolMode: shared.policy.Load().Mode.String(),
						Server: shared.up.server(pl.index).label(), Role: shared.up.role(pl.index)}
					rows[k] = r
				}
				pl.describe(r)
			}
			for cl := range w.clients {
				if cl.group == g && cl.pool == nil && (cl.server == nil || !cl.server.pool.isReplica()) {
					if r := rows[key{shared.key, shared.up.primary()}]; r != nil {
						r.ClientsActive++
					}
				}
			}
		}
	})
	var out []admin.Pool
	for _, r := range rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b admin.Pool) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User), cmp.Compare(a.Server, b.Server))
	})
	return out
}

// describe adds the pool to a row that sums up all workers'.
func (p *pool) describe(r *admin.Pool) {
	for s := range p.all {
		switch {
		case s.inReset:
			r.ServersTested++
		case s.client == nil:
			r.ServersIdle++
		case s.cancels > 0:
			r.ServersBeingCanceled++
		default:
			r.ServersActive++
			if p.isReplica() {
				r.ClientsActive++
			}
		}
	}
	r.ServersLogin += p.dialing
	r.ClientsWaiting += p.waiting.n
	r.MaxWait = max(r.MaxWait, p.waiting.longest(time.Now()))
}

// Clients returns a row for each client that has logged in.
func (c consoleSource) Clients() []admin.Client {
	var out []admin.Client
	c.p.each(func(w *worker) {
		for cl := range w.clients {
			row := admin.Conn{User: cl.user.Value(), Database: cl.group.shared.key.database, State: "idle",
				ConnectTime: time.Unix(int64(cl.connectedAt), 0), ID: uint64(cl.pid), PreparedStatements: len(cl.stmts)}
			if cl.pool != nil {
				row.State = "waiting"
				row.Wait = time.Since(cl.since)
			}
			if s := cl.server; s != nil {
				row.State = "active"
				row.Link, row.RemotePID, row.RequestTime = s.id, s.pid, s.lentAt
			}
			if v, ok := cl.set.find("application_name"); ok {
				row.ApplicationName = v.value
			}
			socketOf(&row, cl.conn)
			out = append(out, admin.Client{Conn: row})
		}
	})
	slices.SortFunc(out, func(a, b admin.Client) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// socketOf fills in what a row tells of the connection itself.
func socketOf(row *admin.Conn, c *netloop.Conn) {
	row.Addr, row.LocalAddr, row.FD = c.RemoteAddr(), c.LocalAddr(), c.FD()
	row.Unread, row.Unsent = len(c.Held()), c.Queued()
	if state := c.TLS(); state != nil {
		// OpenSSL's name of the version, as in PgBouncer.
		row.TLS = strings.Replace(tls.VersionName(state.Version), " ", "v", 1) + "/" + tls.CipherSuiteName(state.CipherSuite)
	}
}

// Servers returns a row for each server connection.
func (c consoleSource) Servers() []admin.Server {
	var out []admin.Server
	c.p.each(func(w *worker) {
		for shared, g := range w.groups {
			for _, pl := range g.pools {
				for s := range pl.all {
					row := admin.Conn{User: shared.key.user, Database: shared.key.database, State: "idle",
						ConnectTime: s.born, RequestTime: s.lentAt, ID: s.id, RemotePID: s.pid,
						PreparedStatements: len(s.stmts.last), CloseNeeded: time.Now().After(s.expires)}
					switch {
					case s.client != nil:
						row.State, row.Link = "active", uint64(s.client.pid)
					case s.inReset:
						row.State = "tested"
					}
					socketOf(&row, s.conn)
					out = append(out, admin.Server{Conn: row, Role: shared.up.role(pl.index), XactCount: s.xacts, QueryCount: s.queries})
				}
			}
		}
		for _, l := range w.listeners {
			if l.conn != nil {
				out = append(out, l.describe())
			}
		}
	})
	slices.SortFunc(out, func(a, b admin.Server) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Stats returns a row for each database.
func (c consoleSource) Stats() []admin.Stat {
	totals := make(map[string]poolStats)
	c.p.each(func(w *worker) {
		count := func(database string, st *poolStats) {
			t := totals[database]
			t.add(st)
			totals[database] = t
		}
		for database, st := range w.past {
			count(database, &st)
		}
		for shared, g := range w.groups {
			count(shared.key.database, &g.here)
			for _, pl := range g.pools {
				count(shared.key.database, &pl.stats)
			}
		}
	})
	now := make(map[string]admin.Counters, len(totals))
	for database, t := range totals {
		now[database] = admin.Counters{ServerAssignments: t.assigned, Xacts: t.xacts, Queries: t.queries, Received: t.received, Sent: t.sent,
			XactTime: time.Duration(t.xactTime) * time.Microsecond, QueryTime: time.Duration(t.queryTime) * time.Microsecond,
			WaitTime: time.Duration(t.waitTime) * time.Microsecond, ServerParses: t.parses, ClientParses: t.clientParses, Binds: t.binds}
	}
	return c.p.history.rows(now, time.Now(), c.p.started)
}

// ClientCount is how many clients are connected, those that are logging in included and consoles not.
func (p *Pooler) ClientCount() int { return int(p.nclients.Load() - p.consoles.Load()) }

// Console returns what the admin console shows, for metrics.
func (p *Pooler) Console() admin.Source { return consoleSource{p} }

// Control returns what the admin console does.
func (p *Pooler) Control() admin.Control { return consoleControl{p} }
