// Package devpg starts throwaway PostgreSQL clusters: a primary and streaming replicas in a temporary directory, on free
// loopback ports, as an unprivileged user even when root asks. Tests, `outrigger dev` and the benchmarks use it; nothing
// else may import it.
//
//	cluster, err := devpg.Start(ctx, devpg.Options{Replicas: 1})
//	defer cluster.Stop()
//	conn, err := pgx.Connect(ctx, cluster.PrimaryURL())
//
// # What stays behind
//
// Nothing. Stop ends the servers and removes the directory. Servers also end when the process that started them dies
// (Linux), and the directory of an owner that was killed is removed by the next Start.
//
// # Files
//
//	devpg.go     Options, Start, Stop, addresses
//	node.go      one server: configuration, start, stop, kill, promote
//	patroni_linux.go  a cluster under Patroni and etcd
//	programs.go  psql and pgbench, for callers without a driver
//	child.go     a child process with an owner
//	find.go      where the PostgreSQL programs and the unprivileged user are
//	dir.go       the temporary directory and the sweep of abandoned ones
//	tls.go       the self-signed certificate
//	testmain.go  one cluster for a whole test binary
package devpg
