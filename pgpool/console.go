package pgpool

import (
	"cmp"
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
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
	case u.roles.Primary() == index:
		return "primary"
	case u.roles.Usable(index):
		return "replica"
	}
	return "unknown"
}

func (c consoleSource) Version() string { return c.p.cfg.Version }

func (c consoleSource) State() admin.State { return admin.State{} }

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
		row := admin.Loop{ID: len(out), Clients: len(w.clients), Ticks: st.Ticks, Events: st.Reads, Writes: st.Writes,
			BytesIn: st.BytesIn, BytesOut: st.BytesOut}
		for _, g := range w.groups {
			for _, pl := range g.pools {
				row.Servers += len(pl.all)
			}
		}
		out = append(out, row)
	})
	return out
}

func (c consoleSource) Memory() []admin.Memory       { return nil }
func (c consoleSource) Pins() []admin.Pin            { return nil }
func (c consoleSource) Statements() []admin.Prepared { return nil }

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
				k := key{shared.key, pl.index}
				r := rows[k]
				if r == nil {
					r = &admin.Pool{Database: shared.key.database, User: shared.key.user, PoolMode: shared.policy.Load().Mode.String(),
						Server: shared.up.server(pl.index).Addr, Role: shared.up.role(pl.index)}
					rows[k] = r
				}
				pl.describe(r)
			}
			for cl := range w.clients {
				if cl.group == g && cl.pool == nil && (cl.server == nil || !cl.server.pool.isReplica()) {
					if r := rows[key{shared.key, shared.up.roles.Primary()}]; r != nil {
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
			row := admin.Conn{User: cl.user, Database: cl.group.shared.key.database, State: "idle", Addr: cl.conn.RemoteAddr(),
				ConnectTime: time.Unix(cl.connectedAt, 0), ID: uint64(cl.pid), PreparedStatements: len(cl.stmts),
				Unread: len(cl.conn.Held()), Unsent: cl.conn.Queued()}
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
			if cl.conn.IsTLS() {
				row.TLS = "TLS"
			}
			out = append(out, admin.Client{Conn: row})
		}
	})
	slices.SortFunc(out, func(a, b admin.Client) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Servers returns a row for each server connection.
func (c consoleSource) Servers() []admin.Server {
	var out []admin.Server
	c.p.each(func(w *worker) {
		for shared, g := range w.groups {
			for _, pl := range g.pools {
				for s := range pl.all {
					row := admin.Conn{User: shared.key.user, Database: shared.key.database, State: "idle",
						Addr: s.conn.RemoteAddr(), ConnectTime: s.born, RequestTime: s.lentAt, ID: s.id, RemotePID: s.pid,
						PreparedStatements: len(s.stmts.last), CloseNeeded: time.Now().After(s.expires),
						Unread: len(s.conn.Held()), Unsent: s.conn.Queued()}
					switch {
					case s.client != nil:
						row.State, row.Link = "active", uint64(s.client.pid)
					case s.inReset:
						row.State = "tested"
					}
					if s.conn.IsTLS() {
						row.TLS = "TLS"
					}
					out = append(out, admin.Server{Conn: row, Role: shared.up.role(pl.index), XactCount: s.xacts, QueryCount: s.queries})
				}
			}
		}
	})
	slices.SortFunc(out, func(a, b admin.Server) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Stats returns a row for each database.
func (c consoleSource) Stats() []admin.Stat {
	totals := make(map[string]*admin.Counters)
	c.p.each(func(w *worker) {
		for shared, g := range w.groups {
			t := totals[shared.key.database]
			if t == nil {
				t = &admin.Counters{}
				totals[shared.key.database] = t
			}
			for _, pl := range g.pools {
				st := &pl.stats
				t.ServerAssignments += st.assigned
				t.Xacts += st.xacts
				t.Queries += st.queries
				t.Received += st.received
				t.Sent += st.sent
				t.XactTime += time.Duration(st.xactTime) * time.Microsecond
				t.QueryTime += time.Duration(st.xactTime) * time.Microsecond
				t.WaitTime += time.Duration(st.waitTime) * time.Microsecond
				t.ServerParses += st.parses
			}
		}
	})
	now := make(map[string]admin.Counters, len(totals))
	for database, t := range totals {
		now[database] = *t
	}
	return c.p.history.rows(now, time.Now(), c.p.started)
}

// Console returns what the admin console shows, for metrics.
func (p *Pooler) Console() admin.Source { return consoleSource{p} }
