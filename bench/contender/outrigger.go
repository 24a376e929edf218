package contender

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// BuildOutrigger builds the program from the source tree at root, as make build does (static, stripped), and returns its
// path in dir.
func BuildOutrigger(ctx context.Context, root, dir, version string) (string, error) {
	program := filepath.Join(dir, "outrigger")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version,
		"-o", program, "./cmd/outrigger")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build outrigger: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return program, nil
}

// StartOutrigger runs one node in front of the primary: pooler and cache in one process, as beside an application. It has
// its files in a directory of its own in dir.
func StartOutrigger(ctx context.Context, program, version, dir string, servers *devpg.Cluster, o Options) (*Contender, error) {
	const pg, cache, gossip, peer, http, ports = 0, 1, 2, 3, 4, 5
	dir, err := os.MkdirTemp(dir, "outrigger-")
	if err != nil {
		return nil, fmt.Errorf("create its directory: %w", err)
	}
	users := "" // everybody
	if o.logins() {
		if users, err = userlist(dir); err != nil {
			return nil, err
		}
	}
	p, addrs, err := recipe{
		name:  Outrigger,
		log:   filepath.Join(dir, "outrigger.log"),
		ports: ports,
		command: func(addrs []string) (*exec.Cmd, error) {
			cmd := exec.Command(program, "serve")
			cmd.Dir = dir
			cmd.Env = []string{ // and nothing else: settings of the caller's environment would be measured too
				"PATH=/usr/bin:/bin", "HOME=" + dir,
				"OUTRIGGER_PRIMARY_URL=" + servers.PrimaryURL(),
				"OUTRIGGER_PG_LISTEN=" + addrs[pg],
				"OUTRIGGER_CACHE_LISTEN=" + addrs[cache],
				"OUTRIGGER_GOSSIP_LISTEN=" + addrs[gossip],
				"OUTRIGGER_PEER_LISTEN=" + addrs[peer],
				"OUTRIGGER_HTTP_LISTEN=" + addrs[http],
				fmt.Sprintf("OUTRIGGER_DEFAULT_POOL_SIZE=%d", o.poolSize()),
				fmt.Sprintf("OUTRIGGER_MAX_CLIENT_CONN=%d", MaxClients),
			}
			if o.Replicas {
				var urls []string // as many server connections for reads as there are without replicas
				for _, u := range servers.ReplicaURLs() {
					urls = append(urls, fmt.Sprintf("%s&pool_size=%d", u, PoolSize/len(servers.ReplicaURLs())))
				}
				cmd.Env = append(cmd.Env, "OUTRIGGER_REPLICA_URLS="+strings.Join(urls, ","))
			}
			cmd.Env = append(cmd.Env, o.Env...)
			if o.logins() {
				cmd.Env = append(cmd.Env, "OUTRIGGER_CLIENT_AUTH=scram-sha-256", "OUTRIGGER_AUTH_FILE="+users)
			}
			return cmd, nil
		},
		ready: func(ctx context.Context, addrs []string) error {
			if err := isReady(ctx, addrs[http]); err != nil {
				return err
			}
			return firstQuery(ctx, addrs[pg])
		},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("one node, default_pool_size=%d max_client_conn=%d", o.poolSize(), MaxClients)
	if len(o.Env) > 0 {
		settings += " " + strings.Join(o.Env, " ")
	}
	return &Contender{Name: cmp.Or(o.Name, Outrigger), Version: version, process: p, ready: p.ready, Settings: settings,
		addrs: map[load.Service]string{o.service(): addrs[pg]}}, nil
}

// StartOutriggerCache runs one node without Postgres, on one loop or as many as o says: the rivals have one thread.
func StartOutriggerCache(ctx context.Context, program, version, dir string, o Options) (*Contender, error) {
	const cache, gossip, peer, http, ports = 0, 1, 2, 3, 4
	dir, err := os.MkdirTemp(dir, "outrigger-cache-")
	if err != nil {
		return nil, fmt.Errorf("create its directory: %w", err)
	}
	settings := append([]string{fmt.Sprintf("OUTRIGGER_LOOPS=%d", max(o.Loops, 1))}, o.Env...)
	if o.Memory > 0 {
		settings = append(settings, fmt.Sprintf("OUTRIGGER_MAX_MEMORY=%d", o.Memory))
	}
	if o.Node != "" {
		settings = append(settings, "OUTRIGGER_NODE_NAME="+o.Node)
	}
	if len(o.Join) > 0 {
		settings = append(settings, "OUTRIGGER_JOIN="+strings.Join(o.Join, ","))
	}
	p, addrs, err := recipe{
		name:  Outrigger,
		log:   filepath.Join(dir, "outrigger.log"),
		ports: ports,
		command: func(addrs []string) (*exec.Cmd, error) {
			cmd := exec.Command(program, "serve")
			cmd.Dir = dir
			cmd.Env = append([]string{
				"PATH=/usr/bin:/bin", "HOME=" + dir,
				"OUTRIGGER_CACHE_LISTEN=" + addrs[cache],
				"OUTRIGGER_GOSSIP_LISTEN=" + addrs[gossip],
				"OUTRIGGER_PEER_LISTEN=" + addrs[peer],
				"OUTRIGGER_HTTP_LISTEN=" + addrs[http],
			}, settings...)
			return cmd, nil
		},
		ready: func(ctx context.Context, addrs []string) error { return isReady(ctx, addrs[http]) },
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: cmp.Or(o.Name, Outrigger), Version: version, process: p, ready: p.ready, Settings: "one node without Postgres, " + strings.Join(settings, " "), Loops: max(o.Loops, 1),
		addrs: map[load.Service]string{load.Cache: addrs[cache], load.Gossip: addrs[gossip]}}, nil
}

// Heeds tells whether a program knows a setting, given as a variable NAME=value: then its check prints it with the value.
func Heeds(ctx context.Context, program, variable string) bool {
	name, value, _ := strings.Cut(strings.TrimPrefix(variable, "OUTRIGGER_"), "=")
	cmd := exec.CommandContext(ctx, program, "check")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "OUTRIGGER_PRIMARY_URL=postgres://nobody@127.0.0.1/nothing", variable}
	out, err := cmd.Output()
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == strings.ToLower(name)+":" && strings.Trim(words[1], `"`) == value { // YAML quotes an "off"
			return true
		}
	}
	return false
}

// isReady asks the node itself.
func isReady(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health/ready", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
