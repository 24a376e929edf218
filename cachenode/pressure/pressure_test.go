package pressure

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// system lays files out as the kernel does and returns their root.
func system(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		write(t, root, name, content)
	}
	return root
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGroup(t *testing.T) {
	const machine = "MemTotal:       1000000 kB\nMemFree:         1000 kB\nMemAvailable:   900000 kB"
	for _, c := range []struct {
		name    string
		files   map[string]string
		limit   int64
		usage   float64
		stalled float64
	}{
		{"nothing", nil, 0, 0, 0},
		{"machine alone", map[string]string{
			"proc/meminfo":         machine,
			"proc/pressure/memory": "some avg10=12.50 avg60=3.00 avg300=0.00 total=99\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=9",
		}, 1_024_000_000, 0.1, 0.125},
		{"version 2", map[string]string{
			"proc/self/cgroup":                     "0::/pod/box",
			"proc/meminfo":                         machine,
			"sys/fs/cgroup/pod/memory.max":         "400000000",
			"sys/fs/cgroup/pod/memory.current":     "100000000",
			"sys/fs/cgroup/pod/box/memory.max":     "max",
			"sys/fs/cgroup/pod/box/memory.high":    "200000000",
			"sys/fs/cgroup/pod/box/memory.current": "150000000",
			"sys/fs/cgroup/pod/box/memory.stat":    "anon 90000000\ninactive_file 50000000",
			"sys/fs/cgroup/pod/box/memory.pressure": "some avg10=20.00 avg60=0.00 avg300=0.00 total=0\n" +
				"full avg10=90.00 avg60=0.00 avg300=0.00 total=0",
			"proc/pressure/memory": "some avg10=50.00 avg60=0.00 avg300=0.00 total=0",
		}, 200_000_000, 0.5, 0.2},
		{"version 2, the group above is tighter", map[string]string{
			"proc/self/cgroup":                     "0::/pod/box",
			"sys/fs/cgroup/pod/memory.max":         "400000000",
			"sys/fs/cgroup/pod/memory.current":     "380000000",
			"sys/fs/cgroup/pod/box/memory.max":     "300000000",
			"sys/fs/cgroup/pod/box/memory.current": "150000000",
		}, 300_000_000, 0.95, 0},
		{"version 2 in a container", map[string]string{
			"proc/self/cgroup":             "0::/",
			"proc/meminfo":                 machine,
			"sys/fs/cgroup/memory.max":     "512000000",
			"sys/fs/cgroup/memory.current": "256000000",
		}, 512_000_000, 0.5, 0},
		{"version 1", map[string]string{
			"proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/box\n0::/",
			"proc/meminfo":     machine,
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          "9223372036854771712",
			"sys/fs/cgroup/memory/memory.usage_in_bytes":          "700000000",
			"sys/fs/cgroup/memory/box/memory.limit_in_bytes":      "100000000",
			"sys/fs/cgroup/memory/box/memory.usage_in_bytes":      "99000000",
			"sys/fs/cgroup/memory/box/memory.stat":                "cache 1\ntotal_inactive_file 9000000",
			"sys/fs/cgroup/memory/box/memory.kmem.usage_in_bytes": "1",
		}, 100_000_000, 0.9, 0},
		{"version 1 in a container that names the host's path", map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/0123\n0::/docker/0123",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "100000000",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "25000000",
		}, 100_000_000, 0.25, 0},
		{"a limit beyond the machine", map[string]string{
			"proc/self/cgroup":             "0::/",
			"proc/meminfo":                 machine,
			"sys/fs/cgroup/memory.max":     "5120000000",
			"sys/fs/cgroup/memory.current": "1",
		}, 1_024_000_000, 0.1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := open(system(t, c.files))
			if got := g.Limit(); got != c.limit {
				t.Errorf("limit %d, want %d", got, c.limit)
			}
			if got := g.Usage(); got < c.usage-0.001 || got > c.usage+0.001 {
				t.Errorf("usage %.3f, want %.3f", got, c.usage)
			}
			if got := g.Stalled(); got != c.stalled {
				t.Errorf("stalled %.3f, want %.3f", got, c.stalled)
			}
		})
	}
}

