package respserver

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const errClientName = "ERR Client names cannot contain spaces, newlines or special characters."

var errKilled = errors.New("killed by CLIENT KILL")

// clientInfo is what CLIENT LIST tells of a session. It is replaced as a whole, never changed.
type clientInfo struct {
	name, libName, libVersion string
	db                        int
	topics                    [topicKinds]int // subscriptions
	tracks                    bool
	tracking                  trackingMode
}

// update replaces the session's info by a changed copy.
func (s *session) update(change func(*clientInfo)) {
	next := s.clientInfo()
	change(&next)
	s.info.Store(&next)
}

func (s *session) clientInfo() clientInfo {
	if i := s.info.Load(); i != nil {
		return *i
	}
	return clientInfo{}
}

func validName(name []byte) bool {
	for _, c := range name {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func (s *session) client(args [][]byte) {
	sub := strings.ToLower(string(args[1]))
	rest := args[2:]
	arity := map[string]int{ // number of arguments after the subcommand; -1: any
		"id": 0, "getname": 0, "setname": 1, "setinfo": 2, "info": 0, "list": -1, "no-evict": 1, "no-touch": 1, "reply": 1,
		"unblock": -1, "kill": -1, "pause": -1, "unpause": 0, "getredir": 0, "help": 0,
	}
	want, ok := arity[sub]
	if !ok {
		s.st.w = command.AppendUnknownSubcommand(s.st.w, args[1], "CLIENT")
		return
	}
	if want >= 0 && len(rest) != want {
		s.st.w = command.AppendWrongArity(s.st.w, "client|"+sub)
		return
	}
	switch sub {
	case "id":
		s.int(int64(s.id))
	case "getname":
		if name := s.clientInfo().name; name != "" {
			s.text(name)
		} else {
			s.st.w = resp.AppendNull(s.st.w, s.proto)
		}
	case "setname":
		if !validName(rest[0]) {
			s.fail(errClientName)
			return
		}
		s.update(func(i *clientInfo) { i.name = string(rest[0]) })
		s.ok()
	case "setinfo":
		s.setInfo(rest)
	case "info":
		s.st.w = resp.AppendVerbatim(s.st.w, "txt", s.describe()+"\n", s.proto)
	case "list":
		s.clientList(rest)
	case "no-evict", "no-touch":
		if !command.EqualFold(rest[0], "on") && !command.EqualFold(rest[0], "off") {
			s.fail("ERR syntax error")
			return
		}
		s.ok()
	case "reply":
		s.replyCommand(rest[0])
	case "unblock":
		s.unblockClient(args)
	case "pause", "unpause":
		s.ok()
	case "getredir":
		s.int(s.redirection())
	case "tracking":
		if len(rest) == 0 {
			s.st.w = command.AppendWrongArity(s.st.w, "client|tracking")
			return
		}
		s.trackingCommand(rest)
	case "caching":
		s.cachingCommand(rest[0])
	case "trackinginfo":
		s.trackingInfo()
	case "kill":
		s.kill(rest)
	case "help":
		s.st.w = resp.AppendArray(s.st.w, 1)
		s.st.w = resp.AppendSimple(s.st.w, "CLIENT ID|GETNAME|SETNAME|SETINFO|INFO|LIST|NO-EVICT|NO-TOUCH|REPLY|KILL|UNBLOCK|PAUSE|UNPAUSE|GETREDIR|HELP")
	}
}

func (s *session) setInfo(args [][]byte) {
	value := string(args[1])
	switch {
	case !validName(args[1]):
		s.fail("ERR " + strings.ToLower(string(args[0])) + " cannot contain spaces, newlines or special characters.")
	case command.EqualFold(args[0], "lib-name"):
		s.update(func(i *clientInfo) { i.libName = value })
		s.ok()
	case command.EqualFold(args[0], "lib-ver"):
		s.update(func(i *clientInfo) { i.libVersion = value })
		s.ok()
	default:
		s.fail("ERR Unrecognized option '" + string(args[0]) + "'")
	}
}

// replyCommand is CLIENT REPLY: OFF and SKIP are not answered themselves.
func (s *session) replyCommand(how []byte) {
	switch {
	case command.EqualFold(how, "on"):
		s.mode = replyOn
		s.ok()
	case command.EqualFold(how, "off"):
		s.mode = replyOff
	case command.EqualFold(how, "skip"):
		if s.mode != replyOff {
			s.mode = replySkip
		}
	default:
		s.fail("ERR syntax error")
	}
}

// address is the client's, as Redis writes it.
func (s *session) address() string {
	if !s.addr.IsValid() {
		return "unixsocket:0"
	}
	return s.addr.String()
}

// describe is the session's line in CLIENT LIST. Any loop may ask.
func (s *session) describe() string {
	i := s.clientInfo()
	name, flags := "NULL", "N"
	if spec := s.last.Load(); spec != nil {
		name = spec.Name
	}
	if i.topics != [topicKinds]int{} {
		flags = "P"
	}
	if s.waiter.Load() != nil {
		flags = strings.TrimPrefix(flags, "N") + "b"
	}
	idle := int64(0)
	if at := s.lastAt.Load(); at != 0 {
		idle = max(0, (time.Now().UnixMilli()-at)/1000)
	}
	return fmt.Sprintf("id=%d addr=%s name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d ssub=%d multi=%d watch=%d cmd=%s user=default lib-name=%s lib-ver=%s",
		s.id, s.address(), i.name, int64(time.Since(s.created).Seconds()), idle, flags, i.db, i.topics[channelTopic], i.topics[patternTopic], i.topics[shardTopic],
		s.queued.Load()-1, s.watching.Load(),
		name, i.libName, i.libVersion)
}

func (s *session) clientList(args [][]byte) {
	ids := map[uint64]bool{}
	switch {
	case len(args) == 2 && command.EqualFold(args[0], "type"):
		if !command.EqualFold(args[1], "normal") && !command.EqualFold(args[1], "pubsub") {
			s.fail("ERR Unknown client type '" + string(args[1]) + "'")
			return
		}
	case len(args) >= 2 && command.EqualFold(args[0], "id"):
		for _, a := range args[1:] {
			id, ok := resp.ParseInt(a)
			if !ok || id <= 0 {
				s.fail("ERR Invalid client ID")
				return
			}
			ids[uint64(id)] = true
		}
	case len(args) > 0:
		s.fail("ERR syntax error")
		return
	}
	all := s.st.srv.list()
	slices.SortFunc(all, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	var b strings.Builder
	for _, other := range all {
		if len(ids) > 0 && !ids[other.id] {
			continue
		}
		b.WriteString(other.describe())
		b.WriteByte('\n')
	}
	s.st.w = resp.AppendVerbatim(s.st.w, "txt", b.String(), s.proto)
}

// kill closes sessions by address (old form, answered OK) or by filters (answered with their number).
func (s *session) kill(args [][]byte) {
	old := len(args) == 1
	skipMe := true
	match := func(*session) bool { return true }
	switch {
	case old:
		addr := string(args[0])
		skipMe = false
		match = func(o *session) bool { return o.address() == addr }
	case len(args) == 0 || len(args)%2 == 1:
		s.fail("ERR syntax error")
		return
	}
	for i := 0; !old && i < len(args); i += 2 {
		before, value := match, string(args[i+1])
		switch {
		case command.EqualFold(args[i], "id"):
			id, err := strconv.ParseUint(value, 10, 64)
			if err != nil || id == 0 {
				s.fail("ERR client-id should be greater than 0")
				return
			}
			match = func(o *session) bool { return before(o) && o.id == id }
		case command.EqualFold(args[i], "addr"):
			match = func(o *session) bool { return before(o) && o.address() == value }
		case command.EqualFold(args[i], "user"):
			match = func(o *session) bool { return before(o) && value == "default" }
		case command.EqualFold(args[i], "type"):
			pubsub := strings.EqualFold(value, "pubsub")
			match = func(o *session) bool {
				info := o.clientInfo()
				return before(o) && (info.topics != [topicKinds]int{}) == pubsub
			}
		case command.EqualFold(args[i], "skipme"):
			skipMe = strings.EqualFold(value, "yes")
		default:
			s.fail("ERR syntax error")
			return
		}
	}
	n := int64(0)
	for _, other := range s.st.srv.list() {
		if !match(other) || skipMe && other == s {
			continue
		}
		n++
		if other == s {
			s.ending = true
			continue
		}
		other.st.loop.Post(func() { other.conn.Close(errKilled) })
	}
	switch {
	case old && n == 0:
		s.fail("ERR No such client")
	case old:
		s.ok()
	default:
		s.int(n)
	}
}
