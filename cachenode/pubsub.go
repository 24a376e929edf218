package cachenode

import (
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A message goes to all peers, whether they have subscribers or not, on the connection that the publisher's commands
// take: so messages of one publisher arrive everywhere in order. As in Redis, a message is lost to those who cannot be
// reached when it is sent.

// DeliverTo names who gives messages of other nodes to the subscribers here: respserver.Server.Deliver. It must be
// called before Run.
func (n *Node) DeliverTo(deliver func(loop *netloop.Loop, channel, message []byte) (receivers int)) {
	n.deliver = deliver
}

// Publish sends a message to the other nodes. It tells of no receivers there: that would take their answers.
func (n *Node) Publish(loop *netloop.Loop, channel, message []byte) (receivers int) {
	w := n.byLoop[loop]
	pl := n.placement.Load()
	if len(pl.peers) == 0 || w.stopped {
		return 0
	}
	w.scratch = peer.AppendMessage(w.scratch[:0], channel, message)
	for _, to := range pl.peers {
		if w.link(to).ask(peer.Publish, 0, pl.epoch, w.scratch, unheard{}) == nil {
			n.stats.published.Add(1)
		}
	}
	return 0
}

// unheard is the asker of requests whose answers do not matter.
type unheard struct{}

func (unheard) answered(*worker, *peer.Frame, error) {}

// publishHere gives a peer's message to the subscribers here.
func (w *worker) publishHere(in *inbound, f *peer.Frame) error {
	channel, message, err := peer.ParseMessage(f.Body)
	if err != nil {
		return err
	}
	receivers := 0
	if w.n.deliver != nil {
		receivers = w.n.deliver(w.loop, channel, message)
	}
	in.reply(f.ID, resp.AppendInt(w.scratch[:0], int64(receivers)))
	return nil
}
