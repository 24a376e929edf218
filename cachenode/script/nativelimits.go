package script

import (
	"bytes"
	"math"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

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
