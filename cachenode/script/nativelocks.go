package script

import (
	"bytes"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

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
