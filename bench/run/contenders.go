package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/scenario"
)

// start starts a contender.
type start func() (*contender.Contender, error)

// startContenders starts all; a rival that is not installed is left out, and the report says so.
func (b *bench) startContenders(ctx context.Context, program string) error {
	version, err := b.servers.Psql(ctx, 0, "select 'PostgreSQL ' || current_setting('server_version')")
	if err != nil {
		return fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	starts := b.splitters(ctx, program)
	if !b.opts.split {
		starts = b.poolersAndCaches(ctx, program)
	}
	starts = append([]start{func() (*contender.Contender, error) {
		return contender.OfDirect(b.servers.Addr(0), version, b.opts.plan().direct), nil
	}}, starts...)
	for _, start := range starts {
		c, err := start()
		if missing, ok := errors.AsType[*contender.Missing](err); ok {
			b.leaveOut(missing.Error())
			continue
		}
		if err != nil {
			return err
		}
		if c == nil {
			continue // it has told why
		}
		b.contenders = append(b.contenders, c)
		b.say("%s: %s", c.Label(), c.Version)
	}
	return nil
}

// poolersAndCaches start Outrigger and the rivals of its halves. Pools of four servers and logins have processes of their
// own, under the names of those that they are like.
func (b *bench) poolersAndCaches(ctx context.Context, program string) []start {
	outrigger := func(ctx context.Context, o contender.Options) (*contender.Contender, error) {
		return contender.StartOutrigger(ctx, program, b.tree.commit, b.dir, b.servers, o)
	}
	outriggerCache := func(ctx context.Context, o contender.Options) (*contender.Contender, error) {
		return contender.StartOutriggerCache(ctx, program, b.tree.commit, b.dir, o)
	}
	var more []start
	for loops := 2; loops <= runtime.NumCPU(); loops *= 2 {
		more = append(more, func() (*contender.Contender, error) {
			return outriggerCache(ctx, contender.Options{Name: contender.OnLoops(loops), Loops: loops})
		})
	}
	var pgbouncer func(context.Context, contender.Options) (*contender.Contender, error) // nil: not installed
	another := func(service load.Service) []start {
		return []start{
			func() (*contender.Contender, error) {
				if pgbouncer == nil {
					return nil, nil
				}
				return pgbouncer(ctx, contender.Options{Service: service})
			},
			func() (*contender.Contender, error) { return outrigger(ctx, contender.Options{Service: service}) },
		}
	}
	return slices.Concat([]start{
		func() (*contender.Contender, error) {
			path, err := contender.Find(b.opts.haproxy, "haproxy", "haproxy", "/usr/sbin/haproxy")
			if err != nil {
				return nil, err
			}
			return contender.StartHAProxy(ctx, path, b.dir, b.servers.Addr(0), b.opts.plan().direct)
		},
		func() (*contender.Contender, error) {
			path, err := contender.Find(b.opts.pgbouncer, "pgbouncer", "pgbouncer", "/usr/sbin/pgbouncer")
			if err != nil {
				return nil, err
			}
			pgbouncer = func(ctx context.Context, o contender.Options) (*contender.Contender, error) {
				return contender.StartPgBouncer(ctx, path, b.servers, o)
			}
			return b.startPooler(ctx, contender.PgBouncer, path, pgbouncer)
		},
		func() (*contender.Contender, error) {
			path, err := contender.Find(b.opts.redis, "redis-server", "redis-server")
			if err != nil {
				return nil, err
			}
			return b.startCache(ctx, contender.Redis, path, func(ctx context.Context, _ contender.Options) (*contender.Contender, error) {
				return contender.StartRedis(ctx, path, b.dir)
			})
		},
		func() (*contender.Contender, error) {
			path, err := contender.Find(b.opts.memcached, "memcached", "memcached")
			if err != nil {
				return nil, err
			}
			return b.startCache(ctx, contender.Memcached, path, func(ctx context.Context, o contender.Options) (*contender.Contender, error) {
				return contender.StartMemcached(ctx, path, b.dir, o)
			})
		},
		func() (*contender.Contender, error) {
			b.clusters = append(b.clusters, pooler(contender.Outrigger, program, outriggerCache), b.olric())
			return b.startCache(ctx, contender.Outrigger, program, outriggerCache)
		},
		func() (*contender.Contender, error) {
			return b.startPooler(ctx, contender.Outrigger, program, outrigger)
		},
		func() (*contender.Contender, error) {
			const off = "OUTRIGGER_BATCHING=off"
			if !contender.Heeds(ctx, program, off) {
				b.leaveOut(contender.Unbatched + ": this outrigger has no setting batching")
				return nil, nil
			}
			return outrigger(ctx, contender.Options{Name: contender.Unbatched, Env: []string{off}})
		},
	}, another(load.SmallPool), another(load.Logins), more)
}

// startPooler starts one for the rounds; the scenarios will start more.
func (b *bench) startPooler(ctx context.Context, name, program string, start starter) (*contender.Contender, error) {
	b.poolers = append(b.poolers, pooler(name, program, start))
	return start(ctx, contender.Options{})
}

// startCache does the same with a cache.
func (b *bench) startCache(ctx context.Context, name, program string, start starter) (*contender.Contender, error) {
	b.caches = append(b.caches, pooler(name, program, start))
	return start(ctx, contender.Options{})
}

// olric is built when it is first needed: most runs do without.
func (b *bench) olric() scenario.Pooler {
	var program string
	return pooler(contender.Olric, "", func(ctx context.Context, o contender.Options) (*contender.Contender, error) {
		if program == "" {
			b.say("building %s", contender.Olric)
			var err error
			if program, err = contender.BuildOlric(ctx, b.tree.root, b.dir); err != nil {
				return nil, err
			}
		}
		return contender.StartOlric(ctx, program, b.dir, o)
	})
}

type starter = func(context.Context, contender.Options) (*contender.Contender, error)

// pooler is what scenarios start as often as they like.
func pooler(name, program string, start starter) scenario.Pooler {
	return scenario.Pooler{Name: name, Program: program, Start: func(ctx context.Context, o contender.Options) (scenario.Process, error) {
		c, err := start(ctx, o)
		if err != nil {
			return nil, err // not a nil contender in the interface
		}
		return c, nil
	}}
}

// takes tells whether a contender runs a workload. One without batches, or on more loops, is there for those that say so.
func takes(c *contender.Contender, w load.Workload) bool {
	return c.Addr(w.Service) != "" && c.Cannot(w) == "" && (c.Name != contender.Unbatched || w.Unbatched) &&
		(w.Service != load.Cache || w.Loops || c.Loops <= 1)
}
