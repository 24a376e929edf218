package pgpool

import (
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// What nextval gave stays in the session that ran it, for currval and lastval. No query tells whether it is there, and any
// INSERT may run nextval. So a server remembers which client wrote on it last, and as long as nobody in the database calls
// currval nothing follows from it. From the first call on, a server forgets what others' nextval gave before a client gets
// it, and one who has written keeps the server until others need it. So currval is a stranger's only for one who calls it
// first of all, wrote something on that server, and yet called no nextval: directly that is an error.

// sequencePatience is for how long a client that does nothing keeps a server for currval while others wait.
const sequencePatience = time.Second

// refers is called with what the unit at hand runs, before any of it is sent.
func (c *client) refers(st *statement) {
	if !st.class.Flags.Has(classify.Sequence) {
		return
	}
	c.group.shared.sequences.Store(true)
	if s := c.server; s != nil && !c.midUnit && s.owed.n == 0 && c.status != pgwire.InFailed {
		c.claimSequences(s)
	}
}

// claimSequences makes a server forget what another client's nextval gave.
func (c *client) claimSequences(s *server) {
	if s.sequencesOf != nil && s.sequencesOf != c && c.group.shared.sequences.Load() {
		s.sequencesOf = nil
		s.run("DISCARD SEQUENCES")
	}
}

// keepSequences keeps the client where currval works.
func (c *client) keepSequences(s *server) {
	if s.sequencesOf == c && c.pin == notPinned && c.policy.Mode == TransactionMode && c.group.shared.sequences.Load() {
		c.setPin(pinSequence, c.unit)
	}
}

// wanted tells whether clients wait for a server of the pool, here or on another worker.
func (p *pool) wanted() bool { return p.waiting.n > 0 || p.slots.starving.Load() != 0 }

// yield takes the server from a client that keeps it for currval alone.
func (s *server) yield() {
	c := s.client
	c.setPin(notPinned, nil)
	s.unlink()
	s.pool.put(s)
	c.released()
}
