package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name  string
		env   map[string]string
		args  []string
		quick bool
		err   string
	}{
		{name: "full by default"},
		{name: "QUICK=1", env: map[string]string{"QUICK": "1"}, quick: true},
		{name: "QUICK=0", env: map[string]string{"QUICK": "0"}},
		{name: "flag over environment", env: map[string]string{"QUICK": "1"}, args: []string{"-quick=false"}},
		{name: "flag", args: []string{"-quick"}, quick: true},
		{name: "bad limit", args: []string{"-limit", "long"}, err: "-limit"},
		{name: "bad pattern", args: []string{"-only", "("}, err: "-only"},
		{name: "argument", args: []string{"fast"}, err: `"fast"`},
		{name: "unknown flag", args: []string{"-fast"}, err: "-fast"},
	} {
		var said strings.Builder
		o, err := parseOptions(tt.args, func(name string) string { return tt.env[name] }, &said)
		if (err == nil) != (tt.err == "") || !strings.Contains(said.String(), tt.err) {
			t.Errorf("%s: %v, said %q", tt.name, err, said.String())
		}
		if err == nil && o.quick != tt.quick {
			t.Errorf("%s: quick is %v", tt.name, o.quick)
		}
	}
	var said strings.Builder
	if code := run(t.Context(), []string{"-nonsense"}, func(string) string { return "" }, &said, &said); code != 2 {
		t.Errorf("wrong usage gives exit code %d", code)
	}
}

func TestPlansEndInTime(t *testing.T) {
	for quick, promised := range map[bool]time.Duration{true: 3*time.Minute + 30*time.Second, false: 45 * time.Minute} {
		if p := (options{quick: quick}).plan(); p.limit >= promised || p.rounds < 3 {
			t.Errorf("quick=%v: %+v", quick, p)
		}
	}
}

func TestLimit(t *testing.T) {
	if p := (options{limit: time.Minute}).plan(); p.limit != time.Minute {
		t.Errorf("the limit is %v", p.limit)
	}
}

// What a quick run takes must be there, each of it.
func TestQuickWorkloads(t *testing.T) {
	quick := options{quick: true}.plan()
	all := append(load.PoolerWorkloads(load.Pgbench{}, quick.clients), load.CacheWorkloads(load.RedisBenchmark{Clients: 50}, 1)...)
	var names []string
	for _, w := range all {
		if quick.workloads.MatchString(w.Name) {
			names = append(names, w.Name)
		}
		if !(options{}).plan().workloads.MatchString(w.Name) {
			t.Errorf("%s is not in a full run", w.Name)
		}
	}
	if len(names) != 11 {
		t.Errorf("%d workloads: %s", len(names), strings.Join(names, ", "))
	}
}

func TestTurn(t *testing.T) {
	all := []string{"a", "b", "c"}
	var first []string
	for round := 1; round <= 4; round++ {
		now := turn(all, round)
		first = append(first, now[0])
		slices.Sort(now)
		if !slices.Equal(now, all) {
			t.Errorf("round %d has %v", round, now)
		}
	}
	if !slices.Equal(first, []string{"a", "b", "c", "a"}) {
		t.Errorf("first ones: %v", first)
	}
}

func TestWarmUps(t *testing.T) {
	all := append(load.PoolerWorkloads(load.Pgbench{}, []int{1, 64}), load.CacheWorkloads(load.RedisBenchmark{Clients: 50}, 1)...)
	for most, want := range map[int]string{64: "select simple clients=64", 63: "select simple clients=1", 0: ""} {
		var names []string
		for _, w := range warmUps(all, contender.OfDirect("127.0.0.1:5432", "PostgreSQL", most)) {
			names = append(names, w.Name)
		}
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("of up to %d clients: %s, want %s", most, got, want)
		}
	}
}

// One without batches is there for the workloads that must not become worse by them.
func TestTakes(t *testing.T) {
	c := contender.OfDirect("127.0.0.1:5432", "", 16)
	plain, asked := load.Workload{Service: load.Pooler, Clients: 16}, load.Workload{Service: load.Pooler, Clients: 16, Unbatched: true}
	if !takes(c, plain) || !takes(c, asked) || takes(c, load.Workload{Service: load.Pooler, Clients: 17}) || takes(c, load.Workload{Service: load.Cache}) {
		t.Error("it takes what it can and serves, and nothing else")
	}
	if c.Loops = 2; !takes(c, plain) { // of which there are none
		t.Error("loops are of the cache")
	}
	c.Loops = 0
	if c.Name = contender.Unbatched; takes(c, plain) || !takes(c, asked) {
		t.Error("it takes what asks for it")
	}
}

