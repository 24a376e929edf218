package command

import (
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func xinfo(c *Context) {
	sub, ok := c.subcommandOf([]subcommand{{"stream", -3}, {"groups", 3}, {"consumers", 4}, {"help", 2}})
	if !ok {
		return
	}
	if sub == "help" {
		c.help("CONSUMERS <key> <groupname>",
			"    Show consumers of <groupname>.",
			"GROUPS <key>",
			"    Show the stream consumer groups.",
			"STREAM <key> [FULL [COUNT <count>]",
			"    Show information about the stream.")
		return
	}
	it := c.tx.Get(&c.keys[0])
	switch {
	case it == nil:
		c.fail(errNoSuchKey)
	case it.Kind() != store.KindStream:
		c.fail(errWrongType)
	case sub == "stream":
		c.streamInfo(it.Stream())
	case sub == "groups":
		c.groupsInfo(it.Stream())
	default:
		g := it.Stream().Group(c.Args[3])
		if g == nil {
			c.noGroupFor(c.Args[3], c.Args[2])
			return
		}
		c.array(len(g.Consumers()))
		for _, consumer := range g.Consumers() {
			c.mapOf(3)
			c.labelBulk("name", consumer.Name)
			c.labelInt("pending", int64(consumer.Pending))
			c.labelInt("idle", max(0, c.NowMilli-consumer.SeenAt))
		}
	}
}

func (c *Context) mapOf(n int)                           { c.Out = resp.AppendMap(c.Out, n, c.Proto) }
func (c *Context) label(name string)                     { c.Out = resp.AppendBulkString(c.Out, name) }
func (c *Context) labelInt(name string, v int64)         { c.label(name); c.int(v) }
func (c *Context) labelBulk(name string, v []byte)       { c.label(name); c.bulk(v) }
func (c *Context) labelID(name string, v store.StreamID) { c.label(name); c.id(v) }

// progress replies with what a group was given: how many entries, and how many are left.
func (c *Context) progress(s *store.Stream, g *store.Group) {
	c.label("entries-read")
	if g.Read != -1 {
		c.int(g.Read)
	} else {
		c.null()
	}
	c.label("lag")
	if lag, ok := s.Lag(g); ok {
		c.int(lag)
	} else {
		c.null()
	}
}

func (c *Context) groupsInfo(s *store.Stream) {
	c.array(len(s.Groups()))
	for _, g := range s.Groups() {
		c.mapOf(6)
		c.labelBulk("name", g.Name)
		c.labelInt("consumers", int64(len(g.Consumers())))
		c.labelInt("pending", int64(g.Pending()))
		c.labelID("last-delivered-id", g.LastID)
		c.progress(s, g)
	}
}

func (c *Context) streamInfo(s *store.Stream) {
	full, count := len(c.Args) > 3, int64(10)
	if full {
		if len(c.Args) != 4 && len(c.Args) != 6 || !c.is(3, "full") || len(c.Args) == 6 && !c.is(4, "count") {
			c.badSubcommand()
			return
		}
		if len(c.Args) == 6 {
			var ok bool
			if count, ok = c.intArg(5); !ok {
				return
			}
			if count < 0 {
				count = 10
			}
		}
	}
	if full {
		c.mapOf(9)
	} else {
		c.mapOf(10)
	}
	c.labelInt("length", int64(s.Len()))
	// There is no radix tree here; the blocks are what its keys would lead to.
	c.labelInt("radix-tree-keys", int64(s.Blocks()))
	c.labelInt("radix-tree-nodes", int64(s.Blocks()+1))
	c.labelID("last-generated-id", s.LastID)
	c.labelID("max-deleted-entry-id", s.MaxDeleted)
	c.labelInt("entries-added", s.Added)
	c.labelID("recorded-first-entry-id", s.First())
	if !full {
		c.labelInt("groups", int64(len(s.Groups())))
		c.label("first-entry")
		if !c.entryAt(s, s.First()) {
			c.null()
		}
		c.label("last-entry")
		if !c.entryAt(s, s.Last()) {
			c.null()
		}
		return
	}
	c.label("entries")
	c.entries(s, store.StreamID{}, store.MaxStreamID, count, false)
	c.label("groups")
	c.array(len(s.Groups()))
	for _, g := range s.Groups() {
		c.groupInfo(s, g, count)
	}
}

// groupInfo is a group in XINFO STREAM FULL, with at most count pending entries of it and of each consumer, 0 for all.
func (c *Context) groupInfo(s *store.Stream, g *store.Group, count int64) {
	c.mapOf(7)
	c.labelBulk("name", g.Name)
	c.labelID("last-delivered-id", g.LastID)
	c.progress(s, g)
	c.labelInt("pel-count", int64(g.Pending()))
	c.label("pending")
	c.pendingInfo(g, nil, count)
	c.label("consumers")
	c.array(len(g.Consumers()))
	for _, consumer := range g.Consumers() {
		c.mapOf(4)
		c.labelBulk("name", consumer.Name)
		c.labelInt("seen-time", consumer.SeenAt)
		c.labelInt("pel-count", int64(consumer.Pending))
		c.label("pending")
		c.pendingInfo(g, consumer, count)
	}
}

func (c *Context) pendingInfo(g *store.Group, consumer *store.Consumer, count int64) {
	start, n := len(c.Out), int64(0)
	g.EachPending(store.StreamID{}, consumer, func(p *store.Pending) bool {
		if consumer == nil {
			c.array(4)
			c.id(p.ID)
			c.bulk(g.Owner(p).Name)
		} else {
			c.array(3)
			c.id(p.ID)
		}
		c.int(p.At)
		c.int(p.Count)
		n++
		return n != count
	})
	c.insertArrayHeader(start, int(n))
}
