package verify

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

var (
	mutateFor  = flag.Duration("mutate.for", 10*time.Second, "how long TestMutations goes on")
	mutateSeed = flag.Uint64("mutate.seed", 1, "where TestMutations begins; 0 for another place each time")
)

// Statements that are cut up and put together again, with whatever is hard to read between: none that binds more may be
// called less. Nobody writes such texts; they go where a corpus does not.
func TestMutations(t *testing.T) {
	m := newMutator(t, *mutateSeed)
	oracle := newOracle(t)
	end := time.Now().Add(*mutateFor)
	var n, parsed, reads, called, asked int
	for ; time.Now().Before(end) && !t.Failed(); n++ {
		sql := m.next()
		got := classify.Classify([]byte(sql))
		want, err := checkText(sql, got)
		switch {
		case err != nil:
			t.Errorf("mutation %d of seed %d: %v", n, m.seed, err)
		case want == nil:
			if got.Class <= classify.CopyOut && got.Statements > 0 {
				if asked++; oracle.parses(t, sql) {
					t.Errorf("mutation %d of seed %d: %v, and only PostgreSQL 17 refuses it: %q", n, m.seed, got.Class, sql)
				}
			}
		default:
			parsed++
			if want.Class == classify.Read {
				if reads++; got.Class == classify.Read {
					called++
				}
			}
		}
	}
	t.Logf("%d mutations: %d are SQL, %d of these reads, %d called reads; %d that are none looked like reads", n, parsed, reads, called, asked)
	if n > 1000 && (parsed < n/20 || reads < n/100) {
		t.Error("too few of the mutations are SQL: this tests nothing")
	}
}

