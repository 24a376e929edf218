// Package bench runs whole-system workloads against real rivals and reports ratios. It measures; it is not a test.
//
//	make bench QUICK=1                        some workloads, three rounds, three and a half minutes
//	make bench                                as many rounds as 45 minutes have, ten at most
//	make bench ARGS=-split                    reads on replicas, beside pgpool-II
//	make bench PGBOUNCER=path                 another binary than the one in PATH; so PGPOOL, HAPROXY, REDIS and MEMCACHED
//	make bench TRACES=path                    hit ratios also of the traces in files there
//	make bench ARGS='-heap 4096'              reads too from a cache that holds so many MiB while its heap is collected
//	make bench ARGS="-only 'prepared|GET'"    some workloads and scenarios
//	make bench ARGS='-limit 8m'               as many rounds as that time has
//
// One PostgreSQL, Outrigger, PgBouncer, redis-server, memcached, and HAProxy that relays bytes run on one machine, on loopback. In every round
// every workload goes to every contender in turn, so that what else the machine does hits all alike; a ratio is taken
// within a round, and the report gives the median of the rounds' ratios with their extremes. Lost rows come first.
//
// What is measured: operations per second, percentiles of the latency as the load generator saw it, CPU time per operation
// of the proxy's or cache's process and of PostgreSQL's, without the time in which clients logged in, the proxy's resident
// memory and its server connections at work. The generator's own CPU time is not counted, but all share the machine: a
// proxy that saves CPU also leaves more for the others, as it would beside an application.
//
// Outrigger and PgBouncer run again with a pool of four servers, and asking for SCRAM, each in a process of its own; Outrigger
// also without batches (unbatched), for what must not become worse by them.
//
// Caches have one thread each, and Outrigger runs again on two event loops, four and so on, as there are processors. What
// memcached does not speak is asked by redis-benchmark, the rest by a loop of our own that speaks to each in its language:
// as fast as answers come ("our GET"), and in an open loop at a fixed rate. Its percentiles are exact: every latency is kept.
//
// Hit ratios are counted by playing traces of accesses against the store itself and against other policies, in this process.
//
// Scenarios come before the rounds and have processes of their own: the start, thousands of idle clients, a storm of
// logins, a slow reader, a large COPY, and open loops: requests that come when they are due, and whose latency counts from
// then. The page begins with the targets, each with its number and whether it was met.
//
// With -split there are a primary and two replicas, and pgpool-II is the rival. Outrigger runs three times: as it is, with
// all reads on the primary (unsplit), and without read your writes (eventual). What the others cost less is the price.
//
// # Folders
//
//	load       the table of workloads; pgbench and redis-benchmark and what they print; clients of our own by the thousand,
//	           in crowds and in open loops
//	contender  starting, finding and ending what is measured; CPU time and memory of a process, and of PostgreSQL's
//	hitratio   traces of accesses, and the policies that they are played against
//	scenario   what rates do not show: start, idle clients, storms, streams larger than any buffer, what a cache takes for a key
//	report     targets, medians, ratios, charts, and the page that shows them
//	run        the program behind make bench: the rounds, the targets, the machine's description, the result files
//	results    one folder for each kept run, named after its date and commit; scratch holds those of uncommitted code
package bench
