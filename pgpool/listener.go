package pgpool

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// listener is the connection of one database and user that listens for all clients. All listeners live on the first
// worker's loop; a notification costs it a copy for each worker with clients that hear the channel.
//
// Each LISTEN of a client makes a round trip, also of a channel that is heard already: what was committed before it has
// then passed by, and what is committed after it will come.
type listener struct {
	w      *worker
	shared *sharedGroup

	conn    *netloop.Conn // nil: none
	server  int           // index
	pid     uint32
	id      uint64    // among servers
	born    time.Time // when it connected
	dialing bool
	stopped bool // the database lives elsewhere since a reload
	retryAt time.Time
	retry   time.Duration

	life          uint64             // changes whenever all that was heard is lost; channels of an earlier one are nobody's
	channels      map[string][]int32 // how many clients of each worker hear it, or are about to
	subscriptions int                // the sum of that
	limit         int                // of it

	queue   []*listenRequest // in the order of their answers
	sent    int              // so many of them
	refusal []byte           // the ErrorResponse to the first
	dying   *pgwire.Error    // the server has said why it will close
	out     [][]byte         // notifications for each worker, until the end of Data or an answer
	heard   time.Time        // when the server last said something, or was asked something while it owed nothing
	used    time.Time        // when a client last wanted something
}

const (
	// maxSubscriptions bounds the channels of all clients of one database and user.
	maxSubscriptions = 1 << 18
	// listenerQuiet is how long a listener is silent before it is asked whether it is there. Nobody would miss it.
	listenerQuiet = 30 * time.Second
	// listenerName is its application_name.
	listenerName = "outrigger listener"
)

// listenerSettings are startup parameters. Clients that read something else than UTF-8 are not heard for, but with a
// server that converts nothing: see client.readsUTF8.
func listenerSettings(serverEncoding string) []pgwire.Param {
	settings := []pgwire.Param{{Name: "application_name", Value: listenerName}}
	if serverEncoding != "SQL_ASCII" {
		settings = append(settings, pgwire.Param{Name: "client_encoding", Value: "UTF8"})
	}
	return settings
}

// listener returns the listener of a group. First worker only.
func (w *worker) listener(shared *sharedGroup) *listener {
	l := w.listeners[shared]
	if l == nil {
		w.lives++
		l = &listener{w: w, shared: shared, life: w.lives, channels: make(map[string][]int32), limit: maxSubscriptions,
			out: make([][]byte, len(w.pooler.workers)), used: w.loop.Now()}
		if w.listeners == nil {
			w.listeners = make(map[*sharedGroup]*listener)
		}
		w.listeners[shared] = l
		w.startHouse()
	}
	return l
}

// do has a client's request done.
func (l *listener) do(r *listenRequest) {
	l.used = l.w.loop.Now()
	if l.subscriptions+len(r.add) > l.limit {
		refused := pgwire.AppendErrorResponse(nil, tooManyChannels.with(l.limit))
		r.group.w.loop.Post(func() { r.client.listened(r, 0, refused) })
		return
	}
	l.subscriptions += len(r.add)
	for _, channel := range r.add {
		if l.channels[channel] == nil {
			l.channels[channel] = make([]int32, len(l.out))
		}
		l.channels[channel][r.group.w.number]++
	}
	l.ask(r)
}

// ask sends a request, or has it wait for a connection.
func (l *listener) ask(r *listenRequest) {
	l.queue = append(l.queue, r)
	switch {
	case l.conn != nil:
		l.send()
	case !l.dialing && !l.w.loop.Now().Before(l.retryAt):
		l.dial()
	}
}

// send sends what is in the queue.
func (l *listener) send() {
	if l.sent == 0 {
		l.heard = l.w.loop.Now()
	}
	for ; l.sent < len(l.queue); l.sent++ {
		sql := l.queue[l.sent].sql
		l.conn.SetBuffer(pgwire.AppendQuery(l.conn.Buffer(len(sql)+16), sql))
	}
}

