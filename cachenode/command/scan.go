package command

import (
	"bytes"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A cursor of SCAN names the partition in its lower bits and the place in it above. So it means the same on every node, and 0 is
// both the begin and the end.
const partitionBits = 15

const _ = uint(1<<partitionBits - store.Partitions) // they fit

// Cursor joins a partition and the inner cursor of ScanPartition.
func Cursor(partition int, inner uint64) uint64 { return inner<<partitionBits | uint64(partition) }

// SplitCursor undoes Cursor.
func SplitCursor(cursor uint64) (partition int, inner uint64) {
	return int(cursor&(1<<partitionBits-1)) % store.Partitions, cursor >> partitionBits
}

// ParseCursor reads a cursor as Redis's strtoul does: with a sign, up to the first zero byte, and nothing for 0.
func ParseCursor(b []byte) (uint64, bool) {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 {
		return 0, true
	}
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	v, err := strconv.ParseUint(string(b), 10, 64)
	if negative {
		v = -v
	}
	return v, err == nil
}

type scanOptions struct {
	count   int
	pattern []byte // nil matches all
	kind    []byte // nil matches all
}

func (c *Context) parseScanOptions(i int, keys bool) (o scanOptions, ok bool) {
	o.count = 10
	for ; i < len(c.Args); i += 2 {
		last := i+1 == len(c.Args)
		switch {
		case !last && c.is(i, "count"):
			n, ok := c.intArg(i + 1)
			if !ok {
				return o, false
			}
			if n < 1 {
				c.fail(errSyntax)
				return o, false
			}
			o.count = int(min(n, 1<<30))
		case !last && c.is(i, "match"):
			o.pattern = c.Args[i+1]
			if len(o.pattern) == 1 && o.pattern[0] == '*' {
				o.pattern = nil
			}
		case !last && keys && c.is(i, "type"):
			o.kind = c.Args[i+1]
		default:
			c.fail(errSyntax)
			return o, false
		}
	}
	return o, true
}

// accepts tells whether an item of the current database passes the filters, and gives its name.
func (o *scanOptions) accepts(it *store.Item, db int) (name []byte, ok bool) {
	of, name := store.SplitKey(it.Key())
	if of != db || it.Deleted() {
		return nil, false
	}
	if o.pattern != nil && !Match(o.pattern, name) {
		return nil, false
	}
	return name, o.kind == nil || EqualFold(o.kind, it.Kind().String())
}

// scan answers for the partitions that Owns accepts, from the cursor's on, and skips the others. A node that does not own
// the partition of the cursor never gets the command.
func scan(c *Context) {
	cursor, ok := ParseCursor(c.Args[1])
	if !ok {
		c.fail(errCursor)
		return
	}
	o, ok := c.parseScanOptions(2, true)
	if !ok {
		return
	}
	// The names go behind the header, whose counts are known last, so it is put in front at the end.
	start := len(c.Out)
	found, visited := 0, 0
	p, inner := SplitCursor(cursor)
	for visited < o.count {
		if c.Owns != nil && !c.Owns(p) {
			inner = 0
		} else {
			inner = c.tx.ScanPartition(p, inner, o.count-visited, func(it *store.Item) {
				visited++
				if name, ok := o.accepts(it, c.DB); ok {
					found++
					c.bulk(name)
				}
			})
		}
		if inner == 0 {
			if p++; p == store.Partitions {
				p = 0
				break
			}
		}
	}
	c.insertScanHeader(start, Cursor(p, inner), found)
}

// insertScanHeader puts the header of a scan reply before the elements that begin at start.
func (c *Context) insertScanHeader(start int, cursor uint64, elements int) {
	var space [64]byte
	var digits [20]byte
	header := resp.AppendArray(space[:0], 2)
	header = resp.AppendBulk(header, strconv.AppendUint(digits[:0], cursor, 10))
	header = resp.AppendArray(header, elements)
	c.insert(start, header)
}

func (c *Context) insert(at int, b []byte) {
	n := len(c.Out)
	c.Out = append(c.Out, b...)
	copy(c.Out[at+len(b):], c.Out[at:n])
	copy(c.Out[at:], b)
}

func keys(c *Context) {
	o := scanOptions{pattern: c.Args[1]}
	start, found := len(c.Out), 0
	for p := range store.Partitions {
		if c.Owns != nil && !c.Owns(p) {
			continue
		}
		for cursor := uint64(0); ; {
			cursor = c.tx.ScanPartition(p, cursor, 1<<30, func(it *store.Item) {
				if name, ok := o.accepts(it, c.DB); ok {
					found++
					c.bulk(name)
				}
			})
			if cursor == 0 {
				break
			}
		}
	}
	var space [16]byte
	c.insert(start, resp.AppendArray(space[:0], found))
}

func hscan(c *Context) { c.scanDict(store.KindHash) }
func sscan(c *Context) { c.scanDict(store.KindSet) }

func (c *Context) scanDict(kind store.Kind) {
	cursor, ok := ParseCursor(c.Args[2])
	if !ok {
		c.fail(errCursor)
		return
	}
	it, ok := c.lookup(0, kind)
	if !ok {
		return
	}
	if it == nil {
		c.insertScanHeader(len(c.Out), 0, 0)
		return
	}
	o, ok := c.parseScanOptions(3, false)
	if !ok {
		return
	}
	d := it.Dict()
	if d.Small() {
		o.count = 2 * d.Len()
	}
	start, found := len(c.Out), 0
	visit := func(name, value []byte) {
		if o.pattern != nil && !Match(o.pattern, name) {
			return
		}
		found++
		c.bulk(name)
		if kind == store.KindHash {
			found++
			c.bulk(value)
		}
	}
	next := d.Scan(cursor, o.count, visit)
	for d.Small() && next != 0 {
		next = d.Scan(next, o.count, visit)
	}
	c.insertScanHeader(start, next, found)
}
