package pgpool

import (
	"context"
	"strings"
	"time"
)

// function is a function of the database with its source; or what runs another function or touches another table, as a
// table with a trigger does: then text is the name of that.
type function struct{ name, text string }

const (
	// maxCode bounds what is taken in of a database's code, in bytes. Where there is more, any code may leave anything.
	maxCode = 64 << 20
	// learnAgain is when the catalog is looked at again: code may change behind the pooler's back.
	learnAgain = 60 * time.Second
	// learnRetry is the pause between looks, whatever happens.
	learnRetry = 5 * time.Second
)

// learnedEvery returns learnAgain and learnRetry, which tests change.
func (p *Pooler) learnedEvery() (again, retry time.Duration) {
	if p.cfg.learnAgain > 0 {
		return p.cfg.learnAgain, p.cfg.learnRetry
	}
	return learnAgain, learnRetry
}

// learnSQL asks for the settings of a fresh session and for the code of the database: the functions, and what runs them
// without naming them – triggers, rules, views, defaults, checks, domains, policies, aggregates, event triggers – or leads
// to such a table: views, cascading foreign keys, partitions. Functions in C are taken to leave nothing. The code is left
// out if its fingerprint, from the transactions that wrote it, is that of the last look.
const learnSQL = `SET LOCAL statement_timeout = '10s'; WITH print AS (SELECT pg_catalog.concat_ws(',',
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND relpersistence OPERATOR(pg_catalog.<>) 't'),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_namespace),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_trigger),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_rewrite),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_attrdef),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_constraint),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_policy),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_inherits),
  (SELECT pg_catalog.concat(pg_catalog.count(*), '-', pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_event_trigger)) AS now
), changed AS (SELECT now OPERATOR(pg_catalog.<>) $print AS yes FROM print
), code AS (
 SELECT pg_catalog.lower(p.proname)::pg_catalog.text AS name,
  pg_catalog.left(CASE p.prosrc WHEN '' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END, 65536) AS text
 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE (SELECT yes FROM changed) AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND l.lanname NOT IN ('c', 'internal')
), uses AS (
 SELECT classid::pg_catalog.regclass::pg_catalog.text AS class, objid, refobjid FROM pg_catalog.pg_depend
 WHERE refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_class'::pg_catalog.regclass)
  AND refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND (SELECT yes FROM changed)
), edge AS (
 SELECT tgrelid AS oid, tgfoid AS ref FROM pg_catalog.pg_trigger
 UNION ALL SELECT objid, refobjid FROM uses WHERE class OPERATOR(pg_catalog.~) 'pg_proc'
 UNION ALL SELECT r.ev_class, refobjid FROM uses JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) objid WHERE class OPERATOR(pg_catalog.~) 'pg_rewrite'
 UNION ALL SELECT a.adrelid, refobjid FROM uses JOIN pg_catalog.pg_attrdef a ON a.oid OPERATOR(pg_catalog.=) objid WHERE class OPERATOR(pg_catalog.~) 'pg_attrdef'
 UNION ALL SELECT c.conrelid, refobjid FROM uses JOIN pg_catalog.pg_constraint c ON c.oid OPERATOR(pg_catalog.=) objid WHERE class OPERATOR(pg_catalog.~) 'pg_constraint'
 UNION ALL SELECT a.attrelid, refobjid FROM uses JOIN pg_catalog.pg_constraint c ON c.oid OPERATOR(pg_catalog.=) objid AND c.contypid OPERATOR(pg_catalog.>) 0::pg_catalog.oid
  JOIN pg_catalog.pg_attribute a ON a.atttypid OPERATOR(pg_catalog.=) c.contypid WHERE class OPERATOR(pg_catalog.~) 'pg_constraint'
 UNION ALL SELECT p.polrelid, refobjid FROM uses JOIN pg_catalog.pg_policy p ON p.oid OPERATOR(pg_catalog.=) objid WHERE class OPERATOR(pg_catalog.~) 'pg_policy'
 UNION ALL SELECT confrelid, conrelid FROM pg_catalog.pg_constraint WHERE contype OPERATOR(pg_catalog.=) 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
 UNION ALL SELECT inhparent, inhrelid FROM pg_catalog.pg_inherits
), named AS (
 SELECT oid, pg_catalog.lower(relname)::pg_catalog.text AS name FROM pg_catalog.pg_class WHERE relkind IN ('r', 'v', 'm', 'p', 'f')
 UNION ALL SELECT oid, pg_catalog.lower(proname)::pg_catalog.text FROM pg_catalog.pg_proc
)
SELECT 'd' AS kind, name::pg_catalog.text, CASE WHEN source OPERATOR(pg_catalog.<>) 'session' THEN pg_catalog.current_setting(name) WHEN unit IS NULL THEN reset_val END AS value
 FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser')
UNION ALL SELECT 'd', 'session_authorization', pg_catalog.pg_get_userbyid(a.usesysid)::pg_catalog.text
 FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a
UNION ALL SELECT 'v', '', now FROM print
UNION ALL SELECT 'f', name, text FROM code
UNION ALL SELECT DISTINCT 'u', n.name, ref.name FROM edge JOIN named n ON n.oid OPERATOR(pg_catalog.=) edge.oid JOIN named ref ON ref.oid OPERATOR(pg_catalog.=) edge.ref
 WHERE (SELECT yes FROM changed) AND edge.oid OPERATOR(pg_catalog.<>) edge.ref AND edge.ref OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
UNION ALL SELECT 'u', command, pg_catalog.lower(p.proname)::pg_catalog.text FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) e.evtfoid,
  pg_catalog.unnest('{create,alter,drop}'::pg_catalog.text[]) command WHERE (SELECT yes FROM changed)
UNION ALL SELECT DISTINCT 'o', pg_catalog.lower(p.proname)::pg_catalog.text, '' FROM pg_catalog.pg_proc p WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.=) ANY (
 SELECT oprcode::pg_catalog.oid FROM pg_catalog.pg_operator UNION ALL SELECT castfunc FROM pg_catalog.pg_cast
 UNION ALL SELECT refobjid FROM pg_catalog.pg_depend JOIN pg_catalog.pg_constraint c ON c.oid OPERATOR(pg_catalog.=) objid WHERE c.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
  AND classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass)
UNION ALL SELECT 'q', '', '' WHERE EXISTS (SELECT FROM code WHERE text OPERATOR(pg_catalog.~*) E'\\m(currval|lastval)\\M')
 OR (SELECT yes FROM changed) AND EXISTS (SELECT FROM pg_catalog.pg_attrdef WHERE adbin::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (1575|2559) ')` + namesSQL

