package script

import (
	"bytes"
	"math"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// native does what a well-known script does. It reports false, before anything is written, for what it leaves to the script
// itself: above all what ends in an error, whose text says where in the script.
type native func(a *act) bool

// act is a native at work: the shards of its keys are held.
type act struct {
	r          *Runner
	c          *command.Context
	keys, argv [][]byte

	// The last reply: its type, its integer, and the bytes of a bulk string, valid until the next call.
	kind byte
	n    int64
	bulk []byte
}

// maxNativeKeys bounds the keys of a native: scripts with more than Lua unpacks fail.
const maxNativeKeys = 500

// runNative runs the native of a script, unless the script must run itself.
func (r *Runner) runNative(c *command.Context, p *program, keys, argv [][]byte) (done bool) {
	// Where memory is short the script may fail between two writes, which a native does not imitate.
	size := 0
	for _, v := range argv {
		size += len(v)
	}
	if len(keys) == 0 || len(keys) > maxNativeKeys || !c.Store.Fits(1<<20+int64(size*len(keys))) {
		return false
	}
	a := &r.act
	*a = act{r: r, c: c, keys: keys, argv: argv}
	start := len(c.Out)
	run := func() { done = p.native(a) }
	if c.Atomic() {
		run()
	} else {
		c.Together(keys, 0, run)
	}
	if !done {
		c.Out = c.Out[:start]
	}
	*a = act{}
	clear(r.args)
	return done
}

// do runs a command. It reports false for an error.
func (a *act) do(name string, args ...[]byte) bool {
	r, c := a.r, a.c
	r.args = append(append(r.args[:0], []byte(name)), args...)
	spec := r.e.cfg.Table.Lookup(r.args[0])
	if spec == nil {
		return false
	}
	out, proto := c.Out, c.Proto
	c.Out, c.Proto = r.buf[:0], 2
	held := c.Call(spec, r.args)
	r.buf, c.Out, c.Proto = c.Out, out, proto
	if !held {
		return false
	}
	h, err := resp.ReadHeader(r.buf)
	if err != nil || h.Size == 0 || h.Kind == '-' {
		return false
	}
	a.kind, a.n, a.bulk = h.Kind, h.N, nil
	if h.Kind == '$' && h.N >= 0 {
		a.bulk = r.buf[h.Size : h.Size+int(h.N)]
	}
	return true
}

// get reads a key; isNil when there is none.
func (a *act) get(key []byte) (isNil, ok bool) {
	if !a.do("get", key) || a.kind != '$' {
		return false, false
	}
	return a.n < 0, true
}

// owns tells whether a key holds what the script was given to compare with.
func (a *act) owns(key []byte) (is, ok bool) {
	isNil, ok := a.get(key)
	return ok && !isNil && bytes.Equal(a.bulk, a.argv[0]), ok
}

func (a *act) int(v int64) bool {
	a.c.Out = resp.AppendInt(a.c.Out, v)
	return true
}

func (a *act) null() bool {
	a.c.Out = resp.AppendNull(a.c.Out, a.c.Proto)
	return true
}

func (a *act) ok() bool {
	a.c.Out = resp.AppendOK(a.c.Out)
	return true
}

// plain reads an argument that is an integer as Redis writes them, of a size that computing with it in Lua does not change.
func (a *act) plain(i int) (v int64, ok bool) {
	if i >= len(a.argv) {
		return 0, false
	}
	v, ok = resp.ParseInt(a.argv[i])
	return v, ok && v > -1e14 && v < 1e14
}

func decimal(v int64) []byte { return strconv.AppendInt(nil, v, 10) }

// whenOwned replies 0 unless KEYS[1] holds ARGV[1], and else what then replies.
func whenOwned(arguments int, otherwise int64, then func(a *act) bool) native {
	return func(a *act) bool {
		if len(a.argv) < arguments {
			return false
		}
		switch is, ok := a.owns(a.keys[0]); {
		case !ok:
			return false
		case !is:
			return a.int(otherwise)
		}
		return then(a)
	}
}

// Locks of one key.
var (
	deleteOwned = whenOwned(1, 0, func(a *act) bool { return a.do("del", a.keys[0]) && a.int(a.n) })

	pexpireOwned = whenOwned(2, 0, func(a *act) bool { return a.do("pexpire", a.keys[0], a.argv[1]) && a.int(a.n) })
	expireOwned  = whenOwned(2, 0, func(a *act) bool { return a.do("expire", a.keys[0], a.argv[1]) && a.int(a.n) })
	pttlOwned    = whenOwned(1, -3, func(a *act) bool { return a.do("pttl", a.keys[0]) && a.int(a.n) })

	// reacquireOwned replies 1 whatever PEXPIRE does.
	reacquireOwned = whenOwned(2, 0, func(a *act) bool { return a.do("pexpire", a.keys[0], a.argv[1]) && a.int(1) })

	// extendOwned adds to what is left of the time, or replaces it when ARGV[3] is there and not "0".
	extendOwned = whenOwned(3, 0, func(a *act) bool { return a.extend(string(a.argv[2]) == "0") })
	addToOwned  = whenOwned(2, 0, func(a *act) bool { return a.extend(true) })

	refreshOrPersistOwned = whenOwned(2, 0, func(a *act) bool {
		seconds, ok := a.plain(1)
		switch {
		case !ok:
			return false
		case seconds > 0:
			return a.do("expire", a.keys[0], a.argv[1]) && a.int(a.n)
		}
		return a.do("persist", a.keys[0]) && a.int(1)
	})
)

func (a *act) extend(add bool) bool {
	more, ok := a.plain(1)
	if !ok || !a.do("pttl", a.keys[0]) {
		return false
	}
	if a.n < 0 {
		return a.int(0)
	}
	if add {
		more += a.n
	}
	return a.do("pexpire", a.keys[0], decimal(more)) && a.int(1)
}

// deleteOrExpired replies -1 where there is no lock at all.
func deleteOrExpired(a *act) bool {
	if len(a.argv) < 1 {
		return false
	}
	isNil, ok := a.get(a.keys[0])
	switch {
	case !ok:
		return false
	case isNil:
		return a.int(-1)
	case !bytes.Equal(a.bulk, a.argv[0]):
		return a.int(0)
	}
	return a.do("del", a.keys[0]) && a.int(a.n)
}

// touchOrTake extends an own lock, and takes one that is free.
func touchOrTake(a *act) bool {
	if len(a.argv) < 2 {
		return false
	}
	is, ok := a.owns(a.keys[0])
	switch {
	case !ok:
		return false
	case is:
		return a.do("pexpire", a.keys[0], a.argv[1]) && a.int(a.n)
	case !a.do("set", a.keys[0], a.argv[0], word("PX"), a.argv[1], word("NX")):
		return false
	case a.kind == '+':
		return a.int(1)
	}
	return a.int(0)
}

func word(s string) []byte { return []byte(s) }

// take is SET NX PX.
func take(a *act) bool {
	switch {
	case len(a.argv) < 2 || !a.do("set", a.keys[0], a.argv[0], word("NX"), word("PX"), a.argv[1]):
		return false
	case a.kind == '+':
		return a.ok()
	}
	return a.null()
}

// addExpiring is SETEX where there is no key.
func addExpiring(a *act) bool {
	switch {
	case len(a.argv) < 2 || !a.do("exists", a.keys[0]):
		return false
	case a.n > 0:
		return a.null()
	}
	return a.do("setex", a.keys[0], a.argv[1], a.argv[0]) && a.ok()
}

// Locks of several keys.

// milliseconds tells whether argument i is a time that SET and PEXPIRE take.
func (a *act) milliseconds(i int) bool {
	v, ok := a.plain(i)
	return ok && v > 0 && v < 1e12
}

// takeAll takes all keys or none, and replies how many.
func takeAll(a *act) bool {
	if !a.milliseconds(1) {
		return false
	}
	for _, k := range a.keys {
		if !a.do("exists", k) {
			return false
		}
		if a.n == 1 {
			return a.int(0)
		}
	}
	return a.setAll()
}

func (a *act) setAll() bool {
	for _, k := range a.keys {
		a.do("set", k, a.argv[0], word("PX"), a.argv[1])
	}
	return a.int(int64(len(a.keys)))
}

// extendAll writes all keys anew when all are owned, and replies how many.
func extendAll(a *act) bool {
	if !a.milliseconds(1) {
		return false
	}
	for _, k := range a.keys {
		if is, ok := a.owns(k); !ok {
			return false
		} else if !is {
			return a.int(0)
		}
	}
	return a.setAll()
}

// releaseAll deletes the keys that are owned and replies how many.
func releaseAll(a *act) bool {
	if len(a.argv) < 1 {
		return false
	}
	owned := make([]bool, len(a.keys))
	for i, k := range a.keys {
		is, ok := a.owns(k)
		if !ok {
			return false
		}
		owned[i] = is
	}
	count := int64(0)
	for i, k := range a.keys {
		if owned[i] && a.do("del", k) {
			count += a.n // a key that is named twice is not there the second time
		}
	}
	return a.int(count)
}

// allOwned runs then when every key holds ARGV[1], and replies with null otherwise. A key of another type is not owned.
func allOwned(arguments int, then func(a *act) bool) native {
	return func(a *act) bool {
		if len(a.argv) < arguments {
			return false
		}
		for _, k := range a.keys {
			if !a.do("type", k) {
				return false
			}
			if !bytes.HasPrefix(a.r.buf, []byte("+string")) {
				return a.null()
			}
			if is, ok := a.owns(k); !ok {
				return false
			} else if !is {
				return a.null()
			}
		}
		return then(a)
	}
}

var (
	deleteAllOwned = allOwned(1, func(a *act) bool { return a.do("del", a.keys...) && a.ok() })

	refreshAllOwned = allOwned(2, func(a *act) bool {
		if !a.milliseconds(1) {
			return false
		}
		for _, k := range a.keys {
			a.do("pexpire", k, a.argv[1])
		}
		return a.ok()
	})

	shortestOwned = allOwned(1, func(a *act) bool {
		shortest := int64(0)
		for _, k := range a.keys {
			if !a.do("pttl", k) {
				return false
			}
			if a.n > 0 && (shortest == 0 || a.n < shortest) {
				shortest = a.n
			}
		}
		return a.int(shortest)
	})
)

// obtainAll takes all keys, or those that begin with the same token, for ARGV[3] milliseconds.
func obtainAll(a *act) bool {
	if len(a.argv) < 3 || !a.milliseconds(2) {
		return false
	}
	length, ok := a.plain(1)
	if !ok || length < 1 || length > int64(len(a.argv[0])) {
		return false
	}
	pairs := make([][]byte, 0, 2*len(a.keys))
	for _, k := range a.keys {
		pairs = append(pairs, k, a.argv[0])
	}
	if !a.do("msetnx", pairs...) {
		return false
	}
	if a.n != 1 {
		for _, k := range a.keys {
			if !a.do("getrange", k, word("0"), decimal(length-1)) {
				return false
			}
			if !bytes.Equal(a.bulk, a.argv[0][:length]) {
				return a.null()
			}
		}
		if !a.do("mset", pairs...) {
			return false
		}
	}
	for _, k := range a.keys {
		a.do("pexpire", k, a.argv[2])
	}
	return a.ok()
}

// Limiters.

func (a *act) pair(x, y int64) bool {
	a.c.Out = resp.AppendInt(resp.AppendInt(resp.AppendArray(a.c.Out, 2), x), y)
	return true
}

// countInWindow counts a hit: a window that has ended begins anew.
func countInWindow(a *act) bool {
	window, ok := a.plain(1)
	if !ok || window <= 0 || window > 1e12 || !a.do("pttl", a.keys[0]) {
		return false
	}
	left := a.n
	if left <= 0 {
		return a.do("set", a.keys[0], word("1"), word("PX"), decimal(window)) && a.pair(1, window)
	}
	if !a.do("incr", a.keys[0]) {
		return false
	}
	hits := a.n
	if string(a.argv[0]) == "1" {
		a.do("pexpire", a.keys[0], decimal(window))
		left = window
	}
	return a.pair(hits, left)
}

// countThenExpire counts a hit, and sets the time where least is more than what is left.
func countThenExpire(least int64) native {
	return func(a *act) bool {
		window, ok := a.plain(1)
		if !ok || window <= 0 || window > 1e12 || !a.do("incr", a.keys[0]) {
			return false
		}
		hits := a.n
		a.do("pttl", a.keys[0])
		left := a.n
		if left < least || string(a.argv[0]) == "1" {
			a.do("pexpire", a.keys[0], decimal(window))
			left = window
		}
		return a.pair(hits, left)
	}
}

// windowNow tells the hits of a window and what is left of it.
func windowNow(a *act) bool {
	if isNil, ok := a.get(a.keys[0]); !ok {
		return false
	} else if out := resp.AppendArray(a.c.Out, 2); isNil {
		a.c.Out = resp.AppendNull(out, a.c.Proto)
	} else {
		a.c.Out = resp.AppendBulk(out, a.bulk)
	}
	return a.do("pttl", a.keys[0]) && a.int(a.n)
}

// countPoints adds points, in a window of seconds that begins with the first.
func countPoints(a *act) bool {
	points, ok1 := a.plain(0)
	seconds, ok2 := a.plain(1)
	if !ok1 || !ok2 || seconds <= 0 || seconds > 1e9 || !a.do("exists", a.keys[0]) {
		return false
	}
	if a.n == 0 {
		a.do("set", a.keys[0], word("0"), word("EX"), a.argv[1], word("NX"))
	}
	if !a.do("incrby", a.keys[0], decimal(points)) {
		return false
	}
	consumed := a.n
	a.do("pttl", a.keys[0])
	left := a.n
	if left == -1 {
		a.do("expire", a.keys[0], a.argv[1])
		left = 1000 * seconds
	}
	return a.pair(consumed, left)
}

// countASecond is the fixed window of a second.
func countASecond(a *act) bool {
	if !a.do("incr", a.keys[0]) {
		return false
	}
	if a.n == 1 {
		a.do("expire", a.keys[0], word("1"))
	}
	return a.null()
}

// gcra is what both limiters by the generic cell rate algorithm compute first.
type gcra struct {
	burst, cost, interval, offset, now, tat float64
}

// epoch2017 is subtracted from the time, so that a float holds its microseconds.
const epoch2017 = 1483228800

func (a *act) gcra() (g gcra, ok bool) {
	if len(a.argv) < 4 {
		return g, false
	}
	var v [4]float64
	for i := range v {
		if v[i], ok = parseNumber(string(a.argv[i])); !ok {
			return g, false
		}
	}
	g.burst, g.cost, g.interval = v[0], v[3], v[2]/v[1]
	g.offset = float64(g.interval * g.burst)
	if !a.do("time") {
		return g, false
	}
	seconds, micros, ok := timeReply(a.r.buf)
	if !ok {
		return g, false
	}
	g.now = float64(seconds-epoch2017) + float64(micros/1000000)
	isNil, ok := a.get(a.keys[0])
	if !ok {
		return g, false
	}
	g.tat = g.now
	if !isNil {
		if g.tat, ok = parseNumber(string(a.bulk)); !ok {
			return g, false
		}
		if !(g.now <= g.tat) {
			g.tat = g.now
		}
	}
	for _, f := range []float64{g.interval, g.offset, g.tat, g.cost} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return g, false
		}
	}
	return g, g.interval != 0
}