// box is a cache whose bytes are those of a control group.
type box struct {
	t             *testing.T
	root          string
	used, ceiling int64
}

func (b *box) Used() int64 { return b.used }

func (b *box) SetCeiling(n int64) {
	b.ceiling = n
	if n > 0 {
		b.used = min(b.used, n)
	}
}

// others sets what the rest of the group uses.
func (b *box) others(n int64) {
	write(b.t, b.root, "sys/fs/cgroup/memory.current", fmt.Sprint(n+b.used))
}

func TestGovernor(t *testing.T) {
	root := system(t, map[string]string{"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.pressure": ""})
	b := &box{t: t, root: root, used: 600}
	b.others(0)
	g := NewGovernor(open(root), b, slog.New(slog.DiscardHandler))
	freed, live := 0, 0.0
	g.free = func() { freed++ }
	g.live = func() float64 { return live }
	g.least = 10

	for _, others := range []int64{0, 200, 330} {
		b.others(others)
		if g.look(); b.used != 600 || b.ceiling != 0 {
			t.Fatalf("with %d elsewhere the cache has %d, ceiling %d: nothing is short", others, b.used, b.ceiling)
		}
	}
	for range 30 {
		b.others(600)
		g.look()
	}
	if total := b.used + 600; total >= 950 || total < 800 || freed == 0 {
		t.Fatalf("the group uses %d of 1000 after the cache gave way, memory was given back %d times", total, freed)
	}
	held := b.used
	b.others(600)
	if g.look(); b.used != held {
		t.Fatalf("the cache went on shrinking from %d to %d", held, b.used)
	}
	for range 100 {
		b.others(990) // however much others take, something is left
		g.look()
	}
	if b.used < 600/lowest || b.used > 600/4 {
		t.Fatalf("%d bytes left", b.used)
	}
	was := freed
	if g.look(); freed != was {
		t.Error("a cache that has given all that it may is collected at each look")
	}
	looks := 0
	for b.ceiling != 0 {
		if looks++; looks > 100 {
			t.Fatalf("the ceiling stays at %d", b.ceiling)
		}
		b.used = b.ceiling
		b.others(0)
		g.look()
	}
	if looks < 5 {
		t.Errorf("the ceiling was lifted after %d looks: at once", looks)
	}

	b.used = 600
	b.others(0)
	write(t, root, "sys/fs/cgroup/memory.pressure", "some avg10=30.00 avg60=0.00 avg300=0.00 total=1")
	if g.look(); b.used != 540 {
		t.Errorf("%d bytes after a look at stalled tasks", b.used)
	}
	write(t, root, "sys/fs/cgroup/memory.pressure", "some avg10=5.00 avg60=0.00 avg300=0.00 total=1")
	if g.look(); b.ceiling != 540 {
		t.Errorf("the ceiling is %d while some tasks still stall", b.ceiling)
	}
	live = 0.97
	if g.look(); b.used != 486 {
		t.Errorf("%d bytes after a look at a heap full of live objects", b.used)
	}
}

// A cache that is empty when memory becomes short is still one that can be written to.
func TestGovernorLeavesSome(t *testing.T) {
	root := system(t, map[string]string{"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.pressure": ""})
	b := &box{t: t, root: root}
	b.others(0)
	g := NewGovernor(open(root), b, slog.New(slog.DiscardHandler))
	for _, others := range []int64{960, 960, 900} { // and stays there
		b.others(others)
		if g.look(); b.ceiling != 1<<20 {
			t.Errorf("the ceiling is %d with %d of 1000 used elsewhere", b.ceiling, others)
		}
	}
	b.others(100)
	if g.look(); b.ceiling != 0 {
		t.Errorf("the ceiling is %d when memory is no longer short", b.ceiling)
	}
}

func TestHeapLimit(t *testing.T) {
	for _, limit := range []int64{32 << 20, 256 << 20, 1 << 30, 64 << 30} {
		if got := HeapLimit(limit); got >= limit*91/100 || got < limit*3/4 {
			t.Errorf("%d of %d", got, limit)
		}
	}
}
