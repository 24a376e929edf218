// Package pgtests gets the source tree of the PostgreSQL that is installed, its tests included, from Debian's packages.
package pgtests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Tree is a source tree in the user's cache.
type Tree struct {
	Version string // of Debian's package
	Major   string
	Bin     string // where the server's programs are
	Dir     string // where downloads are kept
	Root    string // of the sources
}

const aptLists = `deb http://deb.debian.org/debian %[1]s main
deb-src http://deb.debian.org/debian %[1]s main
deb http://deb.debian.org/debian-security %[1]s-security main
deb-src http://deb.debian.org/debian-security %[1]s-security main
`

var (
	serverVersion = regexp.MustCompile(`\(PostgreSQL\) ([0-9.]+) \(Debian ([^)]+)\)`)
	codename      = regexp.MustCompile(`(?m)^VERSION_CODENAME=(\w+)$`)
)

// Get returns the tree, which is downloaded once. It needs the network then.
func Get(ctx context.Context) (Tree, error) {
	var t Tree
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the only error is a malformed pattern
	if len(bins) == 0 {
		return t, errors.New("no /usr/lib/postgresql/*/bin: run `apt-get install postgresql-15`; the tests come from Debian's packages")
	}
	t.Bin = bins[len(bins)-1]
	said, err := exec.CommandContext(ctx, filepath.Join(t.Bin, "postgres"), "--version").Output()
	if err != nil {
		return t, fmt.Errorf("ask for the server's version: %w", err)
	}
	v := serverVersion.FindSubmatch(said)
	if v == nil {
		return t, fmt.Errorf("%q is not Debian's PostgreSQL", strings.TrimSpace(string(said)))
	}
	release := string(v[1])
	t.Major, t.Version = strings.Split(release, ".")[0], string(v[2])
	cache, err := os.UserCacheDir()
	if err != nil {
		return t, fmt.Errorf("find a place for downloads: %w", err)
	}
	t.Dir = filepath.Join(cache, "outrigger", "regress-"+t.Version)
	t.Root = filepath.Join(t.Dir, "postgresql-"+release)
	if _, err := os.Stat(t.Root); err == nil {
		return t, nil
	}
	if err := t.prepare(); err != nil {
		return t, err
	}
	if err := t.apt(ctx, "update"); err != nil {
		return t, err
	}
	if err := t.apt(ctx, "source", "--download-only", "postgresql-"+t.Major+"="+t.Version); err != nil {
		return t, err
	}
	// Under another name until it is whole.
	return t, t.shell(ctx, "rm -rf new && mkdir new && tar xjf *.orig.tar.bz2 -C new && mv new/"+filepath.Base(t.Root)+" . && rmdir new")
}

// Package downloads a binary package of the same version and unpacks it into t.Dir/folder.
func (t Tree) Package(ctx context.Context, name, folder string) error {
	if err := t.prepare(); err != nil {
		return err
	}
	if err := t.apt(ctx, "update"); err != nil {
		return err
	}
	if err := t.apt(ctx, "download", name+"="+t.Version); err != nil {
		return err
	}
	return t.shell(ctx, "dpkg-deb -x "+name+"_*.deb "+folder)
}

// prepare writes lists of our own for apt.
func (t Tree) prepare() error {
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(t.Dir, sub), 0o755); err != nil {
			return fmt.Errorf("make a place for downloads: %w", err)
		}
	}
	about, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return fmt.Errorf("find Debian's release: %w", err)
	}
	name := codename.FindSubmatch(about)
	if name == nil {
		return errors.New("no codename of Debian in /etc/os-release")
	}
	if err := os.WriteFile(filepath.Join(t.Dir, "sources.list"), fmt.Appendf(nil, aptLists, name[1]), 0o644); err != nil {
		return fmt.Errorf("write apt's list: %w", err)
	}
	return nil
}

// apt does not look at, or change, what this machine has of lists and packages.
func (t Tree) apt(ctx context.Context, args ...string) error {
	options := []string{"-q", "-o", "Dir::Etc::sourcelist=" + filepath.Join(t.Dir, "sources.list"), "-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State::lists=" + filepath.Join(t.Dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(t.Dir, "cache"),
		"-o", "APT::Sandbox::User=root"}
	return t.command(ctx, "apt-get", append(options, args...)...)
}

func (t Tree) shell(ctx context.Context, line string) error { return t.command(ctx, "sh", "-c", line) }

func (t Tree) command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
