package e2e

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// An application that is in a transaction when SIGTERM comes has its cache until it has committed.
func TestCacheServesUntilTheLastTransactionHasEnded(t *testing.T) {
	t.Parallel()
	s := serve(t, "both", nil, "--primary-url="+shared.get("PRIMARY_URL"))
	s.ready(t, 1)
	ctx := t.Context()
	conn, cache := connect(t, "postgres://postgres@"+s.pg+"/postgres"), cacheClient(t, s.cache)
	mustExec(t, conn, "create table if not exists both_halves (n int)")
	mustExec(t, conn, "begin")
	mustExec(t, conn, "insert into both_halves values (1)")
	if err := cache.Set(ctx, "both", 0, 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGTERM)
	eventually(t, "the drain", func() error {
		if _, r, err := askReport("http://" + s.http); err != nil || r.Status != "draining" {
			return fmt.Errorf("%v %+v", err, r)
		}
		return nil
	})
	// Longer than a node that hands over waits for the last command of a peer.
	for begun := time.Now(); time.Since(begun) < 1200*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		if err := cache.Incr(ctx, "both").Err(); err != nil {
			t.Fatalf("%v after the drain began, in a transaction: %v", time.Since(begun), err)
		}
	}
	mustExec(t, conn, "commit")
	_ = conn.Close(context.Background()) // the pooler has told it to go
	s.exit(t, 0, 20*time.Second)
}
