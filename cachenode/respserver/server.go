package respserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/acl"
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// CompatVersion is the version of Redis that clients are told: they choose features by it.
const CompatVersion = "7.4.0"

// Config of a Server.
type Config struct {
	Backend Backend        // required
	Store   *store.Store   // required: what INFO and CONFIG speak of
	Table   *command.Table // default command.NewTable()
	Logger  *slog.Logger   // required

	// Version of the program, for INFO and LOLWUT.
	Version string
	// Password that clients must give (user "default"); empty for none.
	Password string
	// Users are the others, a name and rules as ACL SETUSER takes them each; passwords by their SHA-256 only.
	Users []string
	// MaxClients bounds the sessions (default 10,000, as Redis's maxclients).
	MaxClients int
	// IdleTimeout is how long a client may be idle before it is closed; 0 for ever.
	IdleTimeout time.Duration
	// HandshakeTimeout is how long a TLS handshake may take (default 10 s).
	HandshakeTimeout time.Duration
	// Scripts tells and changes how long a script may run; nil where there are none.
	Scripts interface {
		TimeLimit() time.Duration
		SetTimeLimit(time.Duration)
	}
	// Topology tells CLUSTER who else answers clients; nil: nobody. Loops call it.
	Topology func() Topology
	// Port, TLSPort and Socket are where clients connect, to be told to those who ask; 0 and empty for nowhere.
	Port, TLSPort int
	Socket        string
	// Debug allows the part of DEBUG that test suites use.
	Debug bool
	// Limits of what a command may hold; the zero value means Redis's.
	Limits resp.Limits
	// QueryBuffer is the number of bytes of one command that are gathered before the session is closed (default 1 GiB, as
	// Redis's client-query-buffer-limit).
	QueryBuffer int
	// OutputLimits bound what may wait for clients that read slowly (default DefaultOutputLimits).
	OutputLimits OutputLimits
}

const (
	defaultMaxClients  = 10_000
	defaultQueryBuffer = 1 << 30
	maxLoops           = 64 // the hub names loops in the bits of a word
)

// Server holds the sessions of one process.
type Server struct {
	// Constant after New and Attach.
	cfg     Config
	table   *command.Table
	started time.Time
	loops   []*loopState
	byLoop  map[*netloop.Loop]*loopState

	parameters []parameter // of CONFIG

	users    *acl.Users
	denials  denialLog
	slow     slowLog
	hub      hub
	trackers trackers
	reports  reporter
	purger   purger

	// Atomic.
	nextID   atomic.Uint64
	accepted atomic.Uint64
	refused  atomic.Uint64
	commands atomic.Uint64

	maxClients   atomic.Int64
	handshakes   atomic.Int64 // of TLS, under way
	idleTimeout  atomic.Int64 // nanoseconds; 0: for ever
	outputLimits atomic.Pointer[OutputLimits]
	queryBuffer  atomic.Int64 // bytes
	maxBulk      atomic.Int64 // bytes

	pause      atomic.Pointer[pause]
	base       atomic.Pointer[store.Stats] // at the last CONFIG RESETSTAT
	monitoring atomic.Int64                // sessions that monitor
	blocked    atomic.Int64                // sessions that wait for keys

	// Under mu.
	mu       sync.Mutex
	sessions map[uint64]*session
	monitors map[*session]struct{}
	accept   map[string]string // parameters without effect that were changed
	draining bool
}

