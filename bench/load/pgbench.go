package load

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Pgbench says how to run pgbench; the tables are there already.
type Pgbench struct {
	Program  string // path
	User     string
	Database string
	Seconds  int // of each run
}

const (
	// pgbenchGrace is what a run may take longer than asked before it is given up: connecting, and the last transactions.
	pgbenchGrace = 20 * time.Second

	// manyClients is where pgbench itself becomes the heaviest process: from here on it gets one thread, and a second more
	// for each thousand of clients, since its clock runs while they connect.
	manyClients = 1000
)

func threads(clients int) int {
	if clients >= manyClients {
		return 1
	}
	return min(clients, 2)
}

// Transactions is the workload of a built-in script of pgbench (select-only, tpcb-like), in one of its protocol modes
// (simple, extended, prepared). A sample of the transactions, between 0 and 1, is logged one by one for the percentile:
// a log of all would cost the generator what the contenders need.
func (p Pgbench) Transactions(name, script, mode string, clients int, sample float64) Workload {
	return Workload{Name: name, Half: Pooler, Prepared: mode == "prepared", Clients: clients,
		Run: func(ctx context.Context, addr string) (Outcome, error) {
			return p.run(ctx, addr, script, mode, clients, sample)
		}}
}

func (p Pgbench) run(ctx context.Context, addr, script, mode string, clients int, sample float64) (Outcome, error) {
	var o Outcome
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return o, fmt.Errorf("address %s: %w", addr, err)
	}
	logs, err := os.MkdirTemp("", "outrigger-bench-log-")
	if err != nil {
		return o, fmt.Errorf("create directory for the transaction log: %w", err)
	}
	defer os.RemoveAll(logs)
	seconds := p.Seconds + clients/manyClients
	out, err := o.execute(ctx, time.Duration(seconds)*time.Second+pgbenchGrace, nil, p.Program,
		"-n", "-b", script, "-M", mode, "-c", strconv.Itoa(clients), "-j", strconv.Itoa(threads(clients)), "-T", strconv.Itoa(seconds),
		"--log", "--log-prefix="+filepath.Join(logs, "log"), "--sampling-rate="+strconv.FormatFloat(sample, 'g', -1, 64),
		"-h", host, "-p", port, "-U", p.User, p.Database)
	if err != nil {
		return o, err
	}
	if err := o.parsePgbench(out); err != nil {
		return o, err
	}
	entries, err := readLogs(logs)
	if err != nil {
		return o, err
	}
	o.P99, err = percentile(latencies(entries), 0.99)
	return o, err
}

// parsePgbench reads the summary that pgbench 14 and later print.
func (o *Outcome) parsePgbench(out string) error {
	var seen struct{ operations, average, rate bool }
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		var err error
		switch {
		case strings.HasPrefix(line, "number of transactions actually processed: "):
			done, _, _ := strings.Cut(number(line, ": "), "/") // of how many, when a count was asked for
			o.Operations, err = strconv.ParseInt(done, 10, 64)
			seen.operations = true
		case strings.HasPrefix(line, "number of failed transactions: "):
			o.Failed, err = strconv.ParseInt(number(line, ": "), 10, 64)
		case strings.HasPrefix(line, "latency average = "):
			o.Average, err = milliseconds(number(line, " = "))
			seen.average = true
		case strings.HasPrefix(line, "initial connection time = "):
			o.Connecting, err = milliseconds(number(line, " = "))
		case strings.HasPrefix(line, "tps = ") && !strings.Contains(line, "including"):
			o.Rate, err = strconv.ParseFloat(number(line, " = "), 64)
			seen.rate = true
		}
		if err != nil {
			return fmt.Errorf("read pgbench's line %q: %w", line, err)
		}
	}
	if !seen.operations || !seen.average || !seen.rate {
		return fmt.Errorf("pgbench printed no summary: %s", lastLines(out))
	}
	if o.Operations == 0 {
		return errors.New("pgbench finished no transaction")
	}
	return nil
}

// number returns the word after the first sep.
func number(line, sep string) string {
	_, rest, _ := strings.Cut(line, sep)
	word, _, _ := strings.Cut(rest, " ")
	return word
}

// milliseconds parses a decimal number of them.
func milliseconds(s string) (time.Duration, error) {
	ms, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(ms * float64(time.Millisecond)), nil
}

// entry is a transaction in a log.
type entry struct {
	latency time.Duration
	end     time.Time
}

func latencies(entries []entry) []time.Duration {
	all := make([]time.Duration, len(entries))
	for i, e := range entries {
		all[i] = e.latency
	}
	return all
}

// readLogs gathers the transactions of all threads: each wrote a file of its own.
func readLogs(dir string) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("find the transaction log: %w", err)
	}
	var all []entry
	for _, f := range files {
		if all, err = readLog(all, filepath.Join(dir, f.Name())); err != nil {
			return nil, fmt.Errorf("read the transaction log: %w", err)
		}
	}
	return all, nil
}

func readLog(entries []entry, path string) ([]entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseLog(entries, f)
}

// parseLog appends what a log has: "client_id transaction_no time script_no time_epoch time_us …", time in µs or a word for
// a transaction that failed, then its end (PostgreSQL's documentation, pgbench, "Per-Transaction Logging").
func parseLog(entries []entry, r io.Reader) ([]entry, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 {
			return nil, fmt.Errorf("line %q has no six fields", lines.Text())
		}
		if fields[2] == "failed" || fields[2] == "skipped" {
			continue
		}
		var numbers [3]int64
		for i, field := range []string{fields[2], fields[4], fields[5]} {
			var err error
			if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil {
				return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
			}
		}
		entries = append(entries, entry{
			latency: time.Duration(numbers[0]) * time.Microsecond,
			end:     time.Unix(numbers[1], numbers[2]*int64(time.Microsecond)),
		})
	}
	return entries, lines.Err()
}

// percentile is the nearest-rank percentile; it sorts its argument.
func percentile(values []time.Duration, p float64) (time.Duration, error) {
	if len(values) == 0 {
		return 0, errors.New("no latency was logged")
	}
	slices.SortFunc(values, cmp.Compare[time.Duration])
	rank := int(p * float64(len(values)))
	if float64(rank) < p*float64(len(values)) {
		rank++ // ceiling
	}
	return values[max(rank, 1)-1], nil
}
