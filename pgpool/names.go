package pgpool

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// knownNames are the functions and relations of a database, as far as they decide where a statement runs. Keys are names as
// the server knows them: alone, for what names no schema, and qualified. Of several that share a key the worst counts:
// overloads, and functions and relations of other schemas, whatever the search_path is. They never change.
type knownNames struct {
	functions map[string]verdict // those that are not built in
	relations map[string]verdict // those that are read on the primary
	// shadows: there is a function that does more than read, and has the name of a built-in one that only reads.
	shadows bool
}

// separator stands between a schema and a name in keys.
const separator = "\x01"

// selective tells whether statements that only call built-in functions have to be looked at.
func (n *knownNames) selective() bool { return n != nil && (n.shadows || len(n.relations) > 0) }

// namesSQL asks for them, at the end of learnSQL: the functions ('F'), with their volatility and whether they are in C; an
// aggregate is as volatile as the functions that it is made of. The relations that a replica cannot read, or reads
// differently ('R'): unlogged and foreign tables, and sequences, which are up to 32 values ahead in the log. And what
// reading a view, a table with policies, or a parent of others runs and reads ('E'), by the oids in their trees (pg_node_tree:
// relid; funcid and opfuncid; aggfnoid and winfnoid), because pg_depend leaves out what is built in. Security definer does not matter: the rights are the same everywhere. Neither
// does parallel safety: PARALLEL UNSAFE is the default, and says nothing of what a function does.
const namesSQL = `
UNION ALL SELECT 'F', pg_catalog.concat(n.nspname, pg_catalog.chr(1), p.proname),
  pg_catalog.concat(CASE WHEN p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.prokind OPERATOR(pg_catalog.=) 'a' AND EXISTS (SELECT FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc s
   ON s.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
   WHERE a.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.=) p.oid AND s.provolatile OPERATOR(pg_catalog.=) 'v') THEN 'v' ELSE 's' END, CASE WHEN l.lanname IN ('c', 'internal') THEN 'c' ELSE '-' END)
 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE (SELECT yes FROM changed) AND p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.prokind OPERATOR(pg_catalog.<>) 'p'
UNION ALL SELECT 'R', pg_catalog.concat(n.nspname, pg_catalog.chr(1), c.relname), CASE WHEN c.relkind IN ('S', 'f') THEN c.relkind::pg_catalog.text ELSE 'u' END
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE (SELECT yes FROM changed) AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
  AND (c.relkind IN ('S', 'f') OR c.relkind IN ('r', 'p', 'm') AND c.relpersistence OPERATOR(pg_catalog.=) 'u')
UNION ALL SELECT DISTINCT 'E', pg_catalog.concat(n.nspname, pg_catalog.chr(1), c.relname),
  CASE mark WHEN ':relid ' THEN (SELECT pg_catalog.concat('r', rn.nspname, pg_catalog.chr(1), r.relname) FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid OPERATOR(pg_catalog.=) r.relnamespace
    WHERE r.oid OPERATOR(pg_catalog.=) pg_catalog.split_part(pg_catalog.left(piece, 12), ' ', 1)::pg_catalog.oid AND r.oid OPERATOR(pg_catalog.<>) c.oid)
   ELSE (SELECT pg_catalog.concat('f', fn.nspname, pg_catalog.chr(1), f.proname) FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace fn ON fn.oid OPERATOR(pg_catalog.=) f.pronamespace
    WHERE f.oid OPERATOR(pg_catalog.=) pg_catalog.split_part(pg_catalog.left(piece, 12), ' ', 1)::pg_catalog.oid AND (f.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid OR f.provolatile OPERATOR(pg_catalog.<>) 'i')) END
 FROM (SELECT o.oid, pg_catalog.concat(o.tree) AS tree FROM (SELECT ev_class AS oid, ev_action::pg_catalog.text AS tree FROM pg_catalog.pg_rewrite WHERE ev_type OPERATOR(pg_catalog.=) '1'
   UNION ALL SELECT polrelid, polqual::pg_catalog.text FROM pg_catalog.pg_policy) o WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND (SELECT yes FROM changed) OFFSET 0) t
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace,
  pg_catalog.unnest('{":relid ","funcid ","fnoid "}'::pg_catalog.text[]) mark, pg_catalog.unnest((pg_catalog.string_to_array(t.tree, mark))[2:]) piece
 WHERE c.relkind IN ('v', 'r', 'p') AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
UNION ALL SELECT 'E', pg_catalog.concat(n.nspname, pg_catalog.chr(1), c.relname), pg_catalog.concat('r', rn.nspname, pg_catalog.chr(1), r.relname)
 FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) i.inhrelid JOIN pg_catalog.pg_namespace rn ON rn.oid OPERATOR(pg_catalog.=) r.relnamespace
 WHERE (SELECT yes FROM changed) AND r.relkind IN ('r', 'p', 'f') AND (r.relkind OPERATOR(pg_catalog.<>) 'r' OR r.relpersistence OPERATOR(pg_catalog.=) 'u')`

