package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// writer writes through one node and remembers what was acknowledged: keys that are written once, and one that is
// written over and over. Fields are the writer's goroutine's until load.stop.
type writer struct {
	name   string
	client *redis.Client
	// strict: this client may see no error and no missing key. Others stop at the first: their node is gone.
	strict bool

	acked     []string // keys; the value is the key
	counted   int64    // the last acknowledged value of the counter
	tried     int64    // increments, acknowledged or not
	firstFail error
	failures  int
}

// load is writers at work.
type load struct {
	writers []*writer
	acked   atomic.Int64 // writes, for pacing the test
	lost    atomic.Bool  // a writer has found that something is missing, and said so
	over    chan struct{}
	end     func() // closes over, once
	working sync.WaitGroup
}

// most bounds what a writer has to remember and the test to read back.
const most = 4000

func startLoad(t *testing.T, writers ...*writer) *load {
	l := &load{writers: writers, over: make(chan struct{})}
	l.end = sync.OnceFunc(func() { close(l.over) })
	t.Cleanup(l.stop)
	for _, w := range writers {
		l.working.Go(func() { w.run(t, l) })
	}
	return l
}

// progress waits until n more writes are acknowledged.
func (l *load) progress(t *testing.T, n int64) {
	t.Helper()
	goal := l.acked.Load() + n
	eventually(t, "writes go on", func() error {
		if got := l.acked.Load(); got < goal && !l.lost.Load() {
			return fmt.Errorf("%d of %d", got, goal)
		}
		return nil
	})
}

func (l *load) stop() {
	l.end()
	l.working.Wait()
}

func (w *writer) run(t *testing.T, l *load) {
	ctx := t.Context()
	for i := 0; ; i++ {
		select {
		case <-l.over:
			return
		default:
		}
		if len(w.acked) < most {
			key := w.name + ":" + strconv.Itoa(i)
			if err := w.client.Set(ctx, key, key, 0).Err(); !w.failed(err) {
				w.acked = append(w.acked, key)
				l.acked.Add(1)
			}
		}
		w.tried++
		if n, err := w.client.Incr(ctx, w.name+":counter").Result(); !w.failed(err) {
			if n <= w.counted {
				w.failed(fmt.Errorf("the counter went from %d to %d", w.counted, n))
			}
			w.counted = n
			l.acked.Add(1)
		}
		// What was acknowledged is there, also in the middle of a change.
		if len(w.acked) > 0 {
			key := w.acked[(i*7919)%len(w.acked)]
			if got, err := w.client.Get(ctx, key).Result(); errors.Is(err, redis.Nil) || err == nil && got != key {
				t.Errorf("%s: %s is %q, %v", w.name, key, got, err)
				l.lost.Store(true)
				return
			} else {
				w.failed(err)
			}
		}
		if w.failures > 0 && !w.strict {
			select { // a crash takes a moment to notice: not a reason to hammer
			case <-time.After(5 * time.Millisecond):
			case <-l.over:
				return
			}
		}
	}
}

// failed notes an error.
func (w *writer) failed(err error) bool {
	if err == nil {
		return false
	}
	w.failures++
	if w.firstFail == nil {
		w.firstFail = err
	}
	return true
}

// verify reads everything acknowledged back through a node. An error is a moment's; what is missing or old is a loss.
func (l *load) verify(t *testing.T, through *redis.Client, when string) {
	t.Helper()
	total := 0
	var lost []string
	for _, w := range l.writers {
		total += len(w.acked)
		if w.strict && w.failures > 0 {
			t.Errorf("%s: the client %s of a node that stayed saw %d errors, first %v", when, w.name, w.failures, w.firstFail)
		}
		for begin := 0; begin < len(w.acked); begin += 500 {
			keys := w.acked[begin:min(begin+500, len(w.acked))]
			eventually(t, when, func() error {
				values, err := through.MGet(t.Context(), keys...).Result()
				if err != nil {
					return err
				}
				for i, v := range values {
					if v != keys[i] {
						lost = append(lost, fmt.Sprintf("%s=%v", keys[i], v))
					}
				}
				return nil
			})
		}
		eventually(t, when, func() error {
			n, err := through.Get(t.Context(), w.name+":counter").Int64()
			if err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			if n < w.counted || n > w.tried {
				t.Errorf("%s: %s was told %d after %d increments, now the counter is %d", when, w.name, w.counted, w.tried, n)
			}
			return nil
		})
	}
	if len(lost) > 0 {
		t.Errorf("%s: %d of %d acknowledged keys are lost or wrong: %s", when, len(lost), total, lost[:min(len(lost), 20)])
	}
	if total < 500 {
		t.Errorf("%s: only %d keys were acknowledged: that proves nothing", when, total)
	}
}

