// HOT PATH

package command

import (
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// Context is what a command runs with. One Context serves many commands, one after the other; the caller sets the
// first group of fields for each.
type Context struct {
	Store    *store.Store
	Table    *Table   // where commands that hold other commands find them
	Args     [][]byte // Args[0] is the name
	Proto    int      // 2 or 3
	DB       int
	NowMilli int64          // the time that decides what is expired
	Owns     func(int) bool // partitions that count for commands on all keys; nil: all
	Track    bool           // fill Changed
	Peers    bool           // other nodes have keys too
	Out      []byte         // replies are appended here

	// Clock is what TIME tells; nil: time.Now.
	Clock func() time.Time

	// Scripts runs EVAL; nil where there are no scripts.
	Scripts Scripts
	// Publish sends a message for a command that runs inside another, and tells how many have got it; nil: nobody can.
	Publish func(shard bool, channel, message []byte) (receivers int)
	// Permit, unless nil, says what is wrong with a command that a script wants to run, "" for nothing.
	Permit func(spec *Spec, args [][]byte) string
	// Refuse, unless empty, is the error that Call replies to commands that write.
	Refuse string
	// Local tells which partitions Call may touch; nil: all.
	Local func(partition int) bool

	// Notify is the classes of events that somebody wants to hear of. Exec collects them in Events.
	Notify Event
	Events []Happened

	// Flushed is set by Exec when the command flushed: whole partitions changed.
	Flushed bool

	// Scripted says that a script runs the command: what a script does must not depend on the order of hash tables, and not
	// wait.
	Scripted bool

	// MayBlock says that the caller can wait: then Exec sets Waiter, and appends no reply, when the command has to.
	MayBlock bool
	Waiter   *Waiter
	// Try says that a command that would have to wait replies with a null array.
	Try bool
	// Served are the waiters that the last Exec or Together has served. It tells them, unless HoldServed is set: then the
	// caller does, by Deliver.
	Served     []*Waiter
	HoldServed bool

	spec      *Spec
	tx        store.Tx
	keys      []store.Key
	at        []int // of the keys among the arguments
	keyBuf    []byte
	floats    []float64 // scores of a command, parsed before any is used
	together  bool      // inside Together: nothing may block
	flushed   uint16    // bit per database, of those that were flushed
	compactAt int       // how many changes are noted inside Together before doubles are looked for

	// Of a waiter that is being served.
	serving  bool
	served   int  // position among the keys that it waits for of the one that is ready
	unserved bool // it found nothing after all
}

// Changed lists the keys that the last Exec changed, in stored form, when Track was set; a key may appear twice. It is
// valid until the next Exec and as long as the arguments are.
func (c *Context) Changed() []store.Key { return c.tx.Changed }

// stored gives the stored form of a key as the client named it.
func (c *Context) stored(key []byte) []byte {
	start := len(c.keyBuf)
	k := store.StoredKey(c.keyBuf[start:], c.DB, key)
	if len(k) != len(key) {
		c.keyBuf = append(c.keyBuf, k...)
		k = c.keyBuf[start:len(c.keyBuf):len(c.keyBuf)]
	}
	return k
}

// Errors that several commands share, in the words of Redis.
const (
	errWrongType   = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errOOM         = "OOM command not allowed when used memory > 'maxmemory'."
	errNotInteger  = "ERR value is not an integer or out of range"
	errNotFloat    = "ERR value is not a valid float"
	errSyntax      = "ERR syntax error"
	errOverflow    = "ERR increment or decrement would overflow"
	errNaN         = "ERR increment would produce NaN or Infinity"
	errNoSuchKey   = "ERR no such key"
	errTooLong     = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errCursor      = "ERR invalid cursor"
	errNotPositive = "ERR value is out of range, must be positive"
)

// maxString is Redis's proto-max-bulk-len.
const maxString = 512 << 20

func (c *Context) fail(s string) { c.Out = resp.AppendError(c.Out, s) }
func (c *Context) ok()           { c.Out = resp.AppendOK(c.Out) }
func (c *Context) int(v int64)   { c.Out = resp.AppendInt(c.Out, v) }
func (c *Context) bulk(v []byte) { c.Out = resp.AppendBulk(c.Out, v) }
func (c *Context) null()         { c.Out = resp.AppendNull(c.Out, c.Proto) }
func (c *Context) array(n int)   { c.Out = resp.AppendArray(c.Out, n) }

func (c *Context) bool(v bool) {
	if v {
		c.int(1)
	} else {
		c.int(0)
	}
}

func (c *Context) wrongArgs() { c.Out = AppendWrongArity(c.Out, c.spec.Name) }

// AppendWrongArity appends the error for a command with too few or too many arguments.
func AppendWrongArity(b []byte, name string) []byte {
	b = append(b, "-ERR wrong number of arguments for '"...)
	b = append(b, name...)
	return append(b, "' command\r\n"...)
}

// lookup finds key i for reading. When it holds another kind than kind, the error is replied and ok is false.
func (c *Context) lookup(i int, kind store.Kind) (it *store.Item, ok bool) {
	it = c.tx.Get(&c.keys[i])
	if it == nil {
		c.event(EventMissed, "keymiss", i)
	}
	if it != nil && it.Kind() != kind {
		c.fail(errWrongType)
		return nil, false
	}
	return it, true
}

// forWrite is lookup without counting a hit or miss.
func (c *Context) forWrite(i int, kind store.Kind) (it *store.Item, ok bool) {
	it = c.tx.Peek(&c.keys[i])
	if it != nil && it.Kind() != kind {
		c.fail(errWrongType)
		return nil, false
	}
	return it, true
}

// intArg reads argument i as an integer; when it is none, the error is replied.
func (c *Context) intArg(i int) (v int64, ok bool) {
	v, ok = resp.ParseInt(c.Args[i])
	if !ok {
		c.fail(errNotInteger)
	}
	return v, ok
}

// is compares argument i with a lower-case word, ignoring case.
func (c *Context) is(i int, word string) bool { return EqualFold(c.Args[i], word) }

// EqualFold compares b with word, which is lower case and ASCII, ignoring the case of b.
func EqualFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range b {
		ch := b[i]
		if ch >= 'A' && ch <= 'Z' {
			ch |= 0x20
		}
		if ch != word[i] {
			return false
		}
	}
	return true
}

// AppendUnknown appends the error for a command that does not exist.
func AppendUnknown(b []byte, args [][]byte) []byte {
	name := cString(args[0])
	rest := ""
	for _, a := range args[1:] {
		if len(rest) >= 128 {
			break
		}
		word := cString(a)
		rest += "'" + word[:min(len(word), 128-len(rest))] + "' "
	}
	return resp.AppendError(b, "ERR unknown command '"+name[:min(len(name), 128)]+"', with args beginning with: "+rest)
}