// New makes a server that has no loops yet.
func New(cfg Config) (*Server, error) {
	if cfg.Backend == nil || cfg.Store == nil || cfg.Logger == nil {
		return nil, errors.New("respserver: Backend, Store and Logger are required")
	}
	if cfg.Table == nil {
		cfg.Table = command.NewTable()
	}
	if cfg.MaxClients <= 0 {
		cfg.MaxClients = defaultMaxClients
	}
	if cfg.QueryBuffer <= 0 {
		cfg.QueryBuffer = defaultQueryBuffer
	}
	if cfg.HandshakeTimeout <= 0 {
		cfg.HandshakeTimeout = defaultHandshakeTimeout
	}
	if cfg.OutputLimits == (OutputLimits{}) {
		cfg.OutputLimits = DefaultOutputLimits
	}
	if cfg.Limits.MaxBulk <= 0 {
		cfg.Limits.MaxBulk = maxBulk
	}
	s := &Server{
		cfg:      cfg,
		table:    cfg.Table,
		started:  time.Now(),
		byLoop:   map[*netloop.Loop]*loopState{},
		sessions: map[uint64]*session{},
		monitors: map[*session]struct{}{},
		accept:   map[string]string{},
	}
	s.parameters = parameters(&s.cfg)
	s.reports = reporter{log: cfg.Logger, told: map[string]*report{}}
	s.purger.free = debug.FreeOSMemory
	s.maxClients.Store(int64(cfg.MaxClients))
	s.idleTimeout.Store(int64(cfg.IdleTimeout))
	s.outputLimits.Store(&cfg.OutputLimits)
	s.queryBuffer.Store(int64(cfg.QueryBuffer))
	s.maxBulk.Store(int64(cfg.Limits.MaxBulk))
	s.slow.slowerThan.Store(10_000)
	s.slow.length = 128
	var err error
	if s.users, err = acl.NewUsers(cfg.Table, cfg.Password, cfg.Users); err != nil {
		return nil, fmt.Errorf("respserver: %w", err)
	}
	s.trackers.limit = maxTracked
	s.trackers.charge, s.hub.charge = cfg.Store.Charge, cfg.Store.Charge
	for i := range s.hub.topics {
		s.hub.topics[i] = map[string]*topic{}
	}
	cfg.Backend.Tell(s)
	return s, nil
}

// Attach makes a loop ready to carry sessions. It must be called before the loop runs and before the first Serve.
func (s *Server) Attach(l *netloop.Loop) error {
	if len(s.loops) == maxLoops {
		return fmt.Errorf("respserver: more than %d loops", maxLoops)
	}
	st := &loopState{srv: s, loop: l, index: len(s.loops), stats: make([]commandStat, len(s.table.ByID()))}
	for i := range st.listeners {
		st.listeners[i] = map[string]listeners{}
	}
	l.OnDispatch(st.account)
	s.loops = append(s.loops, st)
	s.byLoop[l] = st
	return nil
}

// Serve hands a connection, a TLS one with its handshake done, to a loop that was attached. Any goroutine may call it.
func (s *Server) Serve(l *netloop.Loop, nc net.Conn) error {
	st := s.byLoop[l]
	if st == nil {
		nc.Close()
		return errors.New("respserver: loop was not attached")
	}
	addr, local := addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	return l.Adopt(nc, func(c *netloop.Conn) netloop.Handler {
		sess := &session{st: st, conn: c, id: s.nextID.Add(1), addr: addr, local: local, proto: 2, created: time.Now()}
		sess.startOver()
		if !s.register(sess) {
			c.Write([]byte("-ERR max number of clients reached\r\n"))
			c.CloseAfterFlush()
			sess.closed = true
			return sess
		}
		st.wantHousekeeping()
		return sess
	})
}

// SetMaxClients changes Config.MaxClients. Those that are there stay.
func (s *Server) SetMaxClients(n int) { s.maxClients.Store(int64(n)) }

// IdleTimeout is how long a client may be idle; 0 for ever.
func (s *Server) IdleTimeout() time.Duration { return time.Duration(s.idleTimeout.Load()) }

// SetIdleTimeout changes it, also for the clients that are there.
func (s *Server) SetIdleTimeout(d time.Duration) {
	s.idleTimeout.Store(int64(d))
	for _, st := range s.loops {
		st.loop.Post(st.wantHousekeeping)
	}
}

// SetOutputLimits changes Config.OutputLimits, also for the clients that are there.
func (s *Server) SetOutputLimits(l OutputLimits) { s.outputLimits.Store(&l) }

// SetUsers changes Config.Password and Config.Users. Sessions of users that are gone are closed, the others stay; users that
// ACL SETUSER has made stay, too.
func (s *Server) SetUsers(password string, lines []string) error {
	changed, err := s.users.Configure(password, lines)
	if changed {
		s.revoke()
	}
	return err
}

// addrPort is the zero value for a Unix socket.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	addr := tcp.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

