package pgpool

import (
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Deadlines are looked at by housekeeping, not by a timer each: a message costs no more than a time stamp, and a limit is
// enforced within a tenth of it or within a second, whichever is less.

// shortest is the least of the policy's deadlines; 0 if it has none.
func (p *Policy) shortest() time.Duration {
	var least time.Duration
	for _, d := range [...]time.Duration{p.QueryWait, p.QueryWaitNotify, p.QueryTimeout, p.IdleTransaction, p.Transaction, p.ClientIdle, p.ReservePoolDelay, p.FailoverWait} {
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	return least
}

const (
	// housekeeping is how often timeouts are looked at, unless one of them is short.
	housekeeping = time.Second
	// shortHousekeeping is as often as it gets.
	shortHousekeeping = 50 * time.Millisecond
)

// observe makes housekeeping as frequent as the policy needs.
func (w *worker) observe(p *Policy) {
	if d := p.shortest(); d > 0 && max(d/10, shortHousekeeping) < w.pace {
		w.pace = max(d/10, shortHousekeeping)
		w.house.Reset(w.pace)
	}
	w.idleLimits = w.idleLimits || p.ClientIdle > 0
}

// enforce ends what has lasted too long on the pool's servers.
func (p *pool) enforce(now time.Time) {
	for s := range p.all {
		c := s.client
		if c == nil {
			switch {
			case s.orphan && now.Sub(s.since) > orphanWait:
				s.retire()
			case s.inReset && now.Sub(s.since) > p.w.tuning().ServerConnect:
				s.lost(errNoAnswer)
			}
			continue
		}
		limits := c.policy
		quiet := s.owed.n == 0 && c.body == 0
		inside := s.status != pgwire.Idle || c.midUnit // a unit without its Sync holds the server, too
		switch {
		case c.closing:
		case inside && past(now, s.began, limits.Transaction):
			c.refuse(transactionTooLong.with("transaction_timeout", limits.Transaction))
		case inside && quiet && past(now, s.since, limits.IdleTransaction):
			c.refuse(transactionIdle.with("idle_transaction_timeout", limits.IdleTransaction))
		case quiet && !inside && past(now, s.since, limits.ClientIdle):
			c.refuse(clientIdle.with("client_idle_timeout", limits.ClientIdle))
		case s.owed.n > 0 && past(now, s.since, limits.QueryTimeout):
			s.overdue(c, now)
		case c.pin == pinSequence && s.idle() && !inside && c.body == 0 && c.fence == nil && p.wanted() && now.Sub(s.since) > sequencePatience:
			s.yield()
		}
	}
}

// overdue cancels a query that has run for too long; a server that does not obey is given up.
func (s *server) overdue(c *client, now time.Time) {
	switch {
	case s.cancels > 0 || s.ours() || s.inspecting(): // it would be, or may be, for another query
	case !s.timedOut:
		s.timedOut = true
		s.pool.w.pooler.cancelServer(s, func() {})
	case past(now, s.since, c.policy.QueryTimeout+c.policy.CancelWait):
		c.refuse(queryStubborn.with("query_timeout", c.policy.QueryTimeout))
	}
}

// past tells whether a limit that began at since is over; 0 is none.
func past(now, since time.Time, limit time.Duration) bool { return limit > 0 && now.Sub(since) > limit }

// enforceWaits tells clients that have waited for longer than query_wait_notify, and refuses those that have waited for
// longer than query_wait_timeout.
func (p *pool) enforceWaits(now time.Time) {
	if p.away(now) {
		p.enforceAway(now)
		return
	}
	p.waiting.each(func(c *client) { p.enforceWait(c, now) })
}

func (p *pool) enforceWait(c *client, now time.Time) {
	switch limits := c.policy; {
	case past(now, c.since, limits.QueryWait):
		p.waiting.remove(c)
		c.pool = nil
		c.refuse(waitedTooLong.with(limits.QueryWait))
	case !c.notified && past(now, c.since, limits.QueryWaitNotify):
		c.notified = true
		c.conn.SetBuffer(pgwire.AppendNotice(c.conn.Buffer(256), &pgwire.Error{Severity: "NOTICE", Code: "00000",
			Message: "waiting for a server connection", Detail: "All connections of the pool are in use."}))
	}
}

// enforceIdle ends sessions without a server that have done nothing for too long.
func (w *worker) enforceIdle(now time.Time) {
	for c := range w.clients {
		switch limits := c.policy; {
		case c.server != nil || c.pool != nil:
		case c.tx != nil && past(now, c.tx.began, limits.Transaction):
			c.refuse(transactionTooLong.with("transaction_timeout", limits.Transaction))
		case c.status != pgwire.Idle && past(now, c.since, limits.IdleTransaction):
			c.refuse(transactionIdle.with("idle_transaction_timeout", limits.IdleTransaction))
		case c.status == pgwire.Idle && past(now, c.since, limits.ClientIdle):
			c.refuse(clientIdle.with("client_idle_timeout", limits.ClientIdle))
		}
	}
}
