package pgpool

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A LISTEN outside a transaction needs no server of the pool: its group has one connection that listens for all clients
// (listener.go). This is a client's side of it. In session mode, inside a transaction, among other statements, or from a
// client that is pinned already, LISTEN is what it always was, and pins.

// inbox is what a client that listens has besides.
type inbox struct {
	channels map[string]struct{}
	life     uint64         // of the listener that hears them
	request  *listenRequest // under way; what the client sends next waits for it
	held     []byte         // notifications for the end of the transaction, or for when the client reads on
	lost     *pgwire.Error  // why notifications may have been missed: the session ends as soon as it can be told
}

const (
	// maxInbox bounds inbox.held, in bytes. It holds some hundred of the longest notifications.
	maxInbox = 1 << 20
)

// listenRequest is a client's LISTEN or UNLISTEN on its way to the listener and back. Only the client's loop looks at what
// is its own.
type listenRequest struct {
	// constant
	group *group
	sql   string   // what the listener runs; empty for UNLISTEN: see listener.release
	add   []string // channels that the client does not hear yet

	fence *fence // it is one of these

	// the client's own
	client    *client // nil: nobody waits for it
	size      int     // of the unit, bytes
	answer    []byte
	drop      []string
	parsed    *statement // what a Parse in the unit makes
	parseName string
}

// listens takes the unit at b, which is whole, to the group's listener, if it is nothing but a LISTEN or UNLISTEN that the
// listener can do. It reports whether it did: then listened will answer.
func (c *client) listens(b []byte) bool {
	if c.policy.Mode == SessionMode || !c.readsUTF8() {
		return false
	}
	r := c.readListen(b)
	if r == nil {
		return false
	}
	if c.group.moved != nil {
		c.move()
	} else if c.group.shared.moved.Load() != nil { // this worker is about to be told: it would listen where the database was
		c.w.loop.Post(c.pump)
		return true
	}
	if c.leaveIfLost() {
		return true
	}
	if c.inbox == nil {
		c.inbox = &inbox{}
	}
	r.group = c.group
	c.inbox.request = r
	c.since = c.w.loop.Now()
	home := c.w.pooler.workers[0]
	home.loop.Post(func() { home.listener(r.group.shared).do(r) })
	return true
}

// readsUTF8 tells whether the client takes text as the listener gets it: see listenerSettings.
func (c *client) readsUTF8() bool {
	welcome := *c.group.shared.welcome.Load()
	if welcome["server_encoding"] == "SQL_ASCII" {
		return true // nothing is ever converted
	}
	name := welcome["client_encoding"]
	if own, ok := c.set.find("client_encoding"); ok {
		name = own.value
	}
	switch strings.ToLower(strings.NewReplacer("'", "", `"`, "", "-", "", "_", "").Replace(name)) {
	case "utf8", "unicode":
		return true
	case "sqlascii":
		return welcome["server_encoding"] == "UTF8"
	}
	return false
}

