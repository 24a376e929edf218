package scenario

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake stands for a pooler: PostgreSQL itself, and a memory that grows by a step each time that it is read.
type fake struct {
	addr    string
	step    int64
	memory  atomic.Int64
	stopped atomic.Int32
}

func (f *fake) Addr(load.Service) string { return f.addr }
func (f *fake) Memory() (int64, error)   { return f.memory.Add(f.step), nil }
func (f *fake) CPU() (time.Duration, error) {
	return time.Duration(f.memory.Add(f.step)) * time.Millisecond, nil
}
func (f *fake) Ready() time.Duration { return 7 * time.Millisecond }
func (f *fake) Log() string          { return "fake log" }
func (f *fake) Stop()                { f.stopped.Add(1) }

func (f *fake) pooler(t *testing.T) Pooler {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, make([]byte, 3_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	return Pooler{Name: "fake", Program: program, Start: func(context.Context, contender.Options) (Process, error) { return f, nil }}
}

func TestScenarios(t *testing.T) {
	servers, err := devpg.Start(t.Context(), devpg.Options{Auth: "scram-sha-256", Password: contender.Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := servers.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := servers.Pgbench(t.Context(), "-i", "-q", "-s", "1"); err != nil {
		t.Fatal(err)
	}
	pgbench := load.Pgbench{Program: filepath.Join(servers.BinDir(), "pgbench"), User: devpg.User, Password: contender.Password, Database: devpg.Database}
	sizes := Sizes{Few: 10, Idle: 20, Held: 30, Settle: time.Millisecond, Starts: 3, Logins: 40, Calm: time.Second, Probe: 4,
		Slow: 200 * time.Millisecond, Waiting: 4 << 20, Copied: 4 << 20,
		Asking: 4, Open: 200 * time.Millisecond, Requests: 100, Sustained: 500 * time.Millisecond, Rows: 100_000}

	for _, s := range All(sizes, servers, pgbench) {
		t.Run(s.Name, func(t *testing.T) {
			f := &fake{addr: servers.Addr(0), step: 20 << 10}
			readings, raw := s.Run(t.Context(), f.pooler(t), 2)
			if len(readings) != len(s.Figures) {
				t.Errorf("%d readings of %d figures", len(readings), len(s.Figures))
			}
			for _, r := range readings {
				if s.Name == "storm" && strings.Contains(r.Err, "too few") {
					t.Skip("the machine was too slow for pgbench's rate") // which is the benchmark's, not the test's
				}
				if r.Err != "" || r.Contender != "fake" || r.Round != 2 || r.Value < 0 {
					t.Errorf("%+v\n%s", r, raw)
				}
				want, ok := map[string]float64{
					"size of the program":                                        3,
					"start to the first answer":                                  7,
					"resident memory after the start":                            2 * 20. / 1024, // the second of three
					"resident memory for each of 10 idle clients":                2 * (20 << 10) / 10,
					"resident memory for each of 20 idle clients":                4 * (20 << 10) / 20,
					"errors of 30 clients that connect, ask, hold and ask again": 0,
					"storm of 40 SCRAM logins: failed logins":                    0,
					"30 clients, 100 requests/s for 500ms: failed":               0,
				}[r.Figure]
				if ok && math.Abs(r.Value-want) > 1e-9 {
					t.Errorf("%s: %v, want %v", r.Figure, r.Value, want)
				}
				if strings.HasPrefix(r.Figure, "growth") && r.Value <= 0 {
					t.Errorf("%s: %v, although the memory grew", r.Figure, r.Value)
				}
			}
			if f.stopped.Load() == 0 {
				t.Error("the process was left running")
			}
		})
	}
}

// A pooler that fails fails every figure, with the reason; clients that fail are a number.
func TestFailures(t *testing.T) {
	gone := &fake{addr: "127.0.0.1:1", step: 1}
	for _, s := range []Scenario{crowd(Sizes{Few: 2, Idle: 3, Held: 4}), slowReader(Sizes{Waiting: 1 << 20})} {
		readings, raw := s.Run(t.Context(), gone.pooler(t), 1)
		for _, r := range readings {
			switch {
			case r.Figure == "errors of 4 clients that connect, ask, hold and ask again":
				if r.Err != "" || r.Value != 4 || !strings.Contains(raw, "refused") {
					t.Errorf("%+v, raw %q", r, raw)
				}
			case s.Name == "slow reader" && (!strings.Contains(r.Err, "refused") || !strings.Contains(r.Err, "fake log")):
				t.Errorf("%+v", r)
			}
		}
	}
	broken := Pooler{Name: "broken", Program: os.Args[0], Start: func(context.Context, contender.Options) (Process, error) {
		return nil, errors.New("no such setting")
	}}
	readings, _ := start(Sizes{Starts: 1}).Run(t.Context(), broken, 1)
	for _, r := range readings {
		if r.Err != "no such setting" {
			t.Errorf("%+v", r)
		}
	}
	silent := Scenario{Name: "silent", Figures: []report.Figure{{Name: "f"}}, run: func(context.Context, Pooler, *Values) error { return nil }}
	if readings, _ := silent.Run(t.Context(), broken, 1); len(readings) != 1 || readings[0].Err == "" {
		t.Errorf("a figure without a number: %+v", readings)
	}
}

// A cache that is filled, and one that is read while it is written; redis-server collects nothing.
func TestCaches(t *testing.T) {
	f := &fake{addr: redistest.Start(t), step: 20 << 10}
	sizes := Sizes{Stored: 1000, Settle: time.Millisecond, Heap: 1 << 20, Collected: 200 * time.Millisecond}
	for _, s := range Caches(sizes) {
		readings, raw := s.Run(t.Context(), f.pooler(t), 1)
		if len(readings) != len(s.Figures) || !s.Cache {
			t.Errorf("%s: %+v", s.Name, readings)
		}
		for _, r := range readings {
			want, ok := map[string]float64{
				"resident memory with 1000 keys of 20 bytes and values of 100":                                         3 * 20. / 1024,
				"resident memory with 1000 keys of 20 bytes and values of 100: growth for each, besides its 120 bytes": 2*20*1.024 - 120,
				"reads while 0.0 GiB of strings are collected: collections":                                            0,
			}[r.Figure]
			if r.Err != "" || ok && math.Abs(r.Value-want) > 1e-9 {
				t.Errorf("%+v, want %v\n%s", r, want, raw)
			}
		}
	}
	if all := Caches(Sizes{}); len(all) != 1 {
		t.Errorf("%d scenarios, although no heap was asked for", len(all))
	}
	gone := &fake{addr: "127.0.0.1:1"}
	for _, s := range Caches(sizes) {
		for _, r := range first(s.Run(t.Context(), gone.pooler(t), 1)) {
			if !strings.Contains(r.Err, "refused") {
				t.Errorf("%+v", r)
			}
		}
	}
}

// A cluster of which all nodes are the same redis-server.
func TestClusters(t *testing.T) {
	f := &fake{addr: redistest.Start(t), step: 10}
	for _, s := range Clusters(Sizes{Shared: 100 * time.Millisecond, SharedKeys: 1000}) {
		stopped := f.stopped.Load()
		readings, raw := s.Run(t.Context(), f.pooler(t), 1)
		if len(readings) != len(s.Figures) || !s.Cluster {
			t.Errorf("%s: %+v", s.Name, readings)
		}
		for _, r := range readings {
			if r.Err != "" || r.Value <= 0 {
				t.Errorf("%+v\n%s", r, raw)
			}
		}
		if n := f.stopped.Load() - stopped; n != nodes && n != 2*nodes {
			t.Errorf("%s: %d nodes were stopped", s.Name, n)
		}
	}
}

func TestTagsOf(t *testing.T) {
	for _, tag := range tagsOf(1) {
		for _, other := range tagsOf(2) {
			if tag == other || len(tag) != 4 {
				t.Fatalf("tag %q is owned by both nodes", tag)
			}
		}
	}
}

func TestTraced(t *testing.T) {
	got := traced("started\ngc 1 @0.1s 2%: …\nlevel=INFO msg=\"gc 5\"\ngc 2 @3s 1%: …")
	if len(got) != 2 || !strings.HasPrefix(got[1], "gc 2 ") {
		t.Errorf("%q", got)
	}
}

func first[A, B any](a A, _ B) A { return a }
