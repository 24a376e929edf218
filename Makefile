# Two commands to know: `make run` and `make test`. Both install what is missing (.ci/install).

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
FUZZTIME ?= 10s
SOAK     ?= 1h
ARGS     ?=

# -buildvcs=false: a checkout that belongs to another user builds too. The version is passed in instead.
BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'
MAIN  := ./cmd/outrigger

# A module of its own, so that the program's knows nothing of C. Without optimisation it compiles in half the time.
VERIFY := cd '$(CURDIR)/pgpool/classify/verify' && CGO_CFLAGS='-O0 -g0'

.DEFAULT_GOAL := help
.PHONY: help build run test lint race soak fuzz bench bench-micro regress dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## build bin/outrigger
	$(BUILD) -o bin/outrigger $(MAIN)

run: ## a throwaway primary, replica and three sidecars to play with (ARGS='--nodes 1')
	@.ci/install run
	@$(MAKE) --no-print-directory build
	@bin/outrigger dev $(ARGS)

test: ## install what is missing, lint, then every test under the race detector
	@.ci/install test
	@$(MAKE) --no-print-directory lint
	go test -race -timeout 15m ./...
	@# Allocation budgets mean something only without the race detector.
	go test -run 'Alloc|ChargeIsTheTruth' ./protocol/... ./cachenode/... ./pgpool
	@# Histories of simulated clusters: on event loops without a poller of the system, and one goroutine at a time.
	go test -tags portable -timeout 10m ./cachenode/sim -sim.histories 500
	go test -race -tags portable -timeout 10m -run TestHistories ./cachenode/sim -sim.histories 5
	@# What reads SQL, against PostgreSQL's own parser.
	$(VERIFY) go test -timeout 10m ./...

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted (gofmt -w):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags portable ./cachenode/sim
	go tool staticcheck ./...
	go tool staticcheck -tags portable ./cachenode/sim
	$(VERIFY) go vet ./...

race: ## every test under the race detector, three times over, in random order
	go test -race -count 3 -shuffle on -timeout 45m ./...

soak: ## the pooler's tests with batches forced; for SOAK (1h) each: random scripts against a direct connection; reads against writes while replicas lag and die; sidecars killed and stopped; simulated clusters
	@.ci/install test
	go test -race -timeout 30m ./pgpool -batch
	go test -race -timeout 0 -run TestRandomScripts ./pgpool -v -random.for $(SOAK) -random.seed 0
	go test -race -timeout 0 -run TestSessionsNeverReadThePast ./pgpool -v -consistency.for $(SOAK)
	go test -timeout 0 -run 'TestKilledNode$$|TestStoppedNodeReturns' ./cmd/internal/e2e -v -soak
	go test -tags portable -timeout 0 -run TestHistories ./cachenode/sim -v -sim.for $(SOAK)

fuzz: ## every fuzz target in turn, FUZZTIME each
	@for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    echo "$$package $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
	  done; \
	done
	$(VERIFY) go test -run '^$$' -fuzz . -fuzztime $(FUZZTIME) .

bench: ## whole-system workloads against PgBouncer and Redis, as ratios (QUICK=1: three and a half minutes; TRACES=path: hit ratios)
	@.ci/install bench
	go run ./bench/run $(ARGS)

# What a message costs: framing, classification, bookkeeping, dispatch, commands. One file a commit is kept.
MICRO     := bench/results/micro
BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

bench-micro: ## Go benchmarks of the hot paths into bench/results/micro, beside those of the last commit that has some
	@mkdir -p $(MICRO)
	@old=$$(ls -t $(MICRO)/*.txt 2>/dev/null | head -1); new=$(MICRO)/$$(date +%F)-$$(git rev-parse --short HEAD).txt; \
	go test -run '^$$' -bench 'Framing|Parse|Classify|Lookup|Accounting|Dispatch|Commands' -benchtime 200ms -count 6 \
	  ./protocol/pgwire ./protocol/resp ./pgpool/classify ./pgpool ./cachenode 2>&1 | grep -v 'level=' | tee $$new && \
	{ [ -z "$$old" ] || [ "$$old" = "$$new" ] || go run $(BENCHSTAT) $$old $$new; }

regress: ## PostgreSQL's own tests, directly and through the pooler (ARGS='-suite isolation')
	@.ci/install regress
	go run ./bench/regress $(ARGS)

dist: ## static binaries for linux/amd64 and linux/arm64 in dist/
	@for arch in amd64 arm64; do \
	  echo "dist/outrigger-linux-$$arch"; \
	  GOOS=linux GOARCH=$$arch $(BUILD) -o dist/outrigger-linux-$$arch $(MAIN) || exit 1; \
	done

clean: ## remove bin/ and dist/
	rm -rf bin dist
