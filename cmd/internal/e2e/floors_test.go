package e2e

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// What was committed through one sidecar, others read from then on, however far the replica is behind: consistency cluster.
// While a sidecar is not heard, reads go to the primary.
func TestReadsSeeWhatOtherSidecarsHaveWritten(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, "--nodes=1", "--replicas=1", "--scale=0")
	flags := []string{"--primary-url=" + e.get("PRIMARY_URL"), "--replica-urls=" + e.get("REPLICA_URLS"), "--consistency=cluster"}
	a := serve(t, "a", nil, flags...)
	b := serve(t, "b", nil, append(flags, "--join="+a.gossip)...)
	c := serve(t, "c", nil, append(flags, "--join="+a.gossip)...)
	all := []*sidecar{a, b, c}
	for _, s := range all {
		s.ready(t, 3)
		defer func() {
			s.signal(t, syscall.SIGINT)
			s.exit(t, 0, 20*time.Second)
		}()
	}
	url := func(s *sidecar) string { return "postgres://postgres@" + s.pg + "/postgres" }
	writer, readers := connect(t, url(a)), []*pgx.Conn{connect(t, url(b)), connect(t, url(c))}
	replica := connect(t, e.get("REPLICA_URLS"))
	mustExec(t, writer, "create table floors (n int)")

	const askPort = "select current_setting('port')"
	replicaPort := one[string](t, replica, askPort)
	onReplica := func(conn *pgx.Conn) bool { return one[string](t, conn, askPort) == replicaPort }
	await := func(conn *pgx.Conn, where string) {
		t.Helper()
		eventually(t, "reads on the "+where, func() error {
			if onReplica(conn) != (where == "replica") {
				return errors.New("they are not")
			}
			return nil
		})
	}
	var late []time.Duration // how long after a commit a read began that did not see it
	const rounds = 10
	for round := 1; round <= rounds; round++ {
		for _, r := range readers {
			await(r, "replica")
		}
		mustExec(t, replica, "select pg_wal_replay_pause()")
		mustExec(t, writer, "insert into floors values (1)")
		committed := time.Now()
		for _, r := range readers {
			last := committed
			for begun := time.Now(); one[int](t, r, "select count(*)::int from floors") != round; begun = time.Now() {
				if last = begun; time.Since(committed) > 20*time.Second {
					t.Fatal("a reader never sees what was written through another sidecar")
				}
			}
			late = append(late, last.Sub(committed))
		}
		mustExec(t, replica, "select pg_wal_replay_resume()")
	}
	slices.Sort(late)
	t.Logf("the last read that did not see a commit began so long after it: median %v, worst %v", late[len(late)/2], late[len(late)-1])

	for _, r := range readers {
		await(r, "replica")
	}
	c.signal(t, syscall.SIGSTOP)
	await(readers[0], "primary") // until it is taken for dead
	await(readers[0], "replica")
	c.signal(t, syscall.SIGCONT)
	await(readers[1], "replica")
}