// release counts a worker's client out of each channel. The server is told of channels that nobody hears any more: only
// now, because an UNLISTEN takes effect for its client when an empty query has come back, and with it all that was
// committed before.
func (l *listener) release(worker int, channels []string, life uint64) {
	if life != l.life {
		return
	}
	l.used = l.w.loop.Now()
	var sql strings.Builder
	for _, channel := range channels {
		l.channels[channel][worker]--
		l.subscriptions--
		if !slices.ContainsFunc(l.channels[channel], func(n int32) bool { return n > 0 }) {
			delete(l.channels, channel)
			sql.WriteString("UNLISTEN " + quoteName(channel) + ";")
		}
	}
	if sql.Len() > 0 {
		l.ask(&listenRequest{sql: sql.String()})
	}
}

// dial connects to the primary.
func (l *listener) dial() {
	l.dialing = true
	p, shared, index := l.w.pooler, l.shared, l.shared.up.primary()
	failed := func(err error) { l.w.loop.Post(func() { l.failed(err) }) }
	settings := listenerSettings((*shared.welcome.Load())["server_encoding"])
	ok := p.task(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, p.tuning.Load().ServerConnect)
		defer cancel()
		session, err := shared.dial(ctx, index, settings...)
		if err == nil {
			err = l.w.loop.Adopt(session.Conn, func(c *netloop.Conn) netloop.Handler { return l.arrived(c, index, session) })
		}
		if err != nil && !errors.Is(err, netloop.ErrStopped) {
			if p.ctx.Err() == nil {
				p.log.Warn("listener login failed", "server", shared.up.server(index).label(), "database", shared.name, "error", err)
			}
			failed(err)
		}
	})
	if !ok {
		failed(context.Canceled)
	}
}

func (l *listener) arrived(c *netloop.Conn, index int, session auth.Session) netloop.Handler {
	l.dialing = false
	if l.stopped {
		return nil
	}
	l.conn, l.server, l.pid = c, index, session.PID
	l.id, l.born = l.shared.slots[index].dials.Add(1), l.w.loop.Now()
	l.retry, l.dying = 0, nil
	l.heard = l.born
	l.shared.listening.Store(1)
	l.send()
	return l
}

// failed is told that there is no connection. Who waits for it is told; the next attempt waits.
func (l *listener) failed(err error) {
	l.dialing = false
	l.retry = min(max(2*l.retry, l.w.tuning().LoginRetry), maxLoginRetry)
	l.retryAt = l.w.loop.Now().Add(l.retry)
	l.lose(connectError(err))
}

// Data takes notifications and answers.
func (l *listener) Data(c *netloop.Conn, b []byte) int {
	l.heard = l.w.loop.Now()
	pos := 0
	for len(b)-pos >= pgwire.HeaderLen {
		typ, size, ok := pgwire.Header(b[pos:])
		if !ok || size > maxControl {
			c.Close(errGarbage)
			break
		}
		if len(b)-pos < size {
			c.Expect(size)
			break
		}
		frame := b[pos : pos+size]
		pos += size
		switch typ {
		case pgwire.NotificationResponse:
			l.spread(frame)
		case pgwire.ErrorResponse:
			if e := pgwire.ParseError(frame[pgwire.HeaderLen:]); e.Fatal() {
				l.dying = e
			} else {
				l.refusal = slices.Clone(frame)
			}
		case pgwire.ReadyForQuery:
			l.answered()
		}
	}
	l.flush()
	return pos
}

// spread copies a notification for the workers whose clients hear its channel.
func (l *listener) spread(frame []byte) {
	l.w.pooler.nameNotifier(frame, l.shared.up.server(l.server).id)
	for worker, clients := range l.channels[string(channelOf(frame))] {
		if clients > 0 {
			l.out[worker] = append(l.out[worker], frame...)
		}
	}
}

// flush sends off what spread has copied.
func (l *listener) flush() {
	for i, b := range l.out {
		if len(b) > 0 {
			w := l.w.pooler.workers[i]
			w.loop.Post(func() { w.notify(l.shared, b) })
			l.out[i] = nil
		}
	}
}

