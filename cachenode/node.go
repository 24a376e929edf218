package cachenode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/near"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cachenode/script"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// Node is one node of the cache: its store, and its dealings with the other nodes. It is the respserver.Backend.
type Node struct {
	// Constant after New.
	cfg      Config
	store    *store.Store
	table    *command.Table
	scripts  *script.Engine
	near     *near.Cache   // nil: no copies are kept
	get      *command.Spec // of GET
	workers  []*worker
	byLoop   map[*netloop.Loop]*worker
	greeting peer.Greeting
	audience respserver.Audience
	tagger   *tagger
	made     time.Time
	wake     chan struct{} // holds one token while the mover has news
	lobby    lobby

	// Constant once Run was called.
	responders map[peer.Type]Responder

	// Atomic.
	placement atomic.Pointer[placement]
	// fenced is the epoch of the placement that all loops have taken over. It is what other nodes are told: to them it
	// means that nothing is executed here by an older ring.
	fenced atomic.Uint64
	// complete tells of each partition whether this node has all of it. A node that is alone has; one that got a partition
	// has when it was handed over; one that passed it on has not.
	complete [store.Partitions]atomic.Bool
	// assumed marks the complete ones of which that is not certain: nobody has handed them over in time.
	assumed [store.Partitions]atomic.Bool
	// owned marks partitions that this node has owned and not yet handed over: it has the last word on them.
	owned [store.Partitions]atomic.Bool
	// young marks partitions that this node holds and has not got from one that owned them. A former backup may hand a
	// partition over while its owner, which has not heard of the new ring, still takes writes.
	young [store.Partitions]atomic.Bool
	// stale marks partitions that this node owns and whose backup has missed a write.
	stale [store.Partitions]atomic.Bool
	// stray marks partitions whose content the other holders may lack: what a node wrote before it met the others.
	stray        [ring.Partitions]atomic.Bool
	found        atomic.Bool  // the others, if there are any: what searched answers for good
	lastBeat     atomic.Int64 // of pulse, in nanoseconds since made; 0 before the first
	stalls       atomic.Uint64
	accepted     atomic.Uint32
	classes      atomic.Uint32 // command.Event: what clients have asked to be told of
	classesSince atomic.Int64  // Unix milliseconds of when they did; 0: never
	notify       atomic.Uint32 // what of it anybody can hear
	tracking     atomic.Bool   // clients here cache values
	// interest names the peers whose clients do, by their instances; nil when there are none.
	interest atomic.Pointer[map[uint64]bool]
	removals respserver.Removals
	tellings tellings     // has its own lock
	lastCall atomic.Int64 // Unix milliseconds of the last command that a peer has sent
	asked    atomic.Int32 // questions of peers that are being answered
	forgone  atomic.Int64 // how often this node has taken nothing for whole any more that it had
	stats    counters

	// Constant once Run was called.
	started  time.Time
	lifetime context.Context // ends when Run does

	// mu guards what only changes with the cluster. A change of placement, and all that depends on it not changing in
	// between (accepting, completing and dropping a partition), happens under it.
	mu       sync.Mutex
	view     *cluster.View
	changed  time.Time                 // when the placement last changed
	followed chan struct{}             // closed, and made anew, when it changes
	grants   [ring.Partitions]*inbound // who hands the partition over to us
	absent   map[string]absence        // members that have gone without a word, by name
	doubted  time.Time                 // when this node has last learnt that it was away
	restored bool                      // what a snapshot had is here
	running  sync.WaitGroup            // Add under mu, while not stopped
	stopped  bool
}

// New makes a node, which Run connects with the others; until it has looked for them, commands wait. It does no I/O. The
// loops must not run yet.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	storeConfig := store.Config{MaxBytes: cfg.MaxBytes, Policy: cfg.Policy, Layout: cfg.Layout}
	n := &Node{cfg: cfg, made: time.Now(), byLoop: map[*netloop.Loop]*worker{}, responders: map[peer.Type]Responder{}, absent: map[string]absence{},
		wake: make(chan struct{}, 1), tellings: tellings{told: map[uint64]time.Time{}}, followed: make(chan struct{})}
	if cfg.Cluster != nil {
		storeConfig.TombstoneTTL = tombstoneTTL
		n.view = cfg.Cluster.View()
		me := n.view.Me()
		n.greeting = peer.Greeting{
			Version: peer.VersionMin, VersionMin: peer.VersionMin, VersionMax: peer.VersionMax,
			Cluster: cfg.Cluster.Name(), Node: me.Name, Instance: me.Instance,
		}
		cfg.Cluster.Subscribe(n.follow)
	}
	n.store, n.table = store.New(storeConfig), command.NewTable()
	n.scripts = script.New(script.Config{Table: n.table, Charge: n.store.Charge, TimeLimit: cfg.ScriptTimeLimit, Logger: cfg.Logger})
	n.get = n.table.Lookup([]byte("get"))
	n.store.OnMarkedChange(n.wakePolls)
	if cfg.Cluster != nil && cfg.NearBytes > 0 {
		if n.near, err = near.New(near.Config{MaxBytes: cfg.NearBytes, Staleness: cfg.NearStaleness, Charge: n.store.Charge}); err != nil {
			return nil, err
		}
	}
	for p := range n.complete {
		n.complete[p].Store(true)
		n.owned[p].Store(true)
	}
	alone := alonePlacement()
	alone.minority = cfg.MinMembers > 1
	n.placement.Store(alone)
	n.tagger = newTagger(n)
	n.Answer(peer.Invalidate, n.answerInvalidate)
	for _, loop := range cfg.Loops {
		w := newWorker(n, loop)
		n.workers = append(n.workers, w)
		n.byLoop[loop] = w
	}
	return n, nil
}

