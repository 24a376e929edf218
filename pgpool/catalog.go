package pgpool

import (
	"time"
)

// function is a function of the database, or a table or view that calls one: then text is the function's name.
type function struct {
	name, text string
	user       bool // a table or view
}

const (
	// maxFunctions bounds what is taken in of a database's code; functions beyond it are not known.
	maxFunctions = 20000
	// learnAgain is when the catalog is looked at again: code may change behind the pooler's back.
	learnAgain = 60 * time.Second
	// learnRetry is the pause between looks, whatever happens.
	learnRetry = 5 * time.Second
)

// learnSQL asks for the settings of a fresh session, for the functions that may leave something in a session, those
// that mention their names, and the tables and views that call any of them. Functions in C are taken to leave nothing.
const learnSQL = `SET LOCAL statement_timeout = '10s'; WITH RECURSIVE code AS (
 SELECT p.oid, pg_catalog.lower(p.proname) AS name, pg_catalog.left(p.prosrc, 65536) AS text
 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND l.lanname NOT IN ('c', 'internal')
), hazard AS (
 SELECT oid, name, text FROM code WHERE text OPERATOR(pg_catalog.~*)
  E'\\m(set_config|set|reset|temp|temporary|pg_temp|pg_(try_)?advisory_(un)?lock(_all|_shared)?|prepare|hold|listen|execute)\\M'
 UNION
 SELECT c.oid, c.name, c.text FROM hazard h JOIN code c ON pg_catalog.strpos(pg_catalog.lower(c.text), h.name) OPERATOR(pg_catalog.>) 0
)
SELECT 'd' AS kind, name::pg_catalog.text, CASE WHEN source OPERATOR(pg_catalog.<>) 'session' THEN pg_catalog.current_setting(name) WHEN unit IS NULL THEN reset_val END AS value
 FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser')
UNION ALL SELECT 'd', 'session_authorization', pg_catalog.pg_get_userbyid(a.usesysid)::pg_catalog.text
 FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a
UNION ALL SELECT 'f', name, text FROM hazard
UNION ALL SELECT DISTINCT 'u', pg_catalog.lower(c.relname), h.name FROM pg_catalog.pg_trigger t
 JOIN hazard h ON h.oid OPERATOR(pg_catalog.=) t.tgfoid JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
UNION ALL SELECT DISTINCT 'u', pg_catalog.lower(c.relname), h.name FROM pg_catalog.pg_depend d
 JOIN hazard h ON h.oid OPERATOR(pg_catalog.=) d.refobjid
 LEFT JOIN pg_catalog.pg_rewrite r ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid OPERATOR(pg_catalog.=) d.objid
 LEFT JOIN pg_catalog.pg_attrdef a ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.oid OPERATOR(pg_catalog.=) d.objid
 JOIN pg_catalog.pg_class c ON c.oid IN (r.ev_class, a.adrelid)
 WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass`

// outdate notes that a client has changed code: until the next look, everything may leave what is known to be left by any
// function, and what the client's text says.
func (g *sharedGroup) outdate(change *traces) {
	g.codeChanges.Add(1)
	for {
		old := g.catalog.Load()
		if old == nil {
			return
		}
		now := &catalog{defaults: old.defaults, hazards: old.hazards, every: old.every.clone(), stale: true}
		now.every.add(change)
		now.every.kinds &^= traceCatalog
		if g.catalog.CompareAndSwap(old, now) {
			return
		}
	}
}

// learns looks at the catalog if it is time to, and reports whether it does.
func (s *server) learns() bool {
	g, now := s.pool.group.shared, s.pool.w.loop.Now()
	next := g.learnAt.Load()
	if now.UnixNano() < next || !g.learnAt.CompareAndSwap(next, now.Add(learnRetry).UnixNano()) {
		return false
	}
	s.learn()
	return true
}

// learn looks at the catalog.
func (s *server) learn() {
	s.inspect(learnSQL, &findings{defaults: make(map[string]initial), codeChanges: s.pool.group.shared.codeChanges.Load()})
}

// learned takes the answer. After a failure what was known before counts until the next look: at first, nothing is.
func (s *server) learned(f *findings) {
	g, now := s.pool.group.shared, s.pool.w.loop.Now()
	if f.failed {
		s.pool.w.pooler.log.Warn("cannot look for functions that leave session state", "database", g.name, "server_pid", s.pid)
		g.catalog.CompareAndSwap(nil, &catalog{stale: true})
		return
	}
	known := newCatalog(f)
	known.expires = now.Add(learnAgain)
	known.stale = f.codeChanges != g.codeChanges.Load()
	g.catalog.Store(known)
}

// newCatalog finds out which functions leave what: first by their own text, then by what they call.
func newCatalog(f *findings) *catalog {
	k := &catalog{defaults: f.defaults, hazards: make(map[string]*traces)}
	note := func(name, text string) bool {
		t := tracesOf(text, k)
		t.kinds &^= traceCatalog
		t.releases = 0
		if t.kinds == 0 {
			return false
		}
		old := k.hazards[name]
		if old == nil {
			old = &traces{}
			k.hazards[name] = old
		}
		kinds, names := old.kinds, len(old.names)
		old.add(&t)
		return old.kinds != kinds || len(old.names) != names
	}
	for more := true; more; {
		more = false
		for _, fn := range f.code {
			more = note(fn.name, fn.text) || more
		}
	}
	for _, t := range k.hazards {
		k.every.add(t)
	}
	return k
}
