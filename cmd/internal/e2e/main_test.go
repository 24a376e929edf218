package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// soak has the tests that break things do so longer and more often.
var soak = flag.Bool("soak", false, "break things longer and more often")

// atOnce is how many tests run beside each other at least: they mostly wait, for processes to notice what has happened.
const atOnce = 4

var (
	program string       // path of the binary under test
	shared  *environment // three nodes, one replica, pgbench's tables: for tests that break nothing
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis tells of nodes that do not answer: tests kill them
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen && runtime.GOMAXPROCS(0) < atOnce {
		_ = flag.Set("test.parallel", strconv.Itoa(atOnce)) // a flag that every test binary has
	}
	goleak.VerifyTestMain(suite{m})
}

// suite surrounds the tests with the binary and the shared environment.
type suite struct{ tests *testing.M }

// Run implements goleak.TestingM.
func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "outrigger-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code, err := s.run(dir)
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return max(code, 1)
	}
	return code
}

func (s suite) run(dir string) (code int, err error) {
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	program = filepath.Join(dir, "outrigger")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/outrigger-proxy/outrigger/cmd/outrigger")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	tmp, err := openDir(dir, "shared-")
	if err != nil {
		return 1, err
	}
	shared, err = startEnvironment(tmp, "--nodes=3", "--replicas=1", "--scale=10")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.stop()) }()
	return s.tests.Run(), nil
}

// openDir makes a directory in dir that PostgreSQL's unprivileged user can go through.
func openDir(dir, prefix string) (string, error) {
	path, err := os.MkdirTemp(dir, prefix)
	if err == nil {
		err = os.Chmod(path, 0o755)
	}
	return path, err
}

// eventually runs f until it returns nil, and fails with its last error when the time is up.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	const limit = time.Minute // a busy machine is no failure
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
