// HOT PATH

package respserver

import (
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/acl"
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	// maxSlots and maxWaiting bound the replies that one session may be owed before it is not served on.
	maxSlots   = 1024
	maxWaiting = 1 << 20

	// flushAt is when replies go to the connection's queue, so that its water marks can tell a slow reader in time.
	flushAt = 64 << 10

	// gather is how many bytes of an incomplete command are waited for at least.
	gather = 1 << 20
)

var (
	errSlowReader  = errors.New("client reads too slowly")
	errQueryBuffer = errors.New("command exceeds the query buffer")
	errHTTP        = errors.New("client speaks http")
)

type replyMode uint8

const (
	replyOn replyMode = iota
	replyOff
	replySkip // the next command's reply is left out
	replySkipped
)

// session is one client. Owned by its loop, but for the fields marked otherwise.
type session struct {
	// Constant.
	st      *loopState
	conn    *netloop.Conn
	id      uint64
	addr    netip.AddrPort
	local   netip.AddrPort
	created time.Time

	// Atomic: CLIENT LIST reads them from other loops.
	info   atomic.Pointer[clientInfo]
	lastAt atomic.Int64 // unix milliseconds of the last command
	last   atomic.Pointer[command.Spec]

	queued   atomic.Int32 // commands inside MULTI, and one; 0 outside
	watching atomic.Int32 // keys

	queuedBytes atomic.Int64

	proto   int
	db      int
	account *acl.Account // whose session it is
	authed  bool
	closed  bool
	ending  bool // no more commands; close once all replies are out
	mode    replyMode

	// Replies that have to wait, in order: a linked list of slots.
	first, tail *Slot
	slots       int
	waiting     int // bytes in resolved slots and behind them
	charged     int // bytes of memory
	holds       bool
	stalled     bool

	// blocked is the command that has to be answered before another one runs, nil if there is none.
	blocked   *Slot
	waiter    atomic.Pointer[command.Waiter] // what it waits for; CLIENT UNBLOCK ends it from other loops
	waitTimer *netloop.Timer
	held      bool         // by CLIENT PAUSE
	tx        *transaction // of MULTI and WATCH

	moves     int   // bytes held and queued, when somebody looked at how long the session is idle
	movedAt   int64 // unix milliseconds, when they had changed
	softSince int64 // unix milliseconds, since when its output passes the soft limit; 0: it does not

	monitors   bool          // MONITOR was called
	scripted   bool          // the transaction being executed has scripts
	tracking   *trackingMode // of CLIENT TRACKING
	subscribed *[topicKinds]map[string]struct{}
}

// Data executes the commands in b.
func (s *session) Data(c *netloop.Conn, b []byte) int {
	if s.closed {
		return len(b)
	}
	s.hold()
	if s.blocked != nil {
		s.stalled = true
		return 0
	}
	st := s.st
	st.current, st.out = s, st.out[:0]
	a := &st.ahead
	done, count := 0, uint64(0)
	var spec *command.Spec
	for !s.ending && !c.Closing() {
		if s.blocked != nil {
			s.stalled = true
			break
		}
		if s.slots >= maxSlots || s.waiting >= maxWaiting || c.Congested() {
			s.stalled = true
			c.PauseReading()
			break
		}
		if a.next == a.end {
			need, err := s.readAhead(b[done:])
			if err != nil {
				s.protocolError(err)
				break
			}
			if a.end == 0 {
				if s.speaksTLS(b[done:]) {
					s.refuseTLS()
				} else if int64(need) > st.srv.queryBuffer.Load() {
					st.srv.reports.warn("closed a client whose command exceeds the query buffer (client-query-buffer-limit)", "client", s.address(), "bytes", need)
					c.Close(errQueryBuffer)
				} else if have := len(b) - done; have > 0 {
					// A length alone must not make the loop allocate all of it: as much as there is already, at a time.
					c.Expect(min(need, max(2*have, gather)))
				}
				break
			}
		}
		args, n := a.commands[a.next].args, a.commands[a.next].size
		a.next++
		if len(args) > 0 {
			if b[done] == '*' {
				st.req.Raw = b[done : done+n]
			} else {
				st.raw = resp.AppendCommand(st.raw[:0], args)
				st.req.Raw = st.raw
			}
			if p := st.srv.pause.Load(); p != nil && s.paused(p, args) {
				s.stalled = true
				c.PauseReading()
				break
			}
			spec = s.execute(args)
			count++
			if len(st.out) >= flushAt {
				c.Write(st.out)
				st.out = st.out[:0]
			}
		}
		done += n
	}
	if len(st.out) > 0 {
		c.Write(st.out)
	}
	if cap(st.out) > 4*flushAt {
		st.out = nil
	}
	st.current = nil
	a.forget()
	if count > 0 {
		s.checkOutput()
		st.srv.commands.Add(count)
		s.lastAt.Store(st.loop.UnixMilli())
		s.last.Store(spec)
	}
	if s.ending {
		if s.first == nil {
			c.CloseAfterFlush()
		}
		return len(b)
	}
	return done
}

