package respserver

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// hub knows which loops have subscribers of what. The sessions themselves are known to their loops only, so a message
// is posted once to each loop concerned.
type hub struct {
	names atomic.Int64 // topics in both maps: most of the time there are none, and PUBLISH takes no lock

	mu                 sync.RWMutex
	channels, patterns map[string]*topic
}

// topic counts the subscribers of a channel or pattern.
type topic struct {
	loops  uint64 // bit per loop with subscribers
	counts [maxLoops]int32
	total  int
}

func (h *hub) topics(pattern bool) map[string]*topic {
	if pattern {
		return h.patterns
	}
	return h.channels
}

func (h *hub) add(name string, pattern bool, loop int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	topics := h.topics(pattern)
	t := topics[name]
	if t == nil {
		t = &topic{}
		topics[name] = t
		h.names.Add(1)
	}
	t.total++
	t.counts[loop]++
	t.loops |= 1 << loop
}

func (h *hub) remove(name string, pattern bool, loop int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	topics := h.topics(pattern)
	t := topics[name]
	t.total--
	if t.counts[loop]--; t.counts[loop] == 0 {
		t.loops &^= 1 << loop
	}
	if t.total == 0 {
		delete(topics, name)
		h.names.Add(-1)
	}
}

// audience counts who will get a message, and says on which loops they are.
func (h *hub) audience(channel []byte) (receivers int, loops uint64) {
	if h.names.Load() == 0 {
		return 0, 0
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if t := h.channels[string(channel)]; t != nil {
		receivers, loops = t.total, t.loops
	}
	for pattern, t := range h.patterns {
		if command.Match([]byte(pattern), channel) {
			receivers += t.total
			loops |= t.loops
		}
	}
	return receivers, loops
}

// publish delivers a message to all subscribers of this process.
func (st *loopState) publish(channel, message []byte) (receivers int) {
	receivers, loops := st.srv.hub.audience(channel)
	if loops == 0 {
		return 0
	}
	var channelCopy, messageCopy []byte
	for i, other := range st.srv.loops {
		switch {
		case loops&(1<<i) == 0:
		case other == st:
			st.deliver(channel, message)
		default:
			if channelCopy == nil {
				channelCopy, messageCopy = bytes.Clone(channel), bytes.Clone(message)
			}
			other.loop.Post(func() { other.deliver(channelCopy, messageCopy) })
		}
	}
	return receivers
}

// deliver sends a message to the subscribers on this loop.
func (st *loopState) deliver(channel, message []byte) {
	if subs := st.channels[string(channel)]; len(subs) > 0 {
		st.push2, st.push3 = appendMessage(st.push2[:0], 2, nil, channel, message), appendMessage(st.push3[:0], 3, nil, channel, message)
		st.sendAll(subs)
	}
	for pattern, subs := range st.patterns {
		p := []byte(pattern)
		if command.Match(p, channel) {
			st.push2, st.push3 = appendMessage(st.push2[:0], 2, p, channel, message), appendMessage(st.push3[:0], 3, p, channel, message)
			st.sendAll(subs)
		}
	}
}

func (st *loopState) sendAll(subs listeners) {
	for s := range subs {
		if s.proto >= 3 {
			s.send(st.push3)
		} else {
			s.send(st.push2)
		}
		if s.conn.Queued()+s.waiting > st.srv.cfg.SubscriberBuffer {
			s.conn.Close(errSlowSubscriber)
		}
	}
}

func appendMessage(b []byte, proto int, pattern, channel, message []byte) []byte {
	if pattern == nil {
		b = resp.AppendPush(b, 3, proto)
		b = resp.AppendBulkString(b, "message")
	} else {
		b = resp.AppendPush(b, 4, proto)
		b = resp.AppendBulkString(b, "pmessage")
		b = resp.AppendBulk(b, pattern)
	}
	b = resp.AppendBulk(b, channel)
	return resp.AppendBulk(b, message)
}

func (s *session) subscriptions() int { return len(s.channels) + len(s.patterns) }

func (s *session) subscribe(names [][]byte, pattern bool) {
	kind := "subscribe"
	own, here := &s.channels, s.st.channels
	if pattern {
		kind = "psubscribe"
		own, here = &s.patterns, s.st.patterns
	}
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
			s.st.srv.hub.add(name, pattern, s.st.index)
		}
		s.confirm(kind, n)
	}
	s.countSubscriptions()
}

func (s *session) unsubscribe(names [][]byte, pattern bool) {
	kind, own := "unsubscribe", s.channels
	if pattern {
		kind, own = "punsubscribe", s.patterns
	}
	if len(names) == 0 {
		if len(own) == 0 {
			s.confirm(kind, nil)
			return
		}
		for name := range own {
			names = append(names, []byte(name))
		}
		slices.SortFunc(names, bytes.Compare)
	}
	for _, n := range names {
		s.drop(string(n), pattern)
		s.confirm(kind, n)
	}
	s.countSubscriptions()
}

// drop ends one subscription, if there is one.
func (s *session) drop(name string, pattern bool) {
	own, here := s.channels, s.st.channels
	if pattern {
		own, here = s.patterns, s.st.patterns
	}
	if _, there := own[name]; !there {
		return
	}
	delete(own, name)
	if delete(here[name], s); len(here[name]) == 0 {
		delete(here, name)
	}
	s.st.srv.hub.remove(name, pattern, s.st.index)
}

func (s *session) unsubscribeAll() {
	for name := range s.channels {
		s.drop(name, false)
	}
	for name := range s.patterns {
		s.drop(name, true)
	}
}

// confirm tells the client how many subscriptions it has now. A nil name is a null: there was nothing to unsubscribe.
func (s *session) confirm(kind string, name []byte) {
	w := resp.AppendPush(s.st.w, 3, s.proto)
	w = resp.AppendBulkString(w, kind)
	if name == nil {
		w = resp.AppendNull(w, s.proto)
	} else {
		w = resp.AppendBulk(w, name)
	}
	s.st.w = resp.AppendInt(w, int64(s.subscriptions()))
}

func (s *session) countSubscriptions() {
	channels, patterns := len(s.channels), len(s.patterns)
	s.update(func(i *clientInfo) { i.channels, i.patterns = channels, patterns })
}

func (s *session) publish(args [][]byte) {
	n := s.st.publish(args[1], args[2])
	n += s.st.srv.cfg.Backend.Publish(s.st.loop, args[1], args[2])
	s.int(int64(n))
}

// pubsub reports the subscriptions of this node.
func (s *session) pubsub(args [][]byte) {
	h := &s.st.srv.hub
	switch {
	case command.EqualFold(args[1], "channels") && len(args) <= 3:
		var names []string
		h.mu.RLock()
		for name := range h.channels {
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
	case command.EqualFold(args[1], "numsub"):
		s.st.w = resp.AppendMap(s.st.w, len(args)-2, s.proto)
		for _, name := range args[2:] {
			n := 0
			h.mu.RLock()
			if t := h.channels[string(name)]; t != nil {
				n = t.total
			}
			h.mu.RUnlock()
			s.bulk(name)
			s.int(int64(n))
		}
	case command.EqualFold(args[1], "numpat") && len(args) == 2:
		h.mu.RLock()
		n := len(h.patterns)
		h.mu.RUnlock()
		s.int(int64(n))
	case command.EqualFold(args[1], "shardchannels"):
		s.st.w = resp.AppendArray(s.st.w, 0)
	default:
		s.st.w = command.AppendUnknownSubcommand(s.st.w, args[1], "PUBSUB")
	}
}
