package contender

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/load"
)

// BuildOlric builds olric-server from the module in bench/contender/olric, which pins it, and returns its path in dir.
func BuildOlric(ctx context.Context, root, dir string) (string, error) {
	program := filepath.Join(dir, "olric-server")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program,
		"github.com/olric-data/olric/cmd/olric-server")
	cmd.Dir = filepath.Join(root, "bench", "contender", "olric")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build olric-server: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return program, nil
}

// StartOlric runs one member of an Olric cluster with its defaults for servers on one machine, and o.Copies of everything.
func StartOlric(ctx context.Context, program, dir string, o Options) (*Contender, error) {
	const cache, gossip, ports = 0, 1, 2
	dir, err := os.MkdirTemp(dir, "olric-")
	if err != nil {
		return nil, fmt.Errorf("create its directory: %w", err)
	}
	members := 1 + len(o.Join)
	p, addrs, err := recipe{
		name:  Olric,
		log:   filepath.Join(dir, "olric.log"),
		ports: ports,
		command: func(addrs []string) (*exec.Cmd, error) {
			config, err := olricConfig(addrs[cache], addrs[gossip], o)
			if err != nil {
				return nil, err
			}
			path := filepath.Join(dir, "olric.yaml")
			if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
				return nil, fmt.Errorf("write its configuration: %w", err)
			}
			return exec.Command(program, "-c", path), nil
		},
		ready: func(ctx context.Context, addrs []string) error { return olricKnows(ctx, addrs[cache], members) },
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: Olric, Version: "v0.7.4", Settings: fmt.Sprintf("environment=local replicaCount=%d", max(o.Copies, 1)),
		process: p, ready: p.ready, addrs: map[load.Service]string{load.Cache: addrs[cache], load.Gossip: addrs[gossip]}}, nil
}

func olricConfig(cache, gossip string, o Options) (string, error) {
	host, port, err := net.SplitHostPort(cache)
	if err != nil {
		return "", err
	}
	_, gossipPort, err := net.SplitHostPort(gossip)
	if err != nil {
		return "", err
	}
	config := fmt.Sprintf(`server:
  bindAddr: %s
  bindPort: %s
  bootstrapTimeout: 10s
  partitionCount: 271
  replicaCount: %d
  writeQuorum: 1
  readQuorum: 1
  memberCountQuorum: 1
client:
  dialTimeout: 5s
  readTimeout: 3s
  writeTimeout: 3s
logging:
  verbosity: 1
  level: ERROR
  output: stderr
memberlist:
  environment: local
  bindAddr: %s
  bindPort: %s
  enableCompression: false
  joinRetryInterval: 1s
  maxJoinAttempts: 10
`, host, port, max(o.Copies, 1), host, gossipPort)
	if len(o.Join) > 0 {
		config += "  peers:\n"
		for _, peer := range o.Join {
			config += "    - " + peer + "\n"
		}
	}
	return config, nil
}

// olricKnows asks a member whether it knows so many.
func olricKnows(ctx context.Context, addr string, members int) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "*1\r\n$15\r\nCLUSTER.MEMBERS\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if want := fmt.Sprintf("*%d\r\n", members); err != nil || answer != want {
		return cmp.Or(err, fmt.Errorf("it answers %q, and %q when it knows all", answer, want))
	}
	return nil
}