// readListen makes a request of a unit: a Query; or Parse, Bind, Describe, Execute and Sync, of which Parse and Describe
// may be missing. It returns nil for everything else.
func (c *client) readListen(b []byte) *listenRequest {
	r := &listenRequest{client: c}
	var bound *statement
	executed := false
	for {
		if len(b)-r.size < pgwire.HeaderLen {
			return nil
		}
		typ, size, ok := pgwire.Header(b[r.size:])
		if !ok || len(b)-r.size < size {
			return nil
		}
		first := r.size == 0
		body := b[r.size+pgwire.HeaderLen : r.size+size]
		r.size += size
		switch {
		case typ == pgwire.Query && first:
			if !r.read(c.w.texts.find(body, "")) {
				return nil
			}
			r.answer = append(r.answer, readyIdle...)
			return r
		case typ == pgwire.Parse && first:
			name, text, ok := pgwire.CString(body)
			if !ok || len(name) > 0 && c.stmts[string(name)] != nil || !strings.HasSuffix(string(text), "\x00\x00\x00") {
				return nil
			}
			scope := ""
			if r.parseName = string(name); r.parseName != "" {
				scope = c.set.searchPath()
			}
			r.parsed = c.w.texts.find(text, scope)
			r.answer = append(r.answer, parseComplete...)
		case typ == pgwire.Describe && string(body) == "S"+r.parseName+"\x00" && r.parsed != nil:
			r.answer = append(append(r.answer, noParameters...), noData...)
		case typ == pgwire.Bind && bound == nil:
			portal, rest, _ := pgwire.CString(body)
			name, values, ok := pgwire.CString(rest)
			if !ok || len(portal) > 0 || !withoutParameters(values) {
				return nil
			}
			switch {
			case r.parsed != nil && string(name) == r.parseName:
				bound = r.parsed
			case len(name) == 0:
				bound = c.unnamed
			default:
				bound = c.stmts[string(name)]
			}
			if bound == nil {
				return nil
			}
			r.answer = append(r.answer, bindComplete...)
		case typ == pgwire.Describe && string(body) == "P\x00" && bound != nil:
			r.answer = append(r.answer, noData...)
		case typ == pgwire.Execute && bound != nil && !executed && len(body) == 5:
			executed = true
			if !r.read(bound) || len(r.add)+len(r.drop) > 1 {
				return nil
			}
		case typ == pgwire.Sync && executed:
			r.answer = append(r.answer, readyIdle...)
			return r
		default:
			return nil
		}
	}
}

// read takes the channels from a statement: any number to listen to, or those of one UNLISTEN. It reports false if the
// statement is something else, or changes nothing: then any server will do.
func (r *listenRequest) read(st *statement) bool {
	list, ok := classify.Listenings(textOf([]byte(st.body)))
	if !ok {
		return false
	}
	var heard map[string]struct{}
	if r.client.inbox != nil {
		heard = r.client.inbox.channels
	}
	for _, on := range list {
		_, known := heard[on.Channel]
		switch {
		case !on.Unlisten:
			if !known {
				r.add = append(r.add, on.Channel)
			}
			r.answer = append(r.answer, listenComplete...)
			continue
		case len(list) > 1:
			return false
		case on.Channel == "":
			for channel := range heard {
				r.drop = append(r.drop, channel)
			}
		case known:
			r.drop = append(r.drop, on.Channel)
		}
		r.answer = append(r.answer, unlistenComplete...)
		return len(r.drop) > 0
	}
	r.sql = string(textOf([]byte(st.body)))
	return true
}

// withoutParameters reads what follows the names in a Bind: it has no parameter values.
func withoutParameters(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	formats := int(b[0])<<8 | int(b[1])
	b = b[2:]
	return len(b) >= 2*formats+4 && b[2*formats] == 0 && b[2*formats+1] == 0
}

var (
	bindComplete     = []byte{pgwire.BindComplete, 0, 0, 0, 4}
	noData           = []byte{pgwire.NoData, 0, 0, 0, 4}
	noParameters     = []byte{pgwire.ParameterDescription, 0, 0, 0, 6, 0, 0}
	listenComplete   = append(pgwire.AppendHeader(nil, pgwire.CommandComplete, 7), "LISTEN\x00"...)
	unlistenComplete = append(pgwire.AppendHeader(nil, pgwire.CommandComplete, 9), "UNLISTEN\x00"...)
)

// listening tells whether the client waits for its listener.
func (c *client) listening() bool { return c.inbox != nil && c.inbox.request != nil }

// listened is told that the listener has done r: what is committed from now on is heard, or not any more. refused is the
// server's ErrorResponse, if it would not.
func (c *client) listened(r *listenRequest, life uint64, refused []byte) {
	if c.closing || c.inbox == nil || c.inbox.request != r {
		if refused == nil {
			r.group.release(r.add, life)
		}
		return
	}
	c.inbox.request = nil
	c.drop = int32(r.size)
	c.since = c.w.loop.Now()
	if refused != nil {
		c.conn.Write(refused)
		c.conn.Write(readyIdle)
		c.conn.Redeliver()
		return
	}
	c.unlisten(r.drop)
	for _, channel := range r.add {
		c.hear(channel, life)
	}
	if r.parsed != nil {
		c.remember(r)
	}
	c.conn.Write(r.answer)
	c.conn.Redeliver()
}

