package contender

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/outrigger-proxy/outrigger/bench/load"
)

// StartHAProxy runs HAProxy as a relay of bytes in front of the server at addr: what a proxy costs that understands nothing
// and pools nothing. Each client has a server process of its own, as without a proxy, so it takes up to most of them.
func StartHAProxy(ctx context.Context, program, dir, addr string, most int) (*Contender, error) {
	version, err := firstLine(ctx, program, "-v")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "haproxy.cfg")
	p, addrs, err := recipe{
		name:  HAProxy,
		log:   filepath.Join(dir, "haproxy.log"),
		ports: 1,
		command: func(addrs []string) (*exec.Cmd, error) {
			if err := os.WriteFile(config, []byte(haproxyCfg(addr, addrs[0], most)), 0o644); err != nil {
				return nil, fmt.Errorf("write its configuration: %w", err)
			}
			return exec.Command(program, "-db", "-f", config), nil
		},
		ready: func(ctx context.Context, addrs []string) error { return firstQuery(ctx, addrs[0]) },
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: HAProxy, Version: version, process: p, ready: p.ready, cannot: upTo(most),
		addrs: map[load.Service]string{load.Pooler: addrs[0]}, Settings: "mode tcp: bytes are relayed, nothing is pooled or read"}, nil
}

// haproxyCfg leaves the number of threads to HAProxy: one for each processor.
func haproxyCfg(server, listen string, most int) string {
	return fmt.Sprintf(`global
  maxconn %d
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen postgres
  bind %s backlog 4096
  server primary %s
`, most+1, listen, server) // and one to see that it is ready
}
