package respserver

import (
	"bytes"
	"strconv"
	"unsafe"

	"github.com/outrigger-proxy/outrigger/cachenode/acl"
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	// maxQueued bounds the commands of one transaction, whose memory is bounded by a quarter of the query buffer. The command
	// that goes over it gets an error, and EXEC then discards the transaction.
	maxQueued = 1 << 20
	// maxWatched bounds the keys that one session watches.
	maxWatched = 1 << 16

	// queuedCommand and queuedArgument are what a command that waits for EXEC, and each of its arguments, take besides the bytes.
	queuedCommand  = int(unsafe.Sizeof(command.Queued{})) + 16
	queuedArgument = int(unsafe.Sizeof([]byte(nil)))

	errQueueFull = "ERR the transaction is too large: send EXEC more often"
)

// transaction is what MULTI and WATCH have gathered. Most sessions have none.
type transaction struct {
	open    bool // MULTI was called
	spoiled bool // a command was refused: EXEC will discard it
	queue   []command.Queued
	bytes   int // what queue takes
	watched []command.Watched
}

// immediate tells the commands that MULTI does not queue (processCommand in Redis's server.c).
func immediate(spec *command.Spec) bool {
	switch spec.Name {
	case "exec", "discard", "multi", "watch", "quit", "reset":
		return true
	}
	return false
}

// inMulti tells whether commands are queued.
func (s *session) inMulti() bool { return s.tx != nil && s.tx.open }

// spoil notes that a command was refused while a transaction was gathered.
func (s *session) spoil() {
	if s.inMulti() {
		s.tx.spoiled = true
	}
}

// wrongArity refuses a command. EXEC then is an end of the transaction as well (execCommandAbort in Redis's multi.c).
func (s *session) wrongArity(spec *command.Spec) {
	if spec.Name == "exec" {
		s.dropTransaction()
		s.fail("EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command")
		return
	}
	s.st.w = command.AppendWrongArity(s.st.w, spec.Name)
}

func (s *session) multi() {
	if s.inMulti() {
		s.fail("ERR MULTI calls can not be nested")
		return
	}
	if s.tx == nil {
		s.tx = &transaction{}
	}
	s.tx.open = true
	s.queued.Store(1)
	s.ok()
}

// enqueue keeps a copy of a command for EXEC.
func (s *session) enqueue(spec *command.Spec, args [][]byte) {
	tx := s.tx
	size := 0
	for _, a := range args {
		size += len(a)
	}
	cost := size + queuedCommand + len(args)*queuedArgument
	switch {
	case spec.Flags&command.NoMulti != 0:
		tx.spoiled = true
		s.fail("ERR Command not allowed inside a transaction")
		return
	case len(tx.queue) >= maxQueued || tx.bytes+cost > s.st.srv.cfg.QueryBuffer/4:
		tx.spoiled = true
		s.fail(errQueueFull)
		return
	}
	memory := make([]byte, 0, size)
	q := command.Queued{Spec: spec, Args: make([][]byte, len(args))}
	for i, a := range args {
		start := len(memory)
		memory = append(memory, a...)
		q.Args[i] = memory[start:len(memory):len(memory)]
	}
	tx.queue = append(tx.queue, q)
	tx.bytes += cost
	s.queued.Add(1)
	s.queuedBytes.Store(int64(tx.bytes))
	s.st.w = append(s.st.w, "+QUEUED\r\n"...)
}

// dropTransaction forgets what was queued and watched.
func (s *session) dropTransaction() {
	if s.tx != nil {
		s.tx = nil
		s.queued.Store(0)
		s.queuedBytes.Store(0)
		s.watching.Store(0)
	}
}

func (s *session) discard() {
	if !s.inMulti() {
		s.fail("ERR DISCARD without MULTI")
		return
	}
	s.dropTransaction()
	s.ok()
}

func (s *session) unwatch() {
	if s.tx != nil {
		s.tx.watched = nil
		s.watching.Store(0)
	}
	s.ok()
}

// watch asks the owners for the versions of keys. Commands that follow wait for them.
func (s *session) watch(args [][]byte) (done bool) {
	if s.inMulti() {
		s.fail("ERR WATCH inside MULTI is not allowed")
		return true
	}
	if s.tx == nil {
		s.tx = &transaction{}
	}
	tx, db := s.tx, s.db
	if len(tx.watched)+len(args) > maxWatched {
		s.fail("ERR too many keys are watched")
		return true
	}
	keys := make([][]byte, 0, len(args))
	keys = append(keys, []byte(s.st.srv.table.Watch.Name))
	for _, a := range args[1:] {
		keys = append(keys, bytes.Clone(a))
	}
	return s.ask(s.st.srv.table.Watch, keys, func(reply []byte) []byte {
		rest, ok := elements(reply, len(keys)-1)
		if !ok {
			return reply
		}
		for _, key := range keys[1:] {
			h, err := resp.ReadHeader(rest)
			if err != nil || h.Kind != '$' || len(rest) < h.Size+int(h.N)+2 {
				return resp.AppendError(nil, "ERR malformed version of a watched key")
			}
			version, _ := strconv.ParseUint(string(rest[h.Size:h.Size+int(h.N)]), 10, 64)
			rest = rest[h.Size+int(h.N)+2:]
			if !tx.watches(db, key) {
				tx.watched = append(tx.watched, command.Watched{DB: db, Key: key, Version: version})
			}
		}
		s.watching.Store(int32(len(tx.watched)))
		return resp.AppendOK(nil)
	})
}

// watches tells whether a key is watched already: then what it was at first counts. Few keys are watched at a time.
func (tx *transaction) watches(db int, key []byte) bool {
	for i := range tx.watched {
		if w := &tx.watched[i]; w.DB == db && bytes.Equal(w.Key, key) {
			return true
		}
	}
	return false
}

