//go:build portable || !linux

package sim

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// news is what one node knows of a member. As in gossip, newer news win, whatever order they come in.
type news struct {
	member cluster.Member
	alive  bool
	number int
}

// announce tells all nodes what has become of a member, each after a time of its own.
func (w *world) announce(m cluster.Member, alive bool, d delays) {
	w.mu.Lock()
	w.announced++
	n := news{m, alive, w.announced}
	w.truth[m.Name] = n
	nodes := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, to := range nodes {
		if to.alive.Load() && to.name != m.Name {
			w.tell(to, n, d)
		}
	}
}

// tell has one node hear of news.
func (w *world) tell(to *node, n news, d delays) {
	wait := w.between(d.min, d.max, "gossip", to.name, n.number)
	time.AfterFunc(wait, func() { to.members.learn(n) })
}

// membership is what one node knows. It is the node's cachenode.Membership.
type membership struct {
	n *node

	mu          sync.Mutex // held while subscribers are called: one at a time, in order
	known       map[string]news
	view        *cluster.View
	subscribers []func(old, new *cluster.View)
	joined      bool
}

func newMembership(n *node, me cluster.Member) *membership {
	m := &membership{n: n, known: map[string]news{me.Name: {me, true, 0}}}
	m.view = m.newView()
	return m
}

// learn takes in what a node hears. What it hears of itself it knows better.
func (m *membership) learn(all ...news) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.n.alive.Load() {
		return
	}
	for _, n := range all {
		if n.member.Name != m.n.name && n.number > m.known[n.member.Name].number {
			m.known[n.member.Name] = n
		}
	}
	m.publish()
}

func (m *membership) publish() {
	old, view := m.view, m.newView()
	if slices.Equal(view.Members, old.Members) {
		return
	}
	m.view = view
	m.joined = true
	m.n.w.trace(m.n.name, "sees %s", describe(view))
	for _, fn := range m.subscribers {
		fn(old, view)
	}
}

func (m *membership) newView() *cluster.View {
	var members []cluster.Member
	for _, n := range m.known {
		if n.alive {
			members = append(members, n.member)
		}
	}
	return viewOf(members, m.n.name)
}

func describe(v *cluster.View) string {
	names := make([]string, len(v.Members))
	for i, m := range v.Members {
		names[i] = m.Name
		if m.State == cluster.Leaving {
			names[i] += "(leaving)"
		}
	}
	return strings.Join(names, " ")
}

func (m *membership) Name() string { return "sim" }

func (m *membership) View() *cluster.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}

func (m *membership) Subscribe(fn func(old, new *cluster.View)) {
	m.subscribers = append(m.subscribers, fn)
}

func (m *membership) Joined() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joined
}

// Leave tells everybody that this node owns nothing any more.
func (m *membership) Leave(context.Context) error {
	m.mu.Lock()
	me := m.known[m.n.name]
	me.member.State = cluster.Leaving
	m.known[m.n.name] = me
	m.publish()
	m.mu.Unlock()
	m.n.w.announce(me.member, true, m.n.w.spread)
	return nil
}

// rings are kept for all histories: a ring is the same for the same names, and dear.
var rings = struct {
	sync.Mutex
	of map[string]*ring.Ring
}{of: map[string]*ring.Ring{}}

// viewOf makes a view with a ring that is computed once.
func viewOf(members []cluster.Member, self string) *cluster.View {
	var names []string
	for _, m := range members {
		if m.State == cluster.Active {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return cluster.NewView(members, self, nil)
	}
	return cluster.NewView(members, self, &cluster.View{Ring: ringOf(names)})
}

// ringOf gives the ring of some names.
func ringOf(names []string) *ring.Ring {
	names = slices.Sorted(slices.Values(names))
	key := strings.Join(names, " ")
	rings.Lock()
	defer rings.Unlock()
	if rings.of[key] == nil {
		rings.of[key] = ring.New(names)
	}
	return rings.of[key]
}
