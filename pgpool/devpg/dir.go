package devpg

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const dirPrefix = "outrigger-pg-"

// tempDir is the cluster's directory. Its owner holds a lock on it, which is how a later Start tells the living from
// the abandoned, across containers that share the directory too.
type tempDir struct {
	path string
	lock *os.File
}

func newTempDir(owner *syscall.Credential) (*tempDir, error) {
	base := os.TempDir()
	if owner != nil && !openToAll(base) {
		base = "/tmp" // root's own TMPDIR is of no use to another user
	}
	sweep(base)
	path, err := os.MkdirTemp(base, dirPrefix)
	if err != nil {
		return nil, fmt.Errorf("create temporary directory: %w", err)
	}
	d := &tempDir{path: path}
	if err := d.prepare(owner); err != nil {
		_ = d.remove()
		return nil, err
	}
	return d, nil
}

// openToAll tells whether any user may pass through dir.
func openToAll(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return true
		}
		dir = up
	}
}

func (d *tempDir) prepare(owner *syscall.Credential) error {
	var err error
	if d.lock, err = os.Open(d.path); err != nil {
		return fmt.Errorf("open temporary directory: %w", err)
	}
	if err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock temporary directory: %w", err)
	}
	if owner != nil {
		if err := os.Chown(d.path, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("give temporary directory to user %d: %w", owner.Uid, err)
		}
	}
	// Clients that run as other users reach the sockets and the certificate through it; data directories are 0700.
	if err := os.Chmod(d.path, 0o755); err != nil {
		return fmt.Errorf("open temporary directory to clients: %w", err)
	}
	return nil
}

func (d *tempDir) remove() error {
	err := os.RemoveAll(d.path)
	if d.lock != nil {
		_ = d.lock.Close()
	}
	return err
}

// sweep removes directories whose owner was killed before it could. One younger than a minute may not have its lock yet.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}
