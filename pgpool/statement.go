// HOT PATH

package pgpool

import (
	"hash/maphash"
	"strconv"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// statement is an SQL text as clients sent it, with the parameter types of its Parse, and what is known of it. All
// clients of a worker that send the same share one. It does not change but for what is
// learned of it.
type statement struct {
	// name is what servers know it by once it is prepared there. It is unique in the process, and empty for a simple Query.
	name string
	// body is what follows the name in a Parse: text, zero byte, parameter types. For a simple Query it ends after the
	// zero byte.
	body  string
	class classify.Result
	// traces is what it may leave in a session by what was known when it was judged.
	traces traces
	judged *catalog
	// named is what is known of the functions that it calls and the relations that it names, by namedBy and the lists of
	// namedFor (functions.go).
	named    verdicts
	namedBy  *knownNames
	namedFor *Policy
	// unloggedBy: a replica refused it because of an unlogged relation that these do not have.
	unloggedBy *knownNames
	shape      *shape // nil: not asked for yet
	// begun is what opens has found.
	begun *begun
	// primaryOnly: a replica refused it as a write (25006).
	primaryOnly bool
	// reworded: body is not what clients sent (routesetting.go, token.go).
	reworded bool
	// outdated: its result is no longer what those who have prepared it know (replan.go).
	outdated bool
	token    *tokenUse // of a SHOW or SET of outrigger.token, or a SHOW of outrigger.route
	uses     uint64    // times that it was looked up
	// recent is the second chance in the table's eviction.
	recent bool
}

// touched notes a use.
func (s *statement) touched() *statement {
	s.recent = true
	s.uses++
	return s
}

// statementPrefix begins the names that the pooler gives to statements. Clients cannot refer to them.
const statementPrefix = "outrigger_"

// statementNames numbers the statements of the process.
type statementNames struct{ last atomic.Uint64 }

func (n *statementNames) next() string {
	return statementPrefix + strconv.FormatUint(n.last.Add(1), 10)
}

const (
	// tableBudget bounds a worker's table of statements, in bytes of text and bookkeeping.
	tableBudget = 16 << 20
	// entryOverhead is what an entry costs besides its text.
	entryOverhead = 256
	// maxTableText is the longest text that the table keeps.
	maxTableText = 64 << 10
	// sightings is how many texts are remembered as seen once.
	sightings = 4 << 10
)

// statements finds a statement by its text. Evicting one only forgets the short cut: clients that hold it keep it.
type statements struct {
	names *statementNames
	byKey map[string]*statement
	bytes int
	seed  maphash.Seed
	seen  *[sightings]uint32 // fingerprints of simple queries
	named namedLast
	key   []byte // find's
}

func newStatements(names *statementNames) statements {
	return statements{names: names, byKey: make(map[string]*statement), seed: maphash.MakeSeed(), seen: new([sightings]uint32)}
}

// find returns the statement of body, which is copied when it is new. Equal texts in another scope are another statement.
func (t *statements) find(body []byte, scope string) *statement {
	if scope == "" {
		if s, ok := t.byKey[string(body)]; ok {
			return s.touched()
		}
		return t.insert(string(body), t.make(t.names.next(), body))
	}
	t.key = append(append(append(t.key[:0], scope...), 0), body...)
	s, ok := t.byKey[string(t.key)]
	if ok {
		s.touched()
	} else {
		s = t.insert(string(t.key), t.make(t.names.next(), body))
	}
	if cap(t.key) > maxTableText {
		t.key = nil
	}
	return s
}

// query returns the statement of a simple Query's body. The table takes a text in when it comes again: programs that
// write values into their texts would fill it with what nobody ever asks for, at several times the cost of forwarding.
func (t *statements) query(body []byte) *statement {
	if s, ok := t.byKey[string(body)]; ok {
		return s.touched()
	}
	s := t.make("", body)
	sum := maphash.Bytes(t.seed, body)
	seen := &t.seen[sum%sightings]
	if print := uint32(sum >> 32); *seen != print {
		*seen = print
		return s
	}
	if s.reworded {
		return t.insert(string(body), s)
	}
	return t.insert(s.body, s)
}

// make looks at a new text.
func (t *statements) make(name string, body []byte) *statement {
	s := &statement{name: name, body: string(body)}
	if n := &t.named; n.wanted {
		n.of = s
		s.class, n.found, n.all = classify.ClassifyNames(textOf(body), n.room[:])
	} else {
		s.class = classify.Classify(textOf(body))
	}
	s.useRoute()
	s.useToken()
	if s.reworded {
		t.named.of = nil // its names are in the old text
	}
	return s
}

// reword gives servers another text.
func (s *statement) reword(sql string) {
	text := len(textOf([]byte(s.body)))
	s.body, s.reworded = sql+s.body[text:], true
	s.class.Name, s.class.Value = classify.Span{}, classify.Span{}
}

// keep takes a text in that has something to be remembered.
func (t *statements) keep(s *statement) {
	if s.name == "" && t.byKey[s.body] == nil {
		t.insert(s.body, s)
	}
}

func (t *statements) insert(key string, s *statement) *statement {
	if len(key) > maxTableText {
		return s
	}
	t.bytes += len(key) + entryOverhead
	for key, old := range t.byKey { // random order: a sampled second chance
		if t.bytes <= tableBudget {
			break
		}
		if old.recent {
			old.recent = false
			continue
		}
		t.bytes -= len(key) + entryOverhead
		delete(t.byKey, key)
	}
	t.byKey[key] = s
	return s
}

// forget has the next Parse of the same text make another statement.
func (t *statements) forget(s *statement) {
	for key, known := range t.byKey {
		if known == s {
			t.bytes -= len(key) + entryOverhead
			delete(t.byKey, key)
		}
	}
}

// prepared is the set of statements that one server has, the least recently used going first.
type prepared struct {
	last map[*statement]uint64 // when it was last used, in uses
	uses uint64
	// unsure are those whose Parse or Close of ours may yet be skipped, and the unit of the client that it is in.
	unsure map[*statement]uint64
}

// doubts notes that the server has s, or has it no more, only if nothing in that unit of its client fails before.
func (p *prepared) doubts(s *statement, unit uint64) {
	if p.unsure == nil {
		p.unsure = make(map[*statement]uint64)
	}
	p.unsure[s] = unit
}

// doubted tells whether an earlier unit than this decides whether the server has s.
func (p *prepared) doubted(s *statement, unit uint64) bool {
	if len(p.unsure) == 0 {
		return false
	}
	in, ok := p.unsure[s]
	return ok && in < unit
}

// use reports whether the server has s, and notes the use.
func (p *prepared) use(s *statement) bool {
	if _, ok := p.last[s]; !ok {
		return false
	}
	p.uses++
	p.last[s] = p.uses
	return true
}

// unsettled tells whether an answer that is still to come decides whether the server has s.
func (p *prepared) unsettled(s *statement) bool {
	_, ok := p.unsure[s]
	return ok
}

func (p *prepared) has(s *statement) bool {
	_, ok := p.last[s]
	return ok
}

func (p *prepared) add(s *statement) {
	if p.last == nil {
		p.last = make(map[*statement]uint64)
	}
	p.uses++
	p.last[s] = p.uses
}

func (p *prepared) remove(s *statement) { delete(p.last, s) }

func (p *prepared) clear() { clear(p.last) }

// oldest returns the statement to close when there are more than limit, or nil.
func (p *prepared) oldest(limit int) *statement {
	if limit <= 0 || len(p.last) < limit {
		return nil
	}
	var victim *statement
	least := uint64(1<<64 - 1)
	for s, at := range p.last {
		if at < least {
			victim, least = s, at
		}
	}
	return victim
}
