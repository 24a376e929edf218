// Package hitratio plays traces of accesses against policies of eviction and counts the hits: that of the cache's store,
// LRU, and the libraries that are best known for theirs.
//
//	hitratio.go   Play, and what comes of it
//	trace.go      traces in files, in the formats that they are published in
//	generate.go   traces that are drawn
//	policy.go     the policies
//	published.go  what others have measured
//
// Every access asks for a key, and stores it when it is not there, as an application does with a cache before a database.
// A cache of n entries gets what n entries take: the store's bytes, or a number of entries where a policy counts them.
package hitratio

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Trace is a series of accesses.
type Trace struct {
	Name  string
	Sizes []int // entries of the caches that it is played against, ascending
	Keys  []uint64

	// Lookups are of the kind that a cache before a database sees: there the best is what counts.
	Lookups bool
}

// Result is what one policy made of a trace.
type Result struct {
	Trace  string
	Size   int
	Policy string
	Ratio  float64 // of the accesses that were hits, in percent
}

// Cut keeps the first n accesses.
func (t *Trace) Cut(n int) {
	t.Keys = t.Keys[:n]
	t.Sizes = sizes(*t)
}

// Play gives a trace to every policy, in caches of each of its sizes. Policies run at the same time: none looks at a clock.
func Play(ctx context.Context, t Trace) ([]Result, error) {
	all := make([]Result, 0, len(t.Sizes)*len(policies))
	for _, size := range t.Sizes {
		hits, errs := make([]int, len(policies)), make([]error, len(policies))
		var playing sync.WaitGroup
		for i, p := range policies {
			playing.Go(func() { hits[i], errs[i] = play(ctx, p.open, size, t.Keys) })
		}
		playing.Wait()
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("play %s in a cache of %d entries: %w", t.Name, size, err)
		}
		for i, p := range policies {
			all = append(all, Result{t.Name, size, p.name, 100 * float64(hits[i]) / float64(max(len(t.Keys), 1))})
		}
	}
	return all, nil
}

func play(ctx context.Context, open func(int) (cache, error), size int, keys []uint64) (hits int, err error) {
	const glance = 1 << 16
	c, err := open(size)
	if err != nil {
		return 0, err
	}
	defer c.close()
	for i, k := range keys {
		if i%glance == 0 && ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if c.access(k) {
			hits++
		}
	}
	return hits, nil
}