// abandonListen answers a LISTEN or UNLISTEN that is cancelled. Whatever comes of it, listened will release it.
func (c *client) abandonListen(e *pgwire.Error) {
	c.drop = int32(c.inbox.request.size)
	c.inbox.request = nil
	c.conn.SetBuffer(pgwire.AppendReadyForQuery(pgwire.AppendErrorResponse(c.conn.Buffer(256), e), pgwire.Idle))
	c.conn.Redeliver()
}

// moveAway is called when the client's database turns out to live elsewhere, where nobody listens for it.
func (c *client) moveAway() {
	if c.inbox != nil && (len(c.inbox.channels) > 0 || c.inbox.request != nil) {
		c.unlistenAll()
		c.inbox.lost = listenerLost.with(errMoved)
	}
}

// remember notes the statement that the unit has prepared.
func (c *client) remember(r *listenRequest) {
	if r.parseName == "" {
		c.unnamed = r.parsed
		return
	}
	if c.stmts == nil {
		c.stmts = make(map[string]*statement)
	}
	c.stmts[r.parseName] = r.parsed
}

// hear has the notifications of a channel come to the client.
func (c *client) hear(channel string, life uint64) {
	box, g := c.inbox, c.group
	if box.channels == nil {
		box.channels = make(map[string]struct{})
	}
	if _, twice := box.channels[channel]; twice { // the request named it twice
		g.release([]string{channel}, life)
		return
	}
	box.life = life
	box.channels[channel] = struct{}{}
	if g.channels == nil {
		g.channels = make(map[string]map[*client]struct{})
	}
	if g.channels[channel] == nil {
		g.channels[channel] = make(map[*client]struct{})
	}
	g.channels[channel][c] = struct{}{}
}

// unlisten ends what hear began.
func (c *client) unlisten(channels []string) {
	for _, channel := range channels {
		delete(c.inbox.channels, channel)
		delete(c.group.channels[channel], c)
		if len(c.group.channels[channel]) == 0 {
			delete(c.group.channels, channel)
		}
	}
	c.group.release(channels, c.inbox.life)
}

// unlistenAll is for clients that leave, or discard their session.
func (c *client) unlistenAll() {
	if c.inbox == nil || len(c.inbox.channels) == 0 {
		return
	}
	var all []string
	for channel := range c.inbox.channels {
		all = append(all, channel)
	}
	c.unlisten(all)
}

// unlistenHere follows an UNLISTEN that a server of the pool runs for a client that is pinned. One in a transaction, or
// among other statements, may not come true: what is heard by the listener then stays.
func (c *client) unlistenHere(st *statement) {
	list, ok := classify.Listenings(textOf([]byte(st.body)))
	if c.inbox == nil || !ok || c.status != pgwire.Idle || c.inFlight > 0 {
		return
	}
	for _, on := range list {
		if _, known := c.inbox.channels[on.Channel]; on.Unlisten && known {
			c.unlisten([]string{on.Channel})
		} else if on.Unlisten && on.Channel == "" {
			c.unlistenAll()
		}
	}
}

// listenHere has the client's server hear its channels as well, for a statement that looks at what a session listens to.
func (c *client) listenHere(s *server) {
	if len(c.inbox.channels) == 0 {
		return
	}
	var sql strings.Builder
	for channel := range c.inbox.channels {
		sql.WriteString("LISTEN " + quoteName(channel) + ";")
	}
	s.run(sql.String())
	c.keep(pinListen)
}

// release tells the listener that one client of this worker less hears each of the channels.
func (g *group) release(channels []string, life uint64) {
	if len(channels) == 0 {
		return
	}
	home, worker := g.w.pooler.workers[0], g.w.number
	home.loop.Post(func() {
		if l := home.listeners[g.shared]; l != nil {
			l.release(worker, channels, life)
		}
	})
}