// timeReply reads the reply of TIME.
func timeReply(b []byte) (seconds, micros float64, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte("*2\r\n"))
	if !ok {
		return 0, 0, false
	}
	for _, to := range []*float64{&seconds, &micros} {
		h, err := resp.ReadHeader(b)
		if err != nil || h.Kind != '$' || h.N < 0 || len(b) < h.Size+int(h.N)+2 {
			return 0, 0, false
		}
		if *to, ok = parseNumber(string(b[h.Size : h.Size+int(h.N)])); !ok {
			return 0, 0, false
		}
		b = b[h.Size+int(h.N)+2:]
	}
	return seconds, micros, true
}

// store keeps the new time of arrival as long as it matters. Where guarded is set, one that does not lie ahead is not kept.
func (a *act) store(newTAT, resetAfter float64, guarded bool) bool {
	if guarded && !(resetAfter > 0) {
		return true
	}
	seconds := math.Ceil(resetAfter)
	if !(seconds > 0 && seconds < 1e9) {
		return false
	}
	return a.do("set", a.keys[0], appendArgument(nil, newTAT), word("EX"), decimal(int64(seconds)))
}

func (a *act) limit(allowed, remaining, retryAfter, resetAfter float64) bool {
	out := resp.AppendArray(a.c.Out, 4)
	out = resp.AppendInt(out, toInt(allowed))
	out = resp.AppendInt(out, toInt(remaining))
	out = resp.AppendBulk(out, appendNumber(nil, retryAfter))
	a.c.Out = resp.AppendBulk(out, appendNumber(nil, resetAfter))
	return true
}

