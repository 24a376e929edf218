package contender

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// userTick is the unit of times in /proc: 1/USER_HZ, which is 100 on every Linux platform that Go runs on (proc(5)).
const userTick = 10 * time.Millisecond

// Fields of /proc/pid/stat (proc(5)), counted from 1. Times are of all threads, also of those that have ended.
const (
	utime = 14
	stime = 15

	// Of children that have ended and were waited for.
	cutime = 16
	cstime = 17
)

func cpuTime(pid int) (time.Duration, error) { return times(pid, utime, stime) }

func cpuTimeWithEnded(pid int) (time.Duration, error) {
	return times(pid, utime, stime, cutime, cstime)
}

func times(pid int, fields ...int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return parseStat(string(b), fields...)
}

// ended tells whether reading failed because the process is no more.
func ended(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// parseStat sums up fields of times. The name in field 2 may hold anything, blanks and parentheses too, so counting starts
// behind the last parenthesis.
func parseStat(stat string, numbers ...int) (time.Duration, error) {
	const afterName = 3 // number of the first field behind the name
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	var ticks int64
	for _, number := range numbers {
		i := number - afterName
		if i >= len(fields) {
			return 0, fmt.Errorf("read CPU time: %q has no field %d", stat, number)
		}
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: field %d: %w", number, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * userTick, nil
}

func residentMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	return parseStatus(string(b))
}

// parseStatus gives VmRSS of /proc/pid/status in bytes.
func parseStatus(status string) (int64, error) {
	for line := range strings.Lines(status) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "VmRSS:" || fields[2] != "kB" {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read resident memory: %w", err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("read resident memory: no VmRSS in %q", status)
}
