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
	user                      string // empty: default
	resp3                     bool
	monitors                  bool
	noEvict, noTouch          bool
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

// clientCommand is CLIENT. It reports false when the reply comes later.
func (s *session) clientCommand(sub string, args [][]byte) (done bool) {
	rest := args[2:]
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
			return true
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
		on := command.EqualFold(rest[0], "on")
		if !on && !command.EqualFold(rest[0], "off") {
			s.fail("ERR syntax error")
			return true
		}
		s.update(func(i *clientInfo) {
			if sub == "no-evict" {
				i.noEvict = on
			} else {
				i.noTouch = on
			}
		})
		s.ok()
	case "reply":
		s.replyCommand(rest[0])
	case "unblock":
		s.unblockClient(args)
	case "pause":
		s.pauseCommand(rest)
	case "unpause":
		s.unpauseCommand()
	case "getredir":
		s.int(s.redirection())
	case "tracking":
		s.trackingCommand(rest)
	case "caching":
		s.cachingCommand(rest[0])
	case "trackinginfo":
		s.trackingInfo()
	case "kill":
		return s.kill(rest)
	}
	return true
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
	name, user := "NULL", "default"
	if spec := s.last.Load(); spec != nil {
		name = spec.Name
	}
	if i.user != "" {
		user = i.user
	}
	idle := int64(0)
	if at := s.lastAt.Load(); at != 0 {
		idle = max(0, (time.Now().UnixMilli()-at)/1000)
	}
	redirect := int64(-1)
	if i.tracks {
		redirect = int64(i.tracking.redirect)
	}
	version := 2
	if i.resp3 {
		version = 3
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d ssub=%d multi=%d watch=%d "+
		"qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=%d rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=%d events=r cmd=%s user=%s redir=%d resp=%d "+
		"lib-name=%s lib-ver=%s",
		s.id, s.address(), s.localAddress(), i.name, int64(time.Since(s.created).Seconds()), idle, s.flags(&i), i.db,
		i.topics[channelTopic], i.topics[patternTopic], i.topics[shardTopic], s.queued.Load()-1, s.watching.Load(),
		s.queuedBytes.Load(), s.queuedBytes.Load()+sessionBytes, name, user, redirect, version, i.libName, i.libVersion)
}

// flags are the letters of CLIENT LIST.
func (s *session) flags(i *clientInfo) string {
	flags := ""
	for _, f := range []struct {
		on     bool
		letter string
	}{
		{i.monitors, "O"}, {i.topics != [topicKinds]int{}, "P"}, {s.queued.Load() > 0, "x"}, {s.waiter.Load() != nil, "b"},
		{i.tracks, "t"}, {i.tracking.broken, "R"}, {i.tracks && i.tracking.broadcast, "B"}, {!s.addr.IsValid(), "U"},
		{i.noEvict, "e"}, {i.noTouch, "T"},
	} {
		if f.on {
			flags += f.letter
		}
	}
	if flags == "" {
		return "N"
	}
	return flags
}

// localAddress is the server's side.
func (s *session) localAddress() string {
	if !s.local.IsValid() {
		return "unixsocket:0"
	}
	return s.local.String()
}

// kinds of clients, for the filters of CLIENT LIST and KILL.
var clientKinds = []string{"normal", "master", "replica", "slave", "pubsub"}

func (s *session) kind() string {
	if s.clientInfo().topics != [topicKinds]int{} {
		return "pubsub"
	}
	return "normal"
}

