package e2e

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// The drivers of Node.js, at the versions of testdata/node/package-lock.json.
func TestNode(t *testing.T) {
	if testing.Short() {
		t.Skip("node-postgres and ioredis come from npm: left out by -short")
	}
	t.Parallel()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%v: apt-get install nodejs npm, or go test -short to leave this out", err)
		}
	}
	dir := tempDir(t)
	if err := os.CopyFS(dir, os.DirFS("testdata/node")); err != nil {
		t.Fatal(err)
	}
	install := "npm ci --prefix '" + dir + "' --ignore-scripts --no-audit --no-fund --no-update-notifier --prefer-offline"
	if _, err := shell(os.Environ(), 2*time.Minute, install); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"postgres.js", "redis.js"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			if out := shared.sh(t, "node '"+dir+"/"+script+"'"); out != "" {
				t.Error(out)
			}
		})
	}
}
