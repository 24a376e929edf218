package contender

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// preparedSince is the first PgBouncer that keeps named prepared statements in transaction mode.
var preparedSince = [2]int{1, 21}

// StartPgBouncer runs PgBouncer in front of the primary. It runs as the owner of the cluster's directory, since it refuses
// to be root, and has its files in a directory of its own there.
func StartPgBouncer(ctx context.Context, program string, servers *devpg.Cluster, o Options) (*Contender, error) {
	version, err := firstLine(ctx, program, "--version")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(servers.SocketDir(), "pgbouncer-")
	if err != nil {
		return nil, fmt.Errorf("create its directory: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open its directory: %w", err)
	}
	users := "" // everybody
	if o.logins() {
		if users, err = userlist(dir); err != nil {
			return nil, err
		}
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	p, addrs, err := recipe{
		name:  PgBouncer,
		log:   filepath.Join(dir, "pgbouncer.log"),
		ports: 1,
		command: func(addrs []string) (*exec.Cmd, error) {
			config, err := pgbouncerINI(servers.Addr(0), addrs[0], users, o.poolSize(), atLeast(version, preparedSince))
			if err != nil {
				return nil, err
			}
			if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
				return nil, fmt.Errorf("write its configuration: %w", err)
			}
			owner, err := ownerOf(servers.SocketDir())
			if err != nil {
				return nil, err
			}
			cmd := exec.Command(program, ini)
			cmd.Dir = servers.SocketDir()
			cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
			return cmd, nil
		},
		ready: func(ctx context.Context, addrs []string) error { return firstQuery(ctx, addrs[0]) },
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: PgBouncer, Version: version, process: p, ready: p.ready, cannot: withoutPrepared(version), addrs: map[load.Service]string{o.service(): addrs[0]},
		Settings: fmt.Sprintf("pool_mode=transaction default_pool_size=%d max_client_conn=%d, long backlog, connections not logged", o.poolSize(), MaxClients)}, nil
}

// withoutPrepared gives the reason against workloads with prepared statements, for versions that need one.
func withoutPrepared(version string) func(load.Workload) string {
	return func(w load.Workload) string {
		if !w.Prepared || atLeast(version, preparedSince) {
			return ""
		}
		return fmt.Sprintf("%s keeps no prepared statements in transaction mode (%d.%d and later do)", version, preparedSince[0], preparedSince[1])
	}
}

// pgbouncerINI is a configuration like that of a production pooler. users is the auth_file; without one, logins are not
// checked. The backlog is as long as the kernel lets it be, as ours is: its default drops clients that come all at once,
// who then come back a second later.
func pgbouncerINI(server, listen, users string, poolSize int, prepared bool) (string, error) {
	serverHost, serverPort, err := net.SplitHostPort(server)
	if err != nil {
		return "", fmt.Errorf("address %s: %w", server, err)
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("address %s: %w", listen, err)
	}
	lines := []string{
		"[databases]",
		fmt.Sprintf("%s = host=%s port=%s dbname=%[1]s user=%[4]s", devpg.Database, serverHost, serverPort, devpg.User),
		"[pgbouncer]",
		"listen_addr = " + host,
		"listen_port = " + port,
		"unix_socket_dir =",
		"listen_backlog = 4096",
		"pool_mode = transaction",
		"default_pool_size = " + strconv.Itoa(poolSize),
		"max_client_conn = " + strconv.Itoa(MaxClients),
		"log_connections = 0",
		"log_disconnections = 0",
	}
	if users == "" {
		lines = append(lines, "auth_type = any")
	} else {
		lines = append(lines, "auth_type = scram-sha-256", "auth_file = "+users)
	}
	if prepared {
		lines = append(lines, "max_prepared_statements = 200") // the default since 1.24; 0 before
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// ownerOf gives the credential for running as the owner of a directory; nil when we are the owner.
func ownerOf(dir string) (*syscall.Credential, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("find the servers' user: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("find the servers' user: no owner of %s", dir)
	}
	if int(stat.Uid) == os.Geteuid() {
		return nil, nil
	}
	return &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}, nil
}

// atLeast finds the first "major.minor" in a version line and compares it. An unreadable version counts as new enough:
// then the run itself will tell.
func atLeast(line string, want [2]int) bool {
	for word := range strings.FieldsSeq(line) {
		parts := strings.SplitN(word, ".", 3)
		if len(parts) < 2 {
			continue
		}
		major, err := strconv.Atoi(parts[0])
		if err != nil {
			continue
		}
		minor, err := strconv.Atoi(parts[1])
		if err != nil {
			continue
		}
		return major > want[0] || major == want[0] && minor >= want[1]
	}
	return true
}

// firstLine runs a program that prints its version.
func firstLine(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}
