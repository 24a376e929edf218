package load

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// RedisBenchmark says how to run redis-benchmark.
type RedisBenchmark struct {
	Program string // path
	Clients int
	Size    int // bytes of a value
	Keys    int // drawn at random from so many
}

// redisLimit is when a run is given up. The slowest takes seconds.
const redisLimit = 30 * time.Second

// Commands is the workload of one of redis-benchmark's tests (GET, SET, LPUSH …), so many requests, pipelined so deep.
func (b RedisBenchmark) Commands(name, test string, pipeline, requests int) Workload {
	return Workload{Name: name, Service: Cache, RESP: true, Clients: b.Clients, Run: func(ctx context.Context, addr string) (Outcome, error) {
		begin := time.Now()
		if test == "LPUSH" {
			if err := forget(ctx, addr, "mylist"); err != nil {
				return Outcome{}, err
			}
		}
		ready := time.Since(begin)
		o, err := b.run(ctx, addr, test, pipeline, requests)
		o.Connecting = ready
		return o, err
	}}
}

// forget deletes a key that would grow from run to run.
func forget(ctx context.Context, addr, key string) error {
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(crowdLimit)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "DEL %s\r\n", key); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && answer[0] != ':' {
		err = fmt.Errorf("delete %s: %s", key, strings.TrimSpace(answer))
	}
	return err
}

func (b RedisBenchmark) run(ctx context.Context, addr, test string, pipeline, requests int) (Outcome, error) {
	var o Outcome
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return o, fmt.Errorf("address %s: %w", addr, err)
	}
	out, err := o.execute(ctx, redisLimit, nil, b.Program, "-h", host, "-p", port, "-t", strings.ToLower(test), "-P", strconv.Itoa(pipeline),
		"-c", strconv.Itoa(b.Clients), "-n", strconv.Itoa(requests), "-d", strconv.Itoa(b.Size), "-r", strconv.Itoa(b.Keys), "--csv")
	if err != nil {
		return o, err
	}
	o.Operations = int64(requests)
	return o, o.parseRedisBenchmark(out, test)
}

// parseRedisBenchmark reads the line of one test in the output of --csv, by the names of its columns (Redis 6.2 and later).
func (o *Outcome) parseRedisBenchmark(out, test string) error {
	r := csv.NewReader(strings.NewReader(out))
	r.FieldsPerRecord = -1 // warnings may stand before the table
	r.LazyQuotes = true
	rows, err := r.ReadAll()
	if err != nil {
		return fmt.Errorf("read redis-benchmark's table: %w", err)
	}
	var column map[string]int
	for _, row := range rows {
		switch row[0] {
		case "test":
			column = map[string]int{}
			for i, name := range row {
				column[name] = i
			}
		case test:
			return o.readRedisRow(column, row)
		}
	}
	return fmt.Errorf("redis-benchmark printed no line for %s: %s", test, lastLines(out))
}

func (o *Outcome) readRedisRow(column map[string]int, row []string) error {
	cell := func(name string) (string, error) {
		i, ok := column[name]
		if !ok || i >= len(row) {
			return "", fmt.Errorf("redis-benchmark's table has no column %s", name)
		}
		return row[i], nil
	}
	rate, err := cell("rps")
	if err != nil {
		return err
	}
	if o.Rate, err = strconv.ParseFloat(rate, 64); err != nil {
		return fmt.Errorf("column rps: %w", err)
	}
	for name, into := range map[string]*time.Duration{"avg_latency_ms": &o.Average, "p50_latency_ms": &o.P50,
		"p95_latency_ms": &o.P95, "p99_latency_ms": &o.P99} {
		text, err := cell(name)
		if err != nil {
			return err
		}
		if *into, err = milliseconds(text); err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
	}
	if !(o.Rate > 0) {
		return fmt.Errorf("redis-benchmark says %s requests per second", rate)
	}
	return nil
}
