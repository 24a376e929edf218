package respserver

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// topicKind is what a session can subscribe to.
type topicKind uint8

const (
	channelTopic topicKind = iota
	patternTopic
	shardTopic
	topicKinds
)

// confirmations are the words that confirm a subscription and its end.
var confirmations = [topicKinds][2]string{
	channelTopic: {"subscribe", "unsubscribe"},
	patternTopic: {"psubscribe", "punsubscribe"},
	shardTopic:   {"ssubscribe", "sunsubscribe"},
}

// hub knows which loops have subscribers of what. The sessions themselves are known to their loops only, so a message
// is posted once to each loop concerned.
type hub struct {
	charge func(int64) // constant; tells of bytes taken, or given back

	names atomic.Int64 // topics in all maps: most of the time there are none, and PUBLISH takes no lock

	mu     sync.RWMutex
	topics [topicKinds]map[string]*topic
}

// topic counts the subscribers of a channel or pattern.
type topic struct {
	loops  uint64 // bit per loop with subscribers
	counts [maxLoops]int32
	total  int
}

func (h *hub) add(name string, kind topicKind, loop int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[kind][name]
	if t == nil {
		t = &topic{}
		h.topics[kind][name] = t
		h.names.Add(1)
		h.charge(int64(topicBytes + len(name)))
	}
	h.charge(int64(subscriptionBytes + len(name)))
	t.total++
	t.counts[loop]++
	t.loops |= 1 << loop
}

func (h *hub) remove(name string, kind topicKind, loop int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[kind][name]
	h.charge(-int64(subscriptionBytes + len(name)))
	t.total--
	if t.counts[loop]--; t.counts[loop] == 0 {
		t.loops &^= 1 << loop
	}
	if t.total == 0 {
		delete(h.topics[kind], name)
		h.names.Add(-1)
		h.charge(-int64(topicBytes + len(name)))
	}
}

// count is the number of topics of a kind.
func (h *hub) count(kind topicKind) int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.topics[kind])
}

