package cachenode

import "github.com/outrigger-proxy/outrigger/protocol/peer"

// answerOffer appends, for each partition that a peer offers, whether this node wants it. One peer at a time hands a
// partition over. same is false when the two nodes' rings differ: the peer tries again.
func (n *Node) answerOffer(b []byte, from *inbound, epoch uint64, partitions []int, flags uint8) (answer []byte, same bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pl := n.placement.Load()
	if pl.epoch != epoch {
		return b, false
	}
	force, owned := flags&peer.FlagForce != 0, flags&peer.FlagOwned != 0
	for _, p := range partitions {
		switch {
		case !pl.holds(self, p):
			return b, false // equal rings of different instances
		case n.complete[p].Load() && !n.assumed[p].Load() && !force && !(owned && n.young[p].Load()):
			b = append(b, peer.Have)
		case flags&peer.FlagAsk != 0:
			b = append(b, peer.Busy)
		case n.grants[p] != nil && n.grants[p] != from:
			b = append(b, peer.Busy)
		default:
			if force { // it lacks writes, so it is not whole before it has come again
				n.complete[p].Store(false)
			}
			n.grants[p] = from
			from.owned[p] = owned
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
		if from.owned[p] {
			n.young[p].Store(false)
		}
		// What the former owner had is here, and all that comes from now on: we have the last word.
		if n.placement.Load().owner[p] == self {
			n.owned[p].Store(true)
		}
	}
	n.stats.received.Add(uint64(len(partitions)))
	return true
}
