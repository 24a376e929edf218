package command

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// leaseModel is what protocol/README.md says of leases and stale values, in the simplest form there is.
type leaseModel struct {
	rules []store.Rule
	keys  map[string]*modelKey
	now   int64
}

type modelKey struct {
	live     bool
	value    string
	set      bool  // a set, not a string
	expireAt int64 // of a live key, 0 for never
	changed  int64

	stale      bool // value may be given until staleUntil
	staleUntil int64

	token      string // of the lease; "" where nobody knows it
	leaseUntil int64  // 0: no lease
}

func (m *leaseModel) rule(key string) (best store.Rule) {
	for _, r := range m.rules {
		if strings.HasPrefix(key, r.Prefix) && len(r.Prefix) >= len(best.Prefix) {
			best = r
		}
	}
	return best
}

// key is the state of a key now.
func (m *leaseModel) key(name string) *modelKey {
	k := m.keys[name]
	if k == nil {
		k = &modelKey{}
		m.keys[name] = k
	}
	if k.live && k.expireAt != 0 && k.expireAt <= m.now {
		k.live = false
		if until := k.expireAt + m.rule(name).Stale.Milliseconds(); !k.set && until > m.now {
			k.stale, k.staleUntil = true, until
		}
	}
	if k.stale && k.staleUntil <= m.now {
		k.stale = false
	}
	if k.leaseUntil <= m.now {
		k.token, k.leaseUntil = "", 0
	}
	return k
}

// write is any change of a key.
func (m *leaseModel) write(name, value string, expireAt int64) {
	*m.key(name) = modelKey{live: true, value: value, expireAt: expireAt, changed: m.now}
}

// aging tells whether a live key should be made anew.
func (m *leaseModel) aging(name string) bool {
	k := m.key(name)
	left := k.expireAt - m.now
	return k.live && !k.set && k.expireAt != 0 && left <= m.rule(name).RefreshAhead.Milliseconds() && left <= (k.expireAt-k.changed)/2
}

// staleValue is what a stale key gives.
func (m *leaseModel) staleValue(name string) (string, bool) {
	k := m.key(name)
	return k.value, !k.live && k.stale && m.rule(name).Stale > 0
}

// get is GET outside of transactions.
func (m *leaseModel) get(name string) (value string, ok bool) {
	k := m.key(name)
	value, ok = m.staleValue(name)
	switch {
	case k.live && !m.aging(name):
		return k.value, true
	case k.live:
		value = k.value
	case !ok:
		return "", false
	}
	if k.leaseUntil != 0 {
		return value, true
	}
	lease := m.rule(name).Lease
	if lease == 0 {
		lease = store.DefaultLease
	}
	k.token, k.leaseUntil = "", m.now+lease.Milliseconds()
	return "", false
}

func bulk(s string, ok bool) string {
	if !ok {
		return "$-1\r\n"
	}
	return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s)
}

func integer(n int64) string { return fmt.Sprintf(":%d\r\n", n) }

func one(ok bool) string {
	if ok {
		return ":1\r\n"
	}
	return ":0\r\n"
}

// leaseClient runs commands under a clock of its own.
type leaseClient struct {
	*ours
	now int64
}

func newLeaseClient(s *store.Store, table *Table) *leaseClient {
	return &leaseClient{&ours{table: table, c: Context{Store: s, Table: table, Proto: 2}}, leaseStart}
}

const leaseStart = 1_700_000_000_000

func (o *leaseClient) do(args ...string) string {
	b := redistest.Args(args)
	o.c.Args, o.c.NowMilli, o.c.Out = b, o.now, nil
	o.table.LookupForPeer(b[0]).Exec(&o.c)
	return string(o.c.Out)
}

// inTransaction runs a command as EXEC does.
func (o *leaseClient) inTransaction(args ...string) string {
	b := redistest.Args(args)
	o.c.NowMilli, o.c.Out = o.now, nil
	o.c.Together(b[1:2], 0, func() { o.c.Call(o.table.Lookup(b[0]), b) })
	return string(o.c.Out)
}

const wrongType = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

// TestLeasesAgainstTheModel runs random commands of several clients, under a clock that jumps, with keys that are evicted
// and rules that change, on the store and on the model.
func TestLeasesAgainstTheModel(t *testing.T) {
	for _, tombstones := range []time.Duration{0, time.Minute} {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		testLeaseModel(t, rand.New(rand.NewPCG(seed, 1)), tombstones)
	}
}

