package load

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testdata(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fails checks an error's text; an empty want means no error.
func fails(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func TestParsePgbench(t *testing.T) {
	whole := testdata(t, "pgbench-15.txt")
	for _, tt := range []struct {
		name, in string
		want     Outcome
		err      string
	}{
		{"15", whole, Outcome{Operations: 6352, Failed: 3, Average: 8019 * time.Microsecond, Rate: 7980.701578, Connecting: 306104 * time.Microsecond}, ""},
		{"14, a count of transactions", testdata(t, "pgbench-14.txt"), Outcome{Operations: 10, Average: 1250 * time.Microsecond, Rate: 801.5}, ""},
		{"a connection each", testdata(t, "pgbench-15-connect.txt"), Outcome{Operations: 1659, Average: 9663 * time.Microsecond, Rate: 1655.845614}, ""},
		{"nothing", "", Outcome{}, "no summary"},
		{"no rate", strings.Replace(whole, "tps = ", "tpm = ", 1), Outcome{}, "no summary"},
		{"no average", strings.Replace(whole, "latency average", "latency stddev", 1), Outcome{}, "no summary"},
		{"no transaction", strings.Replace(whole, "processed: 6352", "processed: 0", 1), Outcome{}, "no transaction"},
		{"not a number", strings.Replace(whole, "tps = 7980.701578", "tps = many", 1), Outcome{}, "tps = many"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o Outcome
			err := o.parsePgbench(tt.in)
			fails(t, err, tt.err)
			if tt.err == "" && o != tt.want {
				t.Errorf("got  %+v\nwant %+v", o, tt.want)
			}
		})
	}
}

func TestParseLog(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []entry
		err      string
	}{
		{"empty", "", nil, ""},
		{"two", "0 199 2241 0 1175850568 995598\n1 200 2465 0 1175850568 998079\n", []entry{{2241 * time.Microsecond, time.Unix(1175850568, 995598000)}, {2465 * time.Microsecond, time.Unix(1175850568, 998079000)}}, ""},
		{"with a schedule and retries", "0 199 2241 0 1175850568 995598 17 0\n", []entry{{2241 * time.Microsecond, time.Unix(1175850568, 995598000)}}, ""},
		{"failed ones", "0 1 failed 0 1175850568 995598\n0 2 skipped 0 1175850568 995598\n0 3 7 0 1175850568 995598\n", []entry{{7 * time.Microsecond, time.Unix(1175850568, 995598000)}}, ""},
		{"short", "0 199 2241\n", nil, "six fields"},
		{"a word", "0 199 slow 0 1175850568 995598\n", nil, "slow"},
		{"no time", "0 199 7 0 soon 995598\n", nil, "soon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseLog(nil, strings.NewReader(tt.in))
			fails(t, err, tt.err)
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}

func percentiles(p50, p95, p99, p999 time.Duration) Percentiles {
	const us = time.Microsecond
	return Percentiles{p50 * us, p95 * us, p99 * us, p999 * us}
}

func TestPercentile(t *testing.T) {
	upTo := func(n int) []time.Duration { // in reverse
		var all []time.Duration
		for i := range n {
			all = append(all, time.Duration(n-i))
		}
		return all
	}
	for _, tt := range []struct {
		values int
		p      float64
		want   time.Duration
	}{
		{1, 0.99, 1}, {2, 0.99, 2}, {2, 0.5, 1}, {99, 0.99, 99}, {100, 0.99, 99}, {101, 0.99, 100}, {1000, 0.99, 990}, {10, 0, 1}, {10, 1, 10},
	} {
		got, err := percentile(upTo(tt.values), tt.p)
		if err != nil || got != tt.want {
			t.Errorf("percentile %v of 1..%d: %d, %v; want %d", tt.p, tt.values, got, err, tt.want)
		}
	}
	if got, err := percentilesOf(upTo(1000)); err != nil || got != (Percentiles{500, 950, 990, 999}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := percentilesOf(nil); err == nil {
		t.Error("no values have no percentile")
	}
}

func TestParseRedisBenchmark(t *testing.T) {
	whole := testdata(t, "redis-benchmark-7.csv")
	for _, tt := range []struct {
		name, in, test string
		want           Outcome
		err            string
	}{
		{"SET", whole, "SET", Outcome{Rate: 194174.75, Average: 3902 * time.Microsecond, Percentiles: percentiles(1655, 19759, 33215, 0)}, ""},
		{"GET", whole, "GET", Outcome{Rate: 571428.56, Average: 1197 * time.Microsecond, Percentiles: percentiles(1095, 2087, 3015, 0)}, ""},
		{"another test", whole, "INCR", Outcome{}, "no line for INCR"},
		{"nothing", "", "GET", Outcome{}, "no line for GET"},
		{"without a header", "\"GET\",\"1.0\"\n", "GET", Outcome{}, "no column rps"},
		{"before 6.2", "\"test\",\"rps\"\n\"GET\",\"1.0\"\n", "GET", Outcome{}, "no column"},
		{"not a number", strings.Replace(whole, "571428.56", "inf?", 1), "GET", Outcome{}, "column rps"},
		{"nothing done", strings.Replace(whole, "571428.56", "0.00", 1), "GET", Outcome{}, "0.00 requests"},
		{"not a latency", strings.Replace(whole, "3.015", "-", 1), "GET", Outcome{}, "p99_latency_ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o Outcome
			err := o.parseRedisBenchmark(tt.in, tt.test)
			fails(t, err, tt.err)
			if tt.err == "" && o != tt.want {
				t.Errorf("got  %+v\nwant %+v", o, tt.want)
			}
		})
	}
}

func TestTables(t *testing.T) {
	names := map[string]bool{}
	all := append(PoolerWorkloads(Pgbench{}, []int{1, 16, 64, 256}), CacheWorkloads(RedisBenchmark{Clients: 50}, 1)...)
	for _, w := range all {
		if names[w.Name] {
			t.Errorf("two workloads are called %s", w.Name)
		}
		names[w.Name] = true
		if w.Prepared != strings.Contains(w.Name, "prepared") {
			t.Errorf("%s: prepared is %v", w.Name, w.Prepared)
		}
	}
	if want := 3*(4+2) + 4 + 2 + 1 + 2 + 1 + (4 + 4 + 4 + 2); len(all) != want {
		t.Errorf("%d workloads, want %d", len(all), want)
	}
	for _, want := range []string{"select simple clients=1", "select extended clients=256", "select prepared clients=64", "tpc-b simple clients=16", "SET pipeline=1 clients=50", "GET pipeline=16 clients=50"} {
		if !names[want] {
			t.Errorf("no workload %s", want)
		}
	}
}
