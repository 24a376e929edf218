package cachenode

import (
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/near"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A message goes to the peers that have subscribers (see listen.go), on the connection that the publisher's commands take:
// so messages of one publisher arrive everywhere in order. As in Redis, a message is lost to those who cannot be reached
// when it is sent.
//
// What happens to keys is told by the node that executes the command. Events go to everybody, as messages. That a key has
// changed goes to the nodes whose clients cache values, which tell so beforehand, on each connection by which they read:
// so who has read a key hears of its next change. Where a connection breaks or the ring changes something may have been
// missed: the clients are then told to drop everything.

const notifySetting = "notify-keyspace-events"

// Tell names who hears of messages and changes.
func (n *Node) Tell(a respserver.Audience) { n.audience = a }

// Publish sends a message to the nodes that want it.
func (n *Node) Publish(loop *netloop.Loop, kind respserver.Kind, channel, message []byte, counted bool) respserver.Count {
	w, pl := n.byLoop[loop], n.placement.Load()
	if len(pl.peers) == 0 || w.stopped {
		return nil
	}
	news := uint8(peer.NewsMessage)
	if kind == respserver.ShardMessage {
		news = peer.NewsShardMessage
	}
	var count *counting
	w.told = w.told[:0]
	for _, to := range pl.peers {
		l := w.link(to)
		if l.version >= 2 {
			wants, ask := to.ears.hear(w.loop.Now(), kind, channel)
			if ask {
				w.askTopics(pl, to)
			}
			if !wants {
				continue
			}
		}
		if len(w.told) == 0 {
			w.told = peer.AppendMessage(w.told, channel, message)
		}
		if !counted || l.version < 2 || w.loop.Now().Before(l.distrusted) {
			w.tellPeer(pl, to, news, w.told)
			continue
		}
		if count == nil {
			count = &counting{}
		}
		if l.ask(peer.Publish, news, pl.epoch, w.told, countAsk{count, l}) == nil {
			n.stats.published.Add(1)
			count.left++
		}
	}
	if count == nil || count.left == 0 {
		return nil
	}
	return count
}

// publish sends a message of a script to the subscribers, here and elsewhere.
func (w *worker) publish(shard bool, channel, message []byte) (receivers int) {
	kind := respserver.Message
	if shard {
		kind = respserver.ShardMessage
	}
	if w.n.audience != nil {
		receivers = w.n.audience.Deliver(w.loop, kind, channel, message)
	}
	w.n.Publish(w.loop, kind, channel, message, false)
	return receivers
}

// spread tells all peers.
func (w *worker) spread(news uint8, name, value []byte) {
	pl := w.n.placement.Load()
	if len(pl.peers) == 0 || w.stopped {
		return
	}
	// Not in w.scratch: that may hold the reply of the command that is being reported.
	w.told = peer.AppendMessage(w.told[:0], name, value)
	for _, to := range pl.peers {
		w.tellPeer(pl, to, news, w.told)
	}
}

func (w *worker) tellPeer(pl *placement, to *remote, news uint8, body []byte) {
	if w.link(to).ask(peer.Publish, news, pl.epoch, body, unheard{}) == nil {
		w.n.stats.published.Add(1)
	}
}

// unheard is the asker of requests whose answers do not matter.
type unheard struct{}

func (unheard) answered(*worker, *peer.Frame, error) {}

// heard takes in what a peer tells.
func (w *worker) heard(in *inbound, f *peer.Frame) error {
	if f.Flags == peer.NewsTopics {
		w.tellTopics(in, f)
		return nil
	}
	name, value, err := peer.ParseMessage(f.Body)
	if err != nil {
		return err
	}
	receivers := 0
	switch n := w.n; f.Flags {
	case peer.NewsMessage, peer.NewsShardMessage:
		kind := respserver.Message
		if f.Flags == peer.NewsShardMessage {
			kind = respserver.ShardMessage
		}
		if n.audience != nil {
			receivers = n.audience.Deliver(w.loop, kind, name, value)
		}
	case peer.NewsChanged:
		switch { // whoever hears of it does not read what was before
		case n.near == nil:
		case len(value) > 0:
			n.forgetCopies()
		default:
			n.near.Drop(near.Hash(name))
		}
		if n.audience != nil {
			if len(value) > 0 {
				name = nil
			}
			n.audience.Changed(w.loop, name, 0)
		}
	case peer.NewsTracking:
		n.interested(in.from.Instance, string(value) == "1")
	case peer.NewsSetting:
		if classes, ok := command.ParseEvents(string(value)); ok && string(name) == notifySetting {
			n.setNotify(classes, w.now())
		}
	case peer.NewsSettingSince:
		at, text, _ := strings.Cut(string(value), " ")
		since, err := strconv.ParseInt(at, 10, 64)
		if classes, ok := command.ParseEvents(text); ok && err == nil && string(name) == notifySetting {
			n.setNotify(classes, since)
		}
	case peer.NewsListens:
		t, err := peer.ParseTopics(value)
		if err != nil {
			return err
		}
		if r := n.placement.Load().find(in.from.Node); r != nil && r.instance == in.from.Instance {
			r.ears.add(&t)
		}
	case peer.NewsSurvey:
		return w.answerSurvey(in, f.ID, value)
	default:
		return peer.ErrBody
	}
	in.reply(f.ID, resp.AppendInt(w.scratch[:0], int64(receivers)))
	return nil
}

// answerSurvey has our sessions answer a question of the peer's.
func (w *worker) answerSurvey(in *inbound, id uint64, question []byte) error {
	var limits resp.Limits
	args, size, _, err := w.parser.Parse(question, &limits)
	if err != nil || size != len(question) {
		return peer.ErrBody
	}
	w.scratch = w.scratch[:0]
	if w.n.audience != nil {
		w.scratch = w.n.audience.Answer(args, w.scratch)
	}
	in.reply(id, w.scratch)
	return nil
}

// Notify changes the classes of events that this node and its peers report.
func (n *Node) Notify(loop *netloop.Loop, classes command.Event) {
	w := n.byLoop[loop]
	n.setNotify(classes, max(w.now(), n.classesSince.Load()+1))
	w.tellSettings()
}

// tellSettings tells all peers what clients have set for all nodes. Those that come later are told as well; what was set last
// counts.
func (w *worker) tellSettings() {
	pl := w.n.placement.Load()
	for _, to := range pl.peers {
		w.tellSettingsTo(pl, to)
	}
}

func (w *worker) tellSettingsTo(pl *placement, to *remote) {
	since := w.n.classesSince.Load()
	if since == 0 || w.stopped {
		return // the default
	}
	news, value := uint8(peer.NewsSetting), w.n.Notifies().String()
	if w.link(to).version >= 2 {
		news, value = peer.NewsSettingSince, strconv.FormatInt(since, 10)+" "+value
	}
	w.tellPeer(pl, to, news, peer.AppendMessage(nil, []byte(notifySetting), []byte(value)))
}

// Notifies tells the classes.
func (n *Node) Notifies() command.Event { return command.Event(n.classes.Load()) }

// setNotify takes the classes that were set at a time in Unix milliseconds, unless those of now are newer. Of those that were set
// in the same millisecond all nodes take the same.
func (n *Node) setNotify(classes command.Event, since int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if was := n.classesSince.Load(); since < was || since == was && uint32(classes) < n.classes.Load() {
		return
	}
	n.classesSince.Store(since)
	n.classes.Store(uint32(classes))
	n.notify.Store(uint32(classes.Wanted()))
	n.watchRemovalsLocked()
}

// Track says whether this node's clients want to hear of changes. All loops tell it to the peers, each before it reads
// anything more.
func (n *Node) Track(loop *netloop.Loop, on bool) {
	n.tracking.Store(on)
	n.watchRemovals()
	for _, w := range n.workers {
		if w.loop == loop {
			w.tellInterest()
		} else {
			w.loop.Post(w.tellInterest)
		}
	}
}

// tellInterest tells all peers whether they have to report changes.
func (w *worker) tellInterest() {
	value := []byte("0")
	if w.n.tracking.Load() {
		value = []byte("1")
	}
	w.spread(peer.NewsTracking, nil, value)
}

// mistrust has clients drop what they cache: a change may have been missed.
func (w *worker) mistrust() {
	if w.n.tracking.Load() && w.n.audience != nil {
		w.n.audience.Changed(w.loop, nil, 0)
	}
}

// interested notes whether a peer wants to hear of changes. The set is replaced as a whole, so that commands read it without
// a lock.
func (n *Node) interested(instance uint64, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.interest.Load()
	if old == nil && !on || old != nil && (*old)[instance] == on {
		return
	}
	next := map[uint64]bool{}
	pl := n.placement.Load()
	for _, to := range pl.peers {
		if to.instance == instance && on || to.instance != instance && old != nil && (*old)[to.instance] {
			next[to.instance] = true
		}
	}
	if len(next) == 0 {
		n.interest.Store(nil)
	} else {
		n.interest.Store(&next)
	}
	n.watchRemovalsLocked()
}

func (n *Node) watchRemovals() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchRemovalsLocked()
}

