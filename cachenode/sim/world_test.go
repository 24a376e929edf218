//go:build portable || !linux

package sim

import (
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// world is one history: what runs, what has happened, and the seed that decides about the rest.
type world struct {
	seed   uint64
	began  time.Time
	net    *network
	logger *slog.Logger
	frames bool // the trace names every piece of data
	keys   []string
	pace   delays   // of clients, between two commands
	spread delays   // of gossip
	kinds  []string // of faults, so far

	mu        sync.Mutex
	nodes     []*node // that live
	hosts     []string
	starts    int
	announced int
	truth     map[string]news
	sessions  int
	history   []*op
	lines     []line
	digest    uint64
	failures  []string

	gate   sync.Mutex
	moved  *sync.Cond
	shut   bool
	over   bool
	inside int // clients at work
}

// line is one of the trace.
type line struct {
	at   time.Duration
	who  string
	what string
	keys []string
}

func newWorld(seed uint64, frames bool) *world {
	w := &world{seed: seed, began: time.Now(), frames: frames, truth: map[string]news{}, shut: true}
	w.net = newNetwork(w)
	w.moved = sync.NewCond(&w.gate)
	w.logger = slog.New(slog.DiscardHandler)
	return w
}

// hash makes a number of the seed and the parts, which are strings and ints.
func (w *world) hash(parts ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, w.seed)
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			io.WriteString(h, part)
		default:
			fmt.Fprint(h, part)
		}
		h.Write([]byte{0})
	}
	x := h.Sum64() // whose high bits know little of the last parts
	x ^= x >> 32
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	return x
}

// pick gives a number below n.
func (w *world) pick(n int, parts ...any) int { return int(w.hash(parts...) >> 8 % uint64(n)) }

// chance is true for a share of the parts.
func (w *world) chance(share float64, parts ...any) bool {
	return float64(w.hash(parts...)>>11)/(1<<53) < share
}

// between gives a time from min to max, to the nanosecond.
func (w *world) between(min, max time.Duration, parts ...any) time.Duration {
	if max <= min {
		return min
	}
	return min + time.Duration(w.hash(parts...)>>8%uint64(max-min))
}

func (w *world) now() int64 { return int64(time.Since(w.began)) }

// trace notes what has happened. All of it is part of the digest by which two runs of a seed are compared.
func (w *world) trace(who, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(line{at: time.Since(w.began), who: who, what: fmt.Sprintf(format, args...)})
}

func (w *world) note(l line) {
	w.lines = append(w.lines, l)
	h := fnv.New64a()
	fmt.Fprint(h, w.digest, l.at, l.who, l.what)
	w.digest = h.Sum64()
}

// arrival notes a piece of data.
func (w *world) arrival(c *conn, number, size int) {
	if w.frames {
		w.trace(c.peer, "gets %d bytes, number %d of %s by %s", size, number, c.name, c.host)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.digest ^ uint64(time.Since(w.began))
	for i := range len(c.name) {
		x = x*1099511628211 + uint64(c.name[i])
	}
	w.digest = (x*31+uint64(number))*31 + uint64(size)
}

// fail notes that something is wrong with the history.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	problem := fmt.Sprintf(format, args...)
	w.failures = append(w.failures, problem)
	w.note(line{at: time.Since(w.began), who: "WRONG", what: problem})
}

func (w *world) must(err error) {
	if err != nil {
		w.fail("%v", err)
	}
}

// record adds to the history.
func (w *world) record(c *client, command, reply string, ops []*op, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := line{at: time.Since(w.began), who: c.name, what: fmt.Sprintf("%-30s → %s through %s since %s",
		command, strings.Join(strings.Split(strings.TrimSuffix(reply, "\r\n"), "\r\n"), " "), ops[0].node, time.Duration(ops[0].call))}
	for _, o := range ops {
		l.keys = append(l.keys, o.key)
	}
	w.note(l)
	w.history = append(w.history, ops...)
}

func (w *world) knows(host string) bool { return slices.Contains(w.hosts, host) }

// anyNode picks a living node.
func (w *world) anyNode(parts ...any) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.nodes) == 0 {
		return nil
	}
	return w.nodes[w.pick(len(w.nodes), append(parts, "node")...)]
}

