package command

import (
	"slices"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// maxLCS bounds the table of LCS, in bytes. Redis allows as much as a string may be long, 512 MiB; that is more than a
// sidecar may have, and a second in which nothing else happens.
const maxLCS = 64 << 20

func lcs(c *Context) {
	var v [2][]byte
	for i := range v {
		it := c.tx.Get(&c.keys[i])
		if it != nil && it.Kind() != store.KindString {
			c.fail("ERR The specified keys must contain string values")
			return
		}
		if it != nil {
			v[i] = it.Value()
		}
	}
	var idx, length, withLen bool
	minLen := int64(0)
	for i := 3; i < len(c.Args); i++ {
		switch {
		case c.is(i, "idx"):
			idx = true
		case c.is(i, "len"):
			length = true
		case c.is(i, "withmatchlen"):
			withLen = true
		case c.is(i, "minmatchlen") && i+1 < len(c.Args):
			var ok bool
			if minLen, ok = c.intArg(i + 1); !ok {
				return
			}
			i++
		default:
			c.fail(errSyntax)
			return
		}
	}
	if length && idx {
		c.fail("ERR If you want both the length and indexes, please just use IDX.")
		return
	}
	a, b := v[0], v[1]
	if 4*(int64(len(a))+1)*(int64(len(b))+1) > maxLCS {
		c.fail("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
		return
	}
	t := newLCSTable(a, b)
	total := t.at(len(a), len(b))
	switch {
	case length:
		c.int(int64(total))
	case idx:
		c.Out = resp.AppendMap(c.Out, 2, c.Proto)
		c.Out = resp.AppendBulkString(c.Out, "matches")
		start, n := len(c.Out), 0
		t.walk(func(i, j, size int) {
			if int64(size) < minLen {
				return
			}
			n++
			if c.array(2); withLen {
				c.Out[len(c.Out)-3] = '3'
			}
			c.pair(int64(i), int64(i+size-1))
			c.pair(int64(j), int64(j+size-1))
			if withLen {
				c.int(int64(size))
			}
		})
		var space [16]byte
		c.insert(start, resp.AppendArray(space[:0], n))
		c.Out = resp.AppendBulkString(c.Out, "len")
		c.int(int64(total))
	default:
		result := make([]byte, 0, total)
		t.walk(func(i, _, size int) {
			for k := i + size - 1; k >= i; k-- {
				result = append(result, a[k])
			}
		})
		slices.Reverse(result)
		c.bulk(result)
	}
}

// lcsTable holds the lengths of the longest common subsequences of all prefixes of a and b.
type lcsTable struct {
	a, b  []byte
	cells []uint32
}

func newLCSTable(a, b []byte) *lcsTable {
	t := &lcsTable{a: a, b: b, cells: make([]uint32, (len(a)+1)*(len(b)+1))}
	width := len(b) + 1
	for i := range a {
		above, row := t.cells[i*width:(i+1)*width], t.cells[(i+1)*width:(i+2)*width]
		for j := range b {
			if a[i] == b[j] {
				row[j+1] = above[j] + 1
			} else {
				row[j+1] = max(above[j+1], row[j])
			}
		}
	}
	return t
}

func (t *lcsTable) at(i, j int) int { return int(t.cells[i*(len(t.b)+1)+j]) }

// walk visits the ranges that are equal, the last first, in the order in which Redis finds them.
func (t *lcsTable) walk(visit func(i, j, size int)) {
	i, j, size := len(t.a), len(t.b), 0
	for i > 0 && j > 0 {
		if t.a[i-1] == t.b[j-1] {
			size++
			i, j = i-1, j-1
			continue
		}
		if size > 0 {
			visit(i, j, size)
			size = 0
		}
		if t.at(i-1, j) > t.at(i, j-1) {
			i--
		} else {
			j--
		}
	}
	if size > 0 {
		visit(i, j, size)
	}
}
