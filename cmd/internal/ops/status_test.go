package ops

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	well := half{
		pool: PoolStats{MaxClients: 100, Clients: 7, Pools: []Pool{{ClientsWaiting: 2}, {ClientsWaiting: 1}}, Servers: []Upstream{
			{Address: "p:5432", Role: "primary", Up: true, Lag: -1}, {Address: "r:5432", Role: "replica", Up: true, Lag: 1500 * time.Millisecond}}},
		cache:   CacheStats{Ready: true, Keys: 3, Hits: 3, Misses: 1},
		cluster: ClusterStats{Name: "c", Node: "a", Epoch: 255, Members: []Member{{Name: "a", State: "active", Owned: 30}, {Name: "b", State: "active", Owned: 10}}},
	}
	for _, tt := range []struct {
		name     string
		change   func(*half)
		draining bool
		problems []string // a part of each
	}{
		{"all is well", func(*half) {}, false, nil},
		{"replica down", func(h *half) { h.pool.Servers[1].Up = false }, false, []string{"replica at r:5432 is down"}},
		{"fenced", func(h *half) { h.pool.Servers[1].Fenced = true }, false, []string{"replica at r:5432 is fenced"}},
		{"primary down", func(h *half) { h.pool.Servers[0].Up = false }, false, []string{"primary at p:5432 is down", "no primary"}},
		{"breaker", func(h *half) { h.pool.Servers[1].Breaker = "open" }, false, []string{"r:5432 fails"}},
		{"full", func(h *half) { h.pool.Clients = 100 }, false, []string{"max_client_conn lets in: 100"}},
		{"cache waits", func(h *half) { h.cache.Ready, h.cache.Missing = false, 12 }, false, []string{"waits for 12 partitions"}},
		{"a member leaves", func(h *half) { h.cluster.Members[1].State = "leaving" }, false, []string{"member b is leaving"}},
		{"alone", func(h *half) { h.cluster.Alone = errors.New("another key") }, false, []string{"it is alone: another key"}},
		{"draining", func(*half) {}, true, []string{"it is stopping"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := well
			h.pool.Servers = append([]Upstream(nil), well.pool.Servers...)
			h.cluster.Members = append([]Member(nil), well.cluster.Members...)
			tt.change(&h)
			sources := Sources{Pooler: h, Cache: h, Cluster: h, Draining: func() bool { return tt.draining }}
			w := httptest.NewRecorder()
			New(Config{Version: "v1", Logger: slog.New(slog.DiscardHandler)}, &sources).handler().ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
			var st Status
			if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil {
				t.Fatal(err)
			}
			if len(st.Problems) != len(tt.problems) || st.Healthy() != (len(tt.problems) == 0) {
				t.Errorf("healthy %v, problems %q; want %q", st.Healthy(), st.Problems, tt.problems)
			}
			for i := range min(len(st.Problems), len(tt.problems)) {
				if !strings.Contains(st.Problems[i], tt.problems[i]) {
					t.Errorf("problem %q, want %q", st.Problems[i], tt.problems[i])
				}
			}
			if st.Version != "v1" || st.Pooler.Waiting != 3 || st.Cache.HitPermille != 750 || st.Cluster.Epoch != "00000000000000ff" || len(st.Cluster.Members) != 2 {
				t.Errorf("it says %s", w.Body)
			}
			if tt.name == "all is well" && (st.Cluster.MaxToMean != 1.5 || st.Cluster.MinToMean != 0.5 || *st.Pooler.Servers[1].LagSeconds != 1.5 || st.Pooler.Servers[0].LagSeconds != nil) {
				t.Errorf("it says %s", w.Body)
			}
		})
	}
}
