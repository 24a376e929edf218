// Package bench runs whole-system workloads against real rivals and reports ratios. It measures; it is not a test.
//
//	make bench QUICK=1                        three rounds, three minutes
//	make bench                                ten rounds, fifteen minutes
//	make bench PGBOUNCER=path REDIS=path      other binaries than those in PATH
//	make bench ARGS="-only 'prepared|GET'"    some workloads
//
// One PostgreSQL, one Outrigger node, one PgBouncer and one redis-server run on one machine, on loopback. In every round
// every workload goes to every contender in turn, so that what else the machine does hits all alike; a ratio is taken
// within a round, and the report gives the median of the rounds' ratios with their extremes. Lost rows come first.
//
// What is measured: operations per second, average and 99th percentile of the latency as the load generator saw it, and
// CPU time of the proxy's or cache's process per operation. PostgreSQL's and the generator's own CPU time are not counted,
// but they share the machine: a proxy that saves CPU also leaves more for them, as it would beside an application.
//
// # Folders
//
//	load       the table of workloads; running pgbench and redis-benchmark and reading what they print
//	contender  starting, finding and ending what is measured; CPU time and memory of a process
//	report     medians, ratios and the page that shows them
//	run        the program behind make bench: the rounds, the machine's description, the result files
//	results    one folder for each kept run, named after its date and commit; scratch holds those of uncommitted code
package bench