// exec sends the commands on keys to their owner in one piece. What concerns the session runs when their replies are there,
// each at its place; meanwhile nothing else of this session runs.
func (s *session) exec() (done bool) {
	tx := s.tx
	switch {
	case !s.inMulti():
		s.fail("ERR EXEC without MULTI")
		return true
	case tx.spoiled:
		s.dropTransaction()
		s.fail("EXECABORT Transaction discarded because of previous errors.")
		return true
	}
	s.dropTransaction()
	if !s.stillPermitted(tx) {
		return true
	}
	db := s.db
	s.scripted = false
	remote := make([]command.Queued, 0, len(tx.queue))
	for i := range tx.queue {
		q := &tx.queue[i]
		q.DB = db
		s.st.stats[q.Spec.Resolve(q.Args).ID].calls.Add(1)
		if q.Spec.Scope != command.InSession {
			remote = append(remote, *q)
			s.scripted = s.scripted || q.Spec.Group == "scripting"
			if s.tracking != nil {
				s.st.busy = true // what it may have to tell comes behind the reply
				s.remember(q.Spec, q.Args)
				s.st.busy = false
			}
		} else if q.Spec.Name == "select" {
			if n, ok := parseDB(q.Args[1]); ok {
				db = n
			}
		}
	}
	if len(remote) == 0 && len(tx.watched) == 0 {
		s.st.w = resp.AppendArray(s.st.w, len(tx.queue))
		s.st.busy = true // messages to the session itself come behind
		s.st.synchronous = true
		for _, q := range tx.queue {
			s.connectionCommand(q.Spec, q.Args)
		}
		s.st.busy, s.st.synchronous = false, false
		return true
	}
	if s.st.srv.monitoring.Load() > 0 {
		for _, q := range tx.queue {
			s.feed(q.Spec, q.Args)
		}
		s.feed(s.st.srv.table.Lookup([]byte("exec")), [][]byte{[]byte("EXEC")})
	}
	finish := func(reply []byte) []byte { return s.fillIn(tx, reply) }
	if len(remote) == len(tx.queue) {
		finish = nil
	}
	return s.ask(s.st.srv.table.Exec, command.AppendTransaction(nil, tx.watched, remote), finish)
}

// stillPermitted tells whether the session may run what it has queued: its user may have lost a right since. When not, the error
// is replied.
func (s *session) stillPermitted(tx *transaction) bool {
	u := s.account.User()
	if u.Free() {
		return true
	}
	for _, q := range tx.queue {
		spec := q.Spec.Resolve(q.Args)
		if v, at := u.Check(spec, q.Args); v != acl.Allowed {
			s.logDenial(v, "multi", spec, q.Args, at)
			s.fail("EXECABORT Transaction discarded because of: NOPERM " + denial(v, spec) + " any more")
			return false
		}
	}
	return true
}

// fillIn runs the commands of a transaction that concern the session and puts their replies where they belong among those
// of the others.
func (s *session) fillIn(tx *transaction, reply []byte) []byte {
	local := 0
	for _, q := range tx.queue {
		if q.Spec.Scope == command.InSession {
			local++
		}
	}
	rest, ok := elements(reply, len(tx.queue)-local)
	if !ok {
		return reply
	}
	out := resp.AppendArray(nil, len(tx.queue))
	for _, q := range tx.queue {
		if q.Spec.Scope == command.InSession {
			out = s.runLate(q, out)
			continue
		}
		n, _, err := resp.ReplyLen(rest)
		if err != nil || n == 0 {
			return resp.AppendError(nil, "ERR malformed reply of a transaction")
		}
		out, rest = append(out, rest[:n]...), rest[n:]
	}
	return out
}

// elements opens an array of n; it reports false for anything else: null or an error.
func elements(reply []byte, n int) (rest []byte, ok bool) {
	h, err := resp.ReadHeader(reply)
	if err != nil || h.Kind != '*' || h.Size == 0 || h.N != int64(n) {
		return nil, false
	}
	return reply[h.Size:], true
}

// runLate runs a session's command when a reply has come, perhaps while the loop serves another session. What it has the
// session told comes behind the reply, whose slot is the last.
func (s *session) runLate(q command.Queued, out []byte) []byte {
	st := s.st
	current, w, writing, busy, late := st.current, st.w, st.writing, st.busy, st.late
	if current != s {
		st.late = nil
		if writing {
			st.interrupted, st.meanwhile = current, late
		}
	}
	st.current, st.w, st.writing, st.busy, st.synchronous = s, out, true, true, true
	s.connectionCommand(q.Spec, q.Args)
	out = st.w
	st.current, st.w, st.writing, st.busy, st.synchronous = current, w, writing, busy, false
	if current != s {
		told := st.late
		if st.interrupted != nil {
			late, st.interrupted, st.meanwhile = st.meanwhile, nil, nil
		}
		st.late = late
		s.send(told)
	}
	return out
}

// ask has the backend execute what the session has made up, and lets finish turn its reply into the client's. The session
// executes nothing else until then.
func (s *session) ask(spec *command.Spec, args [][]byte, finish func(reply []byte) []byte) (done bool) {
	st := s.st
	start := len(st.w)
	st.raw = resp.AppendCommand(st.raw[:0], args)
	st.req.Raw = st.raw
	if cap(st.raw) > 4*flushAt {
		st.raw = nil
	}
	st.req.finish = finish
	done = s.forward(spec, args)
	st.req.finish = nil
	if done {
		if finish != nil {
			made := finish(bytes.Clone(st.w[start:]))
			st.w = append(st.w[:start], made...)
		}
		return true
	}
	if !st.req.slot.resolved {
		s.blocked = st.req.slot
	}
	return false
}
