package command

import (
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// xreadKeys finds the keys of XREAD and XREADGROUP: the first half of what is behind STREAMS.
func xreadKeys(args [][]byte, at []int) []int {
	for i := 1; i < len(args); i++ {
		switch {
		case EqualFold(args[i], "block"), EqualFold(args[i], "count"):
			i++
		case EqualFold(args[i], "group"):
			i += 2
		case EqualFold(args[i], "noack"):
		case EqualFold(args[i], "streams"):
			n := len(args) - i - 1
			if n%2 == 0 {
				for j := range n / 2 {
					at = append(at, i+1+j)
				}
			}
			return at
		default:
			return at
		}
	}
	return at
}

func xread(c *Context)      { c.readStreams(false) }
func xreadgroup(c *Context) { c.readStreams(true) }

// readOptions are those of XREAD and XREADGROUP.
type readOptions struct {
	grouped, blocks, noAck bool

	until           int64
	count           int64
	streams         int // index of the first key
	group, consumer []byte
}

func (c *Context) parseRead(o *readOptions) bool {
	for i := 1; i < len(c.Args); i++ {
		more := len(c.Args) - 1 - i
		switch {
		case more > 0 && c.is(i, "block"):
			if c.Scripted {
				c.fail("ERR " + string(c.Args[0]) + " command is not allowed with BLOCK option from scripts")
				return false
			}
			i++
			var ok bool
			if o.until, ok = c.timeoutMillis(i); !ok {
				return false
			}
			o.blocks = true
		case more > 0 && c.is(i, "count"):
			i++
			var ok bool
			if o.count, ok = c.intArg(i); !ok {
				return false
			}
			o.count = max(o.count, 0)
		case more > 0 && c.is(i, "streams"):
			if more%2 != 0 {
				c.fail("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
				return false
			}
			o.streams = i + 1
			i = len(c.Args)
		case more > 1 && c.is(i, "group"):
			if !o.grouped {
				c.fail("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
				return false
			}
			o.group, o.consumer = c.Args[i+1], c.Args[i+2]
			i += 2
		case c.is(i, "noack"):
			if !o.grouped {
				c.fail("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
				return false
			}
			o.noAck = true
		default:
			c.fail(errSyntax)
			return false
		}
	}
	switch {
	case o.streams == 0:
		c.fail(errSyntax)
		return false
	case o.grouped && o.group == nil:
		c.fail("ERR Missing GROUP option for XREADGROUP")
		return false
	}
	return true
}

// defaultServed is how many entries of each stream a command gets that had to wait and has not said how many it wants.
const defaultServed = 1000

// streamRead is one of the streams to read.
type streamRead struct {
	it      *store.Item
	group   *store.Group
	after   store.StreamID
	fresh   bool // what nobody in the group was given
	history bool // what the consumer was given already
}

func (c *Context) readStreams(grouped bool) {
	o := readOptions{grouped: grouped}
	if !c.parseRead(&o) {
		return
	}
	if c.serving && o.count == 0 {
		o.count = defaultServed
	}
	reads := make([]streamRead, len(c.keys))
	for i := range reads {
		if c.waits(i) && !c.prepareRead(&o, i, &reads[i]) {
			return
		}
	}
	start, n := len(c.Out), 0
	for i := range reads {
		r := &reads[i]
		if r.fresh {
			r.after = r.group.LastID // which the same key before has moved
		}
		if r.it != nil && (r.history || r.it.Stream().Len() > 0 && r.it.Stream().Last().Compare(r.after) > 0) {
			n++
			if c.Proto < 3 {
				c.array(2)
			}
			c.bulk(c.Args[o.streams+i])
			c.readStream(&o, i, r)
		}
	}
	switch {
	case n > 0 && c.Proto >= 3:
		var space [24]byte
		c.insert(start, resp.AppendMap(space[:0], n, c.Proto))
	case n > 0:
		c.insertArrayHeader(start, n)
	case o.blocks:
		c.block(store.KindStream, o.until, 0, len(c.keys))
		if grouped && c.Waiter != nil {
			c.Waiter.gone = "UNBLOCKED the stream key no longer exists"
		}
	default:
		c.Out = resp.AppendNullArray(c.Out, c.Proto)
	}
}

// prepareRead finds a stream, and what to read of it. When something is wrong, the error is replied.
func (c *Context) prepareRead(o *readOptions, i int, r *streamRead) bool {
	at := o.streams + len(c.keys) + i
	var ok bool
	if r.it, ok = c.lookup(i, store.KindStream); !ok {
		return false
	}
	if o.grouped {
		if r.it != nil {
			r.group = r.it.Stream().Group(o.group)
		}
		if r.group == nil {
			if c.serving {
				c.fail("NOGROUP the consumer group this client was blocked on no longer exists")
			} else {
				c.fail("NOGROUP No such key '" + cString(c.Args[o.streams+i]) + "' or consumer group '" + cString(o.group) +
					"' in XREADGROUP with GROUP option")
			}
			return false
		}
	}
	switch cString(c.Args[at]) {
	case "$":
		if o.grouped {
			c.fail("ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by " +
				"specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.")
			return false
		}
		if r.it != nil {
			r.after = r.it.Stream().LastID
		}
		if o.blocks {
			c.Args[at] = appendStreamID(nil, r.after) // what comes from now on, whenever it is looked at again
		}
		return true
	case ">":
		if !o.grouped {
			c.fail("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")
			return false
		}
		r.fresh = true
		return true
	}
	r.after, ok = c.streamID(at)
	switch {
	case !o.grouped:
	case r.after == store.MaxStreamID:
		r.fresh = true // Redis cannot tell it from >
	default:
		r.history = true
	}
	return ok
}

// readStream replies with the entries of one stream.
func (c *Context) readStream(o *readOptions, i int, r *streamRead) {
	s := r.it.Stream()
	from, _ := r.after.Next()
	if !o.grouped {
		c.entries(s, from, store.MaxStreamID, o.count, false)
		return
	}
	consumer := c.consumer(r.group, o.consumer, i)
	start, n := len(c.Out), int64(0)
	if r.history {
		r.group.EachPending(from, consumer, func(p *store.Pending) bool {
			if c.entryAt(s, p.ID) {
				p.At = c.NowMilli
				p.Count++
			} else {
				c.array(2)
				c.id(p.ID)
				c.Out = resp.AppendNullArray(c.Out, c.Proto)
			}
			n++
			return n != o.count
		})
	} else {
		s.Ascend(from, store.MaxStreamID, func(e *store.StreamEntry) bool {
			s.Advance(r.group, e.ID)
			c.entry(e)
			if !o.noAck {
				p := r.group.Give(e.ID, consumer)
				p.At, p.Count = c.NowMilli, 1
			}
			n++
			return n != o.count
		})
	}
	c.insertArrayHeader(start, int(n))
	c.tx.Update(&c.keys[i], r.it)
}

// consumer finds or makes a consumer and notes that it was seen.
func (c *Context) consumer(g *store.Group, name []byte, key int) *store.Consumer {
	consumer := g.Consumer(name)
	if consumer == nil {
		consumer = g.NewConsumer(name, c.NowMilli)
		c.event(EventStream, "xgroup-createconsumer", key)
	}
	consumer.SeenAt = c.NowMilli
	return consumer
}

// entryAt replies with one entry. It reports false, and replies nothing, when it is not there.
func (c *Context) entryAt(s *store.Stream, id store.StreamID) (found bool) {
	s.Ascend(id, id, func(e *store.StreamEntry) bool {
		c.entry(e)
		found = true
		return false
	})
	return found
}

// maxAutoclaim is the largest COUNT of XAUTOCLAIM.
const maxAutoclaim = math.MaxInt64 / 16
