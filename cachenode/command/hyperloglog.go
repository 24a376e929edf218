package command

import "github.com/outrigger-proxy/outrigger/cachenode/store"

const (
	errNoHLL      = "WRONGTYPE Key is not a valid HyperLogLog string value."
	errCorruptHLL = "INVALIDOBJ Corrupted HLL object detected"
)

func hllSpecs() []Spec {
	return []Spec{
		{Name: "pfadd", Arity: -2, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hyperloglog", Since: "2.8.9",
			Help: "Adds elements to a HyperLogLog", run: pfadd, grow: hllGrowth},
		{Name: "pfcount", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "hyperloglog", Since: "2.8.9",
			Help: "Returns the approximated number of different elements of the HyperLogLogs", run: pfcount},
		{Name: "pfmerge", Arity: -2, Flags: Write | DenyOOM, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "hyperloglog", Since: "2.8.9",
			Help: "Merges HyperLogLogs into one", run: pfmerge, grow: hllGrowth},
	}
}

func hllGrowth(*Context) int64 { return store.ItemGrowth(hllDenseSize) }

// hll reads the HyperLogLog of an item, nil for a key that is not there. When it is none, the error is replied.
func (c *Context) hll(it *store.Item) (h hll, ok bool) {
	if it == nil {
		return nil, true
	}
	if !isHLL(it.Value()) {
		c.fail(errNoHLL)
		return nil, false
	}
	return hll(it.Value()), true
}

// hllToWrite is hll for changing it: a dense one is the string itself, a sparse one, or a new one, is a copy.
func (c *Context) hllToWrite(i int) (h hll, exists, ok bool) {
	it, ok := c.forWrite(i, store.KindString)
	if !ok {
		return nil, false, false
	}
	if h, ok = c.hll(it); !ok {
		return nil, false, false
	}
	switch {
	case h == nil:
		h = newHLL(make([]byte, 0, 32))
	case !h.dense():
		h = append(make(hll, 0, len(h)+8), h...)
	}
	return h, it != nil, true
}

// writeHLL stores what hllToWrite gave, changed, and keeps the expiry.
func (c *Context) writeHLL(i int, h hll) {
	h.invalidate()
	copy(c.tx.Resize(&c.keys[i], len(h)).Value(), h)
	c.event(EventString, "pfadd", i)
}

func pfadd(c *Context) {
	h, exists, ok := c.hllToWrite(0)
	if !ok {
		return
	}
	changed := !exists
	for _, element := range c.Args[2:] {
		raised, ok := h.set(hllPlace(element))
		if !ok {
			c.fail(errCorruptHLL)
			return
		}
		changed = changed || raised
	}
	if changed {
		c.writeHLL(0, h)
	}
	c.bool(changed)
}

func pfcount(c *Context) {
	if len(c.keys) == 1 {
		c.pfcountOne()
		return
	}
	var registers [hllRegisters]byte
	for i := range c.keys {
		it, ok := c.lookup(i, store.KindString)
		if !ok {
			return
		}
		h, ok := c.hll(it)
		if !ok {
			return
		}
		if h != nil && !h.mergeInto(&registers) {
			c.fail(errCorruptHLL)
			return
		}
	}
	var g hllHistogram
	for _, v := range registers[:] {
		g[v]++
	}
	c.int(int64(g.estimate()))
}

// pfcountOne keeps the estimate in the string, as Redis does. That is no change of the value: other copies of it need
// not hear of it.
func (c *Context) pfcountOne() {
	it, ok := c.lookup(0, store.KindString)
	if !ok {
		return
	}
	h, ok := c.hll(it)
	if !ok {
		return
	}
	if h == nil {
		c.int(0)
		return
	}
	n, valid := h.cached()
	if !valid {
		g, ok := h.histogram()
		if !ok {
			c.fail(errCorruptHLL)
			return
		}
		n = g.estimate()
		h.cache(n)
	}
	c.int(int64(n))
}

// mergeInto raises registers to those of h.
func (h hll) mergeInto(registers *[hllRegisters]byte) bool {
	return h.each(func(i int, value byte) { registers[i] = max(registers[i], value) })
}

func pfmerge(c *Context) {
	var registers [hllRegisters]byte
	dense := false
	for i := range c.keys {
		it, ok := c.lookup(i, store.KindString)
		if !ok {
			return
		}
		h, ok := c.hll(it)
		if !ok {
			return
		}
		if h == nil {
			continue
		}
		dense = dense || h.dense()
		if !h.mergeInto(&registers) {
			c.fail(errCorruptHLL)
			return
		}
	}
	h, _, ok := c.hllToWrite(0)
	if !ok {
		return
	}
	if dense && !h.promote() {
		c.fail(errCorruptHLL)
		return
	}
	for i, v := range registers[:] {
		if v == 0 {
			continue
		}
		if _, ok := h.set(i, v); !ok {
			c.fail(errCorruptHLL)
			return
		}
	}
	c.writeHLL(0, h)
	c.ok()
}
