//go:build portable || !linux

package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// run plays one history: some nodes, some clients, a few episodes in which something goes wrong, and after each of them a
// repair. What the clients have seen is then what one Redis could have answered.
func (w *world) run() {
	members := w.names(2 + w.pick(3, "nodes"))
	for i, kind := range strings.Split("s s s c c l l", " ") {
		if i%2 == 0 || w.chance(0.6, "key", i) {
			w.keys = append(w.keys, w.key(kind, i, members))
		}
	}
	w.pace.max = []time.Duration{2 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond}[w.pick(3, "pace")]
	w.spread.max = []time.Duration{2 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond}[w.pick(4, "spread")]
	for _, name := range members {
		w.join(name)
	}
	w.repair()

	var working sync.WaitGroup
	for i := range 2 + w.pick(2, "clients") {
		c := &client{w: w, name: fmt.Sprint(i)}
		working.Go(c.run)
	}
	for i := range 1 + w.pick(3, "episodes") {
		w.episode(i)
		w.repair()
	}
	w.gate.Lock()
	w.over = true
	w.moved.Broadcast()
	w.gate.Unlock()
	working.Wait()
	w.lastLook()
	w.end()
}

// names are those of the first nodes.
func (w *world) names(count int) (names []string) {
	for i := range count {
		names = append(names, string(rune('a'+i)))
	}
	return names
}

// key makes up a key. Half of them are of those few that a change of the ring moves between two nodes which are there
// before and after it.
func (w *world) key(kind string, i int, members []string) (key string) {
	before, after := ringOf(members), ringOf(append([]string{w.fresh(0, 0)}, members...))
	if w.chance(0.5, "way", i) && len(members) > 2 {
		after = ringOf(members[1:])
	}
	odd := w.chance(0.5, "odd", i)
	for try := range 3000 {
		key = fmt.Sprintf("%s%d", kind, w.pick(100_000, kind, i, try))
		p := ring.PartitionOf([]byte(key))
		from, to := before.Members()[before.Owner(p)], after.Members()[after.Owner(p)]
		stays := slices.Contains(after.Members(), from) && slices.Contains(members, to)
		if !odd || stays && from != to {
			break
		}
	}
	return key
}

// episode lets the clients work, and something happen meanwhile. Where a node crashes nothing else goes wrong: a backup that
// could not be reached has missed writes, until the repair.
func (w *world) episode(i int) {
	length := w.pace.max * time.Duration(10+w.pick(20, "length", i))
	kind := faults[w.pick(len(faults), "kind", i)]
	w.trace("cluster", "episode %d: %s", i, kind.name)
	w.kinds = append(w.kinds, kind.name)
	shut := w.open(length + w.spread.max)
	var going sync.WaitGroup
	time.Sleep(w.between(0, length/2, "fault", i))
	going.Go(func() {
		kind.happens(w, i)
		time.Sleep(w.spread.max)
	})
	if !kind.crash {
		for j := range w.pick(4, "breaks", i) {
			going.Go(func() {
				time.Sleep(w.between(0, length, "break", i, j))
				w.breakSome(i, j)
			})
		}
	}
	going.Wait()
	shut()
}

// breakSome breaks connections between two nodes.
func (w *world) breakSome(i, j int) {
	a, b := w.anyNode("break a", i, j), w.anyNode("break b", i, j)
	if a != nil && b != nil && a != b {
		w.net.breakConns(a.name, b.name, 0.7)
	}
}