// session connects a client with a node.
func (w *world) session(client string, to *node) (net.Conn, error) {
	w.mu.Lock()
	w.sessions++
	name := fmt.Sprintf("%s>%s:%d", client, to.name, w.sessions)
	loop := to.loops[w.sessions%len(to.loops)]
	w.mu.Unlock()
	near, far := w.net.pair(name, client, to.name)
	return near, to.server.Serve(loop, far)
}

// The gate holds clients up while something is repaired.

// enter waits until the gate is open. It reports false at the end.
func (w *world) enter() bool {
	w.gate.Lock()
	defer w.gate.Unlock()
	for w.shut && !w.over {
		w.moved.Wait()
	}
	if w.over {
		return false
	}
	w.inside++
	return true
}

func (w *world) leaveGate() {
	w.gate.Lock()
	defer w.gate.Unlock()
	w.inside--
	w.moved.Broadcast()
}

// open lets the clients work for a while, and shuts the gate when all have their replies.
func (w *world) open(d time.Duration) func() {
	w.gate.Lock()
	w.shut = false
	w.moved.Broadcast()
	w.gate.Unlock()
	end := time.Now().Add(d)
	return func() {
		time.Sleep(time.Until(end))
		w.gate.Lock()
		defer w.gate.Unlock()
		w.shut = true
		for w.inside > 0 {
			w.moved.Wait()
		}
	}
}

const (
	// repairTime is how long repairs may take when nothing goes wrong any more.
	repairTime = 40 * time.Second
	// alone is how long a node may go on without a backup, or not call a peer, that it could not reach.
	alone = 1200 * time.Millisecond
)

// repair waits until the nodes agree on everything.
func (w *world) repair() {
	w.net.heal()
	w.mu.Lock()
	all := make([]news, 0, len(w.truth))
	for _, n := range w.truth {
		all = append(all, n)
	}
	nodes := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, n := range nodes {
		n.members.learn(all...)
	}
	began := time.Now()
	time.Sleep(alone)
	for {
		problem := w.unsettled()
		switch {
		case problem == "":
			w.trace("cluster", "is repaired")
			return
		case time.Since(began) > repairTime:
			w.fail("not repaired after %v: %s", repairTime, problem)
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// unsettled says what is not as it should be at rest.
func (w *world) unsettled() string {
	w.mu.Lock()
	nodes := slices.Clone(w.nodes)
	w.mu.Unlock()
	var members []cluster.Member
	byName := map[string]*node{}
	for _, n := range nodes {
		members = append(members, n.member)
		byName[n.name] = n
	}
	view := viewOf(members, nodes[0].name)
	for _, n := range nodes {
		if s := n.cache.Stats(); s.Missing > 0 || s.Peers != len(nodes)-1 {
			return fmt.Sprintf("%s has %d peers of %d, and waits for %d partitions", n.name, s.Peers, len(nodes)-1, s.Missing)
		}
		if n.members.View().Epoch != view.Epoch {
			return n.name + " has another ring"
		}
	}
	for _, key := range w.keys {
		p := ring.PartitionOf([]byte(key))
		owner, backup := view.Owner(p).Name, ""
		if b := view.Backup(p); b != nil {
			backup = b.Name
		}
		has := byName[owner].entry(key)
		for _, n := range nodes {
			switch got := n.entry(key); {
			case n.name == backup && got != has:
				return fmt.Sprintf("%s is %s at its owner %s, and %s at its backup %s", key, has, owner, got, backup)
			case n.name != owner && n.name != backup && got != "" && !strings.HasPrefix(got, "deleted"): // that ends by itself
				return fmt.Sprintf("%s is %s at %s, which holds no copy: %s and %s do", key, got, n.name, owner, backup)
			}
		}
	}
	return ""
}

// end stops everything.
func (w *world) end() {
	w.gate.Lock()
	w.over = true
	w.moved.Broadcast()
	w.gate.Unlock()
	synctest.Wait()
	w.mu.Lock()
	nodes := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, n := range nodes {
		w.gone(n)
		w.net.crash(n.name, true)
		n.stopLoops()
		n.stopNode()
	}
}