// notify hands notifications, in the order in which the listener read them, to the clients that hear their channels.
func (w *worker) notify(shared *sharedGroup, b []byte) {
	g := w.groups[shared]
	if g == nil {
		return
	}
	for len(b) > 0 {
		_, size, _ := pgwire.Header(b)
		for c := range g.channels[string(channelOf(b[:size]))] {
			c.notify(b[:size])
		}
		b = b[size:]
	}
}

// channelOf returns the channel of a NotificationResponse, which follows the process id.
func channelOf(frame []byte) []byte {
	if len(frame) < pgwire.HeaderLen+4 {
		return nil
	}
	channel, _, _ := pgwire.CString(frame[pgwire.HeaderLen+4:])
	return channel
}

// hears tells whether a notification that the client's own server sends will come, or has come, from the listener.
func (c *client) hears(frame []byte) bool {
	if c == nil || c.inbox == nil {
		return false
	}
	_, ok := c.inbox.channels[string(channelOf(frame))]
	return ok
}

// notify gives the client a notification: at once, or at the end of its transaction, as PostgreSQL does.
func (c *client) notify(frame []byte) {
	box := c.inbox
	own, life := c.replica, c.life
	c.raiseFloor() // it may read what it is told about
	if c.server != nil && c.server.readOnly {
		c.replica, c.life = own, life // what it reads there now may be newer yet
	}
	switch {
	case c.closing:
	case len(box.held) == 0 && c.between() && !c.conn.Congested():
		c.conn.Write(frame)
	case len(box.held)+len(frame) > maxInbox:
		box.held = nil
		c.refuse(inboxFull.with())
	default:
		box.held = append(box.held, frame...)
	}
}

// between tells whether the client is outside a transaction and has been told so, and in the middle of no message.
func (c *client) between() bool {
	s := c.server
	return s == nil && c.status == pgwire.Idle || s != nil && c.fence == nil && c.inFlight == 0 && c.status == pgwire.Idle && !c.midUnit && s.body == 0 && !s.restoring
}

// deliverHeld gives the client what was held for it, if now is the time.
func (c *client) deliverHeld() {
	if box := c.inbox; box != nil && len(box.held) > 0 && c.between() && !c.conn.Congested() {
		c.conn.Write(box.held)
		box.held = nil
	}
}

// readyIdle is ReadyForQuery outside a transaction, behind the notifications that came meanwhile.
func (c *client) readyIdle() []byte {
	if c.inbox == nil || len(c.inbox.held) == 0 {
		return readyIdle
	}
	held := c.inbox.held
	c.inbox.held = nil
	return append(held, readyIdle...)
}

// listenerLost is told that the listener is gone. Nobody knows what it would have heard, and a client that is not told
// would wait for ever: it ends, as it would have with a connection of its own; not in the middle of a transaction.
func (c *client) listenerLost(e *pgwire.Error) {
	c.inbox.channels, c.inbox.lost = nil, e
	c.leaveIfLost()
}

// leaveIfLost ends a client whose listener is gone, if it is not in a transaction.
func (c *client) leaveIfLost() bool {
	if c.inbox == nil || c.inbox.lost == nil || !c.between() {
		return false
	}
	c.refuse(c.inbox.lost)
	return true
}

// listenFailed is told that r has not been done.
func (c *client) listenFailed(r *listenRequest, e *pgwire.Error) {
	if c.inbox != nil && c.inbox.request == r {
		c.refuse(e)
	}
}

// mustLeave returns why the client ends with its transaction, or nil.
func (c *client) mustLeave() *pgwire.Error {
	switch {
	case c.status != pgwire.Idle:
		return nil // not in the middle of a transaction
	case c.w.draining:
		return shuttingDown.with()
	case c.inbox != nil:
		return c.inbox.lost
	}
	return nil
}

// listenerLost tells the group's clients on this worker.
func (w *worker) listenerLost(shared *sharedGroup, e *pgwire.Error) {
	g := w.groups[shared]
	if g == nil {
		return
	}
	for _, clients := range g.channels {
		for c := range clients {
			c.listenerLost(e)
		}
	}
	g.channels = nil
}
