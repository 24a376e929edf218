// HOT PATH

package respserver

import (
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Backend executes commands on keys, wherever they are. It is called on the loops, by several at once.
type Backend interface {
	// Execute either appends the whole reply to out and returns it with done = true, or has called r.Defer and returns
	// out unchanged with done = false. The name and arity have been checked.
	Execute(l *netloop.Loop, r *Request, out []byte) (reply []byte, done bool)

	// Warm is told what are probably the keys of the next commands of a session, so that it can have them in the
	// processor's caches. keys are valid during the call.
	Warm(l *netloop.Loop, db int, keys [][]byte)

	// Tell names who hears of messages and changes. It is called before anything else.
	Tell(a Audience)

	// Publish spreads a message to the nodes that have subscribers, after those here have got it. channel and message are
	// valid during the call. When counted is set, and other nodes have to say how many have got it, the count comes later.
	Publish(l *netloop.Loop, kind Kind, channel, message []byte, counted bool) Count

	// Listen tells the nodes that may publish on these topics that there are subscribers now, as Audience.Topics tells already.
	// It reports true when they know. When it does not, it calls known later, on the loop: then they do, or have forgotten
	// all they knew.
	Listen(l *netloop.Loop, topics Topics, known func()) bool

	// Survey asks all other nodes what Audience.Answer says to a question. It reports false when there are none; else it
	// calls then, on the loop, with the answers of those that gave one, which are valid during the call.
	Survey(l *netloop.Loop, question [][]byte, then func(answers [][]byte)) bool

	// Notify changes the classes of events on keys that are reported to the Audience, on all nodes; Notifies tells them.
	Notify(l *netloop.Loop, classes command.Event)
	Notifies() command.Event

	// Track says whether the Audience has to hear of changes of keys. It may be called again with the same answer.
	Track(l *netloop.Loop, on bool)

	// Copies is the number of nodes that have what was acknowledged, besides the one that executed it.
	Copies() int

	// Info appends sections of its own to INFO, "# Name\r\nkey:value\r\n…" each.
	Info(b []byte) []byte
}

// Kind is a kind of message.
type Kind uint8

const (
	Message Kind = iota
	ShardMessage
)

// Count is a number of receivers that is not known yet.
type Count interface {
	// Then has fn called once, on the loop, and not before Then has returned.
	Then(fn func(receivers int))
}

// Topics are what a node's clients listen to: each name that has subscribers, once.
type Topics struct {
	Channels, Patterns, Shards []string
	// Everything stands for all there are, where they are too many to be told.
	Everything bool
}

// Audience is what a Server is to its Backend. Its methods are called on the loop.
type Audience interface {
	// Deliver gives a message of another node to the subscribers here.
	Deliver(l *netloop.Loop, kind Kind, channel, message []byte) (receivers int)
	// Topics tells what the clients listen to, if that takes no more than so many bytes. Any goroutine may ask.
	Topics(maxBytes int) Topics
	// Answer appends the answer to a question of another node's Survey, in RESP2.
	Answer(question [][]byte, out []byte) []byte
	// Happened publishes events on keys to the subscribers everywhere. The keys are valid during the call.
	Happened(l *netloop.Loop, classes command.Event, events []command.Happened)
	// Changed tells the clients that have read a key, in stored form, that it has changed. author is Request.Author of the
	// command that did it, 0 where it is not known. A nil key stands for all keys.
	Changed(l *netloop.Loop, key []byte, author uint64)
}

// Request is one parsed command of a session. It is valid during Execute, but for the Slot that Defer returns.
type Request struct {
	Spec  *command.Spec
	Args  [][]byte // Args[0] is the name as sent
	Raw   []byte   // the command as an array of bulk strings, whatever the client sent
	Proto int      // 2 or 3
	DB    int
	// Fresh says that the session must not be given what was true a moment ago: it keeps what it reads until it hears of a change,
	// or watches keys.
	Fresh bool
	// Permit, unless nil, says what is wrong with a command that this one wants to run, "" for nothing: a script's, when its
	// user may not do everything. It may be called until the reply is there.
	Permit func(spec *command.Spec, args [][]byte) string

	session *session
	slot    *Slot
	finish  func(reply []byte) []byte // of the slot
}

// Defer keeps the command's place in the order of the session's replies. Exactly one Slot.Resolve must follow, whatever
// happens.
func (r *Request) Defer() *Slot {
	r.slot = r.session.deferReply()
	r.slot.finish = r.finish
	return r.slot
}

// Author names the session.
func (r *Request) Author() uint64 { return r.session.id }

// Slot is a reply that is yet to come.
type Slot struct {
	session  *session
	next     *Slot
	resolved bool
	discard  bool                      // CLIENT REPLY OFF
	reply    []byte                    // once resolved
	finish   func(reply []byte) []byte // makes the client's reply of the backend's
	after    []byte                    // replies of later commands, and messages, that have to wait for this one
}

// Resolve gives the reply, which is copied. It is called on the session's loop; after the session's end it does nothing.
func (sl *Slot) Resolve(reply []byte) {
	s := sl.session
	if s == nil {
		panic("respserver: Slot resolved twice")
	}
	if s.closed {
		s.st.recycle(sl)
		return
	}
	if sl.finish != nil {
		reply = sl.finish(reply)
	}
	s.st.errors.count(reply)
	sl.resolved = true
	if s.blocked == sl {
		s.blocked = nil
	}
	if !sl.discard {
		sl.reply = append(sl.reply[:0], reply...)
		s.waiting += len(reply)
	}
	if s.st.current == s {
		return
	}
	if s.first == sl {
		s.flushSlots()
	} else {
		s.hold()
		s.checkOutput()
	}
}
