package pgpool

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// The check on release.
//
// Before a server goes back to the pool after a unit that may have left something in the session (traces), it is asked
// what is there, in one query of ours behind the client's ReadyForQuery. Settings and role that it reports become the
// client's and follow it from server to server. A temporary object, a lock, a statement prepared by SQL or a cursor keeps
// the client on this server; when the next check finds it gone, the pin is gone. The client waits for the answer only if
// it goes on before it is there.

// findings is what a check, or a look at the catalog, has brought so far.
type findings struct {
	asked    traces
	settings []setting
	held     traceKinds
	failed   bool

	// A look at the catalog:
	defaults    map[string]initial
	code        []function
	routines    []function // what namesSQL has found: functions,
	relations   []function // relations that are read on the primary,
	reads       []function // and what reading views and others runs and reads
	size        int        // of all that, bytes
	partial     bool       // there is more
	print       string     // fingerprint of the code
	sequences   bool       // there is code that calls currval or lastval
	unnamed     []string   // functions that run without being named
	codeChanges uint64     // how many changes of code were known of when it began
	before      *catalog
}

// checkSQL asks for t. The answer's rows are a kind, a name and a value. Names are qualified: the search_path is the
// client's.
func checkSQL(t *traces) string {
	var q strings.Builder
	q.WriteString("SELECT 'r',pg_catalog.current_setting('role'),pg_catalog.current_setting('session_authorization')")
	if t.kinds&traceAnySetting != 0 {
		q.WriteString(" UNION ALL SELECT 's',name,pg_catalog.current_setting(name) FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'")
	}
	for _, name := range t.names {
		q.WriteString(" UNION ALL SELECT 's'," + quoteLiteral(name) + ",pg_catalog.current_setting(" + quoteLiteral(name) + ",true)")
	}
	kinds := t.kinds | t.releases
	if kinds&traceTemp != 0 {
		// 2615 is pg_namespace.
		q.WriteString(" UNION ALL SELECT 't','','' WHERE pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND EXISTS" +
			" (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())")
	}
	if kinds&traceLock != 0 {
		q.WriteString(" UNION ALL SELECT 'a','','' WHERE EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())")
	}
	if kinds&tracePrepared != 0 {
		q.WriteString(" UNION ALL SELECT 'p','','' WHERE EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)")
	}
	if kinds&traceCursor != 0 {
		q.WriteString(" UNION ALL SELECT 'c','','' WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)")
	}
	if kinds&traceListen != 0 {
		q.WriteString(" UNION ALL SELECT 'l','','' WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels())")
	}
	return q.String()
}

// check asks the server what the units since the last check have left, and reports whether there is anything to ask. It
// comes back in settle.
func (s *server) check() bool {
	g := s.pool.group.shared
	due := s.due
	s.due, s.left = traces{}, false
	if due.kinds&traceCatalog != 0 {
		s.pool.w.pooler.outdate(g, &due)
	}
	if due.kinds&traceUnknown != 0 {
		if known := g.catalog.Load(); known != nil {
			due.add(&known.every)
		}
	}
	if due.kinds&traceHidden != 0 {
		s.client.keep(pinHidden)
	}
	due.kinds &^= traceCatalog | traceUnknown | traceHidden | traceLocal
	due.releases &= s.client.held
	if due.kinds|due.releases != 0 {
		s.client.changing = true // what it sends next must find the books in order
		s.inspect(checkSQL(&due), &findings{asked: due})
	}
	return s.owed.n > 0
}

// checking tells whether the server is busy with our questions and nothing else.
func (s *server) checking() bool {
	return s.owed.n > 0 && s.owed.n == len(s.inspections) && s.status == pgwire.Idle && !s.skipping && !s.fatal && s.cancels == 0
}

// inspect sends a query of ours whose answer is for f.
func (s *server) inspect(sql string, f *findings) {
	s.conn.SetBuffer(pgwire.AppendQuery(s.conn.Buffer(len(sql)+16), sql))
	s.expect(expectation{kind: kindQuery, action: inspect})
	s.unnamed = nil // a simple Query drops it (exec_simple_query in postgres.c)
	s.inspections = append(s.inspections, f)
}