// Scripts is what runs the scripts of clients.
func (n *Node) Scripts() *script.Engine { return n.scripts }

// Run serves the other nodes until ctx ends. It returns nil, and leaves the loops running.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	n.lifetime, n.started = ctx, time.Now()
	n.mu.Unlock()

	var failure error
	n.spawn(func() { n.housekeep(ctx) })
	n.spawn(func() { n.pulse(ctx) })
	n.spawn(func() { n.fence(n.placement.Load()) }) // the cluster may have changed before
	if n.cfg.Cluster != nil {
		listener := netloop.NewListener(n.cfg.Peers, n.cfg.Logger, n.accept)
		n.spawn(func() {
			if failure = listener.Run(ctx); failure != nil {
				cancel()
			}
		})
		n.spawn(func() { n.tagger.run(ctx) })
		mover := &mover{n: n, pace: newPacer(n.cfg.Throttled), told: map[*remote]int64{}}
		n.spawn(func() { mover.run(ctx) })
		comparer := &comparer{n: n, next: map[*remote]int{}}
		n.spawn(func() { comparer.run(ctx) })
	}
	<-ctx.Done()

	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.onLoops(context.Background(), (*worker).stop)
	n.running.Wait()
	n.tagger.drain()
	if failure != nil {
		return fmt.Errorf("run cache node: %w", failure)
	}
	return nil
}

// spawn runs fn in a goroutine that Run waits for. It reports false when the node does not run (any more).
func (n *Node) spawn(fn func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped || n.lifetime == nil {
		return false
	}
	n.running.Go(fn)
	return true
}

// onLoops runs fn for each worker on its loop and waits for all, or for the end of ctx. Loops that have stopped are
// passed over.
func (n *Node) onLoops(ctx context.Context, fn func(*worker)) {
	done := make(chan struct{}, len(n.workers))
	for _, w := range n.workers {
		if !w.loop.Post(func() { fn(w); done <- struct{}{} }) {
			done <- struct{}{}
		}
	}
	for range n.workers {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// housekeep reclaims expired entries, and once a minute tells of clocks that disagree.
func (n *Node) housekeep(ctx context.Context) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var told time.Time
	var ahead uint64
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if n.cfg.Cluster != nil && now.Sub(told) >= time.Minute {
				told, ahead = now, n.warnOfClocks(ahead)
			}
			for n.store.Expire(now.UnixMilli(), 1000) == 1000 && ctx.Err() == nil {
			}
			n.store.Sweep(now.UnixMilli(), sweepItems)
		}
	}
}

// warnOfClocks logs that entries have come from the future, if any have since there were known, and tells how many there are.
func (n *Node) warnOfClocks(known uint64) (ahead uint64) {
	s := n.store.Stats()
	if s.Ahead > known {
		n.cfg.Logger.Warn("entries of other nodes come from the future: synchronise the clocks of this machine and theirs",
			"entries", s.Ahead-known, "ahead_by", time.Duration(s.AheadBy)*time.Millisecond)
	}
	return s.Ahead
}