func testLeaseModel(t *testing.T, rnd *rand.Rand, tombstones time.Duration) {
	sets := [][]store.Rule{
		nil,
		{{Prefix: "a:", Stale: 3 * time.Second, Lease: time.Second}},
		{{Prefix: "", Stale: time.Second}, {Prefix: "a:", RefreshAhead: 2 * time.Second, Lease: 500 * time.Millisecond}},
		{{Prefix: "a:", Stale: 5 * time.Second, RefreshAhead: 4 * time.Second, Lease: 700 * time.Millisecond}, {Prefix: "a:b", Stale: time.Second}},
	}
	names := []string{"a:1", "a:2", "a:b1", "a:b2", "c:1", "\x02x"}
	s := store.New(store.Config{TombstoneTTL: tombstones})
	m := &leaseModel{keys: map[string]*modelKey{}, now: leaseStart}
	s.OnRemoval(func(stored []byte, why store.Removal) {
		_, name := store.SplitKey(stored)
		switch k := m.keys[string(name)]; why {
		case store.Evicted:
			k.live, k.stale = false, false
		case store.StaleGone:
			k.stale = false
		}
	})
	table := NewTable()
	clients := []*leaseClient{newLeaseClient(s, table), newLeaseClient(s, table), newLeaseClient(s, table)}
	tokens := []string{"", "nonsense", strings.Repeat("0", 32)}
	given := map[string]bool{}
	var leases, stales int
	for step := range 20_000 {
		o := clients[rnd.IntN(len(clients))]
		o.now = m.now
		name, other, value := names[rnd.IntN(len(names))], names[rnd.IntN(len(names))], "v"+strconv.Itoa(step)
		ttl := int64(1 + rnd.IntN(2000))
		k := m.key(name)
		var args []string
		var want, got string
		run := func(a ...string) { args, got = a, o.do(a...) }
		switch rnd.IntN(24) {
		case 0, 1, 2, 3, 4, 5:
			run("get", name)
			if k.live && k.set {
				want = wrongType
				break
			}
			v, ok := m.get(name)
			if ok && !k.live {
				stales++
			}
			want = bulk(v, ok)
		case 6:
			run("mget", name, other)
			want = "*2\r\n"
			for _, n := range []string{name, other} {
				v, ok := "", false
				if k := m.key(n); !k.live || !k.set {
					v, ok = m.get(n)
				}
				want += bulk(v, ok)
			}
		case 7, 8:
			run("set", name, value, "px", strconv.FormatInt(ttl, 10))
			m.write(name, value, m.now+ttl)
			want = "+OK\r\n"
		case 9:
			run("set", name, value)
			m.write(name, value, 0)
			want = "+OK\r\n"
		case 10:
			if rnd.IntN(2) == 0 {
				continue
			}
			run("del", name)
			want = one(k.live)
			*k = modelKey{}
		case 11, 12, 13:
			run("x.getlease", name, strconv.FormatInt(ttl, 10))
			v, stale := m.staleValue(name)
			switch {
			case k.live && k.set:
				want = wrongType
			case k.live && !m.aging(name):
				want = "*3\r\n" + bulk("hit", true) + bulk(k.value, true) + "$-1\r\n"
			default:
				if k.live {
					v = k.value
				}
				if k.leaseUntil != 0 {
					want = "*3\r\n" + bulk("wait", true) + bulk(v, k.live || stale) + integer(k.leaseUntil-m.now)
					break
				}
				want = "*3\r\n" + bulk("lease", true) + bulk(v, k.live || stale)
				if rest, ok := strings.CutPrefix(got, want+"$32\r\n"); ok && len(rest) == 34 {
					token := rest[:32]
					if given[token] {
						t.Fatalf("step %d: token %s was given before", step, token)
					}
					given[token] = true
					k.token, k.leaseUntil = token, m.now+ttl
					tokens = append(tokens, token)
					want = got
					leases++
				}
			}
		case 14, 15, 16:
			token := tokens[rnd.IntN(len(tokens))]
			if k.token != "" && rnd.IntN(3) > 0 {
				token = k.token
			}
			expireAt := int64(0)
			if rnd.IntN(2) == 0 {
				run("x.setlease", name, token, value)
			} else {
				run("X.SETLEASE", name, token, value, "PX", strconv.FormatInt(ttl, 10))
				expireAt = m.now + ttl
			}
			want = "$-1\r\n"
			if k.leaseUntil != 0 && k.token == token && token != "" {
				m.write(name, value, expireAt)
				want = "+OK\r\n"
			}
		case 17:
			switch rnd.IntN(40) {
			default:
				run("exists", name)
				want = one(k.live)
			case 10, 11, 12, 13, 14, 15, 16, 17, 18, 19:
				run("pttl", name)
				switch {
				case !k.live:
					want = integer(-2)
				case k.expireAt == 0:
					want = integer(-1)
				default:
					want = integer(k.expireAt - m.now)
				}
			case 2:
				run("dbsize")
				n := int64(0)
				for _, name := range names {
					if o.do("exists", name) == ":1\r\n" { // what has expired counts until it is reclaimed
						n++
					}
				}
				args, got, want = []string{"dbsize"}, o.do("dbsize"), integer(n)
			case 20, 21, 22, 23, 24, 25, 26:
				run("getex", name)
				want = bulk(k.value, k.live)
				if k.live && k.set {
					want = wrongType
				}
			case 1:
				run("scan", "0", "count", "1000")
				n := 0
				for _, name := range names {
					if m.key(name).live {
						n++
					}
				}
				if !strings.Contains(got, fmt.Sprintf("*%d\r\n", n)) {
					want = fmt.Sprintf("%d keys", n)
				} else {
					want = got
				}
			case 27, 28, 29, 30:
				run("dump", name)
				want = got
				if k.live == (got == "$-1\r\n") {
					want = "something else"
				}
			}
		case 18:
			args = []string{"get", name}
			got = o.inTransaction(args...)
			want = bulk(k.value, k.live)
			if k.live && k.set {
				want = wrongType
			}
		case 19:
			run("pexpire", name, strconv.FormatInt(ttl, 10))
			want = one(k.live)
			if k.live {
				k.expireAt, k.changed, k.token, k.leaseUntil = m.now+ttl, m.now, "", 0
			}
		case 20:
			if rnd.IntN(3) > 0 {
				continue
			}
			run("rename", name, other)
			switch {
			case !k.live:
				want = "-ERR no such key\r\n"
			case name == other:
				want = "+OK\r\n"
			default:
				*m.key(other) = modelKey{live: true, value: k.value, set: k.set, expireAt: k.expireAt, changed: m.now}
				*k = modelKey{}
				want = "+OK\r\n"
			}
		case 21:
			if rnd.IntN(4) > 0 {
				if rnd.IntN(3) > 0 {
					continue
				}
				run("sadd", name, value)
				want = one(true)
				if k.live && !k.set {
					want = wrongType
				} else if !k.live {
					*k = modelKey{live: true, set: true, changed: m.now}
				} else {
					k.changed, k.token, k.leaseUntil = m.now, "", 0
				}
				break
			}
			if rnd.IntN(10) > 0 {
				continue
			}
			run("flushdb")
			clear(m.keys)
			want = "+OK\r\n"
		case 22:
			// What has expired goes by the rules that held then.
			for _, name := range names {
				m.key(name)
				o.do("exists", name)
			}
			if rnd.IntN(8) == 0 {
				m.rules = sets[min(rnd.IntN(2*len(sets)), len(sets)-1)]
				s.SetRules(m.rules)
			} else if rnd.IntN(4) == 0 {
				s.SetMaxBytes(max(1, s.Used()/2))
				s.SetMaxBytes(0)
			}
		case 23:
			m.now += []int64{1, 10, 100, 300, 1000, 4000}[rnd.IntN(6)]
			for _, name := range names {
				m.key(name) // before the store tells that it is gone
			}
			if rnd.IntN(2) == 0 {
				s.Expire(m.now, 1000)
			}
		}
		if got != want {
			t.Fatalf("step %d, %d ms: %q: %q, want %q; %+v, rules %+v", step, m.now-leaseStart, args, got, want, *k, m.rules)
		}
	}
	if leases < 300 || stales < 30 || s.Stats().Stale < 100 {
		t.Errorf("%d leases, %d stale values: too few to show anything", leases, stales)
	}
}