// outdate notes that a client has changed code: until the next look, everything may leave what is known to be left by any
// function, and what the client's text says.
func (g *sharedGroup) outdate(change *traces) {
	g.codeChanges.Add(1)
	for {
		old := g.catalog.Load()
		if old == nil {
			return
		}
		now := *old
		now.every, now.stale = old.every.clone(), true
		now.every.add(change)
		now.every.kinds &^= traceCatalog
		if g.catalog.CompareAndSwap(old, &now) {
			return
		}
	}
}

// outdate does so for everybody who uses the same database.
func (p *Pooler) outdate(g *sharedGroup, change *traces) {
	g.outdate(change)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.groups {
		if other != g && other.up == g.up && other.name == g.name {
			other.outdate(change)
		}
	}
}

// wantLook notes that something depends on what is overdue for another look.
func (g *sharedGroup) wantLook() {
	if !g.lookWanted.Load() {
		g.lookWanted.Store(true)
	}
}

// look has a free server of the primary look at the catalog if that is wanted: who only reads, from replicas, never gets
// one that would do it in passing. Housekeeping calls it.
func (g *group) look(now time.Time) {
	shared := g.shared
	if !shared.lookWanted.Load() || now.UnixNano() < shared.learnAt.Load() {
		return
	}
	if !shared.catalog.Load().outOfDate(now) {
		shared.lookWanted.Store(false)
		return
	}
	for _, p := range g.pools {
		if p.isReplica() || p.waiting.n > 0 || now.Before(p.retryAt) {
			continue
		}
		switch s := p.take(); {
		case s == nil:
			if p.slots.used.Load() == 0 && !g.paused && g.moved == nil && !g.removed && !g.w.draining && p.reserve() {
				p.dialing++
				g.w.pooler.dialFor(p)
			}
		case s.learns():
			s.inReset, s.since = true, now
		default:
			p.put(s)
		}
	}
}

// learns looks at the catalog if it is time to, and reports whether it does. A replica may not know yet what has changed.
func (s *server) learns() bool {
	g, now := s.pool.group.shared, s.pool.w.loop.Now()
	next := g.learnAt.Load()
	_, retry := s.pool.w.pooler.learnedEvery()
	if s.pool.isReplica() || now.UnixNano() < next || !g.learnAt.CompareAndSwap(next, now.Add(retry).UnixNano()) {
		return false
	}
	s.learn()
	return true
}