func (s *session) clientList(args [][]byte) {
	keep := func(*session) bool { return true }
	switch {
	case len(args) == 2 && command.EqualFold(args[0], "type"):
		kind := strings.ToLower(string(args[1]))
		if !slices.Contains(clientKinds, kind) {
			s.fail("ERR Unknown client type '" + string(args[1]) + "'")
			return
		}
		keep = func(o *session) bool { return o.kind() == kind }
	case len(args) >= 2 && command.EqualFold(args[0], "id"):
		ids := map[uint64]bool{}
		for _, a := range args[1:] {
			id, ok := resp.ParseInt(a)
			if !ok || id <= 0 {
				s.fail("ERR Invalid client ID")
				return
			}
			ids[uint64(id)] = true
		}
		keep = func(o *session) bool { return ids[o.id] }
	case len(args) > 0:
		s.fail("ERR syntax error")
		return
	}
	all := s.st.srv.list()
	slices.SortFunc(all, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	var b strings.Builder
	for _, other := range all {
		if keep(other) {
			b.WriteString(other.describe())
			b.WriteByte('\n')
		}
	}
	s.st.w = resp.AppendVerbatim(s.st.w, "txt", b.String(), s.proto)
}

// kill closes sessions by address (old form, answered OK) or by filters (answered with their number). It reports false when the
// reply comes later: once all are gone, so that nothing counts them any more. A transaction does not wait for that.
func (s *session) kill(args [][]byte) (done bool) {
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
		return true
	}
	for i := 0; !old && i < len(args); i += 2 {
		before, value := match, string(args[i+1])
		switch {
		case command.EqualFold(args[i], "id"):
			id, err := strconv.ParseUint(value, 10, 64)
			if err != nil || id == 0 {
				s.fail("ERR client-id should be greater than 0")
				return true
			}
			match = func(o *session) bool { return before(o) && o.id == id }
		case command.EqualFold(args[i], "addr"):
			match = func(o *session) bool { return before(o) && o.address() == value }
		case command.EqualFold(args[i], "laddr"):
			match = func(o *session) bool { return before(o) && o.localAddress() == value }
		case command.EqualFold(args[i], "user"):
			if s.st.srv.users.Find(value) == nil {
				s.fail("ERR No such user '" + value + "'")
				return true
			}
			match = func(o *session) bool {
				user := o.clientInfo().user
				return before(o) && (user == value || user == "" && value == "default")
			}
		case command.EqualFold(args[i], "type"):
			kind := strings.ToLower(value)
			if !slices.Contains(clientKinds, kind) {
				s.fail("ERR Unknown client type '" + value + "'")
				return true
			}
			match = func(o *session) bool { return before(o) && o.kind() == kind }
		case command.EqualFold(args[i], "maxage"):
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				s.fail("ERR maxage is not an integer or out of range")
				return true
			}
			if seconds <= 0 {
				s.fail("ERR maxage should be greater than 0")
				return true
			}
			match = func(o *session) bool { return before(o) && int64(time.Since(o.created).Seconds()) >= seconds }
		case command.EqualFold(args[i], "skipme"):
			switch strings.ToLower(value) {
			case "yes":
				skipMe = true
			case "no":
				skipMe = false
			default:
				s.fail("ERR syntax error")
				return true
			}
		default:
			s.fail("ERR syntax error")
			return true
		}
	}
	n := int64(0)
	condemned := map[*loopState][]*session{}
	for _, other := range s.st.srv.list() {
		if !match(other) || skipMe && other == s {
			continue
		}
		n++
		if other == s {
			s.ending = true
			continue
		}
		condemned[other.st] = append(condemned[other.st], other)
	}
	var reply []byte
	switch {
	case old && n == 0:
		s.fail("ERR No such client")
		return true
	case old:
		reply = resp.AppendOK(nil)
	default:
		reply = resp.AppendInt(nil, n)
	}
	if len(condemned) == 0 || s.st.busy {
		s.closeAll(condemned, func() {})
		s.st.w = append(s.st.w, reply...)
		return true
	}
	sl := s.deferReply()
	s.blocked = sl
	s.closeAll(condemned, func() { sl.Resolve(reply) })
	return false
}

// closeAll closes others, each on its loop. gone is called on the loop of s once all have heard of their end.
func (s *session) closeAll(others map[*loopState][]*session, gone func()) {
	left := len(others)
	closed := func() {
		s.st.loop.Post(func() {
			if left--; left == 0 {
				gone()
			}
		})
	}
	for st, sessions := range others {
		post := func(fn func()) {
			if !st.loop.Post(fn) { // it has stopped, and closes all of its own
				closed()
			}
		}
		post(func() {
			for _, other := range sessions {
				other.conn.Close(errKilled)
			}
			post(closed) // they hear of it when this function has returned
		})
	}
}