// follow takes over a change of the cluster. It is a subscriber: called in order, on one goroutine.
func (n *Node) follow(_, view *cluster.View) {
	n.mu.Lock()
	old := n.view
	n.view = view
	n.changed = time.Now()
	before := n.placement.Load()
	pl := newPlacement(view, before)
	pl.minority = pl.members() < n.cfg.MinMembers
	pl.misplaced = n.misplaced(view)
	n.tellMisplaced(before, pl)
	merged := !old.Has(view.Oldest())
	if merged {
		// Two parts of the cluster have met, and ours is not the one with the oldest member: what the others have counts as
		// whole, what we have is added to it. Usually we have just started and have nothing.
		n.forgo()
		if len(before.peers) > 0 || len(n.absent) > 0 {
			n.forgone.Add(1) // who has seen us all the time does not know
		}
	}
	n.watchAbsences(old, view, before, pl, merged)
	clear(n.grants[:])
	for p := range ring.Partitions {
		if n.lacksSingles(pl, before, p) {
			n.complete[p].Store(false)
		}
		if pl.owner[p] == self && n.complete[p].Load() && pl.passedOn(p) {
			n.owned[p].Store(true)
		}
		if pl.holds(self, p) && !n.complete[p].Load() {
			n.young[p].Store(true)
		}
		if pl.owner[p] != self && n.stale[p].Swap(false) {
			n.stray[p].Store(true) // the writes that our backup has missed, its next owner may lack
		}
	}
	n.placement.Store(pl)
	for p := range ring.Partitions {
		// Looked at behind the Store: what a loop writes by the old placement from now on, it marks itself.
		if merged && n.store.Size(p) > 0 {
			n.stray[p].Store(true)
		}
	}
	close(n.followed)
	n.followed = make(chan struct{})
	n.mu.Unlock()

	n.spawn(func() { n.fence(pl) })
	n.wakeMover()
}

// fence waits until no loop works by an older placement than pl any more, and lets those go on that have waited for this.
func (n *Node) fence(pl *placement) {
	n.onLoops(n.lifetime, func(*worker) {})
	n.mu.Lock()
	current := n.placement.Load() == pl
	if current {
		n.fenced.Store(pl.epoch)
	}
	n.mu.Unlock()
	if current {
		n.endWaiting(pl)
	}
	for _, w := range n.workers {
		w.loop.Post(w.follow)
	}
}

// endWaiting ends the waits for keys which another node owns by now: nobody would serve them here. They go on there.
func (n *Node) endWaiting(pl *placement) {
	n.store.Waiters(func(p int) bool { return pl.owner[p] != self }, func(w *store.Waiter) {
		w.For.(*command.Waiter).Move()
	})
}

func (n *Node) wakeMover() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Ready says why this node should not get traffic yet: it has not found the others, or has not got its partitions. After
// BackFillTimeout it is ready in any case.
func (n *Node) Ready() error {
	if n.cfg.Cluster == nil {
		return nil
	}
	n.mu.Lock()
	started, stopped, pl := n.started, n.stopped, n.placement.Load()
	n.mu.Unlock()
	switch {
	case started.IsZero():
		return errors.New("cache node is not started")
	case stopped:
		return errors.New("cache node is stopped")
	case time.Since(started) > n.cfg.BackFillTimeout:
		return nil
	case !n.cfg.Cluster.Joined():
		return errors.New("cache node has not joined its cluster")
	}
	if missing := n.missing(pl); missing > 0 {
		return fmt.Errorf("cache node waits for %d partitions", missing)
	}
	return nil
}

// searched tells whether this node may take itself for the only one: it has looked for the others, or has done so for long
// enough. One that has just started again and answered at once would say that there is nothing, and what it is told then
// would be newer than all that the others have.
func (n *Node) searched() bool {
	if n.found.Load() {
		return true
	}
	over := n.cfg.Cluster == nil || n.cfg.Cluster.Joined() || time.Since(n.made) > n.cfg.BackFillTimeout
	if over {
		n.found.Store(true)
	}
	return over
}

// missing counts the partitions that this node should hold and does not have whole.
func (n *Node) missing(pl *placement) (count int) {
	for p := range ring.Partitions {
		if pl.holds(self, p) && !n.complete[p].Load() {
			count++
		}
	}
	return count
}

// Leave gives everything this node holds to the others: it announces that it owns nothing any more, goes on answering,
// and returns when every partition has its owner and backup elsewhere and no peer has sent a command for a while, or when
// ctx ends. The caller ends Run, and then the cluster's, afterwards.
func (n *Node) Leave(ctx context.Context) error {
	if n.cfg.Cluster == nil {
		return nil
	}
	if err := n.cfg.Cluster.Leave(ctx); err != nil {
		return err
	}
	const quiet = 300 * time.Millisecond
	for {
		left := 0
		pl := n.placement.Load()
		for p := range ring.Partitions {
			if n.complete[p].Load() || n.store.Size(p) > 0 {
				left++
			}
		}
		n.mu.Lock()
		leaving := n.view.Me().State == cluster.Leaving
		settled := leaving && time.Since(n.changed) > quiet
		n.mu.Unlock()
		if leaving && !slices.Contains(pl.active, true) {
			return nil // nobody is there to take anything
		}
		idle := time.Since(time.UnixMilli(n.lastCall.Load())) > quiet
		if left == 0 && settled && idle {
			return nil
		}
		select {
		case <-ctx.Done():
			if left == 0 {
				return nil
			}
			return fmt.Errorf("hand over before leaving: %d partitions left: %w", left, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// release ends the hand-over that was going on over a connection.
func (n *Node) release(in *inbound) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.grants {
		if n.grants[p] == in {
			n.grants[p] = nil
		}
	}
}
