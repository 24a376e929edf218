package contender

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// userTick is the unit of times in /proc: 1/USER_HZ, which is 100 on every Linux platform that Go runs on (proc(5)).
const userTick = 10 * time.Millisecond

func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return parseStat(string(b))
}

// parseStat gives utime + stime, fields 14 and 15 of /proc/pid/stat: of all threads, also those that have ended. The name
// in field 2 may hold anything, blanks and parentheses too, so counting starts behind the last parenthesis.
func parseStat(stat string) (time.Duration, error) {
	const afterName = 3 // number of the first field behind the name
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	var ticks int64
	for _, number := range []int{14, 15} {
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
