package cachenode

import "github.com/outrigger-proxy/outrigger/protocol/peer"

// answerOffer appends, for each partition that a peer offers, whether this node wants it. One peer at a time hands a
// partition over. same is false when the two nodes' rings differ: the peer tries again.
func (n *Node) answerOffer(b []byte, from *inbound, epoch uint64, partitions []int, force bool) (answer []byte, same bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pl := n.placement.Load()
	if pl.epoch != epoch {
		return b, false
	}
	for _, p := range partitions {
		switch {
		case !pl.holds(self, p):
			return b, false // equal rings of different instances
		case n.complete[p].Load() && !n.assumed[p].Load() && !force:
			b = append(b, peer.Have)
		case n.grants[p] != nil && n.grants[p] != from:
			b = append(b, peer.Busy)
		default:
			if force { // it lacks writes, so it is not whole before it has come again
				n.complete[p].Store(false)
			}
			n.grants[p] = from
			b = append(b, peer.Want)
		}
	}
	return b, true
}

// received notes that all of these partitions has arrived over a connection. It reports false when that does not count
// any more, because the ring has changed.
func (n *Node) received(from *inbound, epoch uint64, partitions []int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.placement.Load().epoch != epoch {
		return false
	}
	for _, p := range partitions {
		if n.grants[p] != from {
			return false
		}
	}
	for _, p := range partitions {
		n.grants[p] = nil
		n.complete[p].Store(true)
		n.assumed[p].Store(false)
	}
	n.stats.received.Add(uint64(len(partitions)))
	return true
}