// A thousand readers of a key that has come to its end are told once a period to make it anew.
func TestOneReaderMakesAValueAnew(t *testing.T) {
	s := store.New(store.Config{})
	s.SetRules([]store.Rule{{Prefix: "page:", Stale: 30 * time.Second, Lease: 5 * time.Second}})
	table := NewTable()
	newLeaseClient(s, table).do("set", "page:1", "old", "px", "1000")
	for period := range 6 {
		now := int64(leaseStart + 1000 + period*5000)
		var mu sync.Mutex
		var all sync.WaitGroup
		replies := map[string]int{}
		for range 1000 {
			all.Go(func() {
				o := newLeaseClient(s, table)
				o.now = now
				reply := o.do("get", "page:1")
				mu.Lock()
				replies[reply]++
				mu.Unlock()
			})
		}
		all.Wait()
		if len(replies) != 2 || replies["$-1\r\n"] != 1 || replies["$3\r\nold\r\n"] != 999 {
			t.Errorf("period %d: %v", period, replies)
		}
	}
	o := newLeaseClient(s, table)
	o.now = leaseStart + 31_000
	if got := o.do("get", "page:1"); got != "$-1\r\n" || s.Stats().Leases != 6 {
		t.Errorf("after its time: %q, %d leases", got, s.Stats().Leases)
	}
	for range 2 {
		if got := o.do("get", "page:1"); got != "$-1\r\n" {
			t.Errorf("after its time: %q", got)
		}
	}
}

