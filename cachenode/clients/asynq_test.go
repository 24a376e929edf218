package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// quiet is a log for asynq that keeps nothing.
type quiet struct{}

func (quiet) Debug(...any)         {}
func (quiet) Info(...any)          {}
func (quiet) Warn(...any)          {}
func (quiet) Error(...any)         {}
func (quiet) Fatal(message ...any) { panic(fmt.Sprint(message...)) }

// jobs is a queue with its workers in one server.
type jobs struct {
	t         *testing.T
	servers   []asynq.RedisClientOpt // where the next worker connects, in turn
	client    *asynq.Client
	inspector *asynq.Inspector
	raw       *redis.Client

	mu   sync.Mutex
	done map[string]int // how often a task was begun, by its payload
}

func newJobs(t *testing.T) *jobs {
	t.Parallel()
	return newJobsOn(t, start(t))
}

// newJobsOn has the jobs added through the first server.
func newJobsOn(t *testing.T, servers ...server) *jobs {
	t.Helper()
	j := &jobs{t: t, raw: servers[0].client(t, 3), done: map[string]int{}}
	for _, s := range servers {
		j.servers = append(j.servers, asynq.RedisClientOpt{Addr: s.addr, DialTimeout: patience, ReadTimeout: patience})
	}
	j.client, j.inspector = asynq.NewClient(j.servers[0]), asynq.NewInspector(j.servers[0])
	t.Cleanup(func() { _ = j.client.Close(); _ = j.inspector.Close() })
	return j
}

// redis is where the next worker connects.
func (j *jobs) redis() asynq.RedisClientOpt {
	j.servers = append(j.servers[1:], j.servers[0])
	return j.servers[0]
}

// work runs a server with workers until the test ends.
func (j *jobs) work(handle func(task *asynq.Task, times int) error) {
	j.t.Helper()
	server := asynq.NewServer(j.redis(), asynq.Config{
		Concurrency: 4, Logger: quiet{}, TaskCheckInterval: 200 * time.Millisecond, DelayedTaskCheckInterval: 50 * time.Millisecond,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }, ShutdownTimeout: 5 * time.Second,
	})
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		j.mu.Lock()
		j.done[string(task.Payload())]++
		times := j.done[string(task.Payload())]
		j.mu.Unlock()
		return handle(task, times)
	}))
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(server.Shutdown)
}

func (j *jobs) enqueue(payload string, options ...asynq.Option) *asynq.TaskInfo {
	j.t.Helper()
	info, err := j.client.Enqueue(asynq.NewTask("job", []byte(payload)), options...)
	if err != nil {
		j.t.Fatal(err)
	}
	return info
}

// times tells how often a task was begun.
func (j *jobs) times(payload string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done[payload]
}

func succeed(*asynq.Task, int) error { return nil }

func TestAsynqSeveralServers(t *testing.T) {
	j := newJobs(t)
	j.checkAllDone()
}

// Added through one node, done through all.
func TestAsynqOnACluster(t *testing.T) {
	t.Parallel()
	servers := startColocating(t, "asynq:")
	j := newJobsOn(t, servers...)
	j.checkAllDone()
	j.enqueue("late", asynq.ProcessIn(time.Second))
	if _, err := j.client.Enqueue(asynq.NewTask("job", []byte("late")), asynq.Unique(time.Hour), asynq.TaskID("once")); err != nil {
		t.Error(err)
	}
	eventually(t, "the late ones", func() bool { return j.times("late") == 2 })
	neverCrossed(t, servers)
}

// checkAllDone adds jobs, and has three servers do each of them once.
func (j *jobs) checkAllDone() {
	t := j.t
	t.Helper()
	const count = 100
	for range 3 {
		j.work(succeed)
	}
	for i := range count {
		j.enqueue(strconv.Itoa(i), asynq.Retention(time.Hour))
	}
	eventually(t, "all are done", func() bool {
		info, err := j.inspector.GetQueueInfo("default")
		return err == nil && info.Completed == count
	})
	for i := range count {
		if n := j.times(strconv.Itoa(i)); n != 1 {
			t.Errorf("task %d was done %d times", i, n)
		}
	}
	if servers, err := j.inspector.Servers(); err != nil || len(servers) != 3 {
		t.Errorf("%d servers, %v", len(servers), err)
	}
	if tasks, err := j.inspector.ListCompletedTasks("default", asynq.PageSize(200)); err != nil || len(tasks) != count {
		t.Errorf("%d tasks are kept, %v", len(tasks), err)
	}
}

func TestAsynqDelayAndRetry(t *testing.T) {
	j := newJobs(t)
	due := time.Now().Add(2 * time.Second).Truncate(time.Second) // asynq counts in whole seconds
	j.enqueue("late", asynq.ProcessIn(2*time.Second))
	j.enqueue("twice", asynq.MaxRetry(3))
	j.enqueue("hopeless", asynq.MaxRetry(1))
	j.enqueue("skipped", asynq.MaxRetry(5))
	late := make(chan time.Time, 1)
	j.work(func(task *asynq.Task, times int) error {
		switch string(task.Payload()) {
		case "late":
			late <- time.Now()
		case "twice":
			if times < 3 {
				return errors.New("not yet")
			}
		case "hopeless":
			return errors.New("never")
		case "skipped":
			return fmt.Errorf("no use: %w", asynq.SkipRetry)
		}
		return nil
	})
	eventually(t, "all are done", func() bool {
		info, err := j.inspector.GetQueueInfo("default")
		return err == nil && info.Archived == 2 && info.Pending+info.Active+info.Scheduled+info.Retry == 0
	})
	for payload, want := range map[string]int{"late": 1, "twice": 3, "hopeless": 2, "skipped": 1} {
		if n := j.times(payload); n != want {
			t.Errorf("%s was tried %d times, want %d", payload, n, want)
		}
	}
	if at := <-late; at.Before(due) {
		t.Errorf("the late task was done at %v, and was due at %v", at, due)
	}
	if n, err := j.inspector.RunAllArchivedTasks("default"); err != nil || n != 2 {
		t.Errorf("run again: %d, %v", n, err)
	}
	eventually(t, "they are tried again", func() bool { return j.times("hopeless") == 3 && j.times("skipped") == 2 })
}

