// HOT PATH

package cachenode

import (
	"context"
	"net"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// inbound is a connection that a peer has made: it asks, we answer. Owned by its loop.
type inbound struct {
	w       *worker
	conn    *netloop.Conn
	from    peer.Greeting // who asks
	version int           // of the peer protocol, which both sides use
	closed  bool
	silent  bool  // it is a pass of the peer's mover, or a Line: it carries no news
	offers  []int // partitions that its Offer names, in the making
	// comparing: an answer about what we hold is being made.
	comparing bool
	// owned tells of each partition granted to the peer whether it was the owner. Under Node.mu.
	owned map[int]bool
	// guests are commands of the peer's clients that wait here, by their requests.
	guests map[uint64]*guest
}

// accept greets a peer and hands its connection to one of the loops.
func (n *Node) accept(ctx context.Context, nc net.Conn) {
	g, err := n.welcome(ctx, nc)
	if err != nil {
		n.lobby.refuse(n.cfg.Logger, nc, err)
		nc.Close()
		return
	}
	w := n.workers[int(n.accepted.Add(1))%len(n.workers)]
	// An error means that the loop has stopped; the connection is closed then.
	w.loop.Adopt(g.Conn, func(c *netloop.Conn) netloop.Handler {
		if w.stopped {
			return nil
		}
		in := &inbound{w: w, conn: c, from: g.from, version: g.version, owned: map[int]bool{}, guests: map[uint64]*guest{}}
		w.inbounds[in] = struct{}{}
		return in
	})
}

// Data gets the requests.
func (in *inbound) Data(c *netloop.Conn, b []byte) int {
	if in.w.stalled() {
		return len(b)
	}
	done := 0
	for !in.closed {
		if c.Congested() {
			// The peer does not read its answers: it gets no more before it does.
			c.PauseReading()
			return done
		}
		f, n, need, err := peer.Parse(b[done:])
		if err == nil && n > 0 {
			err = in.handle(&f)
		}
		if err != nil {
			c.Close(err)
			return len(b)
		}
		if n == 0 {
			if done < len(b) {
				c.Expect(need)
			}
			return done
		}
		done += n
	}
	return len(b)
}

func (in *inbound) handle(f *peer.Frame) error {
	w := in.w
	switch f.Type {
	case peer.Command:
		return w.command(in, f)
	case peer.Wait:
		return w.waited(in, f)
	case peer.Waited:
		in.concluded(f)
	case peer.Replicate:
		return w.replicated(in, f)
	case peer.Pull:
		w.pulled(in, f)
	case peer.Publish:
		return w.heard(in, f)
	case peer.Poll:
		return w.polled(in, f)
	case peer.Offer:
		in.silent = true
		return w.offered(in, f)
	case peer.Handoff:
		return w.handed(in, f)
	case peer.Done:
		return w.handedOver(in, f)
	case peer.Digest, peer.Versions:
		return w.compared(in, f)
	case peer.Away, peer.Lack:
		in.silent = true
		return w.toldNews(in, f)
	case peer.Tags:
		return w.answerTags(in, f)
	case peer.Cancel, peer.Floors, peer.Invalidate:
		return w.asked(in, f)
	default:
		return peer.ErrFrameType
	}
	return nil
}

// send answers request id.
func (in *inbound) send(t peer.Type, flags uint8, id uint64, body []byte) {
	if in.closed {
		return
	}
	size := peer.HeaderSize + len(body)
	b := peer.AppendHeader(in.conn.Buffer(size), t, flags, id, in.w.n.fenced.Load(), len(body))
	in.conn.SetBuffer(append(b, body...))
}

// reply answers a command.
func (in *inbound) reply(id uint64, reply []byte) {
	if len(reply) > peer.MaxBody {
		reply = resp.AppendError(nil, "ERR the reply is too long to be passed on by another node")
	}
	in.send(peer.Reply, 0, id, reply)
}

// Drained goes on with the requests that were left.
func (in *inbound) Drained(c *netloop.Conn) {
	c.ResumeReading()
	c.Redeliver()
}

// Closed forgets the peer's connection and the hand-over it may have been in.
func (in *inbound) Closed(*netloop.Conn, error) {
	in.closed = true
	delete(in.w.inbounds, in)
	in.w.n.release(in)
	in.dismissAll()
	if !in.silent {
		in.w.mistrust() // news may have been on their way
	}
}

// offered answers which of the offered partitions this node wants.
func (w *worker) offered(in *inbound, f *peer.Frame) (err error) {
	if in.offers, err = peer.ParsePartitions(in.offers[:0], f.Body, ring.Partitions); err != nil {
		return err
	}
	w.scratch = w.scratch[:0]
	var same bool
	if w.scratch, same = w.n.answerOffer(w.scratch, in, f.Epoch, in.offers, f.Flags); !same {
		in.send(peer.Ack, peer.FlagWrongEpoch, f.ID, nil)
		return nil
	}
	in.send(peer.Accept, 0, f.ID, w.scratch)
	return nil
}

// toldNews takes in that this node was away, or that the peer was and lacks what it had confirmed.
func (w *worker) toldNews(in *inbound, f *peer.Frame) error {
	if f.Type == peer.Lack {
		if r := w.n.placement.Load().find(in.from.Node); r != nil && r.instance == in.from.Instance {
			r.lacks.Store(true)
			w.n.wakeMover()
		}
		in.send(peer.Ack, 0, f.ID, nil)
		return nil
	}
	ago, err := peer.ParseDuration(f.Body)
	if err != nil {
		return err
	}
	w.n.toldAway(in.from.Node, in.from.Instance, ago)
	in.send(peer.Ack, 0, f.ID, nil)
	return nil
}

// handed takes over entries of partitions that a peer hands over. Those of a partition that we do not hold, by our ring, are
// for us to give to others.
func (w *worker) handed(in *inbound, f *peer.Frame) error {
	pl := w.n.placement.Load()
	for body := f.Body; len(body) > 0; {
		rest, err := w.applyNext(body)
		if err != nil {
			return err
		}
		if p := w.n.store.PartitionOf(w.incoming.Key); !pl.holds(self, p) {
			w.n.stray[p].Store(true)
		} else {
			w.arrived(pl, p)
			w.refile(pl, in, p)
		}
		body = rest
	}
	in.send(peer.Ack, 0, f.ID, nil)
	return nil
}

// handedOver notes the partitions that have arrived whole.
func (w *worker) handedOver(in *inbound, f *peer.Frame) (err error) {
	if in.offers, err = peer.ParsePartitions(in.offers[:0], f.Body, ring.Partitions); err != nil {
		return err
	}
	flags := uint8(0)
	if !w.n.received(in, f.Epoch, in.offers) {
		flags = peer.FlagWrongEpoch
	}
	in.send(peer.Ack, flags, f.ID, nil)
	return nil
}