// A value near to its end is made anew by one reader while all others have it.
func TestRefreshAhead(t *testing.T) {
	s := store.New(store.Config{})
	s.SetRules([]store.Rule{{RefreshAhead: 10 * time.Second, Lease: 2 * time.Second}})
	o := newLeaseClient(s, NewTable())
	o.do("set", "long", "v", "ex", "60")
	o.do("set", "short", "v", "ex", "4")
	o.do("set", "ever", "v")
	o.do("sadd", "members", "m")
	o.do("expire", "members", "5")
	for _, step := range []struct {
		after int64
		key   string
		want  string
	}{
		{0, "short", "$1\r\nv\r\n"}, {1999, "short", "$1\r\nv\r\n"}, {2000, "short", "$-1\r\n"}, {2000, "short", "$1\r\nv\r\n"}, {4000, "short", "$-1\r\n"},
		{49_999, "long", "$1\r\nv\r\n"}, {50_000, "long", "$-1\r\n"}, {51_999, "long", "$1\r\nv\r\n"}, {52_000, "long", "$-1\r\n"}, {59_999, "long", "$-1\r\n"},
		{59_999, "long", "$1\r\nv\r\n"}, {60_000, "long", "$-1\r\n"}, {60_000, "ever", "$1\r\nv\r\n"},
	} {
		o.now = leaseStart + step.after
		if got := o.do("get", step.key); got != step.want {
			t.Errorf("%s after %d ms: %q, want %q", step.key, step.after, got, step.want)
		}
	}
	o.now = leaseStart + 4999
	if got := o.do("get", "members"); got != wrongType {
		t.Errorf("a set: %q", got)
	}
}

func TestLeaseErrors(t *testing.T) {
	o := newLeaseClient(store.New(store.Config{}), NewTable())
	o.do("sadd", "s", "m")
	for _, tt := range []struct{ command, want string }{
		{"x.getlease k 0", "-ERR invalid expire time in 'x.getlease' command\r\n"},
		{"x.getlease k -1", "-ERR invalid expire time in 'x.getlease' command\r\n"},
		{"x.getlease k 3600001", "-ERR invalid expire time in 'x.getlease' command\r\n"},
		{"x.getlease k soon", "-ERR value is not an integer or out of range\r\n"},
		{"x.getlease s 10", wrongType},
		{"x.setlease s token v", "$-1\r\n"},
		{"x.setlease k token v", "$-1\r\n"},
		{"x.setlease k token v NX", "-ERR syntax error\r\n"},
		{"x.setlease k token v GET", "-ERR syntax error\r\n"},
		{"x.setlease k token v KEEPTTL", "-ERR syntax error\r\n"},
		{"x.setlease k token v IFEQ v", "-ERR syntax error\r\n"},
		{"x.setlease k token v EX", "-ERR syntax error\r\n"},
		{"x.setlease k token v EX 0", "-ERR invalid expire time in 'x.setlease' command\r\n"},
		{"x.setlease k token v EX x", "-ERR value is not an integer or out of range\r\n"},
		{"get k", "$-1\r\n"},
	} {
		if got := o.do(strings.Fields(tt.command)...); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.command, got, tt.want)
		}
	}
	o.c.Proto = 3
	if got := o.do("x.getlease", "k", "10"); !strings.HasPrefix(got, "*3\r\n$5\r\nlease\r\n_\r\n$32\r\n") {
		t.Errorf("RESP3: %q", got)
	}
	if got := o.do("x.setlease", "k", "token", "v"); got != "_\r\n" {
		t.Errorf("RESP3: %q", got)
	}
}

