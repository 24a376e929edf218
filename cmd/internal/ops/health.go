package ops

// Words of a health report.
const (
	statusOK       = "ok"
	statusDegraded = "degraded" // serves, with something missing
	statusDown     = "down"
	statusStarting = "starting"
	statusDraining = "draining"
	statusOff      = "off"
	statusFenced   = "fenced" // a server that answers and is used for nothing
)

// health is the body of /health/ready.
type health struct {
	Status   string         `json:"status"`
	Primary  serverHealth   `json:"primary"`
	Replicas []serverHealth `json:"replicas"`
	Cache    cacheHealth    `json:"cache"`
	Cluster  clusterHealth  `json:"cluster"`
}

type serverHealth struct {
	Status   string `json:"status"`
	Address  string `json:"address,omitempty"`
	LagBytes *int64 `json:"lag_bytes,omitempty"`
}

type cacheHealth struct {
	Status string `json:"status"`
	Keys   int64  `json:"keys"`
	Bytes  int64  `json:"bytes"`
}

type clusterHealth struct {
	Name    string   `json:"name,omitempty"`
	Node    string   `json:"node,omitempty"`
	Members []string `json:"members"`
}

// ready tells whether new work should be sent here. Without a replica it should: the primary takes the reads.
func (h health) ready() bool { return h.Status == statusOK || h.Status == statusDegraded }

// health asks the halves. Ready means: the primary answers, the cache has joined and holds what it owns, no drain.
func (s *Sources) health() health {
	h := health{
		Status:   statusOK,
		Primary:  serverHealth{Status: statusOff},
		Replicas: []serverHealth{},
		Cache:    cacheHealth{Status: statusOff},
		Cluster:  clusterHealth{Members: []string{}},
	}
	if s.Pooler != nil {
		s.addServers(&h)
	}
	if s.Cache != nil {
		stats := s.Cache.CacheStats()
		h.Cache = cacheHealth{Status: statusOK, Keys: stats.Keys, Bytes: stats.Bytes}
		if !stats.Ready {
			h.Cache.Status = statusStarting
			h.Status = statusStarting
		}
	}
	if s.Cluster != nil {
		stats := s.Cluster.ClusterStats()
		h.Cluster = clusterHealth{Name: stats.Name, Node: stats.Node, Members: memberNames(stats.Members)}
	}
	if h.Primary.Status == statusDown {
		h.Status = statusDown
	}
	if s.Draining != nil && s.Draining() {
		h.Status = statusDraining
	}
	return h
}

func memberNames(members []Member) []string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name
	}
	return names
}

func (s *Sources) addServers(h *health) {
	h.Primary.Status = statusDown
	for _, server := range s.Pooler.PoolStats().Servers {
		one := serverHealth{Status: statusOK, Address: server.Address}
		switch {
		case server.Fenced && server.Role != "primary":
			one.Status = statusFenced
		case !server.Up:
			one.Status = statusDown
		}
		if server.Role == "primary" {
			// With two that claim the role, one that answers is what counts.
			if h.Primary.Status != statusOK {
				h.Primary = one
			}
			continue
		}
		if server.LagBytes >= 0 {
			one.LagBytes = &server.LagBytes
		}
		if !server.Up {
			h.Status = statusDegraded
		}
		h.Replicas = append(h.Replicas, one)
	}
}
