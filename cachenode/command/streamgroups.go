package command

import (
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// noGroup replies that there is no such key or group.
func (c *Context) noGroup() {
	c.fail("NOGROUP No such key '" + cString(c.Args[1]) + "' or consumer group '" + cString(c.Args[2]) + "'")
}

// noGroupFor is noGroup for a key that is there, in the words of XGROUP and XINFO.
func (c *Context) noGroupFor(group, key []byte) {
	c.fail("NOGROUP No such consumer group '" + cString(group) + "' for key name '" + cString(key) + "'")
}

// group finds the group that argument 2 names in it, which may be nil.
func (c *Context) group(it *store.Item) *store.Group {
	if it == nil {
		return nil
	}
	return it.Stream().Group(c.Args[2])
}

func xgroup(c *Context) {
	sub, ok := c.subcommandOf([]subcommand{{"create", -5}, {"setid", -5}, {"destroy", 4}, {"createconsumer", 5}, {"delconsumer", 5}, {"help", 2}})
	if !ok {
		return
	}
	if sub == "help" {
		c.help("CREATE <key> <groupname> <id|$> [option]",
			"    Create a new consumer group. Options are:",
			"    * MKSTREAM",
			"      Create the empty stream if it does not exist.",
			"    * ENTRIESREAD entries_read",
			"      Set the group's entries_read counter (internal use).",
			"CREATECONSUMER <key> <groupname> <consumer>",
			"    Create a new consumer in the specified group.",
			"DELCONSUMER <key> <groupname> <consumer>",
			"    Remove the specified consumer.",
			"DESTROY <key> <groupname>",
			"    Remove the specified group.",
			"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
			"    Set the current group ID and entries_read counter.")
		return
	}
	mkstream, read := false, int64(-1)
	for i := 5; i < len(c.Args); i++ {
		switch {
		case sub == "create" && c.is(i, "mkstream"):
			mkstream = true
		case (sub == "create" || sub == "setid") && c.is(i, "entriesread") && i+1 < len(c.Args):
			i++
			if read, ok = c.intArg(i); !ok {
				return
			}
			if read < -1 {
				c.fail("ERR value for ENTRIESREAD must be positive or -1")
				return
			}
		default:
			c.badSubcommand()
			return
		}
	}
	it, ok := c.forWrite(0, store.KindStream)
	if !ok {
		return
	}
	name := c.Args[3]
	var g *store.Group
	if it != nil {
		g = it.Stream().Group(name)
	}
	if !mkstream {
		if it == nil {
			c.fail("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM " +
				"option to create an empty stream automatically.")
			return
		}
		if g == nil && sub != "create" && sub != "destroy" {
			c.noGroupFor(name, c.Args[2])
			return
		}
	}
	switch sub {
	case "create":
		c.createGroup(it, name, read)
	case "setid":
		c.setGroupID(it, g, read)
	case "destroy":
		c.bool(g != nil)
		if g != nil {
			it.Stream().DeleteGroup(name)
			c.groupChanged(it, "xgroup-destroy")
		}
	case "createconsumer":
		made := g.NewConsumer(c.Args[4], c.NowMilli) != nil
		c.bool(made)
		if made {
			c.groupChanged(it, "xgroup-createconsumer")
		}
	case "delconsumer":
		consumer := g.Consumer(c.Args[4])
		if consumer == nil {
			c.int(0)
			return
		}
		c.int(int64(consumer.Pending))
		g.DeleteConsumer(consumer)
		c.groupChanged(it, "xgroup-delconsumer")
	}
}

func (c *Context) groupChanged(it *store.Item, event string) {
	c.tx.Update(&c.keys[0], it)
	c.event(EventStream, event, 0)
}

func (c *Context) createGroup(it *store.Item, name []byte, read int64) {
	if len(c.Args) > 8 {
		c.badSubcommand()
		return
	}
	var id store.StreamID
	if cString(c.Args[4]) != "$" {
		var ok bool
		if id, ok = c.streamID(4); !ok {
			return
		}
	} else if it != nil {
		id = it.Stream().LastID
	}
	if it == nil {
		it = c.tx.Create(&c.keys[0], store.KindStream)
	}
	if it.Stream().NewGroup(name, id, read) == nil {
		c.fail("BUSYGROUP Consumer Group name already exists")
		return
	}
	c.groupChanged(it, "xgroup-create")
	c.ok()
}

func (c *Context) setGroupID(it *store.Item, g *store.Group, read int64) {
	if len(c.Args) != 5 && len(c.Args) != 7 {
		c.badSubcommand()
		return
	}
	id := it.Stream().LastID
	if cString(c.Args[4]) != "$" {
		var ok bool
		if id, ok = parseStreamID(c.Args[4], 0, false, nil); !ok {
			c.fail(errStreamID)
			return
		}
	}
	g.LastID, g.Read = id, read
	c.groupChanged(it, "xgroup-setid")
	c.ok()
}

func xack(c *Context) {
	it, ok := c.forWrite(0, store.KindStream)
	if !ok {
		return
	}
	g := c.group(it)
	if g == nil {
		c.int(0)
		return
	}
	ids, ok := c.streamIDs(3)
	if !ok {
		return
	}
	n := int64(0)
	for _, id := range ids {
		if g.Ack(id) {
			n++
		}
	}
	if n > 0 {
		c.tx.Update(&c.keys[0], it)
	}
	c.int(n)
}

func xpending(c *Context) {
	if n := len(c.Args); n != 3 && (n < 6 || n > 9) {
		c.fail(errSyntax)
		return
	}
	var from, to store.StreamID
	var idle, count int64
	var name []byte
	if len(c.Args) > 3 {
		i, ok := 3, true
		if c.is(3, "idle") {
			if idle, ok = c.intArg(4); !ok {
				return
			}
			if len(c.Args) < 8 {
				c.fail(errSyntax)
				return
			}
			i = 5
		}
		if count, ok = c.intArg(i + 2); !ok {
			return
		}
		if from, to, ok = c.streamRange(i, i+1); !ok {
			return
		}
		if i+3 < len(c.Args) {
			name = c.Args[i+3]
		}
	}
	it, ok := c.lookup(0, store.KindStream)
	if !ok {
		return
	}
	g := c.group(it)
	switch {
	case g == nil:
		c.noGroup()
	case len(c.Args) == 3:
		c.pendingSummary(g)
	default:
		c.pendingRange(g, from, to, max(count, 0), idle, name)
	}
}

func (c *Context) pendingSummary(g *store.Group) {
	c.array(4)
	c.int(int64(g.Pending()))
	if g.Pending() == 0 {
		c.null()
		c.null()
		c.Out = resp.AppendNullArray(c.Out, c.Proto)
		return
	}
	c.id(g.NextPending(store.StreamID{}).ID)
	c.id(g.LastPending().ID)
	start, n := len(c.Out), 0
	for _, consumer := range g.Consumers() {
		if consumer.Pending > 0 {
			n++
			c.array(2)
			c.bulk(consumer.Name)
			c.Out = resp.AppendBulkInt(c.Out, int64(consumer.Pending))
		}
	}
	c.insertArrayHeader(start, n)
}

func (c *Context) pendingRange(g *store.Group, from, to store.StreamID, count, idle int64, name []byte) {
	var consumer *store.Consumer
	if name != nil {
		if consumer = g.Consumer(name); consumer == nil {
			c.array(0)
			return
		}
	}
	start, n := len(c.Out), int64(0)
	if count > 0 {
		g.EachPending(from, consumer, func(p *store.Pending) bool {
			if p.ID.Compare(to) > 0 {
				return false
			}
			if idle != 0 && c.NowMilli-p.At < idle {
				return true
			}
			c.array(4)
			c.id(p.ID)
			c.bulk(g.Owner(p).Name)
			c.int(max(0, c.NowMilli-p.At))
			c.int(p.Count)
			n++
			return n != count
		})
	}
	c.insertArrayHeader(start, int(n))
}

// claimOptions are those of XCLAIM.
type claimOptions struct {
	ids           []store.StreamID
	at, retries   int64
	force, justID bool
	last          store.StreamID
}

func (c *Context) parseClaim() (o claimOptions, ok bool) {
	o.at, o.retries = c.NowMilli, -1
	i := 5
	for ; i < len(c.Args); i++ {
		id, ok := parseStreamID(c.Args[i], 0, true, nil)
		if !ok {
			break
		}
		o.ids = append(o.ids, id)
	}
	for ; i < len(c.Args); i++ {
		more := i+1 < len(c.Args)
		number := func(option string) (v int64) {
			i++
			if v, ok = resp.ParseInt(c.Args[i]); !ok {
				c.fail("ERR Invalid " + option + " option argument for XCLAIM")
			}
			return v
		}
		ok = true
		switch {
		case c.is(i, "force"):
			o.force = true
		case c.is(i, "justid"):
			o.justID = true
		case more && c.is(i, "idle"):
			o.at = c.NowMilli - number("IDLE")
		case more && c.is(i, "time"):
			o.at = number("TIME")
		case more && c.is(i, "retrycount"):
			o.retries = number("RETRYCOUNT")
		case more && c.is(i, "lastid"):
			i++
			o.last, ok = c.streamID(i)
		default:
			c.fail("ERR Unrecognized XCLAIM option '" + cString(c.Args[i]) + "'")
			ok = false
		}
		if !ok {
			return o, false
		}
	}
	if o.at < 0 || o.at > c.NowMilli {
		o.at = c.NowMilli
	}
	return o, true
}

// minIdle reads argument 4 of XCLAIM and XAUTOCLAIM.
func (c *Context) minIdle() (v int64, ok bool) {
	if v, ok = resp.ParseInt(c.Args[4]); !ok {
		c.fail("ERR Invalid min-idle-time argument for " + upper(c.spec.Name))
	}
	return max(v, 0), ok
}

func xclaim(c *Context) {
	it, ok := c.forWrite(0, store.KindStream)
	if !ok {
		return
	}
	g := c.group(it)
	if g == nil {
		c.noGroup()
		return
	}
	idle, ok := c.minIdle()
	if !ok {
		return
	}
	o, ok := c.parseClaim()
	if !ok {
		return
	}
	changed := false
	if o.last.Compare(g.LastID) > 0 {
		g.LastID, changed = o.last, true
	}
	s := it.Stream()
	start, n := len(c.Out), 0
	for _, id := range o.ids {
		p := g.Find(id)
		if !s.Has(id) {
			changed = g.Ack(id) || changed
			continue
		}
		if p == nil && !o.force || p != nil && idle != 0 && c.NowMilli-p.At < idle {
			continue
		}
		count := int64(1)
		if p != nil {
			count = p.Count
		}
		if o.retries >= 0 {
			count = o.retries
		} else if !o.justID {
			count++
		}
		c.claim(s, g, id, o.at, count, o.justID)
		changed = true
		n++
	}
	c.insertArrayHeader(start, n)
	if changed {
		c.tx.Update(&c.keys[0], it)
	}
}

// claim gives an entry to the consumer that argument 3 names, and replies with it.
func (c *Context) claim(s *store.Stream, g *store.Group, id store.StreamID, at, count int64, justID bool) {
	p := g.Give(id, c.consumer(g, c.Args[3], 0))
	p.At, p.Count = at, count
	if justID {
		c.id(id)
	} else {
		c.entryAt(s, id)
	}
}

func xautoclaim(c *Context) {
	idle, ok := c.minIdle()
	if !ok {
		return
	}
	next, _, ok := c.streamRange(5, 0)
	if !ok {
		return
	}
	count, justID := int64(100), false
	for i := 6; i < len(c.Args); i++ {
		switch {
		case c.is(i, "count") && i+1 < len(c.Args):
			i++
			if count, ok = resp.ParseInt(c.Args[i]); !ok || count < 1 || count > maxAutoclaim {
				c.fail("ERR COUNT must be > 0")
				return
			}
		case c.is(i, "justid"):
			justID = true
		default:
			c.fail(errSyntax)
			return
		}
	}
	it, ok := c.forWrite(0, store.KindStream)
	if !ok {
		return
	}
	g := c.group(it)
	if g == nil {
		c.noGroup()
		return
	}
	s := it.Stream()
	var deleted []store.StreamID
	start, n, changed := len(c.Out), 0, false
	// What is passed over for not having been idle long enough is bounded too.
	for more, attempts := true, 10*count; more && attempts > 0 && count > 0; attempts-- {
		p := g.NextPending(next)
		if p == nil {
			break
		}
		id := p.ID
		next, more = id.Next()
		if !s.Has(id) {
			g.Ack(id)
			deleted = append(deleted, id)
			count--
			changed = true
			continue
		}
		if idle != 0 && c.NowMilli-p.At < idle {
			continue
		}
		deliveries := p.Count
		if !justID {
			deliveries++
		}
		c.claim(s, g, id, c.NowMilli, deliveries, justID)
		count--
		n++
		changed = true
	}
	var end store.StreamID
	if p := g.NextPending(next); p != nil && next != (store.StreamID{}) {
		end = p.ID
	}
	c.insertArrayHeader(start, n)
	var space [64]byte
	header := resp.AppendArray(space[:0], 3)
	var text [41]byte
	c.insert(start, resp.AppendBulk(header, appendStreamID(text[:0], end)))
	c.array(len(deleted))
	for _, id := range deleted {
		c.id(id)
	}
	if changed {
		c.tx.Update(&c.keys[0], it)
	}
}