// answered tells who waits for the first request. What was heard before goes before.
func (l *listener) answered() {
	if l.sent == 0 {
		l.conn.Close(errOutOfStep)
		return
	}
	l.flush()
	r, life, refused := l.queue[0], l.life, l.refusal
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.sent--
	l.refusal = nil
	switch {
	case r.fence != nil:
		r.fence.post()
		return
	case r.client == nil:
		return
	}
	if refused != nil {
		l.release(r.group.w.number, r.add, life)
	}
	r.group.w.loop.Post(func() { r.client.listened(r, life, refused) })
}

// Drained is of no interest: what is sent is bounded by the clients, who wait for the answer.
func (l *listener) Drained(*netloop.Conn) {}

// Closed tells all clients that listen.
func (l *listener) Closed(c *netloop.Conn, err error) {
	if c != l.conn { // closed by us, with nothing to lose
		return
	}
	l.conn = nil
	l.shared.listening.Store(0)
	switch {
	case errors.Is(err, netloop.ErrStopped):
		return
	case l.dying != nil:
		err = l.dying
	case err == nil:
		err = errEnded
	}
	l.w.pooler.log.LogAttrs(context.Background(), levelOf(err), "listener connection ended",
		slog.String("server", l.shared.up.server(l.server).label()), slog.String("database", l.shared.key.database),
		slog.Uint64("server_pid", uint64(l.pid)), slog.Any("error", err))
	l.lose(listenerLost.with(err))
}

// lose forgets all channels and requests, and tells their clients why.
func (l *listener) lose(e *pgwire.Error) {
	queue := l.queue
	l.queue, l.sent, l.refusal = nil, 0, nil
	clear(l.channels)
	l.subscriptions = 0
	l.w.lives++
	l.life = l.w.lives
	for _, r := range queue {
		switch {
		case r.fence != nil:
			r.fence.post()
		case r.client != nil:
			r.group.w.loop.Post(func() { r.client.listenFailed(r, e) })
		}
	}
	for _, w := range l.w.pooler.workers {
		w.loop.Post(func() { w.listenerLost(l.shared, e) })
	}
}

// keepHouse is called once in a while. It reports false when the listener is of no more use.
func (l *listener) keepHouse(now time.Time) bool {
	idle := l.subscriptions == 0 && len(l.queue) == 0
	limit := l.shared.policy.Load().ServerIdle
	switch {
	case l.shared.moved.Load() != nil:
		l.stop()
		return false
	case l.dialing:
	case l.conn == nil && idle:
		return now.Before(l.retryAt)
	case l.conn == nil:
		if !now.Before(l.retryAt) {
			l.dial()
		}
	case idle && (l.w.draining || limit > 0 && now.Sub(l.used) > limit):
		l.retire()
		return false
	case l.server != l.shared.up.primary():
		l.conn.Close(errNotPrimary)
	case l.shared.up.server(l.server).left(l.conn.RemoteAddr()):
		l.conn.Close(errMoved)
	case l.sent > 0 && now.Sub(l.heard) > l.w.tuning().ServerConnect:
		l.conn.Close(errSilent)
	case l.sent == 0 && now.Sub(l.heard) > listenerQuiet:
		l.ask(&listenRequest{})
	}
	return true
}

// retire closes a connection that nobody needs.
func (l *listener) retire() {
	c := l.conn
	l.conn = nil
	l.shared.listening.Store(0)
	c.Write(terminate)
	c.CloseAfterFlush()
}

// stop ends a listener whose group is replaced.
func (l *listener) stop() {
	l.stopped = true
	if l.conn != nil {
		l.retire()
	}
	l.lose(listenerLost.with(errMoved))
}

// describe returns its row of SHOW SERVERS: it is active all the time, and linked to nobody.
func (l *listener) describe() admin.Server {
	row := admin.Conn{User: l.shared.key.user, Database: l.shared.key.database, State: "active",
		ConnectTime: l.born, RequestTime: l.used, ID: l.id, RemotePID: l.pid, ApplicationName: listenerName}
	socketOf(&row, l.conn)
	return admin.Server{Conn: row, Role: l.shared.up.role(l.server)}
}

// Why a listener was given up.
var (
	errNotPrimary = errors.New("its server is not the primary any more")
	errSilent     = errors.New("its server does not answer")
	errMoved      = errors.New("the database lives on another server now")
)
