package ops

import (
	"fmt"
	"slices"
)

// Status is the body of /status: what `outrigger status` shows.
type Status struct {
	Version  string        `json:"version"`
	Status   string        `json:"status"`   // as of /health/ready
	Problems []string      `json:"problems"` // what is not as it should be, for people
	Pooler   *PoolerStatus `json:"pooler,omitempty"`
	Cache    *CacheStatus  `json:"cache,omitempty"`
	Cluster  *RingStatus   `json:"cluster,omitempty"`
}

// Healthy tells whether nothing is missing.
func (s *Status) Healthy() bool { return s.Status == statusOK && len(s.Problems) == 0 }

// PoolerStatus is the Postgres half.
type PoolerStatus struct {
	Clients    int            `json:"clients"`
	MaxClients int            `json:"max_clients"`
	Waiting    int            `json:"waiting"` // for a server connection
	Pinned     int            `json:"pinned"`
	Servers    []ServerStatus `json:"servers"`
}

// ServerStatus is a Postgres server.
type ServerStatus struct {
	Address    string   `json:"address"`
	Role       string   `json:"role"`
	State      string   `json:"state"`                 // up, down, fenced
	LagSeconds *float64 `json:"lag_seconds,omitempty"` // of a replica, if it is known
}

// CacheStatus is this node's share of the cache.
type CacheStatus struct {
	Ready       bool   `json:"ready"`
	Clients     int    `json:"clients"`
	Keys        int64  `json:"keys"` // copies for other members included
	Bytes       int64  `json:"bytes"`
	MaxBytes    int64  `json:"max_bytes"` // 0: no bound
	Hits        uint64 `json:"hits"`
	Misses      uint64 `json:"misses"`
	NearHits    uint64 `json:"near_hits"`
	NearCopies  int    `json:"near_copies"`
	Evicted     uint64 `json:"evicted"`
	Missing     int    `json:"missing_partitions"`
	HitPermille uint64 `json:"hit_permille"`
}

// RingStatus is the cluster.
type RingStatus struct {
	Name    string   `json:"name"`
	Node    string   `json:"node"`
	Epoch   string   `json:"epoch"` // of the ring, in hexadecimal
	Members []Member `json:"members"`
	// MaxToMean and MinToMean are what the members with the most and the fewest partitions own, in parts of the mean.
	MaxToMean float64 `json:"max_to_mean"`
	MinToMean float64 `json:"min_to_mean"`
}

// status asks the halves.
func (s *Sources) status(version string) Status {
	st := Status{Version: version, Status: s.health().Status, Problems: []string{}}
	problem := func(format string, args ...any) { st.Problems = append(st.Problems, fmt.Sprintf(format, args...)) }
	if st.Status == statusDraining {
		problem("it is stopping, and lets its clients finish")
	}
	if s.Pooler != nil {
		st.Pooler = poolerStatus(s.Pooler.PoolStats(), problem)
	}
	if s.Cache != nil {
		c := s.Cache.CacheStats()
		st.Cache = &CacheStatus{Ready: c.Ready, Clients: c.Clients, Keys: c.Keys, Bytes: c.Bytes, MaxBytes: c.Budget, Hits: c.Hits, Misses: c.Misses,
			NearHits: c.NearHits, NearCopies: c.NearCopies, Evicted: c.Evicted, Missing: c.Missing}
		if asked := c.Hits + c.Misses; asked > 0 {
			st.Cache.HitPermille = c.Hits * 1000 / asked
		}
		if !c.Ready {
			problem("the cache has not joined its cluster, or waits for %d partitions", c.Missing)
		}
	}
	if s.Cluster != nil {
		st.Cluster = ringStatus(s.Cluster.ClusterStats(), problem)
	}
	return st
}

func poolerStatus(p PoolStats, problem func(string, ...any)) *PoolerStatus {
	st := &PoolerStatus{Clients: p.Clients, MaxClients: p.MaxClients, Pinned: p.Pinned, Servers: []ServerStatus{}}
	for _, pool := range p.Pools {
		st.Waiting += pool.ClientsWaiting
	}
	primary := false
	for _, server := range p.Servers {
		one := ServerStatus{Address: server.Address, Role: server.Role, State: "up"}
		switch {
		case server.Fenced:
			one.State = statusFenced
		case !server.Up:
			one.State = statusDown
		case server.Role == "primary":
			primary = true
		}
		if one.State != "up" {
			problem("the %s at %s is %s", one.Role, one.Address, one.State)
		}
		if server.Role != "primary" && server.Lag >= 0 {
			lag := server.Lag.Seconds()
			one.LagSeconds = &lag
		}
		if server.Breaker == "open" {
			problem("%s fails, and is left alone for a while", server.Address)
		}
		st.Servers = append(st.Servers, one)
	}
	if !primary {
		problem("there is no primary: nothing can be written")
	}
	if p.MaxClients > 0 && p.Clients >= p.MaxClients {
		problem("there are as many clients as max_client_conn lets in: %d", p.MaxClients)
	}
	return st
}

func ringStatus(c ClusterStats, problem func(string, ...any)) *RingStatus {
	st := &RingStatus{Name: c.Name, Node: c.Node, Epoch: fmt.Sprintf("%016x", c.Epoch), Members: slices.Clone(c.Members)}
	if c.Alone != nil {
		problem("it is alone: %v", c.Alone)
	}
	sum, most, fewest, active := 0, 0, 0, 0
	for _, m := range c.Members {
		if m.State != "active" {
			problem("member %s is %s", m.Name, m.State)
			continue
		}
		if active == 0 || m.Owned < fewest {
			fewest = m.Owned
		}
		most = max(most, m.Owned)
		sum += m.Owned
		active++
	}
	if sum > 0 {
		mean := float64(sum) / float64(active)
		st.MaxToMean, st.MinToMean = float64(most)/mean, float64(fewest)/mean
	}
	return st
}
