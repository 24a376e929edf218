package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// install puts the scripts of testdata/node in a directory with the packages they use, at the versions of
// package-lock.json. It goes with the binary's directory.
var install = sync.OnceValues(func() (string, error) {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(filepath.Dir(program), "node")
	if err := os.CopyFS(dir, os.DirFS("testdata/node")); err != nil {
		return "", err
	}
	_, err := shell(os.Environ(), 2*time.Minute,
		"npm ci --prefix '"+dir+"' --ignore-scripts --no-audit --no-fund --no-update-notifier --prefer-offline")
	return dir, err
})

// nodeModules is the directory of the scripts for Node.js, ready to run.
func nodeModules(t *testing.T) string {
	t.Helper()
	dir, err := install()
	if err != nil {
		t.Fatalf("%v: `.ci/install test` installs Node.js; go test -short leaves it out", err)
	}
	return dir
}

// ioredis against every node.
func TestNodeRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("ioredis comes from npm: left out by -short")
	}
	t.Parallel()
	if out := shared.sh(t, "node '"+nodeModules(t)+"/redis.js'"); out != "" {
		t.Error(out)
	}
}
