package pressure

import (
	"path"
	"strings"
)

// Processor is the quota of processor time of the control group that this process is in, and of those above it.
type Processor struct {
	group Group // reads the files
	stats []string
}

// OwnProcessor is that of this process, as the system under /proc and /sys says.
func OwnProcessor() *Processor { return openProcessor("/") }

// openProcessor takes the file system below root for the system's.
func openProcessor(root string) *Processor {
	p := &Processor{group: Group{root: root}}
	for line := range strings.Lines(p.group.read("proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[0] == "0" && parts[1] == "" && len(p.stats) == 0:
			p.use("sys/fs/cgroup", parts[2])
		case strings.Contains(","+parts[1]+",", ",cpu,"):
			p.stats = nil
			p.use("sys/fs/cgroup/cpu", parts[2])
		}
	}
	return p
}

// use notes the files of the group at a path below base and of those above it, where time is limited.
func (p *Processor) use(base, group string) {
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		file := path.Join(base, at, "cpu.stat")
		if strings.Contains(p.group.read(file), "nr_throttled") {
			p.stats = append(p.stats, file)
		}
		if at == "/" {
			return
		}
	}
}

// Throttled is in how many periods so far the kernel has stopped the group, or one above it, because its time was used up
// (nr_throttled of cpu.stat, Documentation/scheduler/sched-bwc.rst). 0 where nothing says.
func (p *Processor) Throttled() (periods int64) {
	for _, file := range p.stats {
		periods += p.group.field(file, "nr_throttled")
	}
	return periods
}