// gcraExactly allows ARGV[4] at once or nothing.
func gcraExactly(guarded bool) native {
	return func(a *act) bool {
		g, ok := a.gcra()
		if !ok {
			return false
		}
		newTAT := g.tat + float64(g.interval*g.cost)
		diff := g.now - (newTAT - g.offset)
		remaining := diff / g.interval
		if remaining < 0 {
			return a.limit(0, 0, -diff, g.tat-g.now)
		}
		reset := newTAT - g.now
		return a.store(newTAT, reset, guarded) && a.limit(g.cost, remaining, -1, reset)
	}
}

// gcraAtMost allows as much as there is, up to ARGV[4].
func gcraAtMost(guarded bool) native {
	return func(a *act) bool {
		g, ok := a.gcra()
		if !ok {
			return false
		}
		diff := g.now - (g.tat - g.offset)
		remaining := diff / g.interval
		if remaining < 1 {
			return a.limit(0, 0, g.interval-diff, g.tat-g.now)
		}
		if remaining < g.cost {
			g.cost, remaining = remaining, 0
		} else {
			remaining -= g.cost
		}
		newTAT := g.tat + float64(g.interval*g.cost)
		reset := newTAT - g.now
		return a.store(newTAT, reset, guarded) && a.limit(g.cost, remaining, -1, reset)
	}
}
