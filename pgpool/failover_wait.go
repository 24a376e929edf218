package pgpool

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// While there is no primary, or it cannot be reached, what needs one waits in its pool's queue, in its order, for up to
// failover_wait. Then the unit is answered with an error, and the client goes on. When a primary is known again, the
// queue goes there at once: it is looked at when the roles change, and not when the next login is due.

// isAway tells whether a failed login may soon succeed: the server was not there, or on its way up or down. What a server
// says of passwords and names it will say again.
func isAway(err error) bool {
	if e, ok := errors.AsType[*pgwire.Error](err); ok {
		return strings.HasPrefix(e.Code, "57P0")
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	_, refused := errors.AsType[syscall.Errno](err)
	_, unnamed := errors.AsType[*net.DNSError](err)
	return refused || unnamed || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errEnded)
}

// away tells whether the pool's server should take writes and cannot.
func (p *pool) away(now time.Time) bool {
	if primary, ok := p.group.shared.up.roles.Primary(); p.group.paused || primary != p.index || ok && p.unreachable == nil {
		p.awaySince = time.Time{}
		return false
	}
	if p.awaySince.IsZero() {
		p.awaySince = now
	}
	return true
}

// enforceAway answers clients that have waited for a primary for longer than failover_wait.
func (p *pool) enforceAway(now time.Time) {
	_, ok := p.group.shared.up.roles.Primary()
	p.waiting.each(func(c *client) {
		if ok && p.triedAt.Before(c.since) {
			p.enforceWait(c, now) // nobody has tried for it yet
			return
		}
		since := c.since
		if p.awaySince.After(since) {
			since = p.awaySince
		}
		if limit := c.policy.FailoverWait; now.Sub(since) >= limit {
			p.waiting.remove(c)
			c.pool = nil
			c.giveUp(primaryAway.with(limit, p.whyAway()))
		}
	})
}

func (p *pool) whyAway() error {
	if p.unreachable != nil {
		return p.unreachable
	}
	return errNoPrimary
}

var (
	errNoPrimary = errors.New("none of the servers takes writes")
	errDemoted   = errors.New("another server has become the primary")
)

// giveUp answers the unit that waits for a server with an error.
func (c *client) giveUp(e *pgwire.Error) {
	unit, again := c.conn.Held(), len(c.replay) > 0
	if again {
		unit = c.replay
	}
	if len(unit) < pgwire.HeaderLen { // nothing tells where it ends
		e.Severity = "FATAL"
		c.refuse(e)
		return
	}
	typ, size, _ := pgwire.Header(unit)
	if c.status != pgwire.Idle {
		c.failed()
	}
	c.scan, c.renewable, c.granted = scan{}, false, false
	c.since = c.w.loop.Now()
	c.conn.SetBuffer(pgwire.AppendErrorResponse(c.conn.Buffer(256), e))
	if typ != pgwire.Query && typ != pgwire.FunctionCall {
		c.midUnit = true // up to its Sync, it is skipped
		c.pump()
		return
	}
	if again {
		c.replay = nil
	} else {
		c.drop = int32(size)
	}
	c.conn.Write(pgwire.AppendReadyForQuery(nil, c.status))
	c.deliverHeld()
	c.pump()
}

// turned is called when the roles may have changed: another server may be the primary, or this one may be there again.
func (p *pool) turned() {
	if _, ok := p.group.shared.up.roles.Primary(); ok && !p.isReplica() {
		p.retryAt, p.retry = time.Time{}, 0
	}
	p.turn()
}

// turn looks whether the pool's server is the primary no more.
func (p *pool) turn() {
	replica := p.isReplica()
	if replica == p.replica {
		return
	}
	if p.replica = replica; replica {
		p.demoted()
		p.follow()
	}
}

// reports takes a ParameterStatus: a server says itself when it has been promoted (PostgreSQL 14 and later).
func (s *server) reports(frame []byte) {
	if bytes.HasPrefix(frame[pgwire.HeaderLen:], inHotStandby) {
		s.pool.doubt()
	}
}

var inHotStandby = []byte("in_hot_standby\x00")

// demoted is called when another server has become the primary. What this one would still commit would be lost.
func (p *pool) demoted() {
	p.retireFree()
	p.unreachable = nil
	for s := range p.all {
		if s.client != nil && !s.readOnly {
			s.lost(errDemoted)
		}
	}
}