// audience counts who will get a message, and says on which loops they are.
func (h *hub) audience(kind Kind, channel []byte) (receivers int, loops uint64) {
	if h.names.Load() == 0 {
		return 0, 0
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if kind == ShardMessage {
		if t := h.topics[shardTopic][string(channel)]; t != nil {
			return t.total, t.loops
		}
		return 0, 0
	}
	if t := h.topics[channelTopic][string(channel)]; t != nil {
		receivers, loops = t.total, t.loops
	}
	for pattern, t := range h.topics[patternTopic] {
		if command.Match([]byte(pattern), channel) {
			receivers += t.total
			loops |= t.loops
		}
	}
	return receivers, loops
}

// publish delivers a message to all subscribers of this process.
func (st *loopState) publish(kind Kind, channel, message []byte) (receivers int) {
	receivers, loops := st.srv.hub.audience(kind, channel)
	if loops == 0 {
		return 0
	}
	var channelCopy, messageCopy []byte
	for i, other := range st.srv.loops {
		switch {
		case loops&(1<<i) == 0:
		case other == st:
			st.deliver(kind, channel, message)
		default:
			if channelCopy == nil {
				channelCopy, messageCopy = bytes.Clone(channel), bytes.Clone(message)
			}
			other.loop.Post(func() { other.deliver(kind, channelCopy, messageCopy) })
		}
	}
	return receivers
}

// deliver sends a message to the subscribers on this loop.
func (st *loopState) deliver(kind Kind, channel, message []byte) {
	if kind == ShardMessage {
		if subs := st.listeners[shardTopic][string(channel)]; len(subs) > 0 {
			st.push2 = appendMessage(st.push2[:0], 2, "smessage", nil, channel, message)
			st.push3 = appendMessage(st.push3[:0], 3, "smessage", nil, channel, message)
			st.sendAll(subs)
		}
		return
	}
	if subs := st.listeners[channelTopic][string(channel)]; len(subs) > 0 {
		st.push2 = appendMessage(st.push2[:0], 2, "message", nil, channel, message)
		st.push3 = appendMessage(st.push3[:0], 3, "message", nil, channel, message)
		st.sendAll(subs)
	}
	for pattern, subs := range st.listeners[patternTopic] {
		p := []byte(pattern)
		if command.Match(p, channel) {
			st.push2 = appendMessage(st.push2[:0], 2, "pmessage", p, channel, message)
			st.push3 = appendMessage(st.push3[:0], 3, "pmessage", p, channel, message)
			st.sendAll(subs)
		}
	}
}

func (st *loopState) sendAll(subs listeners) {
	for s := range subs {
		if s.proto >= 3 {
			s.push(st.push3)
		} else {
			s.push(st.push2)
		}
	}
}

// push sends what the client has not asked for just now. One that does not read it is closed.
func (s *session) push(b []byte) {
	s.send(b)
	s.checkOutput()
}

func appendMessage(b []byte, proto int, word string, pattern, channel, message []byte) []byte {
	n := 3
	if pattern != nil {
		n = 4
	}
	b = resp.AppendPush(b, n, proto)
	b = resp.AppendBulkString(b, word)
	if pattern != nil {
		b = resp.AppendBulk(b, pattern)
	}
	b = resp.AppendBulk(b, channel)
	return resp.AppendBulk(b, message)
}

// subscriptions counts all kinds. Most sessions have none.
func (s *session) subscriptions() int {
	if s.subscribed == nil {
		return 0
	}
	return len(s.subscribed[channelTopic]) + len(s.subscribed[patternTopic]) + len(s.subscribed[shardTopic])
}

// subscribedTo counts what the confirmation of a kind tells: shard channels are counted apart.
func (s *session) subscribedTo(kind topicKind) int {
	if s.subscribed == nil {
		return 0
	}
	if kind == shardTopic {
		return len(s.subscribed[shardTopic])
	}
	return len(s.subscribed[channelTopic]) + len(s.subscribed[patternTopic])
}

func (s *session) subscribe(names [][]byte, kind topicKind) {
	if s.subscribed == nil {
		s.subscribed = new([topicKinds]map[string]struct{})
	}
	own, here := &s.subscribed[kind], s.st.listeners[kind]
	for _, n := range names {
		name := string(n)
		if _, there := (*own)[name]; !there {
			if *own == nil {
				*own = map[string]struct{}{}
			}
			(*own)[name] = struct{}{}
			if here[name] == nil {
				here[name] = listeners{}
			}
			here[name][s] = struct{}{}
			s.st.srv.hub.add(name, kind, s.st.index)
		}
		s.confirm(kind, 0, n)
	}
	s.countSubscriptions()
}

func (s *session) unsubscribe(names [][]byte, kind topicKind) {
	var own map[string]struct{}
	if s.subscribed != nil {
		own = s.subscribed[kind]
	}
	if len(names) == 0 {
		if len(own) == 0 {
			s.confirm(kind, 1, nil)
			return
		}
		for name := range own {
			names = append(names, []byte(name))
		}
		slices.SortFunc(names, bytes.Compare)
	}
	for _, n := range names {
		s.drop(string(n), kind)
		s.confirm(kind, 1, n)
	}
	s.countSubscriptions()
}

// drop ends one subscription, if there is one.
func (s *session) drop(name string, kind topicKind) {
	if s.subscribed == nil {
		return
	}
	own, here := s.subscribed[kind], s.st.listeners[kind]
	if _, there := own[name]; !there {
		return
	}
	delete(own, name)
	if delete(here[name], s); len(here[name]) == 0 {
		delete(here, name)
	}
	s.st.srv.hub.remove(name, kind, s.st.index)
}

func (s *session) unsubscribeAll() {
	if s.subscribed == nil {
		return
	}
	for kind := range topicKinds {
		for name := range s.subscribed[kind] {
			s.drop(name, kind)
		}
	}
	s.subscribed = nil
}

// confirm tells the client how many subscriptions it has now. A nil name is a null: there was nothing to unsubscribe.
func (s *session) confirm(kind topicKind, end int, name []byte) {
	out := &s.st.w
	if s.muted() {
		out = &s.st.late
	}
	w := resp.AppendPush(*out, 3, s.proto)
	w = resp.AppendBulkString(w, confirmations[kind][end])
	if name == nil {
		w = resp.AppendNull(w, s.proto)
	} else {
		w = resp.AppendBulk(w, name)
	}
	*out = resp.AppendInt(w, int64(s.subscribedTo(kind)))
}

func (s *session) countSubscriptions() {
	if s.subscribed == nil {
		return // it has ended what it never had
	}
	var n [topicKinds]int
	for kind := range topicKinds {
		n[kind] = len(s.subscribed[kind])
	}
	s.update(func(i *clientInfo) { i.topics = n })
}

func (s *session) publish(kind Kind, args [][]byte) {
	n := s.st.publish(kind, args[1], args[2])
	n += s.st.srv.cfg.Backend.Publish(s.st.loop, kind, args[1], args[2])
	s.int(int64(n))
}

// pubsub reports the subscriptions of this node.
func (s *session) pubsub(args [][]byte) {
	h := &s.st.srv.hub
	sub := args[1]
	kind := channelTopic
	if len(sub) > 5 && command.EqualFold(sub[:5], "shard") {
		kind, sub = shardTopic, sub[5:]
	}
	switch {
	case command.EqualFold(sub, "channels") && len(args) <= 3:
		var names []string
		h.mu.RLock()
		for name := range h.topics[kind] {
			if len(args) == 2 || command.Match(args[2], []byte(name)) {
				names = append(names, name)
			}
		}
		h.mu.RUnlock()
		slices.Sort(names)
		s.st.w = resp.AppendArray(s.st.w, len(names))
		for _, name := range names {
			s.text(name)
		}
	case command.EqualFold(sub, "numsub"):
		s.st.w = resp.AppendArray(s.st.w, 2*(len(args)-2))
		for _, name := range args[2:] {
			n := 0
			h.mu.RLock()
			if t := h.topics[kind][string(name)]; t != nil {
				n = t.total
			}
			h.mu.RUnlock()
			s.bulk(name)
			s.int(int64(n))
		}
	case command.EqualFold(args[1], "numpat") && len(args) == 2:
		s.int(int64(h.count(patternTopic)))
	default:
		s.subcommandSyntax(args[1], "PUBSUB")
	}
}
