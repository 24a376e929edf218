package cachenode

import (
	"maps"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A message goes to the nodes that have subscribers for it. A node that publishes asks the others what their clients listen
// to, and relies on the answer for a second (toldFor), during which those tell it of every new topic before they confirm a
// subscription. So who is confirmed misses nothing, whatever is lost between the two: a node that cannot be told has
// forgotten all it knew by the time that the subscriber is confirmed, and sends everything to whom it knows nothing of.
// Who publishes all the time asks again in time. Nodes that publish nothing ask nothing, and are told nothing.

const (
	// toldFor is how long a node relies on what another has told of its topics.
	toldFor = time.Second
	// maxTopicBytes bounds what is told of topics, and kept of each peer: beyond, it is said to listen to everything.
	maxTopicBytes = 64 << 10
)

// ears are what the clients of a peer listen to, as it has told. The loops share them.
type ears struct {
	mu     sync.RWMutex
	until  time.Time // they count before
	asked  time.Time // zero: nobody is asking
	serial uint64    // of the newest that was told
	bytes  int
	all    bool
	names  [2]map[string]struct{} // channels, and shard channels
	likes  map[string]struct{}    // patterns
}

// hear tells whether the peer has to get a message, and whether it is time to ask it again.
func (e *ears) hear(now time.Time, kind respserver.Kind, channel []byte) (wants, ask bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	ask = now.After(e.until.Add(-toldFor/2)) && e.asked.IsZero()
	if now.After(e.until) || e.all {
		return true, ask
	}
	if _, wants = e.names[kind][string(channel)]; wants || kind == respserver.ShardMessage {
		return wants, ask
	}
	for pattern := range e.likes {
		if command.Match([]byte(pattern), channel) {
			return true, ask
		}
	}
	return false, ask
}

// asking notes that somebody asks, unless somebody does already.
func (e *ears) asking(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.asked.IsZero() {
		return false
	}
	e.asked = now
	return true
}

// told takes the answer to a question, nil for none. One that is older than what was told meanwhile is of no use.
func (e *ears) told(t *peer.Topics) {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := e.asked
	e.asked = time.Time{}
	if t == nil || t.Serial < e.serial {
		return
	}
	e.until, e.all, e.bytes = asked.Add(toldFor), false, 0
	e.names, e.likes = [2]map[string]struct{}{{}, {}}, map[string]struct{}{}
	e.addLocked(t)
}

// add takes what the peer listens to besides.
func (e *ears) add(t *peer.Topics) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.likes != nil {
		e.addLocked(t)
	}
	e.serial = max(e.serial, t.Serial)
}

func (e *ears) addLocked(t *peer.Topics) {
	e.serial, e.all = max(e.serial, t.Serial), e.all || t.Everything
	for set, names := range map[*map[string]struct{}][]string{&e.names[respserver.Message]: t.Channels, &e.names[respserver.ShardMessage]: t.Shards, &e.likes: t.Patterns} {
		for _, name := range names {
			if _, there := (*set)[name]; !there {
				(*set)[name] = struct{}{}
				e.bytes += len(name)
			}
		}
	}
	if e.all || e.bytes > maxTopicBytes {
		e.all, e.bytes = true, 0
		e.names, e.likes = [2]map[string]struct{}{{}, {}}, map[string]struct{}{}
	}
}

// askTopics asks a peer what its clients listen to.
func (w *worker) askTopics(pl *placement, to *remote) {
	if !to.ears.asking(w.loop.Now()) {
		return
	}
	if w.link(to).ask(peer.Publish, peer.NewsTopics, pl.epoch, nil, topicsAsk{to}) != nil {
		to.ears.told(nil)
	}
}

type topicsAsk struct{ to *remote }

func (a topicsAsk) answered(_ *worker, f *peer.Frame, err error) {
	if err == nil {
		var t peer.Topics
		if t, err = peer.ParseTopics(f.Body); err == nil {
			a.to.ears.told(&t)
			return
		}
	}
	a.to.ears.told(nil)
}

// tellings are what a node has told others of its topics.
type tellings struct {
	mu     sync.Mutex
	serial uint64
	told   map[uint64]time.Time // when each peer was last told all, by its instance
}

// note notes that a peer is about to be told all. Of those that are no more, so many are remembered at most.
func (t *tellings) note(instance uint64, most int) (serial uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if len(t.told) > most {
		maps.DeleteFunc(t.told, func(_ uint64, at time.Time) bool { return now.Sub(at) > toldFor })
	}
	t.told[instance] = now
	return t.serial
}