// checkText compares the classifier with the truth, under both meanings of a backslash in a plain string. It returns nil
// for what is no SQL.
func checkText(sql string, got classify.Result) (*Truth, error) {
	var truth *Truth
	if want, err := builtins.Parse(sql); err == nil {
		truth = &want
		if v := Compare(got, want); v >= Unsafe {
			return truth, fmt.Errorf("%v: %v %b, and by its tree %v %b %v: %q", v, got.Class, got.Flags, want.Class, want.Flags, want.Why, sql)
		}
		if err := CompareNames(sql, got, want); err != nil {
			return truth, err
		}
	}
	if !strings.Contains(sql, `\`) {
		return truth, nil
	}
	escaped, ok := withEscapes(sql)
	if !ok {
		return truth, nil
	}
	if want, err := builtins.Parse(escaped); err == nil {
		if v := Compare(got, want); v >= Unsafe {
			return truth, fmt.Errorf("%v: %v %b, and with standard_conforming_strings off %v %b %v: %q", v, got.Class, got.Flags, want.Class, want.Flags, want.Why, sql)
		}
	}
	return truth, nil
}

// withEscapes writes sql so that it means what it does while standard_conforming_strings is off: a plain string becomes
// one with escapes. One after the other, as each may end elsewhere then.
func withEscapes(sql string) (string, bool) {
	done := 0
	for range 100 {
		tokens, err := pg_query.Scan(sql)
		if err != nil {
			return "", false // a string without an end: what comes before may have swallowed its beginning
		}
		at := -1
		for _, tok := range tokens.Tokens {
			if int(tok.Start) >= done && tok.Token == pg_query.Token_SCONST && sql[tok.Start] == '\'' {
				at = int(tok.Start)
				break
			}
		}
		if at < 0 {
			return sql, true
		}
		sql = sql[:at] + " E" + sql[at:]
		done = at + 3
	}
	return sql, true
}

// mutator makes texts out of others.
type mutator struct {
	seed  uint64
	rnd   *rand.Rand
	texts []string
	words []string // tokens of all texts, the frequent ones often
}

var pieces = regexp.MustCompile(`(?s)\s+|--[^\n]*|/\*.*?\*/|[eEnNxXbB]?'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\d+|[A-Za-z_][A-Za-z0-9_$]*|[0-9.]+|::|.`)

// spices are what is hard to read, and what must be found.
var spices = strings.Split(`'|''|\'|\\|\\'|E'\''|e'\\'|E'a''\''|'a\'|'\\'|"|""|$$|$a$|$a$ $b$ $a$|$1|/*|*/|/* /* */ */|/**/|--|-- x`+"\n|\n|\t|"+
	`;|(|)|[|]|.|,|::|:|=|U&"\0061"|U&'\0061'|U&'\' UESCAPE '!'|N'a'|b'1'|x'1f'|1e|1e5|0x1F|0x1e|1.|.5|1_0|
nextval('s')|, nextval('s')|nextval/**/('s')|"nextval"('s')|pg_catalog.nextval('s')|.nextval|('s').nextval|set_config('a','b',false)|
pg_advisory_lock(1)|f(1)|public.f(1)|lower('a')|is(1,2)|join(1)|cube(a)|rollup(a)|like('a','b')|x ilike ('a')|not ilike(b)| for update| for no key update| for share of a|
 into x | into temp x | union select | union all (select f(1)) | order by (f(1))| group by cube(a), rollup(b)| group by grouping sets (cube(a),(b)) having f(cube(c)) |
 with a(x) as (select 1), b(y) as (select f(1)) select 1 |(with a as (delete from t returning 1) select 1)|, lateral f(1) x(a)| as x(a)| x(a, b)|
 with ordinality x(a)| tablesample bernoulli (1) repeatable (f(1))| operator(pg_catalog.+) | operator(+) f(1)|distinct on (1) |distinct on (a, (b)) f(1)|
 over (partition by f(1) order by 1)| filter (where f(1))| within group (order by 1)| at time zone f(1)| collate "C"| is distinct from f(1)| between f(1) and 2|
cast(f(1) as numeric(1,2))|1::numeric(2,1)|'1'::bit varying(3)|character varying(3) 'a'|interval(3) '1'|timestamp(3) with time zone 'now'|row(f(1))|array[f(1)]|case when f(1) then 2 end|
 search depth first by a set b | cycle a set b using c |pg_stat_activity|pg_temp.x|"pg_locks"|current_user|a.update|"insert"| fetch first f(1) rows only | limit f(1) | for read only |
 rows between f(1) preceding and current row |xmlroot(a, version f(1))|overlay(a placing f(1) from 1)|substring(a similar f(1) escape f(2))|extract(year from f(1))|json_object('a' value f(1))|
xmltable('/a' passing f(1) columns b int path f(2))|rows from (f(1), lower('a'))|insert into t values (1)|delete from t|update t set a = 1|merge into t using u on true when matched then delete|
set a = 1|set local role x|reset all|listen a|lock t|discard all|begin|commit|rollback to a|prepare p as |execute p|explain |explain analyze |explain ("analyze") |explain (analyze, costs off) |
copy t to stdout|copy (select 1) to stdout|copy t from stdin|table t|values (f(1))|select |from |where |show transaction_read_only|show "in_hot_standby"`, "|")

// frames take a statement in.
var frames = []string{"(%s)", "select (%s)", "select * from (%s) x", "with x as (%s) select 1", "with x(a) as materialized (%s) table x", "explain %s",
	"explain analyze %s", "explain (analyze, costs off) %s", "explain (\"analyze\" on) %s", "copy (%s) to stdout", "prepare p as %s", "prepare p(int, numeric(1,2)) as %s",
	"declare c cursor for %s", "declare c cursor with hold for %s", "create temp table x as %s", "create view v(a) as %s", "select array(%s)", "select 1 where exists (%s)",
	"%s union all select f(1)", "select 1; %s", "%s; select 1", "begin; %s; commit", ";%s;;", "%s for update", "select 'a\\'||(%s)||'b'", "/* %s */ select 1",
	"select distinct on ((%s)) f(1)", "select * from a join (%s) x on (true)", "with recursive a(b) as (select 1 union all (%s)) select * from a"}

func newMutator(t *testing.T, seed uint64) *mutator {
	t.Helper()
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	m := &mutator{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0))}
	statements := drivers(t).statements
	corpora, _ := postgres(t)
	for i, s := range corpora[0].statements {
		if i%7 == 0 {
			statements = append(statements, s)
		}
	}
	for _, s := range statements {
		if len(s.SQL) < 1<<10 {
			m.texts = append(m.texts, s.SQL)
			m.words = append(m.words, pieces.FindAllString(s.SQL, -1)...)
		}
	}
	return m
}

