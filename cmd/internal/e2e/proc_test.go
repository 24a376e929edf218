package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What the kernel says of processes and sockets: Linux's /proc.

// processes are the ids of all processes.
func processes(t *testing.T) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no /proc here: %v", err)
	}
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// descendants are the children of a process, their children and so on.
func descendants(t *testing.T, of int) (found []int) {
	t.Helper()
	parents := map[int]int{}
	for _, pid := range processes(t) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has just ended
		}
		// proc(5): pid (comm) state ppid; comm may hold anything.
		_, after, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
		if fields := strings.Fields(after); len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	generation := []int{of}
	for len(generation) > 0 {
		var next []int
		for pid, parent := range parents {
			if slices.Contains(generation, parent) {
				next = append(next, pid)
			}
		}
		found, generation = append(found, next...), next
	}
	return found
}

// commandLine is a process's arguments, separated by spaces.
func commandLine(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// withArgument finds a process by one of its arguments.
func withArgument(t *testing.T, pids []int, argument string) int {
	t.Helper()
	for _, pid := range pids {
		if slices.Contains(strings.Fields(commandLine(pid)), argument) {
			return pid
		}
	}
	t.Fatalf("none of the processes has the argument %s", argument)
	return 0
}

// mentioning are the command lines of the processes that have a text in their arguments or environment.
func mentioning(t *testing.T, text string) (lines []string) {
	t.Helper()
	for _, pid := range processes(t) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // it has just ended, or is not ours
		}
		if line := commandLine(pid); strings.Contains(string(environ)+line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// listening are the addresses of all listening TCP sockets by inode.
func listening(t *testing.T) map[string]string {
	t.Helper()
	open := map[string]string{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // a kernel without IPv6
		}
		for line := range strings.Lines(string(b)) {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" {
				open[f[9]] = f[1]
			}
		}
	}
	return open
}

// listeners are the listening TCP sockets that processes have, by inode.
func listeners(t *testing.T, pids []int) map[string]bool {
	t.Helper()
	open, found := listening(t), map[string]bool{}
	for _, pid := range pids {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			target, err := os.Readlink(fd)
			if err != nil {
				continue
			}
			inode := strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")
			if open[inode] != "" {
				found[inode] = true
			}
		}
	}
	return found
}