// faults are what can go wrong in episode i.
var faults = []struct {
	name    string
	crash   bool
	happens func(w *world, i int)
}{
	{"join", false, func(w *world, i int) { w.join(w.fresh(i, 0)) }},
	{"two joins", false, func(w *world, i int) {
		w.join(w.fresh(i, 0))
		time.Sleep(w.between(0, w.spread.max, "second", i))
		w.join(w.fresh(i, 1))
	}},
	{"slow join", false, func(w *world, i int) {
		w.slowDown(i, delays{time.Millisecond, w.between(2*time.Millisecond, 400*time.Millisecond, "slow", i)})
		w.join(w.fresh(i, 0))
	}},
	{"leave", false, func(w *world, i int) {
		if victim := w.victim(i); victim != nil {
			w.leave(victim)
		}
	}},
	{"join and leave", false, func(w *world, i int) {
		victim := w.victim(i)
		w.join(w.fresh(i, 0))
		time.Sleep(w.between(0, w.spread.max, "then", i))
		if victim != nil {
			w.leave(victim)
		}
	}},
	{"crash", true, func(w *world, i int) { w.crashOne(i, false) }},
	{"crash with much under way", true, func(w *world, i int) {
		w.slowDown(i, delays{time.Millisecond, 40 * time.Millisecond})
		time.Sleep(w.between(0, 100*time.Millisecond, "under way", i))
		w.crashOne(i, true)
	}},
	{"restart", true, func(w *world, i int) { // before anybody has noticed, or after
		if victim := w.victim(i); victim != nil {
			noticed := w.noticed(i)
			w.crash(victim, false, noticed)
			time.Sleep(w.between(0, 2*noticed.max, "restart", i))
			w.join(victim.name)
		}
	}},
	{"stall", false, func(w *world, i int) {
		w.stall(w.anyNode("victim", i), w.between(10*time.Millisecond, 5*time.Second, "stall", i), w.pick(3, "stall way", i))
	}},
}

func (w *world) crashOne(i int, power bool) {
	if victim := w.victim(i); victim != nil {
		noticed := w.noticed(i)
		w.crash(victim, power, noticed)
		time.Sleep(noticed.max)
	}
}

// fresh is the name of the n-th node that comes in episode i.
func (w *world) fresh(i, n int) string { return string(rune('m' + 2*i + n)) }

// victim is the node that goes; nil when there are too few.
func (w *world) victim(i int) *node {
	w.mu.Lock()
	few := len(w.nodes) <= 2
	w.mu.Unlock()
	if few {
		return nil
	}
	return w.anyNode("victim", i)
}

// noticed is when nodes hear of a crash: the failure detector takes its time, and then gossip.
func (w *world) noticed(i int) delays {
	d := w.between(50*time.Millisecond, 2*time.Second, "noticed", i)
	return delays{d, d + w.spread.max}
}

// slowDown makes some paths slow until the next repair.
func (w *world) slowDown(i int, d delays) {
	w.mu.Lock()
	hosts := slices.Clone(w.hosts)
	w.mu.Unlock()
	for _, a := range hosts {
		for _, b := range hosts {
			if a != b && w.chance(0.4, "slow", a, b, i) {
				w.net.slow(a, b, d)
			}
		}
	}
	w.trace("network", "is slow, up to %v", d.max)
}

// stall holds up what one node sends to the others, what they send to it, or both, as a stopped process or a bad link does.
func (w *world) stall(n *node, d time.Duration, way int) {
	w.trace("network", "stalls for %s, way %d, for %v", n.name, way, d)
	w.mu.Lock()
	hosts := slices.Clone(w.hosts)
	w.mu.Unlock()
	each := func(do func(from, to string)) {
		for _, other := range hosts {
			if other == n.name {
				continue
			}
			if way != 1 {
				do(n.name, other)
			}
			if way != 0 {
				do(other, n.name)
			}
		}
	}
	each(w.net.stop)
	time.Sleep(d)
	each(w.net.resume)
}

// lastLook reads every key through every node.
func (w *world) lastLook() {
	w.mu.Lock()
	nodes := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, n := range nodes {
		c := &client{w: w, name: "last", at: n}
		for _, key := range w.keys {
			o := &op{key: key, kind: "get"}
			args := []string{"get", key}
			if key[0] == 'l' {
				o.kind, args = "getl", []string{"lrange", key, "0", "-1"}
			}
			c.do(args, []*op{o})
			if o.unknown() {
				w.fail("%s cannot be read through %s at the end: %s", key, n.name, o.reply)
			}
		}
		c.drop()
	}
}