// Targets are for a metric and a bound of the kind of workload and its number of clients; who is not there cannot.
func TestTargets(t *testing.T) {
	b := &bench{workloads: append(load.PoolerWorkloads(load.Pgbench{}, []int{1, 16, 64, 256, 1000, 5000}), load.CacheWorkloads(load.RedisBenchmark{}, 1)...)}
	count := map[string]int{}
	for _, target := range b.targets() {
		count[fmt.Sprintf("%s %s %.2f", target.Against, target.Metric, target.Bound)]++
		if target.Cannot == (target.Of != "") {
			t.Errorf("%+v", target)
		}
	}
	const large, small = 9, 6 // of 64 to 1,000 clients in three modes; of 64 and 256 on four servers
	want := map[string]int{
		"pgbouncer added latency 1.00": 4, "pgbouncer cpu 1.00": 4 + 2, "pgbouncer rate 1.00": 4,
		"pgbouncer rate 1.05": 2, "pgbouncer p99 1.00": 2, // TPC-B of 64 and 256
		"pgbouncer rate 1.90": large + small, "pgbouncer cpu 0.55": large + small, "pgbouncer p99 0.70": large + small, "pgbouncer postgres 1.00": large + small,
		"unbatched rate 0.98": 6 + 4 + 1, "unbatched cpu 1.02": 6,
		"outrigger rate 0.95": small,
		// Of the cache: strings without and with pipelining, by redis-benchmark and our own loop; that loop at two rates; other types.
		"redis-server rate 1.00": 4 + 4, "redis-server cpu 1.00": 4 + 1, "redis-server rate 1.40": 4, "redis-server cpu 0.75": 4 + 1, "redis-server p99 1.00": 8 + 2,
	}
	if !maps.Equal(count, want) {
		t.Errorf("%v, want %v", count, want)
	}
}

func TestKeep(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	page := &report.Page{Title: "Title"}
	clean := tree{root: t.TempDir(), commit: "0123abc"}
	changed := tree{root: clean.root, commit: "0123abc-dirty", changed: true}
	for _, tt := range []struct {
		tree tree
		want string
	}{
		{clean, "2026-01-02-0123abc"},
		{clean, "2026-01-02-0123abc-2"}, // nothing is overwritten
		{clean, "2026-01-02-0123abc-3"},
		{changed, "scratch/2026-01-02-0123abc-dirty"},
	} {
		dir, err := keep(tt.tree, begin, page, "raw output")
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(clean.root, "bench", "results", tt.want); dir != want {
			t.Errorf("kept in %s, want %s", dir, want)
		}
		for file, want := range map[string]string{"report.md": "# Title\n", "runs.csv": "round,workload", "figures.csv": "round,figure", "raw.txt": "raw output"} {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || !strings.HasPrefix(string(b), want) {
				t.Errorf("%s: %v %q", file, err, b)
			}
		}
	}
}

// A round is not begun when the one before says that it would end too late; the report tells.
func TestRoundsRespectTheLimit(t *testing.T) {
	for _, tt := range []struct {
		name string
		past time.Duration // since the start of the program
		want string
	}{
		{"before a round", 321 * time.Second, "rounds 1 to 3: the time of 3m15s was up"},
		{"time enough", 0, ""},
	} {
		var said strings.Builder
		b := &bench{opts: options{quick: true}, begin: time.Now().Add(-tt.past), progress: &said}
		b.contenders = []*contender.Contender{{Name: "serves nothing"}}
		b.workloads = []load.Workload{{Name: "w", Service: load.Pooler}}
		if err := b.rounds(t.Context()); err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(b.notes, "; "); !strings.Contains(notes, tt.want) || tt.want == "" && notes != "" {
			t.Errorf("%s: notes %q", tt.name, notes)
		}
	}
}

func TestFindTree(t *testing.T) {
	got, err := findTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(got.root, "cmd", "outrigger")); err != nil {
		t.Errorf("root %s: %v", got.root, err)
	}
	if got.commit == "" || !got.changed && strings.HasSuffix(got.commit, "-dirty") {
		t.Errorf("%+v", got)
	}
	t.Chdir(t.TempDir())
	if got, err := findTree(t.Context()); err == nil {
		t.Errorf("found %+v outside of any tree", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := findTree(ctx); err == nil {
		t.Error("a cancelled search has no error")
	}
}

func TestMachine(t *testing.T) {
	for _, f := range machine() {
		if f.Value == "" || strings.Contains(f.Value, "unknown") && f.Name != "processors" { // arm64 has no model name
			t.Errorf("%s: %q", f.Name, f.Value)
		}
	}
	if load, err := loadAverage(); err != nil || load < 0 {
		t.Errorf("load average %v, %v", load, err)
	}
	if got := fmt.Sprint(procField("/proc/self/status", "no such field")); got != "unknown" {
		t.Errorf("a field that is not there: %q", got)
	}
}