func (m *mutator) pick(from []string) string { return from[m.rnd.IntN(len(from))] }

// next returns a text, most of them hardly changed: with each change fewer are SQL.
func (m *mutator) next() string {
	sql := m.pick(m.texts)
	if m.rnd.IntN(4) == 0 {
		sql = fmt.Sprintf(m.pick(frames), strings.TrimRight(sql, "; \n"))
	}
	for range 1 + m.rnd.IntN(3) {
		sql = m.change(sql)
	}
	return sql
}

func (m *mutator) change(sql string) string {
	p := pieces.FindAllString(sql, -1)
	if len(p) == 0 {
		return m.pick(spices)
	}
	i := m.rnd.IntN(len(p))
	switch m.rnd.IntN(14) {
	case 0, 1, 2:
		p[i] += m.pick(spices)
	case 3, 4:
		p[i] = m.pick(spices)
	case 5:
		p[i] += m.pick(m.words)
	case 6:
		p[i] = m.pick(m.words)
	case 7:
		p[i] = ""
	case 8:
		j := m.rnd.IntN(len(p))
		p[i], p[j] = p[j], p[i]
	case 9:
		p[i] = m.recase(p[i])
	case 10:
		for j, s := range p {
			if strings.TrimSpace(s) == "" {
				p[j] = m.pick([]string{" ", "\n", "/* ' */", "/*/* ; */ */", " -- ; '\n", "\t", "\f", "/**/"})
			}
		}
	case 11:
		p[i] = m.requote(p[i])
	case 12:
		return sql + m.pick([]string{";", " ", ";\n", " union "}) + m.pick(m.texts)
	case 13:
		j := i + m.rnd.IntN(len(p)-i)
		return strings.Join(p[:i], "") + fmt.Sprintf(m.pick(frames), strings.Join(p[i:j], "")) + strings.Join(p[j:], "")
	}
	return strings.Join(p, "")
}

func (m *mutator) recase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c|0x20 >= 'a' && c|0x20 <= 'z' && m.rnd.IntN(2) == 0 {
			b[i] ^= 0x20
		}
	}
	return string(b)
}

// requote writes a name or a string in another way.
func (m *mutator) requote(s string) string {
	switch {
	case strings.HasPrefix(s, "'") && len(s) > 1:
		text := s[1 : len(s)-1]
		return m.pick([]string{"E" + s, "N" + s, "U&" + s, "$$" + text + "$$", "$q$" + text + "$q$", "'" + text + `\'`, "'" + text + `\\'`, "E'" + text + `\'' || '`, s + "\n" + s})
	case strings.HasPrefix(s, `"`):
		return m.pick([]string{"U&" + s, strings.Trim(s, `"`), s + s})
	case s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z':
		return m.pick([]string{`"` + s + `"`, `U&"` + s + `"`, "'" + s + "'", s + "." + s, "pg_catalog." + s, s + "()", "(" + s + ")"})
	}
	return s + s
}

// FuzzAgainstTheParser is for longer runs: go test -fuzz FuzzAgainstTheParser -fuzztime 10m.
func FuzzAgainstTheParser(f *testing.F) {
	for _, s := range drivers(f).statements {
		f.Add(s.SQL)
	}
	for _, s := range spices {
		f.Add("select " + s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if len(sql) > 4<<10 || strings.Contains(sql, "\x00") {
			return
		}
		if _, err := checkText(sql, classify.Classify([]byte(sql))); err != nil {
			t.Error(err)
		}
	})
}

// The escapes of a server with standard_conforming_strings off.
func TestWithEscapes(t *testing.T) {
	for sql, want := range map[string]string{
		`select 'a\'`:               "",
		`select 'a\'' , f('x') --'`: `select  E'a\'' , f( E'x') --'`,
		`select 'a', E'b', $$'$$`:   `select  E'a', E'b', $$'$$`,
		`select 'a''b\\', 'c'`:      `select  E'a''b\\',  E'c'`,
	} {
		if got, _ := withEscapes(sql); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}
