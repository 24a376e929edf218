package command

import (
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// Leases, for clients that ask for them, and what the rules for stale values make of GET. Both are specified in
// protocol/README.md.

// maxLeaseTime is the longest lease, in milliseconds: who has not set the key within an hour will not.
const maxLeaseTime = 3600 * 1000

// leaseSpecs are the rows of what Redis has nothing like.
func leaseSpecs() []Spec {
	return []Spec{
		{Name: "x.getlease", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: ownCommand,
			Help: "Returns the string value of a key, or a lease on it to the first who finds none", run: getLease},
		{Name: "x.setlease", Arity: -4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: ownCommand,
			Help: "Sets the string value of a key, and its expiration if wanted, if the lease on it still holds", run: setLease},
	}
}

// ownCommand stands where others have the version of Redis that brought them.
const ownCommand = "Outrigger"

// read finds key i for GET and MGET: the rules for stale values hold, but not in transactions and scripts, which decide by
// what they read.
func (c *Context) read(i int) *store.Item {
	if c.together {
		return c.tx.Get(&c.keys[i])
	}
	return c.tx.Fetch(&c.keys[i])
}

// isString tells whether an item that was read is a string.
func isString(it *store.Item) bool { return it.Kind() == store.KindString || it.Stale() }

func getLease(c *Context) {
	ttl, ok := c.intArg(2)
	if !ok {
		return
	}
	if ttl <= 0 || ttl > maxLeaseTime {
		c.badExpiry()
		return
	}
	if _, ok := c.forWrite(0, store.KindString); !ok {
		return
	}
	claim := c.tx.Claim(&c.keys[0], c.NowMilli+ttl)
	c.array(3)
	switch {
	case claim.Token != nil:
		c.Out = resp.AppendBulk(c.Out, []byte("lease"))
	case claim.Until != 0:
		c.Out = resp.AppendBulk(c.Out, []byte("wait"))
	default:
		c.Out = resp.AppendBulk(c.Out, []byte("hit"))
	}
	if claim.Item == nil {
		c.event(EventMissed, "keymiss", 0)
		c.null()
	} else {
		c.bulk(claim.Item.Value())
	}
	switch {
	case claim.Token != nil:
		c.bulk(claim.Token)
	case claim.Until != 0:
		c.int(claim.Until - c.NowMilli)
	default:
		c.null()
	}
}

func setLease(c *Context) {
	o, ok := c.parseSetOptions(4, false)
	if !ok {
		return
	}
	if o.nx || o.xx || o.get || o.keepTTL || o.cond.at != 0 {
		c.fail(errSyntax)
		return
	}
	at := int64(0)
	if o.unit != 0 {
		if at, ok = c.expiry(o.unit+1, o.seconds, o.relative); !ok {
			return
		}
	}
	if !c.tx.HoldsLease(&c.keys[0], c.Args[2]) {
		c.null()
		return
	}
	c.tx.SetString(&c.keys[0], c.Args[3], at)
	c.event(EventString, "set", 0)
	if o.unit != 0 {
		c.event(EventGeneric, "expire", 0)
	}
	c.ok()
}
