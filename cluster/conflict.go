package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// conflict is that another member has our name. A pod that comes back with another address is in one with its former self until
// that is found dead, within seconds. Of two that live, the one that started later gives up: peers take it for nobody, and
// by its own ring it would own what belongs to the other.
type conflict struct {
	since, last time.Time // of what we heard of it
	addr        string    // the other's
}

// conflictTimeout is how long a member waits for its name: longer than it takes to find its former self dead, and shorter than
// a cache node waits for its partitions before it serves without them.
const conflictTimeout = 9 * time.Second

// heard tells whether there was news of the conflict within the last d. Every exchange of state tells of it again.
func (x *conflict) heard(now time.Time, d time.Duration) bool {
	return !x.last.IsZero() && now.Sub(x.last) < d
}

// hear takes note of two members with the same name, ours or another.
func (c *Cluster) hear(existing, other *memberlist.Node) {
	m, err := decodeMetadata(other.Meta)
	theirs := existing.Name == c.cfg.Name && err == nil && m.Instance < c.instance
	now := time.Now()
	c.mu.Lock()
	x := &c.others
	if theirs {
		x = &c.ours
	}
	news := !x.heard(now, 3*c.cfg.JoinInterval)
	if news {
		*x = conflict{since: now}
	}
	x.last, x.addr = now, other.Address()
	lost := theirs && now.Sub(x.since) > c.cfg.conflictTimeout
	c.mu.Unlock()
	switch {
	case lost:
		c.lose(fmt.Errorf("the member at %s has the name %q as well, and had it before: give each its own node_name", other.Address(), existing.Name))
	case news && theirs:
		c.cfg.Logger.Error("another member has this one's name, waiting until it is gone: give each its own node_name",
			"member", existing.Name, "other_address", other.Address(), "at_most", c.cfg.conflictTimeout)
	case news:
		c.cfg.Logger.Warn("two members have the same name: give each its own node_name", "member", existing.Name,
			"address", existing.Address(), "other_address", other.Address())
	}
}

// nameless tells whether our name is another's. While it is, state is exchanged ten times as often, see joinForever.
func (c *Cluster) nameless() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ours.heard(time.Now(), c.cfg.JoinInterval/2)
}

// lose ends Run with err.
func (c *Cluster) lose(err error) {
	select {
	case c.lost <- err:
	default: // told already
	}
}
