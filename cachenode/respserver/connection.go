package respserver

import (
	"math"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/acl"
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	errNoAuth     = "NOAUTH Authentication required."
	wrongPassword = "WRONGPASS invalid username-password pair or user is disabled."
)

// connectionCommand answers what concerns only the session. It reports false when the reply comes later.
func (s *session) connectionCommand(spec *command.Spec, args [][]byte) (done bool) {
	name, sub := spec.Name, ""
	if spec.Container != nil {
		name = spec.Container.Name
		sub = spec.Name[len(name)+1:]
		if sub == "help" {
			s.help(spec.Container)
			return true
		}
	}
	switch name {
	case "acl":
		s.aclCommand(sub, args)
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
	case "cluster":
		s.clusterCommand(sub, args)
	case "client":
		s.last.Store(spec) // it may tell of itself
		return s.clientCommand(sub, args)
	case "command":
		s.commandCommand(sub, args)
	case "config":
		s.configCommand(sub, args)
	case "slowlog":
		s.slowlogCommand(sub, args)
	case "latency":
		s.latencyCommand(sub, args)
	case "memory":
		return s.memoryCommand(sub)
	case "monitor":
		s.monitorCommand()
	case "debug":
		return s.debugCommand(args)
	case "role":
		s.st.w = resp.AppendArray(s.st.w, 3)
		s.text("master")
		s.int(0)
		s.st.w = resp.AppendArray(s.st.w, 0)
	case "wait":
		s.wait(args)
	case "info":
		s.infoCommand(args)
	case "readonly", "readwrite":
		s.ok()
	case "lolwut":
		s.st.w = resp.AppendVerbatim(s.st.w, "txt", "outrigger "+s.st.srv.cfg.Version+"\n", s.proto)
	case "subscribe":
		return s.subscribe(args[1:], channelTopic)
	case "psubscribe":
		return s.subscribe(args[1:], patternTopic)
	case "ssubscribe":
		return s.subscribe(args[1:], shardTopic)
	case "unsubscribe":
		s.unsubscribe(args[1:], channelTopic)
	case "punsubscribe":
		s.unsubscribe(args[1:], patternTopic)
	case "sunsubscribe":
		s.unsubscribe(args[1:], shardTopic)
	case "publish":
		return s.publish(Message, args)
	case "spublish":
		return s.publish(ShardMessage, args)
	case "pubsub":
		return s.pubsub(args)
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
	var account *acl.Account
	name := []byte(nil)
	for i := 2; i < len(args); i++ {
		switch {
		case command.EqualFold(args[i], "auth") && i+2 < len(args):
			if account = s.tryLogIn(args[i+1], args[i+2]); account == nil {
				s.fail(wrongPassword)
				return
			}
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
	if !s.authed && account == nil {
		s.fail("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	if account != nil {
		s.logIn(account)
	}
	s.proto = proto
	s.update(func(i *clientInfo) { i.resp3 = proto >= 3 })
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

func (s *session) auth(args [][]byte) {
	user, password := []byte("default"), args[1]
	switch {
	case len(args) > 3:
		s.fail("ERR syntax error")
		return
	case len(args) == 3:
		user, password = args[1], args[2]
	case s.st.srv.users.Default().User().NoPass:
		s.fail("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		return
	}
	account := s.tryLogIn(user, password)
	if account == nil {
		s.fail(wrongPassword)
		return
	}
	s.logIn(account)
	s.ok()
}

func (s *session) selectDB(args [][]byte) {
	db, ok := resp.ParseInt(args[1])
	switch {
	case !ok:
		s.fail("ERR value is not an integer or out of range")
	case db < math.MinInt32 || db > math.MaxInt32:
		s.fail("ERR value is out of range, value must between -2147483648 and 2147483647")
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
	s.stopMonitoring()
	s.stopTracking()
	s.dropTransaction()
	s.proto, s.db, s.mode = 2, 0, replyOn
	s.startOver()
	s.info.Store(nil)
	s.st.w = append(s.st.w, "+RESET\r\n"...)
}

// wait is WAIT: what was acknowledged has all the copies that there are going to be.
func (s *session) wait(args [][]byte) {
	for i, what := range []string{"value", "timeout"} {
		n, ok := resp.ParseInt(args[1+i])
		switch {
		case !ok && i == 0:
			s.fail("ERR value is not an integer or out of range")
			return
		case !ok:
			s.fail("ERR timeout is not an integer or out of range")
			return
		case n < 0 && i == 1:
			s.fail("ERR " + what + " is negative")
			return
		}
	}
	s.int(int64(s.st.srv.cfg.Backend.Copies()))
}

// subcommandSyntax is the error for a subcommand with arguments that are too many (addReplySubcommandSyntaxError).
func (s *session) subcommandSyntax(sub []byte, container string) {
	s.fail("ERR unknown subcommand or wrong number of arguments for '" + string(sub) + "'. Try " + container + " HELP.")
}

// help lists the subcommands of a container.
func (s *session) help(container *command.Spec) {
	s.st.w = resp.AppendArray(s.st.w, 1+2*len(container.Subs))
	s.st.w = resp.AppendSimple(s.st.w, strings.ToUpper(container.Name)+" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, sub := range container.Subs {
		s.st.w = resp.AppendSimple(s.st.w, strings.ToUpper(sub.Name[len(container.Name)+1:]))
		s.st.w = resp.AppendSimple(s.st.w, "    "+sub.Help+".")
	}
}
