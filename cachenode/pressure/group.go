package pressure

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Group is the memory side of the control group that this process is in. It reads files each time it is asked.
type Group struct {
	root  string
	names names
	dirs  []string // of the group and of those above it, relative to root, the innermost first; none without a group
}

// names are those of the files of one version of control groups (Documentation/admin-guide/cgroup-v2.rst, and
// cgroup-v1/memory.rst).
type names struct{ limit, soft, usage, cached, stalls string }

var (
	version2 = names{limit: "memory.max", soft: "memory.high", usage: "memory.current", cached: "inactive_file", stalls: "memory.pressure"}
	version1 = names{limit: "memory.limit_in_bytes", stalls: "memory.pressure", usage: "memory.usage_in_bytes", cached: "total_inactive_file"}
)

// Own is the group of this process, as the system under /proc and /sys says.
func Own() *Group { return open("/") }

// open takes the file system below root for the system's.
func open(root string) *Group {
	g := &Group{root: root}
	for line := range strings.Lines(g.read("proc/self/cgroup")) {
		// hierarchy-ID:controller-list:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "" && len(g.dirs) == 0:
			g.use(version2, "sys/fs/cgroup", parts[2])
		case strings.Contains(","+parts[1]+",", ",memory,"):
			g.use(version1, "sys/fs/cgroup/memory", parts[2])
		}
	}
	return g
}

// use notes the group at a path below base, where memory is controlled there. In a container the path may be the host's,
// and base is already the group's.
func (g *Group) use(n names, base, group string) {
	var dirs []string
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		dir := path.Join(base, at)
		if g.read(path.Join(dir, n.usage)) != "" {
			dirs = append(dirs, dir)
		}
		if at == "/" {
			break
		}
	}
	if len(dirs) > 0 {
		g.names, g.dirs = n, dirs
	}
}

// Limit is how many bytes this process may use: the lowest limit of its group and those above, or else what the machine has;
// 0 when nothing says.
func (g *Group) Limit() int64 {
	_, limit := g.tightest(func(_ string, limit int64) int64 { return limit })
	if machine := g.machine("MemTotal:"); limit == math.MaxInt64 || machine > 0 && machine < limit {
		return machine
	}
	return limit
}

// Usage is the part of its limit that is used where least is left: by the group, or one above it, without what the kernel can
// drop at once. 0 when nothing says.
func (g *Group) Usage() float64 {
	used := func(dir string) int64 {
		return g.number(path.Join(dir, g.names.usage)) - g.field(path.Join(dir, "memory.stat"), g.names.cached)
	}
	dir, limit := g.tightest(func(dir string, limit int64) int64 { return limit - used(dir) })
	share := 0.0
	if dir != "" {
		share = float64(used(dir)) / float64(limit)
	}
	if total := g.machine("MemTotal:"); total > 0 {
		share = max(share, 1-float64(g.machine("MemAvailable:"))/float64(total))
	}
	return share
}

// Stalled is the part of the last ten seconds, from 0 to 1, in which some task of the group waited for memory, without a group
// some of the machine (PSI, Documentation/accounting/psi.rst). 0 where the kernel does not tell.
func (g *Group) Stalled() float64 {
	file := "proc/pressure/memory"
	if len(g.dirs) > 0 {
		file = path.Join(g.dirs[0], g.names.stalls)
	}
	for line := range strings.Lines(g.read(file)) {
		if rest, some := strings.CutPrefix(line, "some avg10="); some {
			percent, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return percent / 100
		}
	}
	return 0
}

// tightest finds the limit for which left is least, and whose it is. Without any it is "" and math.MaxInt64.
func (g *Group) tightest(left func(dir string, limit int64) int64) (dir string, limit int64) {
	limit = math.MaxInt64
	least := int64(math.MaxInt64)
	for _, d := range g.dirs {
		for _, name := range []string{g.names.limit, g.names.soft} {
			if name == "" {
				continue
			}
			// "max", or with version 1 a number that no machine has, is no limit.
			n := g.number(path.Join(d, name))
			if n <= 0 || n >= 1<<60 {
				continue
			}
			if l := left(d, n); l < least {
				dir, limit, least = d, n, l
			}
		}
	}
	return dir, limit
}

// machine is a line of /proc/meminfo in bytes, 0 when there is none.
func (g *Group) machine(name string) int64 { return g.field("proc/meminfo", name) << 10 }

// field is the number behind a name that begins a line of a file, 0 when there is none.
func (g *Group) field(file, name string) int64 {
	for line := range strings.Lines(g.read(file)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

// number is the number that a file holds, 0 when it holds none.
func (g *Group) number(file string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(g.read(file)), 10, 64)
	return n
}

// read is a file's content, "" when it cannot be read: then the system does not tell, which is no error.
func (g *Group) read(file string) string {
	b, _ := os.ReadFile(filepath.Join(g.root, file))
	return string(b)
}
