package pgpool

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	randomFor  = flag.Duration("random.for", 40*time.Second, "how long random scripts are played, over all subtests")
	randomSeed = flag.Uint64("random.seed", 1, "seed of the random scripts; 0: a new one")
)

const (
	randomClients = 6
	randomVandals = 2
	randomSteps   = 14 // in a script; after it the client leaves, so that those that wait for a pinned server get it
)

// randomScript makes steps as a client might send them that knows the protocol and cares for nothing else.
type randomScript struct {
	*rand.Rand
	me     int  // whose tables are used, and what rows carry
	shares bool // it mostly sends what may share a server with others
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// randomTexts are statements by weight; @ is the client and # a digit. Some are the same for all clients, so that they
// share what the servers have prepared; the rows tell them apart by application_name.
var randomTexts = []struct {
	weight int
	texts  []string
}{
	{20, []string{"select current_setting('application_name'), #, $1::text"}},
	{10, []string{"select current_setting('application_name'), #"}},
	{10, []string{"select id, s from t@ where id < 8 order by id"}},
	{5, []string{"select s from t@ where id = $1"}},
	{5, []string{"update t@ set s = s || '+' where id = 4 and length(s) < 40 returning s"}},
	{4, []string{"insert into t@ values (20, 'c@-20')"}},
	{3, []string{"delete from t@ where id = 20"}},
	{9, []string{"begin", "begin", "begin work", "BEGIN;", "start transaction", "start transaction read only", "begin isolation level repeatable read, read only",
		"begin transaction read write", "begin isolation level serializable, read only, deferrable", "begin read only isolation level read committed", "begin nonsense"}},
	{8, []string{"commit", "end", "rollback", "commit and chain", "rollback and chain", "commit work", "abort", "rollback and no chain", "commit nonsense"}},
	{5, []string{"savepoint s", "rollback to s", "release s"}},
	{5, []string{"select 1/0", "nonsense", "select * from nowhere", "", ";"}},
	{9, []string{"show work_mem", "show timezone", "show application_name", "show statement_timeout", "show datestyle", "show search_path",
		"select current_user, coalesce(current_setting('my.setting', true), '')"}},
	{6, []string{"set work_mem = '6MB'", "set timezone = 'Asia/Tokyo'", "set application_name = 'c@ again'", "set statement_timeout = '1h'",
		"set datestyle = 'German'", "set search_path = alt@, public", "select set_config('work_mem', '9MB', false)", "set my.setting = 'c@'"}},
	{4, []string{"reset work_mem", "reset timezone", "set local work_mem = '7MB'", "set search_path to default",
		"select set_config('work_mem', '5MB', true)"}},
	{3, []string{"prepare sq(int) as select 'c@', $1", "execute sq(#)", "execute sq(#)", "deallocate sq"}},
	{3, []string{"declare cur cursor for select s from t@ order by id", "fetch 2 from cur", "fetch 2 from cur", "close cur",
		"declare held cursor with hold for select s from t@ order by id", "fetch 1 from held"}},
	{2, []string{"create temp table mine(x text)", "insert into mine values ('c@')", "select * from mine", "drop table mine"}},
	{2, []string{"select 'c@', pg_advisory_lock(@#)", "select 'c@', pg_advisory_unlock(@#)", "select 'c@', pg_advisory_xact_lock(@#)"}},
	{1, []string{"deallocate all"}},
	{1, []string{"set role pg_read_all_data", "reset role"}},
	{1, []string{"discard all", "discard temp", "discard plans"}},
	{1, []string{"listen ch@", "unlisten ch@", "unlisten *"}},
}

var randomWeights = func() (sum int) {
	for _, t := range randomTexts {
		sum += t.weight
	}
	return sum
}()

func (r randomScript) text() string {
	n := r.IntN(randomWeights)
	for _, t := range randomTexts {
		if n -= t.weight; n < 0 {
			return strings.NewReplacer("@", fmt.Sprint(r.me), "#", fmt.Sprint(r.IntN(8))).Replace(pick(r.Rand, t.texts...))
		}
	}
	panic("weights do not add up")
}

// namedText is the text of a named statement: one that PostgreSQL takes. It looks at the text before it looks whether the
// name is in use; the pooler, at the name first.
func (r randomScript) namedText(name string) string {
	for {
		if text := r.text(); name == "" || text != "nonsense" && text != "select * from nowhere" && !strings.Contains(text, "mine") {
			return text
		}
	}
}

func (r randomScript) name() string   { return pick(r.Rand, "", "", "a", "b", "c", "d", "e") }
func (r randomScript) portal() string { return pick(r.Rand, "", "", "", "p") }

// extended is a message, or a usual sequence of them. Named statements are described where they are made: known difference, in
// a failed transaction one that the server has dropped is not described.
func (r randomScript) extended() step {
	name, portal := r.name(), r.portal()
	var values []string
	if r.IntN(2) == 0 {
		values = []string{fmt.Sprint(r.IntN(9))}
	}
	switch n := r.IntN(20); {
	case n < 3:
		return step{parse(name, r.namedText(name))}
	case n < 6:
		return step{bind(portal, name, values...)}
	case n < 8: // no Execute without its Bind: in a failed transaction PostgreSQL 15 itself crashes on some
		return step{bind(portal, name, values...), execute(portal, 2), execute(portal, uint32(r.IntN(3)))}
	case n < 9:
		return step{describe('S', "")}
	case n < 10:
		return step{describe('P', portal)}
	case n < 11:
		return step{closing(pick(r.Rand, byte('S'), 'P'), name)}
	case n < 14:
		return step{bind(portal, name, values...), describe('P', portal), execute(portal, 0)}
	case n < 17:
		return step{parse(name, r.namedText(name)), describe('S', name), bind(portal, name, values...), execute(portal, 0)}
	}
	return run(r.text())
}

func (r randomScript) copyIn() step {
	sql := fmt.Sprintf("copy k%d from stdin", r.me)
	s := step{query(pick(r.Rand, sql, sql, sql+fmt.Sprintf("; select 'c%d'", r.me)))}
	rows := fmt.Sprintf("%d\tc%d\n", r.IntN(9), r.me)
	if r.IntN(4) == 0 {
		s = run(sql)
	}
	if r.IntN(4) == 0 {
		rows = "no number\n"
	}
	extended := len(s) > 1
	s = append(s, copyData(rows), copyData(rows), pick(r.Rand, copyDone, copyDone, copyFail("no more")))
	if extended {
		s = append(s, syncs)
	}
	return append(s, query(fmt.Sprintf("copy (select * from k%d order by a, b limit 5) to stdout", r.me)))
}

// portals is a transaction in which a portal outlives its unit.
func (r randomScript) portals() step {
	rows := func() uint32 { return uint32(r.IntN(4)) }
	return join(query("rollback"), query(pick(r.Rand, "begin", "begin isolation level repeatable read")), parse("", fmt.Sprintf("select id, s from t%d order by id", r.me)), bind("q", ""), describe('P', "q"),
		execute("q", rows()), syncs, execute("q", rows()), pick(r.Rand, step{syncs}, step{}, run("select 1/0")), execute("q", rows()), closing('P', "q"), syncs,
		query("end"))
}

// step is what is sent in one write. Known differences, which text avoids: RESET ALL in a transaction, or behind another statement in one Query, resets to
// the server's own values instead of those that the session started with. In a unit that was not ended with a Sync, a BEGIN
// with an isolation level may come behind a Parse of ours. A custom setting that another session has made is empty, not null.
func (r randomScript) step() (s step) {
	if r.shares && r.IntN(4) > 0 {
		return r.read()
	}
	for range 1 + r.IntN(4) {
		switch n := r.IntN(40); {
		case n < 14:
			text := r.text()
			for r.IntN(6) == 0 {
				text += "; " + r.text()
			}
			s = append(s, query(text))
		case n < 16:
			s = append(s, call(177, fmt.Sprint(r.IntN(9)), pick(r.Rand, "2", "x")))
		case n < 18:
			s = append(s, r.copyIn()...)
		case n < 19:
			s = append(s, r.portals()...)
		case n < 20: // known difference: in other forms it does not find what was made with Parse
			s = append(s, query(pick(r.Rand, "deallocate a", "deallocate b")))
		case n < 21: // behind everything else, or an UNLISTEN could come before what it is not meant for
			return append(s, query("rollback"), query(fmt.Sprintf("notify ch%d, 'c%[1]d-%d'", r.me, r.IntN(9))))
		default:
			for range 1 + r.IntN(4) {
				s = append(s, r.extended()...)
			}
			s = append(s, pick(r.Rand, syncs, syncs, syncs, flushes))
		}
	}
	return s
}

// read is a unit that may share a server, in a form that units have.
func (r randomScript) read() step {
	me := fmt.Sprintf("c%d", r.me)
	text := strings.NewReplacer("@", fmt.Sprint(r.me), "#", fmt.Sprint(r.IntN(8))).Replace(pick(r.Rand, "select 'c@', #", "select id, s from t@ where id < 8 order by id", "select 'c@', 1/0",
		"select 'c@', 6/(3-g) from generate_series(1, #) g", "select nothing_such", "select repeat('c@ ', 3000)"))
	switch name := pick(r.Rand, "", "a", "b", "c", "d", "e"); r.IntN(5) {
	case 0:
		return step{query(text)}
	case 1:
		return append(run(text), syncs)
	case 2:
		return step{parse("", "select $1::text, $2::int"), bind("", "", me, pick(r.Rand, "1", "2", "wrong")), describe('P', ""), execute("", uint32(r.IntN(2))), syncs}
	case 3:
		return step{bind("", name), execute("", 0), syncs}
	default:
		return step{bind("", name, me), describe('P', ""), execute("", 0), syncs}
	}
}

// endless is a query that only a cancel request ends. The one behind it drops the unnamed statement: known difference, a
// unit that is cancelled before it gets a server has parsed nothing.
func (r randomScript) endless() step {
	sql := fmt.Sprintf("select 'c%d', pg_sleep(3600)", r.me)
	if r.IntN(2) == 0 {
		return append(run(sql), syncs)
	}
	return step{query(sql)}
}

func (r randomScript) script() (script []step) {
	for range randomSteps {
		if r.IntN(40) == 0 {
			script = append(script, r.endless(), step{query("")})
		} else {
			script = append(script, r.step())
		}
	}
	return script
}

// cut writes in pieces of odd sizes, mostly as a whole.
func (r randomScript) cut() func(int) int {
	size := pick(r.Rand, 0, 0, 0, 1, 7, 100)
	if size == 0 {
		return whole
	}
	return func(n int) int { return min(size, n) }
}

// TestRandomScripts has clients play random scripts side by side, through few servers that hold few statements, and
// compares every answer with PostgreSQL's own. Among them are vandals, who leave at any byte and cancel at any time. A seed
// repeats the scripts; how they fall together is up to the machine.
func TestRandomScripts(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	direct, pooled := differentialDatabases(t, randomClients+randomVandals)
	pools := []struct {
		loops, servers, prepared int
		replica, untilWrite      bool
		batching                 Batching
	}{{loops: 1, servers: 2, prepared: 3}, {loops: 2, servers: 2, prepared: 3}, {loops: 2, servers: 3, prepared: 1}, {loops: 1, servers: 1, prepared: 2},
		{2, 2, 3, true, false, BatchingOff}, {1, 2, 2, true, true, BatchingOff},
		{loops: 1, servers: 2, prepared: 3, batching: batchingAll}, {loops: 2, servers: 2, prepared: 1, batching: batchingAll}, {2, 2, 3, true, false, batchingAll}}
	for _, tc := range pools {
		t.Run(fmt.Sprintf("loops=%d/servers=%d/prepared=%d/replica=%v/until_write=%v/batching=%v", tc.loops, tc.servers, tc.prepared, tc.replica, tc.untilWrite, tc.batching), func(t *testing.T) {
			t.Logf("repeat with -random.seed=%d", seed)
			begin := start
			if tc.replica {
				begin = startSplit
			}
			of := randomPair{direct: direct, pooled: pooled, alike: tc.batching == batchingAll, pooler: begin(t, tc.loops, func(c *Config) {
				c.Tuning.Defaults.PoolSize, c.Tuning.Defaults.MaxPrepared, c.Tuning.Defaults.ReadsUntilWrite = tc.servers, tc.prepared, tc.untilWrite
				c.Tuning.Defaults.Batching, c.Tuning.Defaults.BatchMax = tc.batching, 16
			})}
			end := time.Now().Add(*randomFor / time.Duration(len(pools)))
			var first randomFailure
			var playing sync.WaitGroup
			var played [randomClients + randomVandals]int
			for me := range played {
				own := of.reset(t, me)
				playing.Go(func() {
					for round := uint64(0); time.Now().Before(end) && !first.happened.Load() && !t.Failed(); round++ {
						r := randomScript{rand.New(rand.NewPCG(seed, round<<8|uint64(me))), me, of.alike}
						if me >= randomClients {
							played[me] += r.vandalise(t, of)
							continue
						}
						if err := own(); err != nil {
							t.Errorf("client %d, round %d: %v", me, round, err)
							return
						}
						script, cut := r.script(), r.cut()
						n, diff := of.play(me, script, cut, patience)
						if played[me] += n; diff != "" {
							first.note(me, round, script[:min(n+1, len(script))], cut, diff)
						}
					}
				})
			}
			playing.Wait()
			t.Logf("steps played by each client: %v", played)
			if first.happened.Load() {
				t.Error(first.shrunk(t, of))
			}
			if tc.replica {
				t.Logf("answers by the primary and the replica: %v", of.pooler.counts(t))
			}
			of.pooler.settled(t, 0)
			if n := of.pooler.batches(t); n.surprises > 0 || tc.batching == batchingAll && n.batches == 0 {
				t.Errorf("counted of batches: %+v", n)
			} else {
				t.Logf("counted of batches: %+v", n)
			}
		})
	}
}
