// HOT PATH

package respserver

import (
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Local is the Backend of a node that is alone: every command runs on one store, on the loop it came by.
type Local struct {
	store    *store.Store
	contexts map[*netloop.Loop]*command.Context
}

// NewLocal makes a Local for the given loops.
func NewLocal(s *store.Store, loops ...*netloop.Loop) *Local {
	b := &Local{store: s, contexts: map[*netloop.Loop]*command.Context{}}
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
	r.Spec.Exec(c)
	reply, c.Out, c.Args = c.Out, nil, nil
	if c.Waiter != nil {
		r.Defer().Block(c.Waiter)
		return reply, false
	}
	return reply, true
}

// Publish has nobody else to tell.
func (b *Local) Publish(*netloop.Loop, []byte, []byte) int { return 0 }

// Info adds nothing.
func (b *Local) Info(out []byte) []byte { return out }