// kill -9 of a node of `outrigger dev` under load: the others hold all that was acknowledged, and dev cleans up after it.
func TestKilledNodeLosesNothing(t *testing.T) {
	t.Parallel()
	env := newEnvironment(t, "--nodes=3", "--replicas=0", "--scale=0")
	urls, https, pids := env.each("OUTRIGGER_NODES_REDIS_URLS"), env.each("OUTRIGGER_NODES_HTTP_URLS"), env.each("OUTRIGGER_NODES_PIDS")
	var clients []*redis.Client
	var writers []*writer
	for i, url := range urls {
		clients = append(clients, cacheClient(t, url))
		for _, half := range []string{"a", "b"} {
			writers = append(writers, &writer{name: "node" + strconv.Itoa(i) + half, client: clients[i]})
		}
	}
	l := startLoad(t, writers...)
	l.progress(t, 2000)
	const victim = 1
	if err := syscall.Kill(number(t, pids[victim]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	survivors := []int{0, 2}
	for _, n := range survivors {
		eventually(t, "the others notice", func() error { return settled(https[n], 2) })
	}
	l.progress(t, 1000)
	l.stop()
	for _, n := range survivors {
		l.verify(t, clients[n], "after a node was killed")
	}
	if err := env.stop(); err != nil {
		t.Error(err)
	}
}

// A node that is asked to leave hands over what it has, and one that comes gets its share, while clients of the nodes that
// stay see neither an error nor a key missing.
func TestPlannedChangesAreNotSeen(t *testing.T) {
	t.Parallel()
	first := serve(t, "first", nil)
	stay := serve(t, "stay", nil, "--join="+first.gossip)
	leave := serve(t, "leave", nil, "--join="+first.gossip)
	for _, s := range []*sidecar{first, stay, leave} {
		s.ready(t, 3)
	}
	staying := []*redis.Client{cacheClient(t, first.cache), cacheClient(t, stay.cache)}
	leaving := startLoad(t,
		&writer{name: "leaving/first", client: staying[0], strict: true},
		&writer{name: "leaving/stay", client: staying[1], strict: true},
		&writer{name: "leaving/leave", client: cacheClient(t, leave.cache)})
	leaving.progress(t, 2000)
	leave.signal(t, syscall.SIGTERM)
	leave.exit(t, 0, 40*time.Second)
	first.ready(t, 2)
	stay.ready(t, 2)
	leaving.progress(t, 500)
	leaving.stop()
	for _, c := range staying {
		leaving.verify(t, c, "after a node has left")
	}

	joining := startLoad(t,
		&writer{name: "joining/first", client: staying[0], strict: true},
		&writer{name: "joining/stay", client: staying[1], strict: true})
	joining.progress(t, 500)
	again := serve(t, "again", nil, "--join="+stay.gossip)
	for _, s := range []*sidecar{first, stay, again} {
		s.ready(t, 3)
	}
	joining.progress(t, 500)
	joining.stop()
	for _, c := range append(staying, cacheClient(t, again.cache)) {
		leaving.verify(t, c, "after a node has joined")
		joining.verify(t, c, "after a node has joined")
	}

	// One after the other, to the last: it holds everything.
	for i, s := range []*sidecar{first, again} {
		s.signal(t, syscall.SIGTERM)
		s.exit(t, 0, 40*time.Second)
		stay.ready(t, 2-i)
	}
	leaving.verify(t, staying[1], "on the last node")
	joining.verify(t, staying[1], "on the last node")
	stay.signal(t, syscall.SIGINT)
	stay.exit(t, 0, 10*time.Second)
}
