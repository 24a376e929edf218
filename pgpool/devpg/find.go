package devpg

import (
	"cmp"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// ErrNotInstalled is returned by Start when the server programs are nowhere to be found.
var ErrNotInstalled = errors.New("PostgreSQL server programs (initdb, postgres) not found in PATH or /usr/lib/postgresql/*/bin: run `apt-get install postgresql-15`")

// binGlobs are where packages put server programs that they keep out of PATH.
var binGlobs = []string{
	"/usr/lib/postgresql/*/bin",            // Debian, Ubuntu
	"/usr/pgsql-*/bin",                     // PGDG on Red Hat
	"/opt/homebrew/opt/postgresql@*/bin",   // Homebrew, arm64
	"/usr/local/opt/postgresql@*/bin",      // Homebrew, amd64
	"/usr/local/pgsql/bin",                 // built from source
	"/Applications/Postgres.app/*/*/*/bin", // Postgres.app
}

// findBin returns the directory of the server programs: PATH first, then the newest that a package has installed.
func findBin() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		if dir, err := filepath.EvalSymlinks(p); err == nil && hasPrograms(filepath.Dir(dir)) {
			return filepath.Dir(dir), nil
		}
	}
	var dirs []string
	for _, g := range binGlobs {
		found, _ := filepath.Glob(g) // the only error is a malformed pattern
		dirs = append(dirs, found...)
	}
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return !hasPrograms(d) })
	if len(dirs) == 0 {
		return "", ErrNotInstalled
	}
	return slices.MaxFunc(dirs, func(a, b string) int { return cmp.Compare(majorVersion(a), majorVersion(b)) }), nil
}

func hasPrograms(dir string) bool {
	for _, name := range []string{"initdb", "postgres", "pg_ctl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// majorVersion reads the first number in a path such as /usr/lib/postgresql/15/bin; 0 when there is none.
func majorVersion(dir string) int {
	start := -1
	for i := 0; i <= len(dir); i++ {
		digit := i < len(dir) && dir[i] >= '0' && dir[i] <= '9'
		switch {
		case digit && start < 0:
			start = i
		case !digit && start >= 0:
			n, _ := strconv.Atoi(dir[start:i])
			return n
		}
	}
	return 0
}

// unprivileged returns whom to run the servers as: nil (ourselves) unless we are root, which PostgreSQL refuses.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root and there is no user postgres or nobody to run it as")
}