// tellTopics answers the question of a peer. It is noted before the topics are looked at: a subscription that comes in between
// is told besides.
func (w *worker) tellTopics(in *inbound, f *peer.Frame) {
	n := w.n
	t := peer.Topics{Serial: n.tellings.note(in.from.Instance, 2*len(n.placement.Load().peers))}
	if n.audience != nil {
		mine := n.audience.Topics(maxTopicBytes)
		t.Channels, t.Patterns, t.Shards, t.Everything = mine.Channels, mine.Patterns, mine.Shards, mine.Everything
	}
	in.reply(f.ID, peer.AppendTopics(nil, &t))
}

// Listen tells the peers that rely on what they were told.
func (n *Node) Listen(loop *netloop.Loop, topics respserver.Topics, known func()) bool {
	w, pl := n.byLoop[loop], n.placement.Load()
	if len(pl.peers) == 0 || w.stopped {
		return true
	}
	l := &listening{known: known, left: 1}
	for _, to := range n.relying(pl, &l.serial, &l.until) {
		if l.body == nil {
			l.body = peer.AppendMessage(nil, nil, peer.AppendTopics(nil, topicsToTell(topics, l.serial)))
		}
		l.left++
		if err := w.link(to).ask(peer.Publish, peer.NewsListens, pl.epoch, l.body, l); err != nil {
			l.answered(w, nil, err)
		}
	}
	l.left--
	return l.left == 0
}

// topicsToTell are what peers are told of new subscriptions.
func topicsToTell(topics respserver.Topics, serial uint64) *peer.Topics {
	t := &peer.Topics{Serial: serial, Channels: topics.Channels, Patterns: topics.Patterns, Shards: topics.Shards}
	size := 0
	for _, names := range [][]string{t.Channels, t.Patterns, t.Shards} {
		for _, name := range names {
			size += len(name)
		}
	}
	if size > maxTopicBytes {
		return &peer.Topics{Serial: serial, Everything: true}
	}
	return t
}

// relying returns the peers that were told of our topics not long ago, when the last of them forgets that, and the number of
// what they are to be told now.
func (n *Node) relying(pl *placement, serial *uint64, until *time.Time) (peers []*remote) {
	t := &n.tellings
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serial++
	*serial = t.serial
	now := time.Now()
	for instance, at := range t.told {
		end := at.Add(toldFor)
		if now.After(end) {
			delete(t.told, instance)
			continue
		}
		for _, to := range pl.peers {
			if to.instance == instance {
				peers = append(peers, to)
				if end.After(*until) {
					*until = end
				}
			}
		}
	}
	return peers
}

// listening waits until all peers know of a subscription.
type listening struct {
	known  func()
	left   int
	serial uint64
	body   []byte
	until  time.Time // nobody relies on anything older any more
}

func (l *listening) answered(w *worker, _ *peer.Frame, err error) {
	if err == nil {
		l.done()
		return
	}
	w.loop.NewTimer(l.done).Reset(max(0, time.Until(l.until)))
}

func (l *listening) done() {
	if l.left--; l.left == 0 {
		l.known()
	}
}

// counting adds up the receivers that peers tell of.
type counting struct {
	left, sum int
	then      func(receivers int)
}

// Then has fn called with the sum.
func (c *counting) Then(fn func(receivers int)) { c.then = fn }

// countAsk waits for what one peer has to say.
type countAsk struct {
	*counting
	l *link
}

func (c countAsk) answered(w *worker, f *peer.Frame, err error) {
	if err == errTimeout {
		c.l.distrusted = w.loop.Now().Add(distrustFor) // the next publishers do not wait for it
	}
	if err == nil {
		if h, err := resp.ReadHeader(f.Body); err == nil && h.Kind == ':' {
			c.sum += int(h.N)
		}
	}
	if c.left--; c.left == 0 {
		c.then(c.sum)
	}
}

// Survey asks all peers that know how to answer.
func (n *Node) Survey(loop *netloop.Loop, question [][]byte, then func(answers [][]byte)) bool {
	w, pl := n.byLoop[loop], n.placement.Load()
	s := &survey{then: then}
	if len(pl.peers) == 0 || w.stopped {
		return false
	}
	body := peer.AppendMessage(nil, nil, resp.AppendCommand(nil, question))
	for _, to := range pl.peers {
		if l := w.link(to); l.version >= 2 && l.ask(peer.Publish, peer.NewsSurvey, pl.epoch, body, s) == nil {
			s.left++
		}
	}
	return s.left > 0
}

// survey gathers the answers.
type survey struct {
	then    func(answers [][]byte)
	left    int
	answers [][]byte
}

func (s *survey) answered(_ *worker, f *peer.Frame, err error) {
	if err == nil {
		s.answers = append(s.answers, append([]byte(nil), f.Body...))
	}
	if s.left--; s.left == 0 {
		s.then(s.answers)
	}
}