// inspecting tells whether the answer at hand is to a question of ours.
func (s *server) inspecting() bool { return s.owed.n > 0 && s.owed.first().action == inspect }

// found takes a row of an answer.
func (s *server) found(row []byte) {
	f := s.inspections[0]
	var columns [3]string
	var null [3]bool
	b := row[pgwire.HeaderLen:]
	if len(b) < 2 || binary.BigEndian.Uint16(b) != 3 {
		f.failed = true
		return
	}
	b = b[2:]
	for i := range columns {
		if len(b) < 4 {
			f.failed = true
			return
		}
		n := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if n < 0 {
			null[i] = true
			continue
		}
		if n > len(b) {
			f.failed = true
			return
		}
		columns[i], b = string(b[:n]), b[n:]
	}
	f.add(columns[0], columns[1], columns[2], null[2], s.pool.group.shared.catalog.Load())
}

// add notes one fact.
func (f *findings) add(kind, name, value string, null bool, known *catalog) {
	switch kind {
	case "r":
		if name != "none" {
			f.settings = append(f.settings, setting{name: "role", value: name})
		}
		if known == nil || value != known.defaults["session_authorization"].value {
			f.settings = append(f.settings, setting{name: "session_authorization", value: value})
		}
	case "s":
		name = strings.ToLower(name) // DateStyle
		switch name {
		case "transaction_isolation", "transaction_read_only", "transaction_deferrable", "role", "session_authorization":
			return
		}
		if null || value == "" && strings.Contains(name, ".") {
			return
		}
		if known != nil {
			if v, ok := known.defaults[name]; ok && v.known && v.value == value {
				return
			}
		}
		f.settings = append(f.settings, setting{name: name, value: value})
	case "t":
		f.held |= traceTemp
	case "a":
		f.held |= traceLock
	case "p":
		f.held |= tracePrepared
	case "c":
		f.held |= traceCursor
	case "l":
		f.held |= traceListen
	case "d":
		if f.defaults == nil {
			return // not asked for
		}
		f.defaults[strings.ToLower(name)] = initial{value, !null}
	case "f", "u", "F", "R", "E":
		if f.size += len(name) + len(value); f.size > maxCode {
			f.partial = true
			return
		}
		f.learn(kind, function{name, value})
	case "o":
		f.unnamed = append(f.unnamed, name)
	case "v":
		f.print = value
	case "q":
		f.sequences = true
	}
}

// learn takes a fact of the catalog.
func (f *findings) learn(kind string, fact function) {
	switch kind {
	case "F":
		f.routines = append(f.routines, fact)
	case "R":
		f.relations = append(f.relations, fact)
	case "E":
		f.reads = append(f.reads, fact)
	default:
		f.code = append(f.code, fact)
	}
}

// inspected is called at the end of an answer.
func (s *server) inspected(failed bool) {
	f := s.inspections[0]
	s.inspections = slices.Delete(s.inspections, 0, 1)
	f.failed = f.failed || failed
	if f.defaults != nil {
		s.learned(f)
		return
	}
	c := s.client
	if c == nil {
		return // it has gone; DISCARD ALL follows
	}
	if f.failed {
		c.keep(pinSetting)
		s.later.add(&f.asked)
		return
	}
	s.adopt(f)
	c.held = c.held&^(f.asked.kinds|f.asked.releases) | f.held
	c.repin()
}

// adopt makes what the server reports the settings of the client.
func (s *server) adopt(f *findings) {
	c, list := s.client, f.settings
	for _, old := range s.set.all() {
		switch {
		case old.name == "role" || old.name == "session_authorization":
		case slices.Contains(f.asked.names, old.name):
		case f.asked.kinds&traceAnySetting != 0 && !strings.Contains(old.name, "."):
		default:
			list = append(list, old)
		}
	}
	if now := newSettings(list); !now.equal(s.set) || !now.equal(c.set) {
		s.set = now
		c.has(now)
	}
	if f.asked.resets { // the server knows nothing of what the client started with
		for _, v := range c.startSet.all() {
			if _, ok := c.set.find(v.name); !ok {
				c.has(c.set.with(v))
			}
		}
	}
	if !s.set.equal(c.set) {
		s.restore(c.set) // here too, in case it stays
	}
}
