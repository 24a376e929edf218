package devpg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LimitCPU gives each running server, with the sessions that it has and will have, at most share of one processor, until
// lift is called. It needs the right to make control groups, as root has; without it, or without Linux, it fails.
func (c *Cluster) LimitCPU(share float64) (lift func(), err error) {
	base, quota, err := cpuController(share)
	if err != nil {
		return nil, err
	}
	var groups []string
	lift = func() {
		for _, group := range groups {
			pids, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
			for pid := range strings.FieldsSeq(string(pids)) {
				_ = os.WriteFile(filepath.Join(base, "cgroup.procs"), []byte(pid), 0) // it may have ended
			}
			_ = os.Remove(group)
		}
	}
	for i := range c.Len() {
		c.mu.Lock()
		child := c.nodes[i].child
		c.mu.Unlock()
		if child == nil || !child.Running() {
			continue
		}
		group := filepath.Join(base, fmt.Sprintf("outrigger-%d-%d", os.Getpid(), i))
		if err = os.Mkdir(group, 0o755); err != nil {
			break
		}
		groups = append(groups, group)
		for file, value := range quota {
			err = errors.Join(err, os.WriteFile(filepath.Join(group, file), []byte(value), 0))
		}
		for _, pid := range append([]int{child.Pid()}, ChildrenOf(child.Pid())...) {
			e := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
			if pid == child.Pid() {
				err = errors.Join(err, e) // sessions come and go
			}
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		lift()
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	return lift, nil
}

// cpuPeriod is short, so that a server that has used its share does not stand still for long.
const cpuPeriod = 20_000 // µs

// cpuController finds where groups for processor time are made, and what is written there to limit one (the kernel's
// documentation: cgroup-v2, and sched-bwc for version 1).
func cpuController(share float64) (base string, quota map[string]string, err error) {
	us := strconv.Itoa(int(share * cpuPeriod))
	base = "/sys/fs/cgroup"
	if b, err := os.ReadFile(base + "/cgroup.controllers"); err == nil && strings.Contains(string(b), "cpu") {
		if err := os.WriteFile(base+"/cgroup.subtree_control", []byte("+cpu"), 0); err != nil {
			return "", nil, fmt.Errorf("pass the processor on to control groups: %w", err)
		}
		return base, map[string]string{"cpu.max": us + " " + strconv.Itoa(cpuPeriod)}, nil
	}
	base += "/cpu"
	if _, err := os.Stat(base + "/cgroup.procs"); err != nil {
		return "", nil, fmt.Errorf("no control groups: %w", err)
	}
	return base, map[string]string{"cpu.cfs_period_us": strconv.Itoa(cpuPeriod), "cpu.cfs_quota_us": us}, nil
}
