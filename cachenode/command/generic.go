package command

import (
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	errSameObject = "ERR source and destination objects are the same"
	errDBRange    = "ERR DB index is out of range"
	errDamaged    = "ERR the value of the source key is damaged and was not copied: delete the key and write it again"
	errElsewhere  = "ERR this needs keys that another node may hold: it works on a node that is alone"
)

// otherDB reads argument i as the number of a database.
func (c *Context) otherDB(i int) (db int, ok bool) {
	n, ok := c.intArg(i)
	switch {
	case !ok:
		return 0, false
	case n < math.MinInt32 || n > math.MaxInt32:
		c.fail("ERR value is out of range, value must between -2147483648 and 2147483647")
		return 0, false
	case n < 0 || n >= store.Databases:
		c.fail(errDBRange)
		return 0, false
	}
	return int(n), true
}

// keyIn locates a key of another database. The command holds all shards.
func (c *Context) keyIn(db int, name []byte) store.Key {
	return c.Store.Key(store.StoredKey(make([]byte, 0, len(name)+1), db, name))
}

// copiesAcross tells whether COPY names a database: then its keys are not where their names alone put them.
func copiesAcross(c *Context) bool {
	for i := 3; i+1 < len(c.Args); i++ {
		if c.is(i, "db") {
			return true
		}
	}
	return false
}

func copyKey(c *Context) {
	db, replace := c.DB, false
	for i := 3; i < len(c.Args); i++ {
		switch {
		case c.is(i, "replace"):
			replace = true
		case c.is(i, "db") && i+1 < len(c.Args):
			var ok bool
			if db, ok = c.otherDB(i + 1); !ok {
				return
			}
			i++
		default:
			c.fail(errSyntax)
			return
		}
	}
	if db != c.DB {
		if c.Peers {
			c.fail(errElsewhere)
			return
		}
		c.keys[1] = c.keyIn(db, c.Args[2])
	} else if string(c.Args[1]) == string(c.Args[2]) {
		c.fail(errSameObject)
		return
	}
	it := c.tx.Get(&c.keys[0])
	if it == nil || !replace && c.tx.Peek(&c.keys[1]) != nil {
		c.int(0)
		return
	}
	var e store.Entry
	e.Fill(c.Store, it)
	if !c.Store.Fits(e.Growth()) {
		c.fail(errOOM)
		return
	}
	if !c.tx.Put(&c.keys[1], &e, it.ExpireAt()) {
		c.fail(errDamaged)
		return
	}
	c.event(EventGeneric, "copy_to", 1)
	c.int(1)
}

func always(*Context) bool { return true }

func moveKey(c *Context) {
	db, ok := c.otherDB(2)
	switch {
	case !ok:
		return
	case db == c.DB:
		c.fail(errSameObject)
		return
	case c.Peers:
		c.fail(errElsewhere)
		return
	}
	c.keys = append(c.keys, c.keyIn(db, c.Args[1]))
	if c.tx.Peek(&c.keys[0]) == nil || c.tx.Peek(&c.keys[1]) != nil {
		c.int(0)
		return
	}
	c.tx.Rename(&c.keys[0], &c.keys[1])
	c.event(EventGeneric, "move_from", 0)
	c.event(EventGeneric, "move_to", 1)
	c.int(1)
}

func dump(c *Context) {
	it := c.tx.Get(&c.keys[0])
	if it == nil {
		c.null()
		return
	}
	var e store.Entry
	e.Fill(c.Store, it)
	c.bulk(store.AppendPayload(nil, &e))
}

func restore(c *Context) {
	replace, absolute := false, false
	idle, freq := int64(-1), int64(-1)
	for i := 4; i < len(c.Args); i++ {
		more := i+1 < len(c.Args)
		switch {
		case c.is(i, "replace"):
			replace = true
		case c.is(i, "absttl"):
			absolute = true
		case c.is(i, "idletime") && more && freq == -1:
			var ok bool
			if idle, ok = c.intArg(i + 1); !ok {
				return
			}
			if idle < 0 {
				c.fail("ERR Invalid IDLETIME value, must be >= 0")
				return
			}
			i++
		case c.is(i, "freq") && more && idle == -1:
			var ok bool
			if freq, ok = c.intArg(i + 1); !ok {
				return
			}
			if freq < 0 || freq > 255 {
				c.fail("ERR Invalid FREQ value, must be >= 0 and <= 255")
				return
			}
			i++
		default:
			c.fail(errSyntax)
			return
		}
	}
	if !replace && c.tx.Peek(&c.keys[0]) != nil {
		c.fail("BUSYKEY Target key name already exists.")
		return
	}
	at, ok := c.intArg(2)
	switch {
	case !ok:
		return
	case at < 0:
		c.fail("ERR Invalid TTL value, must be >= 0")
		return
	case !store.CheckPayload(c.Args[3]):
		c.fail("ERR DUMP payload version or checksum are wrong")
		return
	}
	if at != 0 && !absolute {
		if at > math.MaxInt64-c.NowMilli {
			c.badExpiry()
			return
		}
		at += c.NowMilli
	}
	var e store.Entry
	if !store.ParsePayload(c.Args[3], &e) || !c.tx.Put(&c.keys[0], &e, at) {
		c.fail("ERR Bad data format")
		return
	}
	if at != 0 && at <= c.NowMilli {
		c.tx.Delete(&c.keys[0])
		c.event(EventGeneric, "del", 0)
	} else {
		c.event(EventGeneric, "restore", 0)
	}
	c.ok()
}

// restoreGrowth counts the many small parts that a payload may have: each is one byte there and an allocation here.
func restoreGrowth(c *Context) int64 {
	var e store.Entry
	if !store.CheckPayload(c.Args[3]) || !store.ParsePayload(c.Args[3], &e) {
		return 0
	}
	return e.Growth()
}

// objectKey finds the key of OBJECT, which HELP has not.
func objectKey(args [][]byte, at []int) []int {
	if len(args) == 3 {
		return append(at, 2)
	}
	return at
}

var objectHelp = []string{
	"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"ENCODING <key>",
	"    Return the kind of internal representation used in order to store the value",
	"    associated with a <key>.",
	"FREQ <key>",
	"    Return how often the key was hit since it was last queued for eviction, at most 3.",
	"IDLETIME <key>",
	"    Return the number of seconds since the last write to the key.",
	"REFCOUNT <key>",
	"    Return the number of references of the value associated with the specified",
	"    <key>: always 1.",
	"HELP",
	"    Prints this help.",
}

func object(c *Context) {
	sub := ""
	for _, name := range [...]string{"encoding", "freq", "idletime", "refcount", "help"} {
		if c.is(1, name) {
			sub = name
		}
	}
	switch {
	case sub == "":
		c.Out = AppendUnknownSubcommand(c.Out, c.Args[1], "OBJECT")
		return
	case sub == "help" && len(c.Args) == 2:
		c.array(len(objectHelp))
		for _, line := range objectHelp {
			c.Out = resp.AppendSimple(c.Out, line)
		}
		return
	case sub == "help" || len(c.Args) != 3:
		c.Out = AppendWrongArity(c.Out, "object|"+sub)
		return
	}
	it := c.tx.Peek(&c.keys[0])
	if it == nil {
		c.null()
		return
	}
	switch sub {
	case "encoding":
		c.Out = resp.AppendBulkString(c.Out, encoding(it))
	case "freq":
		c.int(int64(it.Freq()))
	case "idletime":
		c.int(max(0, c.NowMilli-int64(it.Version()>>16)) / 1000)
	case "refcount":
		c.int(1)
	}
}
