package app

import (
	"fmt"
	"os"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/keyring"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
)

// readKeys reads the keys of a cluster_key_file, the one in use first.
func readKeys(path string) ([][]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err // names the file
	}
	keys, err := keyring.Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// planKeys makes the ring of cluster_key_file, nil without one.
func planKeys(cfg *config.Config) (*keyring.Keyring, error) {
	if cfg.ClusterKeyFile == "" {
		return nil, nil
	}
	keys, err := readKeys(cfg.ClusterKeyFile)
	if err != nil {
		return nil, err
	}
	ring, err := keyring.New(cfg.ClusterName, cfg.NodeName, keys)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.ClusterKeyFile, err)
	}
	return ring, nil
}

// checkKeys refuses what a reload cannot do: members with and without a key do not understand each other.
func checkKeys(was, next *config.Config) error {
	if !was.Cache || (was.ClusterKeyFile == "") == (next.ClusterKeyFile == "") {
		return nil
	}
	return config.Problems{{Where: next.Origin("cluster_key_file"), Setting: "cluster_key_file",
		Message: "encryption between members is not turned on or off while they run", Hint: "stop all of them, then start them with the same setting"}}
}

// followKeys reads the keys again with each reload.
func (a *App) followKeys(members *cluster.Cluster) {
	ring := a.cachePlan.cluster.Keys
	if ring == nil {
		return
	}
	a.warn(openToAll("cluster_key_file", a.config.ClusterKeyFile))
	a.reloads = append(a.reloads, func(cfg *config.Config) error {
		keys, err := readKeys(cfg.ClusterKeyFile)
		if err == nil {
			err = ring.Set(keys)
		}
		if err != nil {
			return config.Problems{{Where: cfg.Origin("cluster_key_file"), Setting: "cluster_key_file", Message: err.Error()}}
		}
		return members.Rekey()
	})
}
