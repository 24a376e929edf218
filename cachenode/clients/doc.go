// Package clients holds the tests of the cache through the clients that applications use, and the libraries on top of them:
// a job, a lock, a limiter, a session, a subscription each. It has no code besides the tests.
//
// Every program here runs against the binary as it ships, built with the race detector when the tests are. With -real it
// runs against redis-server instead, which tells whose a failure is:
//
//	go test ./cachenode/clients -real
//
// # Files
//
//	server_test.go    a server for one test: one node, a cluster of three, or redis-server
//	scripts_test.go   runs the programs in other languages, with the packages they need; left out by -short
//	goredis_test.go   go-redis: connections, pipelines, transactions, scripts, iterators, in RESP2 and RESP3
//	goredis_wait_test.go go-redis: what waits and what is told: blocking commands, streams, pub/sub, tracking
//	doors_test.go     the same through TLS and a Unix socket
//	golibs_test.go    on top of go-redis: redislock, go-redis/cache
//	asynq_test.go     on top of go-redis: jobs
//	testdata/node     ioredis, node-redis, and on top of them BullMQ, connect-redis, keyv, rate-limiter-flexible
//	testdata/python   redis-py as Debian has it
//
// The scripts print nothing when all is well. SERVER_URL, for a cluster SERVER_URLS, and SERVER_SOCKET are where they connect;
// SERVER_REAL is 1 when that is redis-server.
package clients
