package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// However `outrigger dev` ends, and whatever has happened to its children, nothing is left of it.
func TestDevRemovesEverything(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		sig    syscall.Signal
		victim string // what the child to be killed first has in its command line
	}{
		{"SIGTERM", syscall.SIGTERM, ""},
		{"SIGINT", syscall.SIGINT, ""},
		{"SIGTERM after a sidecar's death", syscall.SIGTERM, "serve"},
		{"SIGINT after the database's death", syscall.SIGINT, "-D"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			p := begin(t, environIn(dir), "dev", "--nodes=2", "--replicas=1", "--scale=0")
			eventually(t, "welcome", func() error {
				if !p.running() {
					t.Fatalf("ended with %d:\n%s", p.code, p.said())
				}
				return p.says("Ctrl-C ends")
			})
			children := descendants(t, p.pid())
			sockets := listeners(t, children)
			if len(children) < 4 || len(sockets) < 2*4+2 {
				t.Fatalf("%d children listen on %d sockets: too few for 2 sidecars and 2 databases", len(children), len(sockets))
			}
			if tt.victim != "" {
				victim := withArgument(t, children, tt.victim)
				if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the victim's end", func() error { return gone(victim) })
			}
			p.signal(t, tt.sig)
			p.exit(t, 0, 40*time.Second)
			// Backends of a killed database find out by themselves.
			eventually(t, "no process is left", func() error {
				for _, pid := range children {
					if err := gone(pid); err != nil {
						return err
					}
				}
				return nil
			})
			if left := mentioning(t, dir); len(left) > 0 {
				t.Errorf("processes of it are left: %v", left)
			}
			open := listening(t)
			for inode := range sockets {
				if addr := open[inode]; addr != "" {
					t.Errorf("somebody still listens on %s", addr)
				}
			}
			if err := empty(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// A signal while it starts ends it as cleanly, and in one line.
func TestDevInterruptedAtTheStart(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	p := begin(t, environIn(dir), "dev", "--nodes=1", "--replicas=1", "--scale=0")
	eventually(t, "start", func() error { return p.says("initdb") })
	p.signal(t, syscall.SIGTERM)
	p.exit(t, 1, 30*time.Second)
	if got := p.stderr.String(); got != "outrigger: interrupted\n" {
		t.Errorf("it says %q", got)
	}
	if err := empty(dir); err != nil {
		t.Error(err)
	}
}

// kill -9 of `outrigger dev` itself: its children end with it, and the next one removes its files.
func TestDevKilled(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	p := begin(t, environIn(dir), "dev", "--nodes=1", "--replicas=0", "--scale=0")
	eventually(t, "welcome", func() error { return p.says("Ctrl-C ends") })
	children := descendants(t, p.pid())
	p.kill()
	eventually(t, "the children's end", func() error {
		for _, pid := range children {
			if err := gone(pid); err != nil {
				return err
			}
		}
		return nil
	})
	// A directory that is younger than a minute is left alone: its owner may just be starting.
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) == 0 {
		t.Fatalf("the killed one has left nothing (%v): this test proves nothing", err)
	}
	for _, path := range left {
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-2*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	next := begin(t, environIn(dir), "dev", "--nodes=1", "--replicas=0", "--scale=0", "--exec", "true")
	next.exit(t, 0, time.Minute)
	if err := empty(dir); err != nil {
		t.Error(err)
	}
}

// Every mistake is told at once, each with the name under which it was made, and nothing is started.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(tempDir(t), "bad.yaml")
	if err := os.WriteFile(file, []byte("primary_ulr: x\ndrain_timeout: soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := append(environIn(t.TempDir()), "OUTRIGGER_POOL_MODE=x", "OUTRIGGER_DEFAULT_POOL_SIZE=-1", "PRIMARY_DB_URL=mysql://nobody",
		"OUTRIGGER_CACHE_PASSWORD_FILE=/nowhere")
	for _, command := range []string{"serve", "check"} {
		p := begin(t, environ, command, "--config="+file, "--max-memory=lots")
		p.exit(t, 2, 10*time.Second)
		if err := p.says("primary_ulr", "primary_url?", "drain_timeout", "OUTRIGGER_POOL_MODE: pool_mode",
			"OUTRIGGER_DEFAULT_POOL_SIZE: default_pool_size", "PRIMARY_DB_URL: primary_url", "--max-memory: max_memory",
			"OUTRIGGER_CACHE_PASSWORD_FILE: cache_password_file"); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		if strings.Contains(p.said(), "msg=started") || p.stdout.String() != "" {
			t.Errorf("%s has started something:\n%s", command, p.said())
		}
	}
}

// gone returns nil when there is no such process, or only what its parent has not waited for.
func gone(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			return nil
		}
		return err
	}
	if _, after, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(after, "Z") {
		return nil
	}
	return fmt.Errorf("process %d is still there: %s", pid, commandLine(pid))
}
