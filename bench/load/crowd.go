package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
)

// Crowd is many clients that stay connected. Its methods are for one goroutine.
type Crowd struct {
	addr        string
	credentials *auth.Credentials
	clients     []*Client
}

// crowdLimit bounds what one client of a crowd may wait for a login or an answer.
const crowdLimit = 60 * time.Second

// NewCrowd makes a crowd of nobody.
func NewCrowd(addr string, credentials *auth.Credentials) *Crowd {
	return &Crowd{addr: addr, credentials: credentials}
}

// Join connects n more clients, at most atOnce at a time, and runs sql on each, unless it is empty. It returns how many
// did not get that far, with the first reason; those are not part of the crowd.
func (c *Crowd) Join(ctx context.Context, n, atOnce int, sql string) (failed int, err error) {
	joined := make([]*Client, n)
	failed, err = each(ctx, n, atOnce, func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, crowdLimit)
		defer cancel()
		client, err := Connect(ctx, c.addr, c.credentials)
		if err == nil && sql != "" {
			if err = client.Query(sql, crowdLimit); err != nil {
				client.Close()
			}
		}
		if err != nil {
			return err
		}
		joined[i] = client
		return nil
	})
	for _, client := range joined {
		if client != nil {
			c.clients = append(c.clients, client)
		}
	}
	return failed, err
}

// Query runs sql on every client, at most atOnce at a time, and returns how many failed, with the first reason.
func (c *Crowd) Query(ctx context.Context, atOnce int, sql string) (failed int, err error) {
	return each(ctx, len(c.clients), atOnce, func(i int) error { return c.clients[i].Query(sql, crowdLimit) })
}

// Len is how many are connected.
func (c *Crowd) Len() int { return len(c.clients) }

// Close ends all sessions.
func (c *Crowd) Close() {
	for _, client := range c.clients {
		client.Close()
	}
	c.clients = nil
}

// each calls f for 0..n-1 in atOnce goroutines and waits for them; when ctx is done, the rest fails.
func each(ctx context.Context, n, atOnce int, f func(i int) error) (failed int, first error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan int)
	for range min(n, atOnce) {
		all.Go(func() {
			for i := range next {
				err := context.Cause(ctx)
				if err == nil {
					err = f(i)
				}
				if err != nil {
					mu.Lock()
					if failed++; first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	if failed > 0 {
		first = errors.Join(fmt.Errorf("%d of %d clients failed", failed, n), first)
	}
	return failed, first
}
