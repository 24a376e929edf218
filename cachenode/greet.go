package cachenode

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

const (
	// dialTimeout bounds connecting to a peer and greeting it.
	dialTimeout = time.Second
	// maxGreeting bounds in bytes what is read from a stranger.
	maxGreeting = 4 << 10
	// meetTimeout bounds how long a node that has dialled us may have to wait until we know it; shorter than it waits.
	meetTimeout = dialTimeout * 3 / 4
)

// greeted is a connection whose two sides have greeted each other.
type greeted struct {
	net.Conn
	from    peer.Greeting // the other side's
	version int           // of the peer protocol, which both use
}

// dial connects to another node and checks that it is the one meant.
func (n *Node) dial(ctx context.Context, to *remote) (*greeted, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := n.cfg.Dial(ctx, to.addr)
	if err != nil {
		return nil, fmt.Errorf("dial peer %s: %w", to.name, err)
	}
	g, err := n.greet(ctx, nc, to)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("greet peer %s at %s: %w", to.name, to.addr, err)
	}
	if err := n.compareTags(g); err != nil {
		nc.Close()
		return nil, fmt.Errorf("greet peer %s at %s: %w", to.name, to.addr, err)
	}
	return g, nil
}

// greet sends our Hello and judges the answer.
func (n *Node) greet(ctx context.Context, nc net.Conn, to *remote) (*greeted, error) {
	if err := nc.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	if n.cfg.TLS != nil {
		session := netloop.TLSClient(nc, n.cfg.TLS())
		if err := session.HandshakeContext(ctx); err != nil {
			return nil, explainTLS(err)
		}
		nc = session
	}
	if err := n.sendHello(nc); err != nil {
		return nil, err
	}
	f, err := readFrame(nc, nil, maxGreeting)
	if err != nil {
		return nil, explainTLS(err)
	}
	if f.Type == peer.Refuse {
		return nil, fmt.Errorf("refused: %s", f.Body)
	}
	g, version, err := n.checkHello(&f)
	if err != nil {
		return nil, err
	}
	if g.Node != to.name || g.Instance != to.instance {
		return nil, fmt.Errorf("it is another node, %s/%d", g.Node, g.Instance)
	}
	return &greeted{nc, g, version}, nc.SetDeadline(time.Time{})
}

// explainTLS says what is likely to be wrong when no handshake comes about.
func explainTLS(err error) error {
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return fmt.Errorf("%w: does it have no cluster_key_file?", err)
	}
	if _, refused := errors.AsType[tls.AlertError](err); refused {
		return fmt.Errorf("%w: do both sides have the same key in cluster_key_file, and the same cluster_name?", err)
	}
	return err
}

// welcome judges the Hello of a node that has dialled us, and answers it once we have met that node.
func (n *Node) welcome(ctx context.Context, nc net.Conn) (*greeted, error) {
	if err := nc.SetDeadline(time.Now().Add(2 * dialTimeout)); err != nil {
		return nil, err
	}
	socket := nc
	n.lobby.enter(socket)
	defer n.lobby.leave(socket)
	if n.cfg.TLS != nil {
		session := netloop.TLSServer(nc, n.cfg.TLS())
		if err := session.HandshakeContext(ctx); err != nil {
			return nil, explainTLS(err)
		}
		nc = session
		n.lobby.leave(socket) // it is a member's
	}
	f, err := readFrame(nc, nil, maxGreeting)
	if err != nil {
		return nil, err
	}
	from, version, err := n.checkHello(&f)
	if err == nil {
		err = n.meet(ctx, from)
	}
	if err != nil {
		nc.Write(peer.Append(nil, peer.Frame{Type: peer.Refuse, Body: []byte(err.Error())}))
		return nil, err
	}
	if err := n.sendHello(nc); err != nil {
		return nil, err
	}
	return &greeted{nc, from, version}, nc.SetDeadline(time.Time{})
}

// meet waits until the node that has greeted us is in our placement. Gossip may have told it of us first. It then sends
// commands by a ring that we do not have: one that has just started, or lived in another part of the cluster, would take
// itself for the only one who has their keys, and answer that there is nothing.
func (n *Node) meet(ctx context.Context, g peer.Greeting) error {
	limit := time.NewTimer(meetTimeout)
	defer limit.Stop()
	for {
		n.mu.Lock()
		pl, followed := n.placement.Load(), n.followed
		n.mu.Unlock()
		if r := pl.find(g.Node); r != nil && r.instance == g.Instance {
			return nil
		}
		select {
		case <-followed:
		case <-limit.C:
			return fmt.Errorf("%s/%d is no member that we know of", g.Node, g.Instance)
		case <-ctx.Done():
			return fmt.Errorf("meet %s: %w", g.Node, context.Cause(ctx))
		}
	}
}

func (n *Node) sendHello(nc net.Conn) error {
	body, err := peer.AppendGreeting(nil, n.greeting)
	if err != nil {
		return err
	}
	_, err = nc.Write(peer.Append(nil, peer.Frame{Type: peer.Hello, Body: body}))
	return err
}

// checkHello says why a frame is not the Hello of a node that we can work with, or by which version of the protocol we can.
func (n *Node) checkHello(f *peer.Frame) (g peer.Greeting, version int, err error) {
	if f.Type != peer.Hello {
		return g, 0, fmt.Errorf("frame of type %d instead of a greeting", f.Type)
	}
	if g, err = peer.ParseGreeting(f.Body); err != nil {
		return g, 0, err
	}
	if g.Cluster != n.greeting.Cluster {
		return g, 0, fmt.Errorf("cluster %q is not %q", g.Cluster, n.greeting.Cluster)
	}
	if version, err = g.Agree(); err != nil {
		return g, 0, fmt.Errorf("node %s %w", g.Node, err)
	}
	return g, version, nil
}

// readFrame reads exactly one frame, whose body is at most limit bytes, into buf if that is large enough.
func readFrame(r io.Reader, buf []byte, limit int) (peer.Frame, error) {
	var header [peer.HeaderSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return peer.Frame{}, fmt.Errorf("read peer frame: %w", err)
	}
	size := int(binary.BigEndian.Uint32(header[:])) + 4
	if size < peer.HeaderSize || size-peer.HeaderSize > limit {
		return peer.Frame{}, peer.ErrFrameLength
	}
	buf = append(buf[:0], header[:]...)
	buf = append(buf, make([]byte, size-peer.HeaderSize)...)
	if _, err := io.ReadFull(r, buf[peer.HeaderSize:]); err != nil {
		return peer.Frame{}, fmt.Errorf("read peer frame: %w", err)
	}
	f, _, _, err := peer.Parse(buf)
	return f, err
}
