package health

import (
	"sync"
	"sync/atomic"
)

// sampleRing is how many samples are remembered one by one, and how many of the older ones, of which one in sparsely is
// kept: at 200 a second they go back 20 seconds, which is further than a replica in use may be behind. An older floor is
// judged by the oldest sample, which asks for more than it needs.
const (
	sampleRing = 256
	sparsely   = 16
)

// Floor is what a client's reads need after a write: the number of the first sample of the primary's write position that
// began after the commit had returned. The zero Floor needs nothing.
type Floor uint64

// positions holds the samples. Their numbers only grow, whichever server is the primary.
type positions struct {
	// Atomic: for event loops.
	started  atomic.Uint64             // number of the sample that began last
	done     atomic.Uint64             // number of the sample that is complete
	wanted   atomic.Uint64             // the highest floor that somebody waits for
	taken    atomic.Uint64             // the highest floor that there is
	lsn      [sampleRing]atomic.Uint64 // of sample n at n % sampleRing; a later, higher one may have replaced it
	sparse   [sampleRing]atomic.Uint64 // the same of every sparsely-th sample
	replayed []atomic.Uint64           // by server: the position it has replayed, 0 if unknown
	lives    []atomic.Uint32           // by server: how often it may have been started

	mu      sync.Mutex // held by those who complete samples
	primary int        // whose samples the ring holds
}

// begin takes the number of a new sample. What was committed before a floor was taken is in every sample with that number
// or a higher one, because its question is asked after this.
func (p *positions) begin() uint64 { return p.started.Add(1) }

// complete enters the position that sample n found on server.
func (p *positions) complete(n, lsn uint64, server int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.done.Load()
	if n <= last {
		return
	}
	// Samples that failed since count as this one. After a failover all do: a write of before has either come over or is
	// lost, and the old primary's positions mean nothing on the new timeline.
	first := last + 1
	if server != p.primary {
		p.primary = server
		first = 0
	}
	for i := max(first, n-min(n, sampleRing-1)); i <= n; i++ {
		p.lsn[i%sampleRing].Store(lsn)
	}
	for i := max(above(first), n/sparsely-min(n/sparsely, sampleRing-1)); i <= n/sparsely; i++ {
		p.sparse[i%sampleRing].Store(lsn)
	}
	p.done.Store(n)
}

// isOf tells whether server is the one whose samples there are.
func (p *positions) isOf(server int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.primary == server
}

// above is the number, among those that are kept for longer, of the first sample from n on.
func above(n uint64) uint64 { return (n + sparsely - 1) / sparsely }

// position returns a position at or behind which the writes before floor are, once it is known.
func (p *positions) position(floor uint64) (lsn uint64, known bool) {
	done := p.done.Load()
	if done < floor {
		return 0, false
	}
	if done-floor < sampleRing {
		return p.lsn[floor%sampleRing].Load(), true
	}
	n := max(above(floor), done/sparsely-min(done/sparsely, sampleRing-1))
	return p.sparse[n%sampleRing].Load(), true
}

// reached tells whether server has replayed the writes before floor.
func (p *positions) reached(server int, floor uint64) bool {
	if floor == 0 {
		return true
	}
	lsn, known := p.position(floor)
	return known && p.replayed[server].Load() >= lsn
}

// take returns a floor.
func (p *positions) take() uint64 {
	floor := p.started.Load() + 1
	raise(&p.taken, floor)
	return floor
}

// restarted notes that server may have been started since it was last asked. What it had replayed by then it may have to
// replay again.
func (p *positions) restarted(server int) {
	p.replayed[server].Store(0)
	p.lives[server].Add(1)
}

// want raises the floor that is waited for and tells whether that is news.
func (p *positions) want(floor uint64) bool { return raise(&p.wanted, floor) }

// raise makes a at least to, and tells whether it was less.
func raise(a *atomic.Uint64, to uint64) bool {
	for {
		old := a.Load()
		if old >= to {
			return false
		}
		if a.CompareAndSwap(old, to) {
			return true
		}
	}
}
