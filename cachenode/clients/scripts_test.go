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

// python is Debian's: another one does not see its packages.
const python = "/usr/bin/python3"

// packages puts the scripts of testdata/node in a directory with the packages they use, at the versions of
// package-lock.json.
var packages = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(scratch, "node")
	if err := os.CopyFS(dir, os.DirFS("testdata/node")); err != nil {
		return "", err
	}
	install := exec.Command("npm", "ci", "--prefix", dir, "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund",
		"--no-update-notifier", "--prefer-offline")
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
})

// run runs a program against servers. It says what is wrong, and nothing when all is well.
func run(t *testing.T, servers []server, name string, args ...string) {
	t.Helper()
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "SERVER_URL="+urls[0], "SERVER_URLS="+strings.Join(urls, ","), "LC_ALL=C.UTF-8")
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
	dir, err := packages()
	if err != nil {
		t.Fatalf("%v: `.ci/install test` installs Node.js; go test -short leaves it out", err)
	}
	for _, script := range []string{"ioredis", "node-redis", "bullmq", "connect-redis", "keyv", "rate-limiter-flexible"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			run(t, []server{start(t)}, "node", filepath.Join(dir, script+".js"))
		})
	}
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		run(t, startCluster(t), "node", filepath.Join(dir, "cluster.js"))
	})
}

func TestPython(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("redis-py comes from Debian: left out by -short")
	}
	if out, err := exec.Command(python, "-c", "import redis").CombinedOutput(); err != nil {
		t.Fatalf("%v: `.ci/install test` installs python3-redis; go test -short leaves it out\n%s", err, out)
	}
	t.Run("redis-py", func(t *testing.T) {
		t.Parallel()
		run(t, []server{start(t)}, python, "testdata/python/redis_py.py")
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		run(t, startCluster(t), python, "testdata/python/cluster.py")
	})
}
