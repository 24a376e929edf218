// Package e2e holds the tests of the whole program from outside: the binary as it ships, in processes of its own, used
// through the clients that applications use. It has no code besides the tests.
//
// What a part does in detail is tested beside the part. Here is what an operator was promised: stock clients work against
// a sidecar, reads reach a replica and see the session's own writes, any node serves any key, no acknowledged key is
// lost with a node, and whatever was started is gone afterwards.
//
// # Files
//
//	main_test.go       builds the binary, runs one environment for all tests, checks that nothing stays behind
//	process_test.go    a running command: output, signals, end
//	cluster_test.go    environments of `outrigger dev`, sidecars of `outrigger serve`
//	drivers_test.go    each driver's script directly and pooled: what it prints must be equal
//	pgxmodes_test.go   pgx's script: every way to send a query
//	pq_test.go         lib/pq's script; the others are in testdata/drivers and testdata/node, left out by -short
//	pgdump_test.go     pg_dump and pg_restore
//	pgbench_test.go    pgbench in all query modes and with pipelines, reads on the replica
//	psql_test.go       psql: transaction, prepared statement, \copy, cancel
//	pgx_test.go        pgx: the same, batches, and reads after writes
//	redis_test.go      redis-cli and go-redis against every node
//	node_test.go       the packages of npm; ioredis by its script in testdata/node; left out by -short
//	network_linux_test.go  hosts: network namespaces with a wire between them that the test holds, to cut, lose and delay
//	fleet_test.go      sidecars of one cluster that end and start again
//	promise_test.go    clients that remember what was acknowledged, and judge what they read
//	restart_test.go    a rolling restart, kill -9, both under load
//	faults_linux_test.go  partitions, one-way loss, delay; nodes that stop and go on, move, start alone, or all at once
//	outlive_test.go    a node is killed, a node leaves, a node joins, under load
//	lifecycle_test.go  `outrigger dev` removes everything; wrong settings
//	proc_test.go       what Linux's /proc says of processes and sockets
//	serve_test.go      `outrigger serve`: health, metrics, drain, reload
package e2e
