package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// install puts the scripts of testdata/node in a directory with the packages they use, at the versions of
// package-lock.json.
var install = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(scratch, "node")
	if err := os.CopyFS(dir, os.DirFS("testdata/node")); err != nil {
		return "", err
	}
	npm := exec.Command("npm", "ci", "--prefix", dir, "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund",
		"--no-update-notifier", "--prefer-offline")
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
})

// packages is the directory of the scripts for Node.js, ready to run.
func packages(t *testing.T) string {
	t.Helper()
	dir, err := install()
	if err != nil {
		t.Fatalf("%v: `.ci/install test` installs Node.js; go test -short leaves it out", err)
	}
	return dir
}

// debianPython is Debian's interpreter with redis-py: another one does not see its packages.
func debianPython(t *testing.T) string {
	t.Helper()
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import redis").CombinedOutput(); err != nil {
		t.Fatalf("%v: `.ci/install test` installs python3-redis; go test -short leaves it out\n%s", err, out)
	}
	return python
}

// where tells a script of servers.
func where(servers ...server) (environ []string) {
	var urls []string
	for _, s := range servers {
		urls = append(urls, "redis://"+s.addr)
	}
	return []string{"SERVER_URL=" + urls[0], "SERVER_URLS=" + strings.Join(urls, ",")}
}

// run runs a script. It says what is wrong, and nothing when all is well.
func run(t *testing.T, environ []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), environ...)
	if *real {
		cmd.Env = append(cmd.Env, "SERVER_REAL=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
}

func TestNode(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the packages come from npm: left out by -short")
	}
	dir := packages(t)
	for _, script := range []string{"ioredis", "node-redis", "bullmq", "connect-redis", "keyv", "rate-limiter-flexible"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			run(t, where(start(t)), "node", filepath.Join(dir, script+".js"))
		})
	}
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		run(t, where(startCluster(t)...), "node", filepath.Join(dir, "cluster.js"))
	})
	t.Run("bullmq on a cluster", func(t *testing.T) {
		t.Parallel()
		servers := startColocating(t, "bull:")
		run(t, where(servers...), "node", filepath.Join(dir, "bullmq.js"))
		neverCrossed(t, servers)
	})
	t.Run("cluster-aware", func(t *testing.T) {
		t.Parallel()
		run(t, where(startReachable(t)...), "node", filepath.Join(dir, "cluster-aware.js"))
	})
}

func TestPython(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("redis-py comes from Debian: left out by -short")
	}
	python := debianPython(t)
	t.Run("redis-py", func(t *testing.T) {
		t.Parallel()
		run(t, where(start(t)), python, "testdata/python/redis_py.py")
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		run(t, where(startCluster(t)...), python, "testdata/python/cluster.py")
	})
	t.Run("cluster-aware", func(t *testing.T) {
		t.Parallel()
		run(t, where(startReachable(t)...), python, "testdata/python/cluster_aware.py")
	})
}
