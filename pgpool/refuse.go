package pgpool

import "github.com/outrigger-proxy/outrigger/protocol/pgwire"

// refuseRead ends the unit at hand because no replica can take it, with reads_without_replica error. It does so when the
// loop has returned from the client's own Data: only then is all that the client has sent in one place.
func (c *client) refuseRead() {
	c.waits = true
	c.w.loop.Post(func() {
		c.waits = false
		switch {
		case c.closing:
		case len(c.replay) == 0 && onlyCloses(c.conn.Held()): // as drivers do when they clean up: no reason to fail
			if c.acquire(decision{why: forLoss}) {
				c.pump()
			}
		default:
			c.giveUp(noReplica.with())
		}
	})
}

// onlyCloses tells whether the unit at the start of b is nothing but Close and Sync.
func onlyCloses(b []byte) bool {
	for len(b) >= pgwire.HeaderLen {
		typ, size, ok := pgwire.Header(b)
		if !ok || size > len(b) || typ != pgwire.Close {
			return ok && typ == pgwire.Sync
		}
		b = b[size:]
	}
	return false
}