func (s *Server) register(sess *session) bool {
	s.accepted.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || int64(len(s.sessions)) >= s.maxClients.Load() {
		s.refused.Add(1)
		return false
	}
	s.sessions[sess.id] = sess
	s.cfg.Store.Charge(sessionBytes)
	return true
}

func (s *Server) unregister(sess *session) {
	s.mu.Lock()
	if s.sessions[sess.id] != nil {
		delete(s.sessions, sess.id)
		s.cfg.Store.Charge(-sessionBytes)
	}
	s.mu.Unlock()
}

// list is a snapshot of the sessions.
func (s *Server) list() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for _, sess := range s.sessions {
		all = append(all, sess)
	}
	return all
}

// Clients is the number of sessions.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Commands is the number of commands processed.
func (s *Server) Commands() uint64 { return s.commands.Load() }

// Deliver hands a message that another node has published to the subscribers here. It is called on loop l.
func (s *Server) Deliver(l *netloop.Loop, kind Kind, channel, message []byte) (receivers int) {
	return s.byLoop[l].publish(kind, channel, message)
}

// Drain refuses new sessions and closes those there are, each when it has its replies. It waits until all are gone, and
// what they have set going, or ctx ends, whose error it then returns.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	for _, sess := range s.list() {
		sess.st.loop.Post(sess.finish)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.Clients() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain cache clients: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return s.purger.wait(ctx)
}

// loopState is what the sessions of a loop share, owned by the loop but for the constant fields.
type loopState struct {
	// Constant.
	srv   *Server
	loop  *netloop.Loop
	index int

	ahead   ahead
	req     Request
	out     []byte   // replies of the session that is being served
	raw     []byte   // an inline command, rewritten
	late    []byte   // messages to the session itself, while its command executes
	current *session // being served
	w       []byte   // where the reply of the command being executed goes
	writing bool     // w is in use
	busy    bool     // the backend executes

	interrupted *session // in the middle of a command, while a transaction of current ends; else nil
	meanwhile   []byte   // messages to it
	synchronous bool     // a transaction is executed, whose commands reply at once

	holding []*session // have memory that account looks at
	grown   int        // bytes that the store has not been told of

	stalled []*session // waiting to be served on
	posted  bool       // resume is in the mailbox

	spare []*Slot

	swollen bool           // a session has passed its soft limit of output
	house   *netloop.Timer // nil until it is needed

	errors     errorCounts
	stats      []commandStat // by command.Spec.ID; written by the loop, read by all
	pausing    []*session    // wait for the end of CLIENT PAUSE
	pauseTimer *netloop.Timer

	gathered      map[*session][][]byte // what sessions that track all keys are to hear of
	gatheredBytes int

	listeners    [topicKinds]map[string]listeners
	push2, push3 []byte
	eventName    []byte // an event, and its channel in the making
}

// listeners are the sessions of a loop that listen to a channel or pattern.
type listeners map[*session]struct{}

// resume serves sessions that had to wait.
func (st *loopState) resume() {
	st.posted = false
	again := st.stalled
	st.stalled = nil
	for _, s := range again {
		s.stalled = false
		if s.closed {
			continue
		}
		s.conn.ResumeReading()
		s.conn.Redeliver()
	}
}

// unstall notes that a session has to be served on, in the next round of the mailbox: not from within whatever has made it
// ready, for that may be another session's turn.
func (st *loopState) unstall(s *session) {
	if !s.stalled {
		return
	}
	st.stalled = append(st.stalled, s)
	if !st.posted {
		st.posted = true
		st.loop.Post(st.resume)
	}
}

const spareSlots = 1024

func (st *loopState) newSlot(s *session) *Slot {
	if n := len(st.spare); n > 0 {
		sl := st.spare[n-1]
		st.spare = st.spare[:n-1]
		sl.session = s
		return sl
	}
	return &Slot{session: s}
}

func (st *loopState) recycle(sl *Slot) {
	const keep = 16 << 10
	*sl = Slot{reply: sl.reply[:0], after: sl.after[:0]}
	if cap(sl.reply)+cap(sl.after) > keep {
		sl.reply, sl.after = nil, nil
	}
	if len(st.spare) < spareSlots {
		st.spare = append(st.spare, sl)
	}
}