// learn looks at the catalog.
func (s *server) learn() {
	g := s.pool.group.shared
	f := &findings{defaults: make(map[string]initial), codeChanges: g.codeChanges.Load(), before: g.catalog.Load()}
	print := ""
	if f.before != nil {
		print = f.before.print
	}
	s.inspect(strings.Replace(learnSQL, "$print", quoteLiteral(print), 1), f)
}

// learned takes the answer. After a failure what was known before counts until the next look: at first, nothing is. A
// database may have much code: the loop does not wait until it is read.
func (s *server) learned(f *findings) {
	g, now, p := s.pool.group.shared, s.pool.w.loop.Now(), s.pool.w.pooler
	if f.failed {
		p.log.Warn("cannot look for functions that leave session state", "database", g.name, "server_pid", s.pid)
		g.catalog.CompareAndSwap(nil, &catalog{stale: true})
		return
	}
	if f.sequences {
		g.sequences.Store(true)
	}
	loop := s.pool.w.loop
	again, _ := p.learnedEvery()
	if s.pool.isReplica() {
		again = 0 // better than nothing
	}
	s.learning = p.task(func(context.Context) {
		known := newCatalog(f)
		known.expires = now.Add(again)
		g.publish(known, f.codeChanges)
		loop.Post(s.hasLearned)
	})
}

// hasLearned lets the server go, which no client had meanwhile: the first is not to run code that nobody knows.
func (s *server) hasLearned() {
	s.learning = false
	if s.client == nil && s.owed.n == 0 && s.body == 0 {
		s.settle()
	}
}

// publish makes known what is known, as of the given number of changes of code.
func (g *sharedGroup) publish(known *catalog, codeChanges uint64) {
	for {
		old := g.catalog.Load()
		next := *known
		next.stale = codeChanges != g.codeChanges.Load()
		if g.catalog.CompareAndSwap(old, &next) { // or outdate was faster
			return
		}
	}
}

// newCatalog finds out which functions leave what: first by their own text, then by what they call.
func newCatalog(f *findings) *catalog {
	k := &catalog{defaults: f.defaults, hazards: make(map[string]*traces), print: f.print, partial: f.partial,
		serializable: f.defaults["default_transaction_isolation"].value == serializable, level: f.defaults["client_min_messages"].value}
	if f.before != nil && f.before.print != "" && f.before.print == f.print {
		k.hazards, k.partial, k.names = f.before.hazards, f.before.partial, f.before.names
	} else {
		k.findHazards(f.code)
	}
	for _, t := range k.hazards {
		k.every.add(t)
	}
	for _, name := range f.unnamed {
		k.hidden = k.hidden || k.hazards[name] != nil
	}
	if k.names == nil {
		k.names = newNames(f, k.hazards)
	}
	return k
}

// coded is a function with what its own text may leave, and those of the others whose names stand in it.
type coded struct {
	name  string
	own   traces
	calls []string
}

// findHazards fills in what the functions leave. A text is read once, however long the chains of calls are.
func (k *catalog) findHazards(code []function) {
	known := make(map[string]bool, len(code))
	for _, fn := range code {
		known[lastWord(fn.name)] = true
	}
	all, todo, waits := make([]coded, len(code)), make([]int, len(code)), make([]bool, len(code))
	callers := make(map[string][]int)
	for i, fn := range code {
		all[i] = coded{name: lastWord(fn.name), own: tracesOf(fn.text, k)}
		seen := make(map[string]bool)
		for w := (words{text: fn.text}); w.next(); {
			if known[w.word] && !seen[w.word] {
				seen[w.word] = true
				all[i].calls = append(all[i].calls, w.word)
				callers[w.word] = append(callers[w.word], i)
			}
		}
		todo[len(code)-1-i], waits[i] = i, true
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo, waits[i] = todo[:len(todo)-1], false
		fn := &all[i]
		t := fn.own.clone()
		for _, callee := range fn.calls {
			if h := k.hazards[callee]; h != nil {
				t.add(h)
			}
		}
		t.kinds &^= traceCatalog
		t.releases = 0
		if t.kinds == 0 {
			continue
		}
		old := k.hazards[fn.name]
		if old == nil {
			old = &traces{}
			k.hazards[fn.name] = old
		}
		kinds, names, resets, inValues := old.kinds, len(old.names), old.resets, old.inValues
		old.add(&t)
		if old.kinds == kinds && len(old.names) == names && old.resets == resets && old.inValues == inValues {
			continue
		}
		for _, caller := range callers[fn.name] {
			if !waits[caller] {
				todo, waits[caller] = append(todo, caller), true
			}
		}
	}
}
