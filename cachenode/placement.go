package cachenode

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/near"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// remote is another node: one instance of it, so a restart is another remote. Compared by pointer.
type remote struct {
	// Constant.
	name     string
	addr     string // of its peer listener
	instance uint64
	version  int // of the peer protocol: the highest that both know, as gossip tells it

	met  time.Time // when this node has seen it come
	lost time.Time // since when it was away before that, zero if it was not: as this node has seen it

	// Atomic.
	epoch atomic.Uint64 // of the ring that it had when it last said something
	lacks atomic.Bool   // it has said that it lacks partitions that it may have confirmed

	copies near.Source // that this node has of its keys
	polled atomic.Bool // a loop asks it what has changed
	poll   *poll       // which one; its who has set polled
	ears   ears        // has its own lock
}

// Places of a partition: an index into placement.peers, or one of these.
const (
	self   = -1
	nobody = -2
)

// placement says which node is responsible for which partition, as this node sees it. It is immutable, and what every
// command asks; a change of the cluster makes a new one.
type placement struct {
	epoch  uint64
	peers  []*remote // everyone else who is alive
	active []bool    // beside peers: owns partitions, or would
	// misplaced names the peers that have another layout: they look for some keys elsewhere than we do.
	misplaced []string
	// minority: fewer members are in sight than writes need.
	minority bool
	owner    [store.Partitions]int16
	backup   [store.Partitions]int16
	// former are the places that the partition had before, where they are still alive: where to ask for keys that are not
	// here yet.
	former [2][store.Partitions]int16
}

// alonePlacement is that of a node without others.
func alonePlacement() *placement {
	pl := &placement{}
	for p := range store.Partitions {
		pl.owner[p], pl.backup[p] = self, nobody
		pl.former[0][p], pl.former[1][p] = nobody, nobody
	}
	return pl
}

// newPlacement turns a view into places. Remotes of old that are still there stay the same. Partitions of keys that never
// leave a node are always our own.
func newPlacement(v *cluster.View, old *placement) *placement {
	pl := alonePlacement()
	pl.epoch = v.Epoch
	places := make(map[string]int16, len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		if i == v.Self {
			places[m.Name] = self
			continue
		}
		r := old.find(m.Name)
		if r == nil || r.instance != m.Instance || r.addr != m.PeerAddr {
			r = &remote{name: m.Name, addr: m.PeerAddr, instance: m.Instance, version: cmp.Or(m.Version, peer.VersionMax), met: time.Now()}
		}
		places[m.Name] = int16(len(pl.peers))
		pl.peers = append(pl.peers, r)
		pl.active = append(pl.active, m.State == cluster.Active)
	}
	moved := make([]int16, len(old.peers)) // old place → new place
	for i, r := range old.peers {
		moved[i] = nobody
		for j, now := range pl.peers {
			if now == r {
				moved[i] = int16(j)
			}
		}
	}
	now := func(place int16) int16 {
		if place >= 0 {
			return moved[place]
		}
		return place
	}
	for p := range ring.Partitions {
		pl.owner[p] = places[v.Owner(p).Name]
		if backup := v.Backup(p); backup != nil {
			pl.backup[p] = places[backup.Name]
		}
		former := old.owner[p]
		if former == self && !old.passedOn(p) {
			former = old.former[0][p] // which may still be about to learn that we came in between
		}
		pl.former[0][p], pl.former[1][p] = now(former), now(old.backup[p])
	}
	return pl
}

// members counts those that own partitions, or would, this node included.
func (pl *placement) members() int {
	count := 1
	for _, active := range pl.active {
		if active {
			count++
		}
	}
	return count
}

func (pl *placement) find(name string) *remote {
	for _, r := range pl.peers {
		if r.name == name {
			return r
		}
	}
	return nil
}

// placeOf is the place of the peer of that name, nobody if there is none.
func (pl *placement) placeOf(name string) int16 {
	for i, r := range pl.peers {
		if r.name == name {
			return int16(i)
		}
	}
	return nobody
}

// alive tells whether r is among the peers.
func (pl *placement) alive(r *remote) bool {
	for _, peer := range pl.peers {
		if peer == r {
			return true
		}
	}
	return false
}

// holds tells whether place owns or backs up partition p.
func (pl *placement) holds(place int16, p int) bool {
	return pl.owner[p] == place || pl.backup[p] == place
}

// passedOn tells whether the one that owned partition p before knows that it does not any more. Until then it may execute
// commands on it.
func (pl *placement) passedOn(p int) bool {
	former := pl.former[0][p]
	return former < 0 || pl.peers[former].epoch.Load() == pl.epoch
}

// sources lists in dst the places to ask for a key of partition p that may not be here: the owner where that is not us,
// else who owned it before; the backup, which would be the owner without us and so was it before a lone join; then
// anyone, for when several join at once nobody can tell who it was.
func (pl *placement) sources(dst []int16, p int) []int16 {
	add := func(place int16) {
		if place >= 0 && !slices.Contains(dst, place) {
			dst = append(dst, place)
		}
	}
	add(pl.owner[p])
	add(pl.former[0][p])
	add(pl.backup[p])
	add(pl.former[1][p])
	for i := range pl.peers {
		add(int16(i))
	}
	return dst
}
