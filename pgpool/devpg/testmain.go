package devpg

import (
	"context"
	"fmt"
	"os"
	"time"
)

// M runs a test binary's tests around one cluster. It has the method that goleak.VerifyTestMain and os.Exit want:
//
//	var pg *devpg.Cluster
//
//	func TestMain(m *testing.M) {
//		goleak.VerifyTestMain(devpg.Around(m, devpg.Options{Replicas: 1}, func(c *devpg.Cluster) { pg = c }))
//	}
type M struct {
	tests interface{ Run() int }
	opts  Options
	use   func(*Cluster)
}

// Around wraps a *testing.M; use receives the cluster before the first test.
func Around(tests interface{ Run() int }, opts Options, use func(*Cluster)) *M {
	return &M{tests: tests, opts: opts, use: use}
}

// Run starts the cluster, runs the tests and stops it. A cluster that does not start fails the tests: never skipped.
func (m *M) Run() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cluster, err := Start(ctx, m.opts)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start PostgreSQL for the tests:", err)
		return 1
	}
	m.use(cluster)
	code := m.tests.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop PostgreSQL of the tests:", err)
		return max(code, 1)
	}
	return code
}