func (n *Node) watchRemovalsLocked() {
	if !respserver.WantsRemovals(command.Event(n.notify.Load()), n.reports()) {
		n.store.OnRemoval(nil)
		return
	}
	w := n.workers[0]
	n.store.OnRemoval(n.removals.Note(w.loop, func(stored []byte, why store.Removal) {
		if pl := n.placement.Load(); n.audience != nil && (stored == nil || pl.owner[n.store.PartitionOf(stored)] == self) {
			respserver.ReportRemoval(n.audience, w.loop, command.Event(n.notify.Load()), stored, why)
			w.tellChanged(pl, stored)
		}
	}))
}

// reports tells whether anybody has to hear of changed keys.
func (n *Node) reports() bool { return n.tracking.Load() || n.interest.Load() != nil }

// tellChanged tells the interested peers that a key has changed; nil for all keys.
func (w *worker) tellChanged(pl *placement, stored []byte) {
	interest := w.n.interest.Load()
	if interest == nil || w.stopped || stored != nil && store.IsLocal(w.n.store.PartitionOf(stored)) {
		return
	}
	var all []byte
	if stored == nil {
		all = []byte("*")
	}
	w.told = peer.AppendMessage(w.told[:0], stored, all)
	for _, to := range pl.peers {
		if (*interest)[to.instance] {
			w.tellPeer(pl, to, peer.NewsChanged, w.told)
		}
	}
}

// arrived tells that w.incoming, of partition p, has come without a command: handed over, or from a copy that was newer. Where
// this node owns the key, and it was news, clients may cache something older. Copies of other nodes are the store's journal's.
func (w *worker) arrived(pl *placement, p int) {
	if !w.applied || pl.owner[p] != self || !w.n.reports() {
		return
	}
	if w.n.audience != nil {
		w.n.audience.Changed(w.loop, w.incoming.Key, 0)
	}
	w.tellChanged(pl, w.incoming.Key)
}

// report tells what a command has done to keys. Keys are valid until the next command.
func (w *worker) report(pl *placement, x *command.Context, author uint64) {
	if len(x.Events) > 0 && w.n.audience != nil {
		w.n.audience.Happened(w.loop, x.Notify, x.Events)
	}
	if !w.n.reports() {
		return
	}
	for _, k := range x.Changed() {
		if w.n.audience != nil {
			w.n.audience.Changed(w.loop, k.Bytes, author)
		}
		w.tellChanged(pl, k.Bytes)
	}
	if x.Flushed {
		if w.n.audience != nil {
			w.n.audience.Changed(w.loop, nil, 0)
		}
	}
}
