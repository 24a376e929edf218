package pgpool

import (
	"slices"
	"time"
)

// A read that no replica can take yet may wait a little until one can: see afterWrite. It waits in no pool's queue,
// because it is not known yet which pool it is for.

const (
	// firstAwait bounds that wait. Who waits in vain does not wait again for stay. Then the wait may be twice as long, and so
	// will be the time without, up to mostInVain times: waits are a fortieth of the time at most, whatever the replicas' lag.
	firstAwait = 25 * time.Millisecond
	mostInVain = 2
	// glances is the time between two looks at the replicas meanwhile.
	glances = 2 * time.Millisecond
)

// awaiting is a read that waits.
type awaiting struct {
	client *client
	d      decision
	until  time.Time
}

// mayAwait tells whether a read waits for a replica rather than go to the primary.
func (c *client) mayAwait() bool { return c.sessionFloor() && c.past(c.w.clientsTime(), c.patient) }

// await has the client's read wait.
func (w *worker) await(c *client, d decision) {
	c.awaits = true
	w.awaiting = append(w.awaiting, awaiting{c, d, w.loop.Now().Add(firstAwait << c.inVain)})
	if w.glance == nil {
		w.glance = w.loop.NewTimer(w.lookAtReplicas)
	}
	if !w.glance.Active() {
		w.glance.Reset(glances)
	}
}

// awaitsNoMore ends the wait of a client whose read was cancelled.
func (c *client) awaitsNoMore() {
	c.awaits = false
	c.w.awaiting = slices.DeleteFunc(c.w.awaiting, func(a awaiting) bool { return a.client == c })
}

// lookAtReplicas ends the waits that are over.
func (w *worker) lookAtReplicas() {
	now, all := w.loop.Now(), w.awaiting
	w.awaiting = w.awaited[:0]
	for _, a := range all {
		c := a.client
		switch {
		case c.closing:
		case c.group.isShown(c):
			c.patient, c.inVain = w.clientsTime()+uint32(afterWrite/time.Millisecond), 0 // it may be taken elsewhere yet
			c.awaited(a.d)
		case now.After(a.until):
			c.patient = w.clientsTime() + uint32(stay<<c.inVain/time.Millisecond)
			c.inVain = min(c.inVain+1, mostInVain)
			c.awaited(a.d)
		default:
			w.awaiting = append(w.awaiting, a)
		}
	}
	clear(all)
	w.awaited = all[:0]
	if len(w.awaiting) > 0 {
		w.glance.Reset(glances)
	}
}

// isShown tells whether some replica shows the client all that it must see.
func (g *group) isShown(c *client) bool {
	roles := g.shared.up.roles
	primary, limits := g.shared.up.primary(), g.shared.policy.Load()
	for _, p := range g.pools {
		if p.index != primary && roles.Usable(p.index, limits) && p.shows(c) {
			return true
		}
	}
	return false
}

// awaited ends the wait of a client.
func (c *client) awaited(d decision) {
	c.awaits = false
	if c.acquire(d) {
		c.pump()
	}
}
