// HOT PATH

package pgpool

import (
	"bytes"
	"math/bits"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// verdict is what is known of the functions that a statement calls and of the relations that it names: that all of them
// only read, and can be read on a replica, or why the primary has to run it. The worst has the highest number.
type verdict uint8

const (
	notJudged verdict = iota
	namesRead

	// These a replica runs if a hint or a rule asks for one. If they write it refuses them.
	namesVolatile // a volatile function
	namesTells    // a built-in function that tells of the server at hand
	namesServer   // a view that does

	namesUnknown  // a function that is not in the catalog, or a name that is hard to read
	namesStale    // a function of the database, and the catalog is not known or has changed
	namesBuiltIn  // a built-in function that is not for replicas: classify.Effects
	namesActs     // a function that calls one that is not for replicas, or leaves something in the session
	namesWrite    // a function that write_functions lists
	namesTooMany  // more than maxNamed functions and relations
	namesView     // a view, or a table with policies or children, that hides a function or relation of these kinds
	namesSequence // a sequence
	namesForeign  // a foreign table
	namesUnlogged // an unlogged table
	namesPrimary  // what primary_relations lists
)

// String returns what EXPLAIN ROUTE says.
func (v verdict) String() string {
	return [...]string{"", "only reads", "volatile", "tells of the server that is asked", "tells of the server that is asked",
		"not known", "not known since the last change of the catalog", "built in, and not for replicas",
		"does what is not for replicas", "listed in write_functions", "one too many", "hides what is not for replicas", "a sequence",
		"a foreign table", "unlogged", "listed in primary_relations"}[v]
}

// reason returns why the primary has to run a statement.
func (v verdict) reason() routeReason {
	if v == namesServer || v >= namesView {
		return forRelation
	}
	return forFunction
}

// verdicts are all that hold for the names of one statement.
type verdicts uint32

func (s verdicts) worst() verdict { return verdict(bits.Len32(uint32(s)) - 1) }

// within tells whether there are no others than these.
func (s verdicts) within(list ...verdict) bool {
	for _, v := range list {
		s &^= 1 << v
	}
	return s == 0
}

// maxNamed bounds the functions and relations that are looked up for a statement.
const maxNamed = 128

// byNames corrects what was decided for st by its text alone: what looks like a read may call or read what is for the
// primary, and functions that are not built in may turn out to only read.
func (c *client) byNames(st *statement, d decision) decision {
	switch {
	case d.why == forRead:
	case d.why == forWrite && st.mayRead():
	default:
		return d
	}
	switch v := c.judge(st).worst(); {
	case v != namesRead:
		return decision{why: v.reason()}
	case c.serializable():
		return decision{why: forIsolation} // but for transactions of another isolation
	}
	return decision{true, forRead}
}

// serializable tells whether transactions of the session are, unless they say otherwise: a replica refuses them (Hot
// Standby in the PostgreSQL documentation).
func (c *client) serializable() bool {
	if c.set != nil && c.set.isolation != "" {
		return c.set.isolation == serializable
	}
	known := c.group.shared.catalog.Load()
	return known != nil && known.serializable
}

const serializable = "serializable"

// hearsLog tells whether the server is to tell the client what it logs: of its statements as they were sent, also when they
// have been answered.
func (c *client) hearsLog() bool {
	level := ""
	if c.set != nil {
		level = c.set.level
	}
	if known := c.group.shared.catalog.Load(); level == "" && known != nil {
		level = known.level
	}
	return level == "log" || strings.HasPrefix(level, "debug")
}

// Fields of the errors by which a replica refuses a read that the primary would run: of an unlogged relation
// (get_relation_info in plancat.c), and in a serializable session (predicate.c).
var (
	unloggedRoutine   = []byte("\x00Rget_relation_info\x00")
	serializedRoutine = []byte("\x00RGetSerializableTransactionSnapshot\x00")
)

// refusesRead tells whether an error of a replica is one of these, and if so whether it is for the statement, whoever
// sends it.
func refusesRead(frame []byte) (refuses, always bool) {
	if !bytes.Contains(frame, notSupported) {
		return false, false
	}
	if bytes.Contains(frame, unloggedRoutine) {
		return true, true
	}
	return bytes.Contains(frame, serializedRoutine), false
}

// refusesHere tells whether the replica refuses a read that the primary would run. If that is so whoever sends it, it is
// remembered until the catalog is known anew.
func (s *server) refusesHere(frame []byte) bool {
	refuses, always := refusesRead(frame)
	if c := s.client; always && c.unit != nil {
		c.unit.unloggedBy = c.group.shared.catalog.Load().ofNames()
		c.w.texts.keep(c.unit)
	}
	return refuses
}

// mayRead tells whether nothing but what it calls and names can make st more than a read.
func (s *statement) mayRead() bool {
	switch r := &s.class; r.Base {
	case classify.Read:
		return r.Flags&^classify.Pids == 0
	case classify.CopyOut:
		return classify.CopiesQuery(textOf([]byte(s.body)), r)
	}
	return false
}

// writes tells whether st may write on the primary, and leaves tells whether it may leave anything in the session.
func (c *client) writes(st *statement) (writes, leaves bool) {
	if !st.mayRead() {
		return st.class.Class != classify.Read, true
	}
	switch all := c.judge(st); {
	case all.within(namesRead):
		return st.primaryOnly, st.primaryOnly
	case all.within(namesRead, namesTells, namesServer, namesSequence, namesUnlogged):
		return false, true
	}
	return true, true
}

// judge looks up the functions that st calls and the relations that it names. The answer is remembered with st until the
// catalog changes.
func (c *client) judge(st *statement) verdicts {
	g, now := c.group.shared, c.w.loop.Now()
	known := g.catalog.Load()
	if known.outOfDate(now) {
		g.wantLook()
	}
	n := known.ofNames()
	if n != nil && st.unloggedBy == n {
		return 1<<namesRead | 1<<namesUnlogged
	}
	if st.class.Class == st.class.Base && !n.selective() && !c.policy.selective() {
		return 1 << namesRead
	}
	stale := known.stalled(now)
	if !stale && st.namedBy == n && st.namedFor == c.policy {
		return st.named
	}
	last := &c.w.texts.named
	v := n.judge(last.find(st), c.policy, stale)
	if cap(last.text) > maxTableText {
		last.of, last.text = nil, nil
	}
	if !stale {
		st.namedBy, st.namedFor, st.named = n, c.policy, v
	}
	return v
}

// namedLast is what the statement names that was looked at last: most are judged right behind.
type namedLast struct {
	wanted bool // some statement has been judged by names
	of     *statement
	text   []byte
	found  []classify.Name
	all    bool
	room   [maxNamed]classify.Name
}

// find returns what st names, until the next statement is looked at.
func (n *namedLast) find(st *statement) *namedLast {
	n.text = append(n.text[:0], st.body...)
	if n.wanted = true; n.of != st {
		n.of = st
		_, n.found, n.all = classify.ClassifyNames(textOf(n.text), n.room[:])
	}
	return n
}

// judge returns what is known of the functions and relations in a text.
func (n *knownNames) judge(in *namedLast, p *Policy, stale bool) verdicts {
	all := verdicts(1 << namesRead)
	for i := range in.found {
		all |= 1 << n.of(in.text, &in.found[i], p, stale)
	}
	if !in.all {
		all |= 1 << namesTooMany
	}
	return all
}

// of returns what is known of one function or relation. The lists of the policy come first.
func (n *knownNames) of(sql []byte, name *classify.Name, p *Policy, stale bool) verdict {
	var nameBuf, schemaBuf [classify.MaxName]byte
	own, ok := name.Name.Fold(sql, nameBuf[:])
	schema, ok2 := name.Schema.Fold(sql, schemaBuf[:])
	if !ok || !ok2 {
		return namesUnknown
	}
	var keyBuf [2*classify.MaxName + len(separator)]byte
	key := own
	if len(schema) > 0 {
		key = append(append(append(keyBuf[:0], schema...), separator...), own...)
	}
	if !name.Function {
		switch {
		case listed(p.PrimaryRelations, schema, own, true):
			return namesPrimary
		case listed(p.ReplicaRelations, schema, own, false):
			return namesRead
		case !name.Reads:
			return namesServer
		case n != nil:
			return max(namesRead, n.relations[string(key)])
		}
		return namesRead
	}
	switch {
	case listed(p.WriteFunctions, schema, own, true):
		return namesWrite
	case listed(p.ReadFunctions, schema, own, false):
		return namesRead
	}
	builtIn := len(schema) == 0 || string(schema) == "pg_catalog"
	if builtIn && !name.Reads && classify.WhyPrimary(own) != "" {
		if classify.Tells(own) {
			return namesTells
		}
		return namesBuiltIn
	}
	known := notJudged
	if n != nil {
		known = n.functions[string(key)]
	}
	switch {
	case known > namesRead:
		return known
	case name.Reads:
		return namesRead
	case stale:
		return namesStale
	case known == notJudged:
		return namesUnknown
	}
	return namesRead
}

// listed tells whether a list of names has this one. An entry without a schema is for all schemas, and one that ends with
// a * for whatever follows. An entry with a schema matches names without one only if loose.
func listed(list []string, schema, name []byte, loose bool) bool {
	for _, entry := range list {
		if in, own, ok := strings.Cut(entry, "."); ok {
			if in != string(schema) && !(loose && len(schema) == 0) {
				continue
			}
			entry = own
		}
		if prefix, ok := strings.CutSuffix(entry, "*"); ok {
			if len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix {
				return true
			}
		} else if entry == string(name) {
			return true
		}
	}
	return false
}

// selective tells whether statements that only call built-in functions have to be looked at.
func (p *Policy) selective() bool { return len(p.WriteFunctions)+len(p.PrimaryRelations) > 0 }

// overdue is for how long what is known of functions counts when a look is due and does not come: so long, a database
// without a primary has not changed, and reads go on.
const overdue = time.Minute

// stalled tells whether functions may have changed since.
func (k *catalog) stalled(now time.Time) bool {
	return k.unsure() || k.expires.Add(overdue).Before(now)
}

func (k *catalog) ofNames() *knownNames {
	if k == nil {
		return nil
	}
	return k.names
}
