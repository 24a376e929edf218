// HOT PATH

package command

import (
	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// Flag describes a command.
type Flag uint32

const (
	Write      Flag = 1 << iota // changes keys
	ReadOnly                    // reads keys
	DenyOOM                     // needs memory: refused when there is none
	Fast                        // takes constant or logarithmic time
	Admin                       // administers the server
	PubSub                      // allowed for a subscribed RESP2 session
	NoAuth                      // allowed before authentication
	Blocking                    // may wait for its keys
	NoScript                    // not allowed in scripts
	NoMulti                     // not allowed inside MULTI
	storedKeys                  // its keys are in stored form already
)

// Scope says where a command runs.
type Scope uint8

const (
	// ByKeys: on the owner of its keys.
	ByKeys Scope = iota
	// Everywhere: on every node, each for its own partitions.
	Everywhere
	// ByCursor: SCAN, on the owner of the partition in the cursor.
	ByCursor
	// Anywhere: on one node that has what it needs: RANDOMKEY.
	Anywhere
	// OnAll: on all nodes, which agree on it: X.INVALIDATE.
	OnAll
	// InSession: in the session that received it.
	InSession
)

// Merge says how the replies of several owners become one.
type Merge uint8

const (
	// SameOwner: they do not; keys of different owners are refused.
	SameOwner Merge = iota
	// Sum adds integers.
	Sum
	// Gather puts the elements of arrays in the order of the keys.
	Gather
	// AllOK is OK if all are, else the first error.
	AllOK
	// Concat joins arrays.
	Concat
	// FirstOK is the first that is not an error, this node's own before others, else the first error.
	FirstOK
)

// Spec is one command.
type Spec struct {
	Name  string // lower case
	Arity int    // with the name; negative: at least
	Flags Flag
	Scope Scope
	Merge Merge

	// Where the keys are among the arguments: first, last (negative: from the end) and step; all 0 for none.
	FirstKey, LastKey, KeyStep int

	Group string
	Since string
	Help  string

	// Set by NewTable.
	ID        int     // a small number of its own, subcommands included
	Subs      []*Spec // of a container
	Container *Spec   // of a subcommand, whose Name has both names

	first, others KeyUse // what it does with its keys

	run  func(*Context)
	self func(*Context)                      // in place of run: begins and ends what it holds itself
	keys func(args [][]byte, at []int) []int // appends the positions of the keys where the range above cannot tell
	grow func(*Context) int64                // upper bound of the growth beyond what the arguments tell
	wide func(*Context) bool                 // whether it may touch keys besides, so that it holds all shards; nil: never
}

// ArityOK tells whether n arguments, the name included, are allowed.
func (s *Spec) ArityOK(n int) bool {
	if s.Arity >= 0 {
		return n == s.Arity
	}
	return n >= -s.Arity
}

// HasKeys tells whether the command takes keys.
func (s *Spec) HasKeys() bool { return s.KeyStep > 0 || s.keys != nil }

// AllKeys tells whether the command looks at all keys there are: it asks every node for its own.
func (s *Spec) AllKeys() bool {
	return s.Scope == Everywhere || s.Scope == ByCursor || s.Scope == Anywhere && s.Flags&ReadOnly != 0
}

// Composite tells whether the command runs others.
func (s *Spec) Composite() bool { return s.self != nil }

// Internal tells whether only nodes send the command, to each other.
func (s *Spec) Internal() bool { return s.Group == "" }

// StoredKeys tells whether the command's keys are in stored form among its arguments.
func (s *Spec) StoredKeys() bool { return s.Flags&storedKeys != 0 }

// KeysAt appends to at the positions of the keys among the arguments. What the command itself will refuse may have none.
func (s *Spec) KeysAt(args [][]byte, at []int) []int {
	if s.keys != nil {
		return s.keys(args, at)
	}
	first, last, step := s.KeyRange(len(args))
	if step > 0 {
		for i := first; i <= last && i < len(args); i += step {
			at = append(at, i)
		}
	}
	return at
}

// KeyRange gives the positions of the keys among n arguments: from first to last inclusive, by step. step is 0 when
// there are none.
func (s *Spec) KeyRange(n int) (first, last, step int) {
	if s.KeyStep == 0 {
		return 0, -1, 0
	}
	last = s.LastKey
	if last < 0 {
		last += n
	}
	return s.FirstKey, last, s.KeyStep
}

// Exec runs the command on c.Store and appends its whole reply to c.Out. The arity must have been checked. The command is
// atomic: the shards of all its keys are held while it runs.
func (s *Spec) Exec(c *Context) {
	c.begin(s)
	if s.self != nil {
		s.self(c)
		return
	}
	growth := int64(0)
	if s.Flags&DenyOOM != 0 {
		growth = c.growth()
	}
	begun := false
	if s.wide != nil && s.wide(c) {
		begun = c.tx.BeginAll(c.Store, c.NowMilli, growth)
	} else {
		begun = c.tx.Begin(c.Store, c.keys, c.NowMilli, growth)
	}
	if !begun {
		c.fail(errOOM)
		return
	}
	s.run(c)
	c.end()
}

// end serves who waits for what was written, and lets go of the shards.
func (c *Context) end() {
	if len(c.tx.Ready) > 0 {
		c.serve()
	}
	c.tx.End()
	if c.flushed != 0 {
		c.forsake()
	}
	if len(c.Served) > 0 && !c.HoldServed {
		Deliver(c.Served)
	}
}

// begin gets c ready for a run of s.
func (c *Context) begin(s *Spec) {
	c.reset()
	c.locate(s)
}

func (c *Context) reset() {
	c.Flushed, c.flushed, c.Events, c.Waiter, c.Served = false, 0, c.Events[:0], nil, c.Served[:0]
	if cap(c.keyBuf) > 1<<20 {
		c.keyBuf = nil // a script has named many keys
	}
	c.keyBuf = c.keyBuf[:0]
	c.tx.Track = c.Track
	c.tx.Created = nil
	if c.Notify&EventNew != 0 {
		c.tx.Created = c.created
	}
}

// locate puts the keys of the command in c.keys.
func (c *Context) locate(s *Spec) {
	c.spec = s
	c.keys, c.at = c.keys[:0], s.KeysAt(c.Args, c.at[:0])
	for _, i := range c.at {
		c.keys = append(c.keys, c.Store.Key(c.stored(c.Args[i])))
	}
}

// Together runs fn, in which c.Call runs any number of commands as one: nothing else happens on the shards of keys, which
// are named as clients name them; nil stands for all keys there are. growth is an upper bound of what they add, as far as it
// is known. It reports false, without running fn, where there is no room for that.
func (c *Context) Together(keys [][]byte, growth int64, fn func()) bool {
	c.reset()
	c.keys = c.keys[:0]
	for _, k := range keys {
		c.keys = append(c.keys, c.Store.Key(c.stored(k)))
	}
	return c.hold(c.keys, keys == nil, growth, fn)
}

// hold is Together for keys that have been located, after a reset.
func (c *Context) hold(keys []store.Key, all bool, growth int64, fn func()) bool {
	held := false
	if all {
		held = c.tx.BeginAll(c.Store, c.NowMilli, growth)
	} else {
		held = c.tx.Begin(c.Store, keys, c.NowMilli, growth)
	}
	if !held {
		return false
	}
	c.together, c.compactAt = true, compactFirst
	fn()
	c.together = false
	c.compact()
	c.end()
	return true
}

// compactFirst is how many changes inside Together are noted before those of the same key are looked for.
const compactFirst = 1024

// compact leaves each key once in what has changed: a script may write one a million times.
func (c *Context) compact() {
	changed := c.tx.Changed
	if len(changed) < 2 {
		return
	}
	seen := make(map[string]struct{}, len(changed))
	kept := changed[:0]
	for _, k := range changed {
		if _, ok := seen[string(k.Bytes)]; !ok {
			seen[string(k.Bytes)] = struct{}{}
			kept = append(kept, k)
		}
	}
	clear(changed[len(kept):])
	c.tx.Changed = kept
	c.compactAt = max(compactFirst, 2*len(kept))
}

// Call runs a command inside Together and appends its reply to c.Out. The arguments must stay as they are until Together
// returns. It reports false, and does nothing, for keys that Together does not hold or that are not c.Local.
func (c *Context) Call(s *Spec, args [][]byte) bool {
	c.Args = args
	c.locate(s)
	if s.AllKeys() && !c.tx.HoldsAll() {
		return false
	}
	for i := range c.keys {
		if !c.tx.Holds(&c.keys[i]) || c.Local != nil && !c.Local(c.keys[i].Partition()) {
			return false
		}
	}
	if s.wide != nil && s.wide(c) && !c.tx.HoldsAll() {
		return false
	}
	if c.Refuse != "" && s.Flags&Write != 0 {
		c.fail(c.Refuse)
		return true
	}
	if s.Flags&DenyOOM != 0 && !c.Store.Fits(c.growth()) {
		c.fail(errOOM)
		return true
	}
	if len(c.tx.Changed) >= c.compactAt {
		c.compact()
	}
	if s.self != nil {
		s.self(c)
	} else {
		s.run(c)
	}
	return true
}

// growth bounds what the arguments can add to the charge, wherever they are put.
func (c *Context) growth() int64 {
	total, extra := 0, int64(0)
	for _, a := range c.Args[1:] {
		total += len(a)
		if c.spec.Group != "string" {
			extra += store.FieldGrowth(len(a))
		}
	}
	extra += int64(len(c.keys)) * (store.ItemGrowth(0) + 256)
	if c.spec.grow != nil {
		extra += c.spec.grow(c)
	}
	return extra + store.ItemGrowth(total+8*len(c.keys))
}
