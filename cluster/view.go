package cluster

import (
	"cmp"
	"slices"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// Member is one sidecar that is alive.
type Member struct {
	Name       string
	GossipAddr string // "ip:port"
	PeerAddr   string // "host:port" of its peer listener
	Zone       string
	State      State
	Instance   uint64 // when it started, in Unix nanoseconds: a restart is another instance, which holds no data
	Version    int    // of the peer protocol: the highest that it and this build both know; 0 is this build's
	Details
}

// View is one state of the cluster as this member sees it. It is immutable.
type View struct {
	Epoch   uint64   // the ring's
	Members []Member // everyone alive, sorted by name
	Self    int      // our index in Members
	Active  []Member // those that own partitions, in the order of the ring's indexes

	// Ring is the ring of Active. While nobody is active (the last member is leaving), it is the ring of all.
	Ring *ring.Ring
}

// Me returns this member itself.
func (v *View) Me() *Member { return &v.Members[v.Self] }

// Owner returns the member that executes commands on partition p.
func (v *View) Owner(p int) *Member { return &v.Active[v.Ring.Owner(p)] }

// Backup returns the member that holds the second copy of partition p, or nil when the owner is alone.
func (v *View) Backup(p int) *Member {
	if i := v.Ring.Backup(p); i != ring.None {
		return &v.Active[i]
	}
	return nil
}

// Find returns the member of that name, or nil.
func (v *View) Find(name string) *Member {
	i, found := slices.BinarySearchFunc(v.Members, name, func(m Member, name string) int { return cmp.Compare(m.Name, name) })
	if !found {
		return nil
	}
	return &v.Members[i]
}

// Has tells whether m is in the view, and not only another instance under its name.
func (v *View) Has(m *Member) bool {
	same := v.Find(m.Name)
	return same != nil && same.Instance == m.Instance
}

// Oldest returns the member that started first.
func (v *View) Oldest() *Member {
	oldest := &v.Members[0]
	for i := range v.Members {
		if v.Members[i].Instance < oldest.Instance {
			oldest = &v.Members[i]
		}
	}
	return oldest
}

// NewView makes a view of members, which must hold self and is kept. The ring of old, which may be nil, is reused where it
// is still right, for it is by far the dearest part.
func NewView(members []Member, self string, old *View) *View {
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	v := &View{Members: members, Active: make([]Member, 0, len(members))}
	for _, m := range members {
		if m.State == Active {
			v.Active = append(v.Active, m)
		}
	}
	if len(v.Active) == 0 {
		v.Active = members
	}
	v.Self = slices.IndexFunc(members, func(m Member) bool { return m.Name == self })
	names := make([]string, len(v.Active))
	for i, m := range v.Active {
		names[i] = m.Name
	}
	if old != nil && slices.Equal(names, old.Ring.Members()) {
		v.Ring = old.Ring
	} else {
		v.Ring = ring.New(names)
	}
	v.Epoch = v.Ring.Epoch()
	return v
}
