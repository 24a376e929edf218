package contender

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// pgpoolClients is how many processes pgpool-II gets: each serves one client at a time.
const pgpoolClients = 80

// StartPgpool runs pgpool-II in front of the primary and its replicas. Like PgBouncer it runs as the owner of the
// cluster's directory.
func StartPgpool(ctx context.Context, program string, servers *devpg.Cluster) (*Contender, error) {
	version, err := pgpoolVersion(ctx, program)
	if err != nil {
		return nil, err
	}
	owner, err := ownerOf(servers.SocketDir())
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(servers.SocketDir(), "pgpool-")
	if err != nil {
		return nil, fmt.Errorf("create its directory: %w", err)
	}
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, fmt.Errorf("give it its directory: %w", err)
		}
	}
	conf := filepath.Join(dir, "pgpool.conf")
	p, addrs, err := recipe{
		name:  Pgpool,
		log:   filepath.Join(dir, "pgpool.log"),
		ports: 2,
		command: func(addrs []string) (*exec.Cmd, error) {
			config, err := pgpoolConf(servers, addrs[0], addrs[1], dir)
			if err != nil {
				return nil, err
			}
			if err := os.WriteFile(conf, []byte(config), 0o644); err != nil {
				return nil, fmt.Errorf("write its configuration: %w", err)
			}
			cmd := exec.Command(program, "-n", "-f", conf, "-F", os.DevNull, "-a", os.DevNull)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
			return cmd, nil
		},
		ready: func(ctx context.Context, addrs []string) error { return firstQuery(ctx, addrs[0]) },
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: Pgpool, Version: version, process: p, family: true, ready: p.ready,
		addrs: map[load.Service]string{load.Pooler: addrs[0]}, cannot: func(w load.Workload) string {
			if w.Clients < pgpoolClients {
				return ""
			}
			return fmt.Sprintf("it has a process for each client, and got %d", pgpoolClients)
		},
		Settings: fmt.Sprintf("streaming replication, statement_level_load_balance=on, num_init_children=%d, no logs", pgpoolClients)}, nil
}

// pgpoolVersion asks for the version, which goes to standard error.
func pgpoolVersion(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}

// pgpoolConf balances statement by statement, as Outrigger does; by default pgpool-II would choose once for a session.
func pgpoolConf(servers *devpg.Cluster, listen, pcp, dir string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("address %s: %w", listen, err)
	}
	_, pcpPort, err := net.SplitHostPort(pcp)
	if err != nil {
		return "", fmt.Errorf("address %s: %w", pcp, err)
	}
	lines := []string{
		"backend_clustering_mode = 'streaming_replication'",
		"listen_addresses = '" + host + "'",
		"port = " + port,
		"socket_dir = '" + dir + "'",
		"pcp_socket_dir = '" + dir + "'",
		"pcp_listen_addresses = ''",
		"pcp_port = " + pcpPort,
		"logdir = '" + dir + "'",
		"pid_file_name = '" + dir + "/pgpool.pid'",
		fmt.Sprintf("num_init_children = %d", pgpoolClients),
		"max_pool = 1",
		"load_balance_mode = on",
		"statement_level_load_balance = on",
		"sr_check_period = 10",
		"sr_check_user = '" + devpg.User + "'",
		"sr_check_database = '" + devpg.Database + "'",
		"enable_pool_hba = off",
		"use_watchdog = off",
		"log_min_messages = error",
	}
	for i := range servers.Len() {
		host, port, err := net.SplitHostPort(servers.Addr(i))
		if err != nil {
			return "", fmt.Errorf("address %s: %w", servers.Addr(i), err)
		}
		lines = append(lines, fmt.Sprintf("backend_hostname%d = '%s'", i, host), fmt.Sprintf("backend_port%d = %s", i, port),
			fmt.Sprintf("backend_weight%d = %d", i, min(i, 1)), // reads to the replicas, as ours go
			fmt.Sprintf("backend_flag%d = 'DISALLOW_TO_FAILOVER'", i))
	}
	return strings.Join(lines, "\n") + "\n", nil
}
