package command

import (
	"math"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const errStreamID = "ERR Invalid stream ID specified as stream command argument"

// parseStreamID reads an ID; missing is the seq of one that has none. strict refuses - and +, and auto, where it is not
// nil, allows ms-* and tells of it.
func parseStreamID(arg []byte, missing uint64, strict bool, auto *bool) (id store.StreamID, ok bool) {
	if len(arg) > 127 {
		return id, false
	}
	s := cString(arg)
	if s == "-" || s == "+" {
		if s == "+" {
			id = store.MaxStreamID
		}
		return id, !strict
	}
	ms, seq, both := s, "", false
	for i := range s {
		if s[i] == '-' {
			ms, seq, both = s[:i], s[i+1:], true
			break
		}
	}
	if id.Ms, ok = parseUnsigned(ms); !ok {
		return id, false
	}
	switch {
	case !both:
		id.Seq = missing
	case auto != nil && seq == "*":
		*auto = true
	default:
		id.Seq, ok = parseUnsigned(seq)
	}
	return id, ok
}

// parseUnsigned reads what C's strtoull reads, but no negative numbers.
func parseUnsigned(s string) (uint64, bool) {
	for len(s) > 0 && (s[0] == ' ' || s[0] >= '\t' && s[0] <= '\r') {
		s = s[1:]
	}
	if len(s) > 1 && s[0] == '+' {
		s = s[1:]
	}
	v, err := strconv.ParseUint(s, 10, 64)
	return v, err == nil
}

// streamID reads argument i as an ID; when it is none, the error is replied.
func (c *Context) streamID(i int) (id store.StreamID, ok bool) {
	if id, ok = parseStreamID(c.Args[i], 0, true, nil); !ok {
		c.fail(errStreamID)
	}
	return id, ok
}

// streamRange reads the ends of an interval of IDs, each of which may be excluded by a parenthesis before it.
func (c *Context) streamRange(i, j int) (from, to store.StreamID, ok bool) {
	if from, ok = c.streamEnd(i, 0); !ok {
		return from, to, false
	}
	if excluded(c.Args[i]) {
		if from, ok = from.Next(); !ok {
			c.fail("ERR invalid start ID for the interval")
			return from, to, false
		}
	}
	if j == 0 {
		return from, store.MaxStreamID, true
	}
	if to, ok = c.streamEnd(j, math.MaxUint64); !ok {
		return from, to, false
	}
	if excluded(c.Args[j]) {
		if to, ok = to.Prev(); !ok {
			c.fail("ERR invalid end ID for the interval")
			return from, to, false
		}
	}
	return from, to, true
}

func excluded(arg []byte) bool { return len(arg) > 1 && arg[0] == '(' }

func (c *Context) streamEnd(i int, missing uint64) (id store.StreamID, ok bool) {
	arg := c.Args[i]
	if excluded(arg) {
		id, ok = parseStreamID(arg[1:], missing, true, nil)
	} else {
		id, ok = parseStreamID(arg, missing, false, nil)
	}
	if !ok {
		c.fail(errStreamID)
	}
	return id, ok
}

func appendStreamID(b []byte, id store.StreamID) []byte {
	return strconv.AppendUint(append(strconv.AppendUint(b, id.Ms, 10), '-'), id.Seq, 10)
}

// id replies with an ID.
func (c *Context) id(id store.StreamID) {
	var text [41]byte
	c.bulk(appendStreamID(text[:0], id))
}

// entry replies with an entry: its ID, and its names and values.
func (c *Context) entry(e *store.StreamEntry) {
	c.array(2)
	c.id(e.ID)
	c.array(2 * e.Len)
	e.Fields(func(name, value []byte) {
		c.bulk(name)
		c.bulk(value)
	})
}

// entries replies with at most count entries, 0 for all.
func (c *Context) entries(s *store.Stream, from, to store.StreamID, count int64, backwards bool) {
	start, n := len(c.Out), int64(0)
	visit := func(e *store.StreamEntry) bool {
		c.entry(e)
		n++
		return n != count
	}
	if backwards {
		s.Descend(from, to, visit)
	} else {
		s.Ascend(from, to, visit)
	}
	c.insertArrayHeader(start, int(n))
}

// insertArrayHeader puts the header of an array before its elements, which begin at start.
func (c *Context) insertArrayHeader(start, n int) {
	var space [24]byte
	c.insert(start, resp.AppendArray(space[:0], n))
}

// trimOptions are what XADD and XTRIM say of trimming; at is where they end, at the ID of XADD.
type trimOptions struct {
	trim     store.StreamTrim
	given    bool
	noMake   bool
	at       int
	id       store.StreamID
	idGiven  bool
	seqGiven bool
}

func (c *Context) parseTrim(xadd bool) (o trimOptions, ok bool) {
	limited := false
	i := 2
options:
	for ; i < len(c.Args); i++ {
		more := len(c.Args) - 1 - i
		switch {
		case xadd && len(c.Args[i]) > 0 && cString(c.Args[i]) == "*":
			break options
		case more > 0 && (c.is(i, "maxlen") || c.is(i, "minid")):
			if o.given {
				c.fail("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
				return o, false
			}
			o.given = true
			o.trim.ByID = c.is(i, "minid")
			if sign := cString(c.Args[i+1]); more > 1 && (sign == "~" || sign == "=") {
				o.trim.Approximate = sign == "~"
				i++
			}
			i++
			if o.trim.ByID {
				if o.trim.MinID, ok = c.streamID(i); !ok {
					return o, false
				}
				continue
			}
			if o.trim.MaxLen, ok = c.intArg(i); !ok {
				return o, false
			}
			if o.trim.MaxLen < 0 {
				c.fail("ERR The MAXLEN argument must be >= 0.")
				return o, false
			}
		case more > 0 && c.is(i, "limit"):
			i++
			if o.trim.Limit, ok = c.intArg(i); !ok {
				return o, false
			}
			if o.trim.Limit < 0 {
				c.fail("ERR The LIMIT argument must be >= 0.")
				return o, false
			}
			limited = true
		case xadd && c.is(i, "nomkstream"):
			o.noMake = true
		case xadd:
			auto := false
			if o.id, ok = parseStreamID(c.Args[i], 0, true, &auto); !ok {
				c.fail(errStreamID)
				return o, false
			}
			o.idGiven, o.seqGiven = true, !auto
			break options
		default:
			c.fail(errSyntax)
			return o, false
		}
	}
	o.at = i
	switch {
	case o.trim.Limit != 0 && !o.given:
		c.fail("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
		return o, false
	case !xadd && !o.given:
		c.fail("ERR syntax error, XTRIM must be called with a trimming strategy")
		return o, false
	case limited && !o.trim.Approximate:
		c.fail("ERR syntax error, LIMIT cannot be used without the special ~ option")
		return o, false
	case !limited && o.trim.Approximate:
		o.trim.Limit = 100 * 100 // a hundred blocks
	}
	return o, true
}

// maxStreamEntry bounds the names and values of an entry, in bytes.
const maxStreamEntry = 1 << 30

func xadd(c *Context) {
	o, ok := c.parseTrim(true)
	if !ok {
		return
	}
	fields := c.Args[min(o.at+1, len(c.Args)):]
	if len(fields) < 2 || len(fields)%2 == 1 {
		c.wrongArgs()
		return
	}
	if o.idGiven && o.seqGiven && o.id == (store.StreamID{}) {
		c.fail("ERR The ID specified in XADD must be greater than 0-0")
		return
	}
	it, ok := c.forWrite(0, store.KindStream)
	if !ok {
		return
	}
	if it == nil && o.noMake {
		c.null()
		return
	}
	size := 0
	for _, f := range fields {
		size += len(f)
	}
	if size > maxStreamEntry {
		c.fail("ERR Elements are too large to be stored")
		return
	}
	if it == nil {
		it = c.tx.Create(&c.keys[0], store.KindStream)
	}
	s := it.Stream()
	id := o.id
	switch {
	case s.LastID == store.MaxStreamID:
		c.fail("ERR The stream has exhausted the last possible ID, unable to add more items")
		return
	case !o.idGiven:
		id, _ = s.NextID(c.NowMilli)
	case !o.seqGiven && id.Ms == s.LastID.Ms:
		if s.LastID.Seq == math.MaxUint64 {
			c.fail(errStreamSmall)
			return
		}
		id.Seq = s.LastID.Seq + 1
	}
	if id.Compare(s.LastID) <= 0 {
		c.fail(errStreamSmall)
		return
	}
	s.Add(id, fields)
	c.id(id)
	c.event(EventStream, "xadd", 0)
	if o.given && s.Trim(o.trim) > 0 {
		c.event(EventStream, "xtrim", 0)
	}
	c.tx.Update(&c.keys[0], it)
}

const errStreamSmall = "ERR The ID specified in XADD is equal or smaller than the target stream top item"

func xtrim(c *Context) {
	o, ok := c.parseTrim(false)
	if !ok {
		return
	}
	it, ok := c.forWrite(0, store.KindStream)
	if !ok {
		return
	}
	n := int64(0)
	if it != nil {
		if n = it.Stream().Trim(o.trim); n > 0 {
			c.event(EventStream, "xtrim", 0)
			c.tx.Update(&c.keys[0], it)
		}
	}
	c.int(n)
}

func xlen(c *Context) {
	it, ok := c.lookup(0, store.KindStream)
	switch {
	case !ok:
	case it == nil:
		c.int(0)
	default:
		c.int(int64(it.Stream().Len()))
	}
}

func xrange(c *Context)    { c.streamSlice(2, 3, false) }
func xrevrange(c *Context) { c.streamSlice(3, 2, true) }

func (c *Context) streamSlice(i, j int, backwards bool) {
	from, to, ok := c.streamRange(i, j)
	if !ok {
		return
	}
	count := int64(-1)
	for i := 4; i < len(c.Args); i += 2 {
		if !c.is(i, "count") || i+1 == len(c.Args) {
			c.fail(errSyntax)
			return
		}
		if count, ok = c.intArg(i + 1); !ok {
			return
		}
		count = max(count, 0)
	}
	it, ok := c.lookup(0, store.KindStream)
	switch {
	case !ok:
	case it == nil:
		c.array(0)
	case count == 0:
		c.Out = resp.AppendNullArray(c.Out, c.Proto)
	default:
		c.entries(it.Stream(), from, to, max(count, 0), backwards)
	}
}

// streamIDs reads all arguments from i on as IDs.
func (c *Context) streamIDs(i int) (ids []store.StreamID, ok bool) {
	ids = make([]store.StreamID, 0, len(c.Args)-i)
	for ; i < len(c.Args); i++ {
		id, ok := c.streamID(i)
		if !ok {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}

func xdel(c *Context) {
	it, ok := c.forWrite(0, store.KindStream)
	if !ok {
		return
	}
	if it == nil {
		c.int(0)
		return
	}
	ids, ok := c.streamIDs(2)
	if !ok {
		return
	}
	n := int64(0)
	for _, id := range ids {
		if it.Stream().Delete(id) {
			n++
		}
	}
	if n > 0 {
		c.event(EventStream, "xdel", 0)
		c.tx.Update(&c.keys[0], it)
	}
	c.int(n)
}

func xsetid(c *Context) {
	id, ok := c.streamID(2)
	if !ok {
		return
	}
	added, deleted := int64(-1), store.StreamID{}
	for i := 3; i < len(c.Args); i += 2 {
		more := i+1 < len(c.Args)
		switch {
		case more && c.is(i, "entriesadded"):
			if added, ok = c.intArg(i + 1); !ok {
				return
			}
			if added < 0 {
				c.fail("ERR entries_added must be positive")
				return
			}
		case more && c.is(i, "maxdeletedid"):
			if deleted, ok = c.streamID(i + 1); !ok {
				return
			}
			if id.Compare(deleted) < 0 {
				c.fail("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
				return
			}
		default:
			c.fail(errSyntax)
			return
		}
	}
	it := c.tx.Peek(&c.keys[0])
	if it == nil {
		c.fail(errNoSuchKey)
		return
	}
	if it, ok = c.forWrite(0, store.KindStream); !ok {
		return
	}
	s := it.Stream()
	if s.Len() > 0 {
		if id.Compare(s.Last()) < 0 {
			c.fail("ERR The ID specified in XSETID is smaller than the target stream top item")
			return
		}
		if added != -1 && int64(s.Len()) > added {
			c.fail("ERR The entries_added specified in XSETID is smaller than the target stream length")
			return
		}
	}
	s.SetLastID(id)
	if added != -1 {
		s.Added = added
	}
	if deleted != (store.StreamID{}) {
		s.MaxDeleted = deleted
	}
	c.event(EventStream, "xsetid", 0)
	c.tx.Update(&c.keys[0], it)
	c.ok()
}

// subcommand is one word behind a command that has several: how many arguments it takes, as in Spec.
type subcommand struct {
	name  string
	arity int
}

// subcommandOf finds the subcommand that argument 1 names. When there is none, or the number of arguments is wrong, the
// error is replied.
func (c *Context) subcommandOf(subs []subcommand) (name string, ok bool) {
	for _, s := range subs {
		if !c.is(1, s.name) {
			continue
		}
		if n := len(c.Args); s.arity >= 0 && n != s.arity || n < -s.arity {
			c.Out = AppendWrongArity(c.Out, c.spec.Name+"|"+s.name)
			return "", false
		}
		return s.name, true
	}
	c.Out = AppendUnknownSubcommand(c.Out, c.Args[1], upper(c.spec.Name))
	return "", false
}

// badSubcommand replies that something is wrong with the arguments of a subcommand.
func (c *Context) badSubcommand() {
	s := cString(c.Args[1])
	c.fail("ERR unknown subcommand or wrong number of arguments for '" + s[:min(len(s), 128)] + "'. Try " + upper(c.spec.Name) + " HELP.")
}

func upper(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 0x20
		}
	}
	return string(b)
}

// help replies with lines of text.
func (c *Context) help(lines ...string) {
	c.array(len(lines) + 3)
	c.Out = resp.AppendSimple(c.Out, upper(c.spec.Name)+" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, line := range append(lines, "HELP", "    Prints this help.") {
		c.Out = resp.AppendSimple(c.Out, line)
	}
}

// secondKey finds the key of a command that has subcommands, of which HELP has none.
func secondKey(args [][]byte, at []int) []int {
	if len(args) > 2 {
		return append(at, 2)
	}
	return at
}

// streamSpecs are the rows of streams.
func streamSpecs() []Spec {
	return []Spec{
		{Name: "xadd", Arity: -5, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Appends a new message to a stream", run: xadd},
		{Name: "xlen", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Returns the number of messages in a stream", run: xlen},
		{Name: "xrange", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Returns the messages from a stream within a range of IDs", run: xrange},
		{Name: "xrevrange", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Returns the messages from a stream within a range of IDs in reverse order", run: xrevrange},
		{Name: "xdel", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Removes messages from a stream and returns their number", run: xdel},
		{Name: "xtrim", Arity: -4, Flags: Write, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Deletes messages from the beginning of a stream", run: xtrim},
		{Name: "xsetid", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Sets the last ID of a stream", run: xsetid},
		{Name: "xread", Arity: -4, Flags: ReadOnly | Blocking, Group: "stream", Since: "5.0.0",
			Help: "Returns messages from several streams, and waits for them if wanted", run: xread, keys: xreadKeys},
		{Name: "xreadgroup", Arity: -7, Flags: Write | Blocking, Group: "stream", Since: "5.0.0",
			Help: "Returns messages of several streams for a consumer of a group, and waits for them if wanted", run: xreadgroup, keys: xreadKeys},
		{Name: "xgroup", Arity: -2, Flags: Write | DenyOOM, Group: "stream", Since: "5.0.0",
			Help: "A container for consumer groups commands", run: xgroup, keys: secondKey},
		{Name: "xinfo", Arity: -2, Flags: ReadOnly, Group: "stream", Since: "5.0.0",
			Help: "A container for stream introspection commands", run: xinfo, keys: secondKey},
		{Name: "xack", Arity: -4, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Marks messages as processed by a consumer group", run: xack},
		{Name: "xpending", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Returns what a consumer group was given and has not acknowledged", run: xpending},
		{Name: "xclaim", Arity: -6, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "5.0.0",
			Help: "Takes messages over from another consumer of a group", run: xclaim},
		{Name: "xautoclaim", Arity: -6, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "stream", Since: "6.2.0",
			Help: "Takes messages over that were not acknowledged for some time", run: xautoclaim},
	}
}
