package contender

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/outrigger-proxy/outrigger/bench/load"
)

// StartRedis runs a redis-server that keeps nothing on disk, with its files in dir.
func StartRedis(ctx context.Context, program, dir string) (*Contender, error) {
	version, err := firstLine(ctx, program, "--version")
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(dir, "redis-server-")
	if err != nil {
		return nil, fmt.Errorf("create its directory: %w", err)
	}
	p, addrs, err := recipe{
		name:  Redis,
		log:   filepath.Join(dir, "redis-server.log"),
		ports: 1,
		command: func(addrs []string) (*exec.Cmd, error) {
			host, port, err := net.SplitHostPort(addrs[0])
			if err != nil {
				return nil, err
			}
			return exec.Command(program, "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", dir), nil
		},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: Redis, Version: version, Settings: "save='' appendonly=no", process: p,
		addrs: map[load.Service]string{load.Cache: addrs[0]}}, nil
}
