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

// StartMemcached runs memcached on one thread, as the others have one.
func StartMemcached(ctx context.Context, program, dir string, o Options) (*Contender, error) {
	version, err := firstLine(ctx, program, "--version")
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(dir, "memcached-")
	if err != nil {
		return nil, fmt.Errorf("create its directory: %w", err)
	}
	memory := max(o.Memory, 256<<20) >> 20
	p, addrs, err := recipe{
		name:  Memcached,
		log:   filepath.Join(dir, "memcached.log"),
		ports: 1,
		command: func(addrs []string) (*exec.Cmd, error) {
			host, port, err := net.SplitHostPort(addrs[0])
			if err != nil {
				return nil, err
			}
			// It refuses to be root unless it is told to whom to change.
			return exec.Command(program, "-l", host, "-p", port, "-U", "0", "-t", "1", "-m", fmt.Sprint(memory), "-u", "nobody"), nil
		},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: Memcached, Version: version, Settings: fmt.Sprintf("one thread, -m %d", memory), process: p, ready: p.ready,
		cannot: onlyASCII, addrs: map[load.Service]string{load.Cache: addrs[0]}}, nil
}

func onlyASCII(w load.Workload) string {
	if w.RESP {
		return "it does not speak RESP"
	}
	return ""
}
