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

// subscribe is confirmed when all nodes that publish know of it: from then on no message is missed.
func (s *session) subscribe(names [][]byte, kind topicKind) (done bool) {
	if s.subscribed == nil {
		s.subscribed = new([topicKinds]map[string]struct{})
	}
	own, here := &s.subscribed[kind], s.st.listeners[kind]
	start := len(s.st.w)
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
	confirmations := bytes.Clone(s.st.w[start:])
	var slot *Slot
	known := func() {
		if slot != nil {
			slot.Resolve(confirmations)
		}
	}
	if s.st.srv.cfg.Backend.Listen(s.st.loop, topicsOf(kind, names), known) || s.st.synchronous || s.muted() {
		return true
	}
	s.st.w = s.st.w[:start]
	slot = s.deferReply()
	return false
}

// topicsOf are the topics of one kind with these names.
func topicsOf(kind topicKind, names [][]byte) (t Topics) {
	list := t.of(kind)
	for _, n := range names {
		*list = append(*list, string(n))
	}
	return t
}

// of is the list of a kind.
func (t *Topics) of(kind topicKind) *[]string {
	switch kind {
	case patternTopic:
		return &t.Patterns
	case shardTopic:
		return &t.Shards
	}
	return &t.Channels
}

// Topics tells what the clients listen to.
func (srv *Server) Topics(maxBytes int) (t Topics) {
	h := &srv.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	for kind := range topicKinds {
		list := t.of(kind)
		for name := range h.topics[kind] {
			if maxBytes -= len(name) + 8; maxBytes < 0 {
				return Topics{Everything: true}
			}
			*list = append(*list, name)
		}
	}
	return t
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

// publish replies with the receivers of all nodes. Where other nodes have any, that takes their answers.
func (s *session) publish(kind Kind, args [][]byte) (done bool) {
	here := s.st.publish(kind, args[1], args[2])
	count := s.st.srv.cfg.Backend.Publish(s.st.loop, kind, args[1], args[2], !s.st.synchronous && !s.muted())
	if count == nil {
		s.int(int64(here))
		return true
	}
	slot := s.deferReply()
	count.Then(func(there int) { slot.Resolve(resp.AppendInt(nil, int64(here+there))) })
	return false
}

// pubsub reports the subscriptions of all nodes; inside a transaction those of this one.
func (s *session) pubsub(args [][]byte) (done bool) {
	sub := args[1]
	kind := channelTopic
	if len(sub) > 5 && command.EqualFold(sub[:5], "shard") {
		kind, sub = shardTopic, sub[5:]
	}
	var merge func(b []byte, answers [][]byte) []byte
	question := [][]byte{[]byte("channels"), {'0' + byte(kind)}}
	switch {
	case command.EqualFold(sub, "channels") && len(args) <= 3:
		question, merge = append(question, args[2:]...), appendNames
	case command.EqualFold(sub, "numsub"):
		question[0] = []byte("numsub")
		question = append(question, args[2:]...)
		merge = func(b []byte, answers [][]byte) []byte { return appendNumbers(b, question[2:], answers) }
	case command.EqualFold(args[1], "numpat") && len(args) == 2:
		question[1][0] = '0' + byte(patternTopic)
		merge = func(b []byte, answers [][]byte) []byte {
			return resp.AppendInt(b, int64(len(unite(answers))))
		}
	default:
		s.subcommandSyntax(args[1], "PUBSUB")
		return true
	}
	for i := range question {
		question[i] = bytes.Clone(question[i]) // it may outlive the call
	}
	own := s.st.srv.Answer(question, nil)
	if !s.st.synchronous && !s.muted() {
		var slot *Slot
		if s.st.srv.cfg.Backend.Survey(s.st.loop, question, func(answers [][]byte) {
			slot.Resolve(merge(nil, append(answers, own)))
		}) {
			slot = s.deferReply()
			return false
		}
	}
	s.st.w = merge(s.st.w, [][]byte{own})
	return true
}

// Answer tells of the subscriptions of this node: "channels" kind [pattern] lists names, "numsub" kind name… numbers.
func (srv *Server) Answer(question [][]byte, out []byte) []byte {
	if len(question) < 2 || len(question[1]) != 1 || question[1][0]-'0' >= byte(topicKinds) {
		return resp.AppendArray(out, 0)
	}
	h, kind := &srv.hub, topicKind(question[1][0]-'0')
	h.mu.RLock()
	defer h.mu.RUnlock()
	if string(question[0]) == "numsub" {
		out = resp.AppendArray(out, len(question)-2)
		for _, name := range question[2:] {
			n := 0
			if t := h.topics[kind][string(name)]; t != nil {
				n = t.total
			}
			out = resp.AppendInt(out, int64(n))
		}
		return out
	}
	var names []string
	for name := range h.topics[kind] {
		if len(question) == 2 || command.Match(question[2], []byte(name)) {
			names = append(names, name)
		}
	}
	out = resp.AppendArray(out, len(names))
	for _, name := range names {
		out = resp.AppendBulkString(out, name)
	}
	return out
}

// unite returns the names of several answers, each once, in order.
func unite(answers [][]byte) (names []string) {
	for _, a := range answers {
		h, err := resp.ReadHeader(a)
		if err != nil || h.Kind != '*' {
			continue // it is an error: then we tell what the others have said
		}
		for a = a[h.Size:]; len(a) > 0; {
			h, err := resp.ReadHeader(a)
			if err != nil || h.Kind != '$' || h.N < 0 || len(a) < h.Size+int(h.N)+2 {
				break
			}
			names, a = append(names, string(a[h.Size:h.Size+int(h.N)])), a[h.Size+int(h.N)+2:]
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func appendNames(b []byte, answers [][]byte) []byte {
	names := unite(answers)
	b = resp.AppendArray(b, len(names))
	for _, name := range names {
		b = resp.AppendBulkString(b, name)
	}
	return b
}

// appendNumbers appends the names with the sums of the answers' numbers.
func appendNumbers(b []byte, names, answers [][]byte) []byte {
	sums := make([]int64, len(names))
	for _, a := range answers {
		rest, ok := elements(a, len(names))
		for i := 0; ok && i < len(sums); i++ {
			h, err := resp.ReadHeader(rest)
			if err != nil || h.Kind != ':' {
				break
			}
			sums[i] += h.N
			rest = rest[h.Size:]
		}
	}
	b = resp.AppendArray(b, 2*len(names))
	for i, name := range names {
		b = resp.AppendInt(resp.AppendBulk(b, name), sums[i])
	}
	return b
}
