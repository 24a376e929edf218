package pgpool

import (
	"context"
	"crypto/rand"
	"crypto/subtle"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Sizes of the secret, in bytes: what fits into BackendKeyData of protocol 3.0, and what clients of 3.2 get. PostgreSQL
// takes up to 256 and asks everybody in between to leave room for others.
const (
	shortSecret = 4
	longSecret  = 32
)

// serialBits is the part of a process id that tells the clients of one node apart. Above it are the node's id and the bit
// of firstPID; the sign stays clear, since drivers read an int32. protocol/README.md has the layout.
const serialBits = 16

// MaxNodeID is the largest Config.NodeID.
const MaxNodeID = firstPID>>serialBits - 1

// nodeOf returns the id of the node that has given out a process id. ok is false for one that no sidecar has given out.
func nodeOf(pid uint32) (node uint16, ok bool) {
	return uint16(pid >> serialBits & MaxNodeID), pid&^(1<<30-1) == firstPID
}

// cancelKey is what a client must show to cancel what another connection does.
type cancelKey struct {
	pid   uint32
	short [shortSecret]byte               // how the secret begins
	rest  *[longSecret - shortSecret]byte // and goes on, if it is a long one
	owner keyHolder
	twin  *cancelKey // under Pooler.mu: another one with the same pid
}

// secret returns the secret, which it may put into buf.
func (k *cancelKey) secret(buf *[longSecret]byte) []byte {
	n := copy(buf[:], k.short[:])
	if k.rest != nil {
		n += copy(buf[n:], k.rest[:])
	}
	return buf[:n]
}

// keyHolder is a session that has a key.
type keyHolder interface {
	// cancelQuery returns when it has had its effect, or when ctx ends.
	cancelQuery(ctx context.Context)
	// process is the server process that works for it, nil if there is none now.
	process() *process
}

// register gives k to owner, for a client of the given protocol version. Process ids repeat only when a node has more
// clients than serials: the secret then tells them apart.
func (p *Pooler) register(k *cancelKey, owner keyHolder, version uint32) {
	k.owner = owner
	rand.Read(k.short[:]) // never fails
	if version >= pgwire.Version32 {
		k.rest = new([longSecret - shortSecret]byte)
		rand.Read(k.rest[:])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	const serials = 1<<serialBits - 1 // 0 is none
	for range serials {
		p.last = p.last%serials + 1
		k.pid = firstPID | uint32(p.cfg.NodeID)<<serialBits | p.last
		if p.keys[k.pid] == nil {
			break
		}
	}
	k.twin = p.keys[k.pid]
	p.keys[k.pid] = k
}

// unregister forgets a key.
func (p *Pooler) unregister(k *cancelKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.keys[k.pid]
	if first == k {
		if first = k.twin; first == nil {
			delete(p.keys, k.pid)
		} else {
			p.keys[k.pid] = first
		}
		return
	}
	for ; first != nil; first = first.twin {
		if first.twin == k {
			first.twin = k.twin
			return
		}
	}
}

// holder returns whose key it is, or nil.
func (p *Pooler) holder(pid uint32, secret []byte) keyHolder {
	p.mu.Lock()
	defer p.mu.Unlock()
	var buf [longSecret]byte
	for k := p.keys[pid]; k != nil; k = k.twin {
		if subtle.ConstantTimeCompare(k.secret(&buf), secret) == 1 {
			return k.owner
		}
	}
	return nil
}

// message appends BackendKeyData.
func (k *cancelKey) message(b []byte) []byte {
	var buf [longSecret]byte
	return pgwire.AppendBackendKeyData(b, k.pid, k.secret(&buf))
}