// execute runs one command and puts its reply where its turn is. It returns the command, nil if there is no such.
func (s *session) execute(args [][]byte) *command.Spec {
	st := s.st
	if s.mode == replySkip {
		s.mode = replySkipped
	}
	behind := s.tail
	if behind != nil {
		st.w = behind.after
	} else {
		st.w = st.out
	}
	start := len(st.w)
	st.writing = true

	spec := st.srv.table.Lookup(args[0])
	container := spec
	if spec != nil && len(spec.Subs) > 0 {
		spec = spec.Resolve(args)
	}
	done := true
	switch {
	case spec == nil && container != nil:
		s.spoil()
		st.w = command.AppendUnknownSubcommand(st.w, args[1], strings.ToUpper(container.Name))
	case spec == nil:
		s.spoil()
		s.unknown(args)
	case !s.admitted(spec, args):
		st.stats[spec.ID].rejected.Add(1)
	default:
		done = s.run(spec, container, args, start)
	}

	if done && len(st.w) > start && st.w[start] == '-' {
		st.errors.count(st.w[start:])
	}
	if done && s.muted() {
		st.w = st.w[:start]
	}
	if behind != nil {
		s.waiting += len(st.w) - len(behind.after)
		behind.after = st.w
	} else {
		st.out = st.w
	}
	st.w, st.writing = nil, false
	if s.mode == replySkipped {
		s.mode = replyOn
	}
	if m := s.tracking; m != nil && m.caching && !s.inMulti() && (container == nil || container.Name != "client") {
		m.caching = false
	}
	if len(st.late) > 0 {
		late := st.late
		s.send(late)
		st.late = late[:0]
	}
	if s.first != nil && s.first.resolved {
		s.flushSlots()
	}
	return spec
}

// scripts tells whether a command runs scripts, which may run others.
func (s *session) scripts(spec *command.Spec) bool {
	if spec == s.st.srv.table.Exec {
		return s.scripted
	}
	return spec.Group == "scripting" && spec.Name != "script"
}

