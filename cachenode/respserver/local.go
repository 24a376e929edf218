// HOT PATH

package respserver

import (
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Local is the Backend of a node that is alone: every command runs on one store, on the loop it came by.
type Local struct {
	store    *store.Store
	contexts map[*netloop.Loop]*command.Context
	loops    []*netloop.Loop
	audience Audience
	notify   atomic.Uint32 // command.Event: what is reported
	classes  atomic.Uint32 // what was asked for
	removals Removals
	tracking atomic.Bool
}

// NewLocal makes a Local for the given loops.
func NewLocal(s *store.Store, loops ...*netloop.Loop) *Local {
	b := &Local{store: s, contexts: map[*netloop.Loop]*command.Context{}, loops: loops}
	table := command.NewTable()
	for _, l := range loops {
		b.contexts[l] = &command.Context{Store: s, Table: table, MayBlock: true}
	}
	return b
}

// Execute runs the command at once.
func (b *Local) Execute(l *netloop.Loop, r *Request, out []byte) (reply []byte, done bool) {
	c := b.contexts[l]
	c.Args, c.Proto, c.DB, c.NowMilli, c.Out = r.Args, r.Proto, r.DB, l.UnixMilli(), out
	c.Permit = r.Permit
	c.Notify, c.Track = command.Event(b.notify.Load()), b.tracking.Load()
	r.Spec.Exec(c)
	reply, c.Out, c.Args = c.Out, nil, nil
	if len(c.Events) > 0 {
		b.audience.Happened(l, c.Notify, c.Events)
	}
	if c.Track {
		for _, k := range c.Changed() {
			b.audience.Changed(l, k.Bytes, r.Author())
		}
		if c.Flushed {
			b.audience.Changed(l, nil, 0)
		}
	}
	if c.Waiter != nil {
		r.Defer().Block(c.Waiter)
		return reply, false
	}
	return reply, true
}

// Warm does nothing: the Backend of tests has few keys.
func (b *Local) Warm(*netloop.Loop, int, [][]byte) {}

// Tell names who hears of changes.
func (b *Local) Tell(a Audience) { b.audience = a }

// Publish has nobody else to tell.
func (b *Local) Publish(*netloop.Loop, Kind, []byte, []byte, bool) Count { return nil }

// Listen has nobody to tell.
func (b *Local) Listen(*netloop.Loop, Topics, func()) bool { return true }

// Survey has nobody to ask.
func (b *Local) Survey(*netloop.Loop, [][]byte, func([][]byte)) bool { return false }

// Notify changes the classes of events that are reported.
func (b *Local) Notify(_ *netloop.Loop, classes command.Event) {
	b.notify.Store(uint32(classes.Wanted()))
	b.classes.Store(uint32(classes))
	b.watchRemovals()
}

// Notifies tells the classes.
func (b *Local) Notifies() command.Event { return command.Event(b.classes.Load()) }

// Track says whether changes are reported.
func (b *Local) Track(_ *netloop.Loop, on bool) {
	b.tracking.Store(on)
	b.watchRemovals()
}

// watchRemovals has the store tell of keys that go by themselves, if somebody wants to know.
func (b *Local) watchRemovals() {
	if !WantsRemovals(command.Event(b.notify.Load()), b.tracking.Load()) {
		b.store.OnRemoval(nil)
		return
	}
	b.store.OnRemoval(b.removals.Note(b.loops[0], func(stored []byte, why store.Removal) {
		ReportRemoval(b.audience, b.loops[0], command.Event(b.notify.Load()), stored, why)
	}))
}

// Copies tells that there are none.
func (b *Local) Copies() int { return 0 }

// Info adds nothing.
func (b *Local) Info(out []byte) []byte { return out }