func TestAsynqUniqueAndPeriodic(t *testing.T) {
	j := newJobs(t)
	j.enqueue("once", asynq.Unique(time.Hour))
	if _, err := j.client.Enqueue(asynq.NewTask("job", []byte("once")), asynq.Unique(time.Hour)); !errors.Is(err, asynq.ErrDuplicateTask) {
		t.Errorf("a duplicate: %v", err)
	}
	j.enqueue("named", asynq.TaskID("name"))
	if _, err := j.client.Enqueue(asynq.NewTask("job", nil), asynq.TaskID("name")); !errors.Is(err, asynq.ErrTaskIDConflict) {
		t.Errorf("a name that is taken: %v", err)
	}
	scheduler := asynq.NewScheduler(j.redis(), &asynq.SchedulerOpts{Logger: quiet{}})
	if _, err := scheduler.Register("@every 1s", asynq.NewTask("job", []byte("tick"))); err != nil {
		t.Fatal(err)
	}
	if err := scheduler.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(scheduler.Shutdown)
	if err := j.inspector.PauseQueue("default"); err != nil {
		t.Error(err)
	}
	j.work(succeed)
	eventually(t, "a tick waits", func() bool {
		info, err := j.inspector.GetQueueInfo("default")
		return err == nil && info.Paused && info.Pending >= 3
	})
	if n := j.times("once"); n != 0 {
		t.Error("a paused queue was worked on")
	}
	if err := j.inspector.UnpauseQueue("default"); err != nil {
		t.Error(err)
	}
	eventually(t, "two ticks", func() bool { return j.times("tick") >= 2 && j.times("once") == 1 })
	j.enqueue("once", asynq.Unique(time.Hour)) // it is done, so it may come again
}

// What a server had begun when it died is done by another, once its lease is over.
func TestAsynqDeadServer(t *testing.T) {
	j := newJobs(t)
	ctx := t.Context()
	info := j.enqueue("orphan")
	// A server takes it and dies: this is what it leaves behind.
	const list, active, lease = "asynq:{default}:pending", "asynq:{default}:active", "asynq:{default}:lease"
	want(t, info.ID)(j.raw.LMove(ctx, list, active, "RIGHT", "LEFT").Result())
	_, err := j.raw.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.HSet(ctx, "asynq:{default}:t:"+info.ID, "state", "active")
		tx.ZAdd(ctx, lease, redis.Z{Score: float64(time.Now().Add(-time.Hour).Unix()), Member: info.ID})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	j.work(succeed)
	eventually(t, "another does it", func() bool { return j.times("orphan") == 1 })
	eventually(t, "nothing is left", func() bool {
		info, err := j.inspector.GetQueueInfo("default")
		return err == nil && info.Size == 0
	})
}

// Tasks that are gathered and handed over as one, and a word to a worker in the middle of its work.
func TestAsynqGroupsAndCancel(t *testing.T) {
	j := newJobs(t)
	begun := make(chan string, 1)
	cancelled := make(chan error, 1)
	server := asynq.NewServer(j.redis(), asynq.Config{
		Concurrency: 4, Logger: quiet{}, TaskCheckInterval: 200 * time.Millisecond, GroupMaxSize: 3, GroupGracePeriod: time.Minute, ShutdownTimeout: 5 * time.Second,
		GroupAggregator: asynq.GroupAggregatorFunc(func(_ string, tasks []*asynq.Task) *asynq.Task {
			var all []string
			for _, task := range tasks {
				all = append(all, string(task.Payload()))
			}
			payload, _ := json.Marshal(all)
			return asynq.NewTask("gathered", payload)
		}),
	})
	gathered := make(chan int, 10)
	mux := asynq.NewServeMux()
	mux.HandleFunc("gathered", func(_ context.Context, task *asynq.Task) error {
		var all []string
		err := json.Unmarshal(task.Payload(), &all)
		gathered <- len(all)
		return err
	})
	mux.HandleFunc("job", func(ctx context.Context, _ *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		begun <- id
		<-ctx.Done()
		cancelled <- ctx.Err()
		return nil
	})
	if err := server.Start(mux); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	for i := range 3 {
		j.enqueue(strconv.Itoa(i), asynq.Group("g"))
	}
	j.enqueue("long", asynq.MaxRetry(0), asynq.Timeout(time.Minute))
	if err := j.inspector.CancelProcessing(<-begun); err != nil {
		t.Error(err)
	}
	for range 2 {
		select {
		case err := <-cancelled:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled with %v", err)
			}
		case n := <-gathered:
			if n != 3 {
				t.Errorf("gathered %d", n)
			}
		case <-time.After(patience):
			t.Fatal("neither gathered nor cancelled")
		}
	}
}
