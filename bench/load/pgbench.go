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
	Password string // sent when the server asks for it
	Database string
	Seconds  int // of each run
}

// Script is what pgbench's clients do: one of its own (select-only, tpcb-like), or SQL with its commands.
type Script struct {
	Builtin string
	SQL     string
	Weight  int // beside other scripts; 0 is 1
}

// Transactions is a load by pgbench.
type Transactions struct {
	Name    string
	Service Service // the zero value is Pooler
	Scripts []Script
	Mode    string // simple, extended or prepared
	Clients int

	// Sample of the transactions, between 0 and 1, is logged one by one for the percentiles: a log of all would cost the
	// generator what the contenders need.
	Sample    float64
	Reconnect bool // connect for every transaction; percentiles are not taken, since pgbench would leave the login out
	Unbatched bool // see Workload
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

// Workload makes a load a line of the tables.
func (p Pgbench) Workload(t Transactions) Workload {
	return Workload{Name: t.Name, Service: cmp.Or(t.Service, Pooler), Prepared: t.Mode == "prepared", Clients: t.Clients, Unbatched: t.Unbatched,
		Run: func(ctx context.Context, addr string) (Outcome, error) { return p.run(ctx, addr, t) }}
}

func (p Pgbench) run(ctx context.Context, addr string, t Transactions) (Outcome, error) {
	var o Outcome
	dir, err := os.MkdirTemp("", "outrigger-bench-")
	if err != nil {
		return o, fmt.Errorf("create directory for scripts and the transaction log: %w", err)
	}
	defer os.RemoveAll(dir)
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		return o, fmt.Errorf("create directory for the transaction log: %w", err)
	}
	args := []string{"-n"}
	for i, s := range t.Scripts {
		script, err := s.argument(filepath.Join(dir, fmt.Sprintf("script%d.sql", i)))
		if err != nil {
			return o, err
		}
		args = append(args, script...)
	}
	seconds := p.Seconds + t.Clients/manyClients
	args = append(args, "-M", t.Mode, "-c", strconv.Itoa(t.Clients), "-j", strconv.Itoa(threads(t.Clients)), "-T", strconv.Itoa(seconds))
	if t.Reconnect {
		args = append(args, "-C")
	} else {
		args = append(args, "--log", "--log-prefix="+filepath.Join(logs, "log"), "--sampling-rate="+strconv.FormatFloat(t.Sample, 'g', -1, 64))
	}
	out, err := p.execute(ctx, &o, addr, seconds, args)
	if err != nil {
		return o, err
	}
	if err := o.parsePgbench(out); err != nil || t.Reconnect {
		return o, err
	}
	entries, err := readLogs(logs)
	if err != nil {
		return o, err
	}
	o.Percentiles, err = percentilesOf(latencies(entries))
	return o, err
}

// execute runs pgbench for so many seconds on the server at addr.
func (p Pgbench) execute(ctx context.Context, o *Outcome, addr string, seconds int, args []string) (stdout string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("address %s: %w", addr, err)
	}
	args = append(args, "-h", host, "-p", port, "-U", p.User, p.Database)
	return o.execute(ctx, time.Duration(seconds)*time.Second+pgbenchGrace, []string{"PGPASSWORD=" + p.Password}, p.Program, args...)
}

// argument gives the option for a script, whose own text goes to path.
func (s Script) argument(path string) ([]string, error) {
	weight := fmt.Sprintf("@%d", max(s.Weight, 1))
	if s.Builtin != "" {
		return []string{"-b", s.Builtin + weight}, nil
	}
	if err := os.WriteFile(path, []byte(s.SQL), 0o600); err != nil {
		return nil, fmt.Errorf("write pgbench's script: %w", err)
	}
	return []string{"-f", path + weight}, nil
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
		case strings.HasPrefix(line, "tps = ") && (!seen.rate || !strings.Contains(line, "including")): // with -C there is no other
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

// percentilesOf sorts its argument.
func percentilesOf(values []time.Duration) (p Percentiles, err error) {
	for of, into := range map[float64]*time.Duration{0.5: &p.P50, 0.95: &p.P95, 0.99: &p.P99, 0.999: &p.P999} {
		if *into, err = percentile(values, of); err != nil {
			return Percentiles{}, err
		}
	}
	return p, nil
}

// percentile is the nearest-rank percentile; it sorts its argument.
func percentile(values []time.Duration, p float64) (time.Duration, error) {
	if len(values) == 0 {
		return 0, errors.New("no latency was logged")
	}
	slices.Sort(values)
	rank := int(p * float64(len(values)))
	if float64(rank) < p*float64(len(values)) {
		rank++ // ceiling
	}
	return values[max(rank, 1)-1], nil
}
