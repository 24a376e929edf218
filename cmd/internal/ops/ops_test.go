package ops

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type half struct {
	pool    PoolStats
	cache   CacheStats
	cluster ClusterStats
}

func (h half) PoolStats() PoolStats       { return h.pool }
func (h half) CacheStats() CacheStats     { return h.cache }
func (h half) ClusterStats() ClusterStats { return h.cluster }

func TestReady(t *testing.T) {
	primary := Upstream{Address: "p:5432", Role: "primary", Up: true, LagBytes: -1}
	replica := Upstream{Address: "r:5432", Role: "replica", Up: true, LagBytes: 7}
	down := func(s Upstream) Upstream { s.Up = false; return s }
	pooler := func(servers ...Upstream) Pooler { return half{pool: PoolStats{Servers: servers}} }
	ready, joining := half{cache: CacheStats{Ready: true, Keys: 3}}, half{}
	tests := []struct {
		name    string
		sources Sources
		code    int
		status  string
		body    []string
	}{
		{"nothing runs", Sources{}, 200, "ok", []string{`"primary":{"status":"off"}`, `"replicas":[]`, `"cache":{"status":"off"`}},
		{"all is well", Sources{Pooler: pooler(primary, replica), Cache: ready}, 200, "ok", []string{`"address":"r:5432","lag_bytes":7`, `"keys":3`}},
		{"replica down", Sources{Pooler: pooler(primary, down(replica))}, 200, "degraded", []string{`"replicas":[{"status":"down"`}},
		{"old primary back", Sources{Pooler: pooler(primary, Upstream{Address: "o:5432", Role: "replica", Fenced: true, LagBytes: -1})}, 200, "degraded",
			[]string{`"replicas":[{"status":"fenced","address":"o:5432"}]`}},
		{"a stranger at the primary's address", Sources{Pooler: pooler(Upstream{Address: "p:5432", Role: "primary", Fenced: true, LagBytes: -1})}, 503, "down",
			[]string{`"primary":{"status":"down"`}},
		{"primary down", Sources{Pooler: pooler(down(primary), replica)}, 503, "down", []string{`"primary":{"status":"down","address":"p:5432"}`}},
		{"old primary came back", Sources{Pooler: pooler(primary, down(primary))}, 200, "ok", nil},
		{"no primary known", Sources{Pooler: pooler(replica)}, 503, "down", nil},
		{"cache joins", Sources{Cache: joining}, 503, "starting", []string{`"cache":{"status":"starting"`}},
		{"draining", Sources{Cache: ready, Draining: func() bool { return true }}, 503, "draining", nil},
		{"cluster", Sources{Cluster: half{cluster: ClusterStats{Name: "c", Node: "n1", Members: []Member{{Name: "n1"}, {Name: "n2"}}}}}, 200, "ok",
			[]string{`"cluster":{"name":"c","node":"n1","members":["n1","n2"]}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			New(Config{Logger: slog.New(slog.DiscardHandler)}, &tt.sources).handler().ServeHTTP(w, httptest.NewRequest("GET", "/health/ready", nil))
			var got struct{ Status string }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if w.Code != tt.code || got.Status != tt.status {
				t.Errorf("code %d, status %q; want %d, %q", w.Code, got.Status, tt.code, tt.status)
			}
			for _, want := range tt.body {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s is missing from %s", want, w.Body)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	h := half{
		pool: PoolStats{MaxClients: 5, Pools: []Pool{{Database: "d", User: "u", Server: "s:1", Role: "primary", ClientsWaiting: 2}},
			Databases: []Database{{Name: "d", Queries: 9}},
			Routes:    []Route{{Database: "d", Side: "replica", Reason: "read", Decisions: 6}},
			Batches:   []Batch{{Database: "d", What: "alone", Reason: "slow", Count: 8}},
			Servers:   []Upstream{{Address: "s:1", Role: "primary", Up: true, LagBytes: -1, Breaker: "open", Opened: 2, Reads: 3}}},
		cache:   CacheStats{Ready: true, Keys: 4, Hits: 8, NearHits: 7, NearBytes: 6},
		cluster: ClusterStats{Members: []Member{{Name: "a"}, {Name: "b"}}},
	}
	server := New(Config{Version: "v1", Logger: slog.New(slog.DiscardHandler)}, &Sources{Pooler: h, Cache: h, Cluster: h})
	w := httptest.NewRecorder()
	server.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("code %d: %s", w.Code, w.Body)
	}
	for _, want := range []string{
		"outrigger_pg_clients_limit 5",
		`outrigger_pool_clients{database="d",role="primary",server="s:1",state="waiting",user="u"} 2`,
		`outrigger_database_queries_total{database="d"} 9`,
		`outrigger_route_decisions_total{database="d",reason="read",side="replica"} 6`,
		`outrigger_batching_total{database="d",reason="slow",what="alone"} 8`,
		`outrigger_server_up{role="primary",server="s:1"} 1`,
		`outrigger_server_breaker{role="primary",server="s:1",state="open"} 1`,
		`outrigger_server_breaker{role="primary",server="s:1",state="closed"} 0`,
		`outrigger_server_breaker_opened_total{role="primary",server="s:1"} 2`,
		`outrigger_server_reads{role="primary",server="s:1"} 3`,
		"outrigger_cache_hits_total 8",
		"outrigger_cache_near_hits_total 7",
		"outrigger_cache_near_bytes 6",
		"outrigger_cluster_members 2",
		`outrigger_build_info{version="v1"} 1`,
		"# TYPE outrigger_cache_commands_total counter",
		"# TYPE outrigger_pool_max_wait_seconds gauge",
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("%s is missing from:\n%s", want, w.Body)
		}
	}
}

// Names come from clients, in any encoding.
func TestMetricsOfOddNames(t *testing.T) {
	h := half{pool: PoolStats{Pools: []Pool{{Database: "d\xff", User: "u\xe9", Server: "s:1", Role: "primary"}},
		Databases: []Database{{Name: "d\xff", Queries: 7}, {Name: "d\xfe"}, {Name: `"d\xff"`}}, Routes: []Route{{Database: "d\xff", Side: "replica", Reason: "read"}}}}
	w := httptest.NewRecorder()
	New(Config{Version: "v1", Logger: slog.New(slog.DiscardHandler)}, &Sources{Pooler: h}).handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if want := `outrigger_database_queries_total{database="\"d\\xff\""} 7`; w.Code != 200 || !strings.Contains(w.Body.String(), want+"\n") {
		t.Fatalf("code %d: %s", w.Code, w.Body)
	}
}

// Rows of one name have to agree on everything but the state, and counters end in _total: scrapers rely on both.
func TestMetricTables(t *testing.T) {
	type row struct {
		name, help, state string
		counts            bool
	}
	var rows []row
	rows = appendRows(rows, poolMetrics(), func(m metric[Pool]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	rows = appendRows(rows, databaseMetrics(), func(m metric[Database]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	rows = appendRows(rows, routeMetrics(), func(m metric[Route]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	rows = appendRows(rows, batchMetrics(), func(m metric[Batch]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	rows = appendRows(rows, serverMetrics(), func(m metric[Upstream]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	rows = appendRows(rows, pgMetrics(), func(m metric[PoolStats]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	rows = appendRows(rows, cacheMetrics(), func(m metric[CacheStats]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	rows = appendRows(rows, clusterMetrics(), func(m metric[ClusterStats]) row { return row{m.name, m.help, m.state, m.kind == counter} })
	first := map[string]row{}
	for _, r := range rows {
		if !strings.HasPrefix(r.name, "outrigger_") || r.counts != strings.HasSuffix(r.name, "_total") || r.help == "" {
			t.Errorf("%+v: want the prefix, help, and _total on counters alone", r)
		}
		f, again := first[r.name]
		if again && (f.help != r.help || f.counts != r.counts || f.state == r.state || r.state == "") {
			t.Errorf("%+v does not go with %+v", r, f)
		}
		if !again {
			first[r.name] = r
		}
	}
}

func appendRows[T, R any](rows []R, table []metric[T], convert func(metric[T]) R) []R {
	for _, m := range table {
		rows = append(rows, convert(m))
	}
	return rows
}

func TestServe(t *testing.T) {
	s := New(Config{Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, &Sources{})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := New(Config{Listen: s.Addr().String(), Logger: slog.New(slog.DiscardHandler)}, &Sources{}).Listen(); err == nil {
		t.Error("two listeners on one address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]string{"/health/live": `"ok"`, "/metrics": "go_goroutines", "/debug/pprof/": "goroutine"} {
		resp, err := client.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %d, error %v, want %q in %.200s", path, resp.StatusCode, err, want, body)
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

func TestPprofIsForLoopback(t *testing.T) {
	handler := New(Config{Logger: slog.New(slog.DiscardHandler)}, &Sources{}).handler()
	for remote, want := range map[string]int{"127.0.0.1:1": 200, "[::1]:1": 200, "[::ffff:127.0.0.1]:1": 200, "10.0.0.1:1": 404, "nonsense": 404} {
		r := httptest.NewRequest("GET", "/debug/pprof/cmdline", nil)
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %s: %d, want %d", remote, w.Code, want)
		}
	}
}
