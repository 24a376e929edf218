package pgpool

import (
	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// pinReason is why a client keeps its server between transactions: it left state there that nothing else can restore.
type pinReason uint8

const (
	notPinned pinReason = iota
	pinSetting
	pinPrepare
	pinListen
	pinTemp
	pinAdvisoryLock
	pinCursor
	pinLoad
	pinSeed
	pinOther
	pinLongStatement
	pinHidden
	pinSequence
)

// lasts tells whether only DISCARD ALL ends the pin: nobody can tell whether its reason is still there.
func (r pinReason) lasts() bool {
	return r == pinLoad || r == pinSeed || r == pinOther || r == pinLongStatement || r == pinHidden
}

func (r pinReason) String() string {
	return [...]string{"", "settings that could not be asked for", "SQL PREPARE", "LISTEN", "temporary object",
		"session advisory lock", "cursor WITH HOLD", "LOAD", "setseed",
		"state kept by a function", "statement too long to look into",
		"set_config of a name that is computed", "sequence value, for currval"}[r]
}

// pins tells which state keeps a client on its server until DISCARD ALL: no query tells whether it is still there.
var pins = [...]struct {
	flag classify.Flags
	why  pinReason
}{
	{classify.StateLoad, pinLoad},
	{classify.StateSeed, pinSeed},
	{classify.StateOther, pinOther},
}

// keeps tells whether the client keeps its server although its transaction is over.
func (c *client) keeps() bool {
	return c.pin != notPinned || c.policy.Mode == SessionMode
}

// keep pins the client to its server.
func (c *client) keep(why pinReason) {
	if c.pin == notPinned || c.pin == pinSequence || why.lasts() && !c.pin.lasts() {
		c.setPin(why, c.unit)
	}
}

// repin pins by what is held, unless a lasting reason does.
func (c *client) repin() {
	why := notPinned
	switch held := c.held; {
	case c.pin.lasts():
		return
	case held&traceTemp != 0:
		why = pinTemp
	case held&traceLock != 0:
		why = pinAdvisoryLock
	case held&tracePrepared != 0:
		why = pinPrepare
	case held&traceCursor != 0:
		why = pinCursor
	case held&traceListen != 0:
		why = pinListen
	case c.pin == pinSequence:
		return
	}
	c.setPin(why, c.suspect)
}

// setPin changes the reason, by being notPinned ends the pin.
func (c *client) setPin(why pinReason, by *statement) {
	switch {
	case why == c.pin:
		return
	case c.pin == notPinned:
		c.w.pins++
	case why == notPinned:
		c.w.pins--
		by = nil
	}
	c.pin, c.pinnedBy, c.pinnedAt = why, by, uint32(c.w.loop.Now().Unix())
}

// discarded is called when DISCARD ALL has wiped the session.
func (c *client) discarded() {
	clear(c.stmts)
	c.unnamed = nil
	c.has(c.startSet)
	c.unlistenAll()
	c.held, c.prepares = 0, nil
	c.setPin(notPinned, nil)
}