// What changes a key tells who tracks it, and nothing else does.
func TestLeaseChanges(t *testing.T) {
	s := store.New(store.Config{})
	s.SetRules([]store.Rule{{Stale: time.Minute}})
	o := newLeaseClient(s, NewTable())
	o.c.Track, o.c.Notify = true, EventString|EventGeneric|EventMissed
	token := func() string {
		reply := strings.Split(o.do("x.getlease", "k", "1000"), "\r\n")
		return reply[len(reply)-2]
	}
	held := token()
	for _, tt := range []struct {
		args    []string
		changed string
		events  string
	}{
		{[]string{"x.getlease", "k", "1000"}, "", "keymiss"},
		{[]string{"x.setlease", "k", "none", "v"}, "", ""},
		{[]string{"x.setlease", "k", held, "v", "px", "10"}, "k", "set expire"},
		{[]string{"x.getlease", "k", "1000"}, "", ""},
		{[]string{"later"}, "", ""},
		{[]string{"get", "k"}, "", "keymiss"},
		{[]string{"get", "k"}, "", ""},
		{[]string{"x.getlease", "k", "1000"}, "", ""},
		{[]string{"del", "k"}, "k", ""},
		{[]string{"del", "k"}, "", ""},
	} {
		if tt.args[0] == "later" {
			o.now += 10
			continue
		}
		o.do(tt.args...)
		var changed, events []string
		for _, k := range o.c.Changed() {
			changed = append(changed, string(k.Bytes))
		}
		for _, e := range o.c.Events {
			events = append(events, e.Name)
		}
		if strings.Join(changed, " ") != tt.changed || strings.Join(events, " ") != tt.events {
			t.Errorf("%q changed %q with events %q, want %q and %q", tt.args, changed, events, tt.changed, tt.events)
		}
	}
	// A watched key is another one when it has come to its end.
	o.do("set", "w", "v", "px", "10")
	before := o.do("x.watch", "w")
	o.now += 10
	if after := o.do("x.watch", "w"); after == before {
		t.Errorf("a watched key that is stale is what it was: %q", after)
	}
}

// Who reads without a rule pays nothing, and neither does who reads a live key with one.
func TestRulesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := store.New(store.Config{})
	s.SetRules([]store.Rule{{Prefix: "page:", Stale: time.Minute, RefreshAhead: 10 * time.Second}})
	o := newLeaseClient(s, NewTable())
	o.do("set", "page:1", "v", "ex", "60")
	o.do("set", "page:2", "v", "ex", "60")
	for _, tt := range []struct {
		after int64
		key   string
	}{{0, "other"}, {0, "page:1"}, {55_000, "page:1"}, {61_000, "page:2"}} {
		o.now = leaseStart + tt.after
		o.do("get", tt.key) // takes the lease
		args := [][]byte{[]byte("get"), []byte(tt.key)}
		spec, out := o.table.Lookup(args[0]), make([]byte, 0, 64)
		if n := testing.AllocsPerRun(100, func() {
			o.c.Args, o.c.Out = args, out
			spec.Exec(&o.c)
		}); n != 0 {
			t.Errorf("GET %s after %d ms: %v allocations", tt.key, tt.after, n)
		}
	}
	if !bytes.Contains(o.c.Out, []byte("v")) || s.Stats().Stale != 101 {
		t.Errorf("last reply %q, %d stale ones", o.c.Out, s.Stats().Stale)
	}
}
