package auth

import (
	"context"
	"runtime"
)

// computing has room for those who may derive keys and verify proofs at the same time. It is one for the process because
// the processors are: whatever a storm of logins asks for, half of them are left to those who have logged in.
var computing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// compute runs f when there is room. The error is ctx's, and f has not run.
func compute(ctx context.Context, f func()) error {
	select {
	case computing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-computing }()
	f()
	return nil
}