// newNames makes of the facts of a look what they mean. hazards are those of the same look.
func newNames(f *findings, hazards map[string]*traces) *knownNames {
	n := &knownNames{functions: make(map[string]verdict, 2*len(f.routines)), relations: make(map[string]verdict, 2*len(f.relations))}
	readers := make(map[string][]string) // keys of functions that may turn out to act, by name in lower case
	for _, fn := range f.routines {
		name, v, low := unqualified(fn.name), namesRead, strings.ToLower(unqualified(fn.name))
		switch {
		case fn.text == "vc" && (classify.OnlyReads([]byte(name)) || isHarmlessInC(name)):
		case leaves(hazards[lastWord(low)]) || classify.WhyPrimary([]byte(name)) != "":
			v = namesActs
		default:
			if strings.HasPrefix(fn.text, "v") {
				v = namesVolatile
			}
			readers[low] = append(readers[low], fn.name)
		}
		worsen(n.functions, fn.name, v)
	}
	// A function that is not volatile cannot write by itself, but call what does, and any can call what has another effect.
	type reader struct {
		name  string
		own   verdict  // the worst built-in function that it calls
		calls []string // others
	}
	var all []reader
	var todo []int
	callers := make(map[string][]int)
	for _, code := range f.code {
		if len(readers[code.name]) == 0 {
			continue
		}
		own, calls := n.calls(code.text)
		for _, name := range calls {
			callers[name] = append(callers[name], len(all))
		}
		todo = append(todo, len(all))
		all = append(all, reader{code.name, own, calls})
	}
	for len(todo) > 0 {
		code := &all[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		keys := readers[code.name]
		if len(keys) == 0 {
			continue
		}
		calls := code.own
		for _, name := range code.calls {
			calls = max(calls, n.functions[name])
		}
		kept := keys[:0]
		for _, key := range keys {
			if volatile := n.functions[key] == namesVolatile; calls > namesServer || calls > namesRead && !volatile {
				worsen(n.functions, key, namesActs)
				todo = append(todo, callers[unqualified(key)]...)
			} else {
				kept = append(kept, key)
			}
		}
		readers[code.name] = kept
	}
	for key, v := range n.functions {
		n.shadows = n.shadows || v != namesRead && classify.OnlyReads([]byte(key))
	}
	for _, r := range f.relations {
		v := namesUnlogged
		switch r.text {
		case "S":
			v = namesSequence
		case "f":
			v = namesForeign
		}
		worsen(n.relations, r.name, v)
	}
	for more := true; more; {
		more = false
		for _, e := range f.reads {
			if n.relations[e.name] == notJudged && n.hides(e.text) {
				worsen(n.relations, e.name, namesView)
				more = true
			}
		}
	}
	return n
}

// worsen notes what holds for a qualified name, and for the name alone.
func worsen(m map[string]verdict, key string, v verdict) {
	m[key] = max(m[key], v)
	m[unqualified(key)] = max(m[unqualified(key)], v)
}

func unqualified(key string) string {
	_, name, _ := strings.Cut(key, separator)
	return name
}

// leaves tells whether a function leaves something in its session.
func leaves(hazard *traces) bool { return hazard != nil && hazard.any() }

// lastWord is what hazards know a function by whose name is not a word.
func lastWord(name string) string {
	for w := (words{text: name}); w.next(); {
		name = w.word
	}
	return name
}

// calls returns the worst built-in function that the source of a function calls, and which of the others: for one that is
// not volatile, anything but reading is not to run on a replica.
func (n *knownNames) calls(source string) (worst verdict, others []string) {
	worst = namesRead
	seen := make(map[string]bool)
	for w := (words{text: source}); w.next(); {
		if !strings.HasPrefix(strings.TrimLeft(source[w.pos:], "\" \t\r\n"), "(") {
			continue
		}
		if _, known := n.functions[w.word]; known && !seen[w.word] {
			seen[w.word] = true
			others = append(others, w.word)
		}
		if name := []byte(w.word); !classify.OnlyReads(name) && classify.WhyPrimary(name) != "" {
			if classify.Tells(name) {
				worst = max(worst, namesTells)
			} else {
				worst = max(worst, namesBuiltIn)
			}
		}
	}
	return worst, others
}

// hides tells whether what a view runs or reads is not to be run or read on a replica.
func (n *knownNames) hides(what string) bool {
	if what == "" { // an immutable function, or the view itself
		return false
	}
	key, name := what[1:], []byte(unqualified(what))
	builtIn := strings.HasPrefix(key, "pg_catalog"+separator)
	switch {
	case what[0] == 'r':
		return n.relations[key] != notJudged || builtIn && classify.IsServerRelation(name)
	case strings.HasPrefix(key, "information_schema"+separator):
		return false
	}
	known := n.functions[key]
	return known != namesRead && !(known == notJudged && builtIn && classify.OnlyReads(name))
}

// isHarmlessInC lists functions in C of the extensions uuid-ossp and pgcrypto that are volatile for what they return alone.
// Only a superuser can make a function in C.
func isHarmlessInC(name string) bool {
	switch name {
	case "uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "gen_random_bytes", "gen_salt", "crypt", "pgp_sym_encrypt",
		"pgp_sym_encrypt_bytea", "pgp_pub_encrypt", "pgp_pub_encrypt_bytea":
		return true
	}
	return false
}
