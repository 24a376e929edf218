package respserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const wrongPassword = "WRONGPASS invalid username-password pair or user is disabled."

// connectionCommand answers what concerns only the session. It reports false when the reply comes later.
func (s *session) connectionCommand(spec *command.Spec, args [][]byte) (done bool) {
	switch spec.Name {
	case "ping":
		s.ping(args)
	case "echo":
		s.bulk(args[1])
	case "hello":
		s.hello(args)
	case "auth":
		s.auth(args)
	case "select":
		s.selectDB(args)
	case "quit":
		s.ok()
		s.ending = true
	case "reset":
		s.reset()
	case "client":
		s.client(args)
	case "command":
		s.command(args)
	case "config":
		s.config(args)
	case "info":
		s.infoCommand(args)
	case "readonly", "readwrite":
		s.ok()
	case "lolwut":
		s.st.w = resp.AppendVerbatim(s.st.w, "txt", "outrigger "+s.st.srv.cfg.Version+"\n", s.proto)
	case "subscribe":
		s.subscribe(args[1:], channelTopic)
	case "psubscribe":
		s.subscribe(args[1:], patternTopic)
	case "ssubscribe":
		s.subscribe(args[1:], shardTopic)
	case "unsubscribe":
		s.unsubscribe(args[1:], channelTopic)
	case "punsubscribe":
		s.unsubscribe(args[1:], patternTopic)
	case "sunsubscribe":
		s.unsubscribe(args[1:], shardTopic)
	case "publish":
		s.publish(Message, args)
	case "spublish":
		s.publish(ShardMessage, args)
	case "pubsub":
		s.pubsub(args)
	case "multi":
		s.multi()
	case "exec":
		return s.exec()
	case "discard":
		s.discard()
	case "watch":
		return s.watch(args)
	case "unwatch":
		s.unwatch()
	default:
		panic("respserver: no handler for " + spec.Name)
	}
	return true
}

func (s *session) ok()           { s.st.w = resp.AppendOK(s.st.w) }
func (s *session) fail(e string) { s.st.w = resp.AppendError(s.st.w, e) }
func (s *session) bulk(b []byte) { s.st.w = resp.AppendBulk(s.st.w, b) }
func (s *session) int(v int64)   { s.st.w = resp.AppendInt(s.st.w, v) }

func (s *session) text(t string) { s.st.w = resp.AppendBulkString(s.st.w, t) }

func (s *session) ping(args [][]byte) {
	switch {
	case len(args) > 2:
		s.st.w = command.AppendWrongArity(s.st.w, "ping")
	case s.proto == 2 && s.subscriptions() > 0:
		s.st.w = resp.AppendArray(s.st.w, 2)
		s.text("pong")
		if len(args) == 2 {
			s.bulk(args[1])
		} else {
			s.bulk(nil)
		}
	case len(args) == 2:
		s.bulk(args[1])
	default:
		s.st.w = append(s.st.w, "+PONG\r\n"...)
	}
}

// hello is the handshake of today's clients: protocol version, password and name in one command.
func (s *session) hello(args [][]byte) {
	proto := s.proto
	if len(args) > 1 {
		v, ok := resp.ParseInt(args[1])
		if !ok {
			s.fail("ERR Protocol version is not an integer or out of range")
			return
		}
		if v != 2 && v != 3 {
			s.fail("NOPROTO unsupported protocol version")
			return
		}
		proto = int(v)
	}
	authed, name := s.authed, []byte(nil)
	for i := 2; i < len(args); i++ {
		switch {
		case command.EqualFold(args[i], "auth") && i+2 < len(args):
			if !s.st.srv.accepts(args[i+1], args[i+2]) {
				s.fail(wrongPassword)
				return
			}
			authed = true
			i += 2
		case command.EqualFold(args[i], "setname") && i+1 < len(args):
			if name = args[i+1]; !validName(name) {
				s.fail(errClientName)
				return
			}
			i++
		default:
			s.fail("ERR Syntax error in HELLO option '" + string(args[i]) + "'")
			return
		}
	}
	if !authed {
		s.fail("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	s.authed, s.proto = true, proto
	if name != nil {
		s.update(func(i *clientInfo) { i.name = string(name) })
	}
	w := resp.AppendMap(s.st.w, 7, s.proto)
	w = resp.AppendBulkString(w, "server")
	w = resp.AppendBulkString(w, "redis")
	w = resp.AppendBulkString(w, "version")
	w = resp.AppendBulkString(w, CompatVersion)
	w = resp.AppendBulkString(w, "proto")
	w = resp.AppendInt(w, int64(s.proto))
	w = resp.AppendBulkString(w, "id")
	w = resp.AppendInt(w, int64(s.id))
	w = resp.AppendBulkString(w, "mode")
	w = resp.AppendBulkString(w, "standalone")
	w = resp.AppendBulkString(w, "role")
	w = resp.AppendBulkString(w, "master")
	w = resp.AppendBulkString(w, "modules")
	s.st.w = resp.AppendArray(w, 0)
}

// accepts checks user and password in a time that does not depend on where they differ.
func (srv *Server) accepts(user, password []byte) bool {
	want, got := sha256.Sum256([]byte(srv.cfg.Password)), sha256.Sum256(password)
	same := subtle.ConstantTimeCompare(want[:], got[:]) == 1 || srv.cfg.Password == ""
	return same && string(user) == "default"
}

func (s *session) auth(args [][]byte) {
	user, password := []byte("default"), args[1]
	switch {
	case len(args) > 3:
		s.fail("ERR syntax error")
		return
	case len(args) == 3:
		user, password = args[1], args[2]
	case s.st.srv.cfg.Password == "":
		s.fail("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		return
	}
	if !s.st.srv.accepts(user, password) {
		s.fail(wrongPassword)
		return
	}
	s.authed = true
	s.ok()
}

func (s *session) selectDB(args [][]byte) {
	db, ok := resp.ParseInt(args[1])
	switch {
	case !ok || db < math.MinInt32 || db > math.MaxInt32:
		s.fail("ERR value is not an integer or out of range")
	case db < 0 || db >= store.Databases:
		s.fail("ERR DB index is out of range")
	default:
		s.db = int(db)
		s.update(func(i *clientInfo) { i.db = s.db })
		s.ok()
	}
}

// parseDB reads the number of a database.
func parseDB(arg []byte) (db int, ok bool) {
	v, ok := resp.ParseInt(arg)
	return int(v), ok && v >= 0 && v < store.Databases
}

// reset brings the session back to what it was when it began.
func (s *session) reset() {
	s.unsubscribeAll()
	s.stopTracking()
	s.dropTransaction()
	s.proto, s.db, s.mode = 2, 0, replyOn
	s.authed = s.st.srv.cfg.Password == ""
	s.info.Store(nil)
	s.st.w = append(s.st.w, "+RESET\r\n"...)
}