// admitted tells whether the session may run a command now; when not, the error is replied.
func (s *session) admitted(spec *command.Spec, args [][]byte) bool {
	switch {
	case !spec.ArityOK(len(args)):
		s.spoil()
		s.wrongArity(spec)
	case !s.authed && spec.Flags&command.NoAuth == 0:
		s.fail(errNoAuth)
	case !s.account.User().Free() && !s.permitted(spec, args):
	case s.proto == 2 && spec.Flags&command.PubSub == 0 && s.subscriptions() > 0:
		s.spoil()
		s.fail("ERR Can't execute '" + spec.Name + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	default:
		return true
	}
	return false
}

// run runs a command, or queues it inside MULTI. It reports false when the reply comes later.
func (s *session) run(spec, container *command.Spec, args [][]byte, start int) (done bool) {
	st := s.st
	if s.tx != nil && s.tx.open && !immediate(spec) {
		if spec.Scope != command.InSession {
			spec = container
		}
		s.enqueue(spec, args)
		return true
	}
	monitored := st.srv.monitoring.Load() > 0 && spec.Name != "exec"
	stat := &st.stats[spec.ID]
	var began time.Time
	timed := st.timing(spec, stat.calls.Add(1))
	if timed {
		began = time.Now()
		st.loop.Advance(began)
	}
	if spec.Scope == command.InSession {
		done = s.connectionCommand(spec, args)
		if monitored { // one that has just reset itself monitors no more
			s.feed(spec, args)
		}
	} else {
		if monitored {
			s.feed(spec, args)
		}
		done = s.forward(container, args)
	}
	if done && len(st.w) > start && st.w[start] == '-' {
		stat.failed.Add(1)
	}
	if timed && done {
		ended := time.Now()
		st.loop.Advance(ended)
		took := ended.Sub(began)
		stat.time(took)
		s.ran(spec, args, took)
	}
	return done
}

// forward lets the backend execute a command.
func (s *session) forward(spec *command.Spec, args [][]byte) (done bool) {
	st := s.st
	r := &st.req
	if s.tracking != nil {
		st.busy = true // what it may have to tell comes behind the reply
		s.remember(spec, args)
	}
	r.Permit, r.Fresh = nil, s.tracking != nil || s.tx != nil
	if spec.Composite() && s.scripts(spec) {
		r.Permit = s.permit()
	}
	r.Spec, r.Args, r.Proto, r.DB, r.session, r.slot = spec, args, s.proto, s.db, s, nil
	st.busy = true
	st.w, done = st.srv.cfg.Backend.Execute(st.loop, r, st.w)
	st.busy = false
	if !done && r.slot == nil {
		panic("respserver: Execute neither replied nor deferred")
	}
	if !done && spec.Flags&command.Blocking != 0 && !r.slot.resolved {
		s.blocked = r.slot
	}
	return done
}

// deferReply makes the slot for the command being executed.
func (s *session) deferReply() *Slot {
	sl := s.st.newSlot(s)
	sl.discard = s.muted()
	if s.tail == nil {
		s.first = sl
	} else {
		s.tail.next = sl
	}
	s.tail = sl
	s.slots++
	return sl
}

// muted tells whether CLIENT REPLY keeps the reply of this command from the client. What is pushed is sent all the same.
func (s *session) muted() bool { return s.mode == replyOff || s.mode == replySkipped }

// flushSlots sends the replies whose turn it is.
func (s *session) flushSlots() {
	for s.first != nil && s.first.resolved {
		sl := s.first
		if s.first = sl.next; s.first == nil {
			s.tail = nil
		}
		s.slots--
		s.waiting -= len(sl.reply) + len(sl.after)
		s.transmit(sl.reply)
		s.transmit(sl.after)
		s.st.recycle(sl)
	}
	s.checkOutput()
	if s.first == nil && s.ending && s.st.current != s {
		s.conn.CloseAfterFlush()
		return
	}
	if s.stalled && s.blocked == nil && !s.conn.Congested() && s.slots < maxSlots/2 && s.waiting < maxWaiting/2 {
		s.st.unstall(s)
	}
}

// send puts b at the end of what the client is to get: behind the replies it is owed.
func (s *session) send(b []byte) {
	st := s.st
	switch {
	case s.closed:
	case st.current == s && (st.busy || st.writing && s.muted()):
		st.late = append(st.late, b...)
	case st.interrupted == s:
		st.meanwhile = append(st.meanwhile, b...)
	case st.current == s && st.writing:
		st.w = append(st.w, b...)
	case s.tail != nil:
		s.tail.after = append(s.tail.after, b...)
		s.waiting += len(b)
		s.hold()
	default:
		s.transmit(b)
	}
}

// transmit gives b to the connection.
func (s *session) transmit(b []byte) {
	if len(b) == 0 {
		return
	}
	if s.st.current == s {
		s.st.out = append(s.st.out, b...)
		return
	}
	s.conn.Write(b)
	s.hold()
}

// protocolError answers as Redis does and closes.
func (s *session) protocolError(err error) {
	st := s.st
	b := append(st.raw[:0], "-ERR "...)
	b = append(b, err.Error()...)
	st.raw = append(b, '\r', '\n')
	st.errors.count(st.raw)
	s.send(st.raw)
	s.ending = true
}

// finish closes the session once it has its replies.
func (s *session) finish() {
	if s.closed || s.ending {
		return
	}
	s.ending = true
	if w := s.waiter.Load(); w != nil {
		w.TimeOut()
	}
	if s.first == nil {
		s.conn.CloseAfterFlush()
	}
}

// Drained goes on with what had to wait for the client to read.
func (s *session) Drained(*netloop.Conn) {
	if s.stalled && s.blocked == nil && s.slots < maxSlots && s.waiting < maxWaiting {
		s.st.unstall(s)
	}
}

// Closed forgets the session. Slots not yet resolved are orphans that their Resolve recycles.
func (s *session) Closed(*netloop.Conn, error) {
	if !s.closed {
		s.closed = true
		s.st.srv.unregister(s)
		s.unsubscribeAll()
		s.stopTracking()
		s.stopMonitoring()
		s.stopWaiting()
		s.letGo()
		s.hold()
	}
	for sl := s.first; sl != nil; {
		next := sl.next
		if sl.resolved {
			s.st.recycle(sl)
		}
		sl = next
	}
	s.first, s.tail = nil, nil
}

// unknown answers a command that does not exist. Lines of HTTP end the session without a word: a browser must not be made
// to speak to the cache.
func (s *session) unknown(args [][]byte) {
	start := len(s.st.w)
	if s.refuse(args) {
		if !s.authed { // they are Redis's, which asks before it answers
			s.st.w = s.st.w[:start]
			s.fail(errNoAuth)
		}
		return
	}
	if s.speaksTLS(args[0]) {
		s.refuseTLS()
		return
	}
	if command.EqualFold(args[0], "post") || command.EqualFold(args[0], "host:") {
		s.st.srv.reports.warn("closed a session that speaks http", "client", s.address())
		s.conn.Close(errHTTP)
		return
	}
	s.st.w = command.AppendUnknown(s.st.w, args)
}
