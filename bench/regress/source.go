package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// sources are the tests, and what of them is compiled.
type sources struct {
	version string // of Debian's package
	tests   string // src/test of PostgreSQL's source tree
	libs    string // regress.so, autoinc.so, refint.so
	tools   string // src/test where pg_regress and isolationtester are
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

// fetchSources returns the tests of the PostgreSQL that is installed. What was downloaded once stays in the user's cache.
func fetchSources(ctx context.Context) (sources, error) {
	var src sources
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the only error is a malformed pattern
	if len(bins) == 0 {
		return src, fmt.Errorf("no /usr/lib/postgresql/*/bin: run `apt-get install postgresql-15`; the tests come from Debian's packages")
	}
	bin := bins[len(bins)-1]
	said, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return src, fmt.Errorf("ask for the server's version: %w", err)
	}
	v := serverVersion.FindSubmatch(said)
	if v == nil {
		return src, fmt.Errorf("%q is not Debian's PostgreSQL", strings.TrimSpace(string(said)))
	}
	release, major := string(v[1]), strings.Split(string(v[1]), ".")[0]
	src.version = string(v[2])
	src.tools = filepath.Join("/usr/lib/postgresql", major, "lib/pgxs/src/test")
	cache, err := os.UserCacheDir()
	if err != nil {
		return src, fmt.Errorf("find a place for downloads: %w", err)
	}
	dir := filepath.Join(cache, "outrigger", "regress-"+src.version)
	src.tests = filepath.Join(dir, "postgresql-"+release, "src", "test")
	src.libs = filepath.Join(dir, "libs")
	if _, err := os.Stat(filepath.Join(src.libs, "complete")); err == nil {
		return src, nil
	}
	fmt.Println("getting the tests of PostgreSQL", src.version, "...")
	if err := download(ctx, dir, major, src.version); err != nil {
		return src, err
	}
	return src, src.compile(ctx, dir, major)
}

// download gets the source package and the server's headers with apt, which does not look at, or change, what this
// machine has of lists and packages.
func download(ctx context.Context, dir, major, version string) error {
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("make a place for downloads: %w", err)
		}
	}
	about, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return fmt.Errorf("find Debian's release: %w", err)
	}
	name := codename.FindSubmatch(about)
	if name == nil {
		return fmt.Errorf("no codename of Debian in /etc/os-release")
	}
	list := filepath.Join(dir, "sources.list")
	if err := os.WriteFile(list, fmt.Appendf(nil, aptLists, name[1]), 0o644); err != nil {
		return fmt.Errorf("write apt's list: %w", err)
	}
	options := []string{"-q", "-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State::lists=" + filepath.Join(dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"-o", "APT::Sandbox::User=root"}
	for _, args := range [][]string{
		{"update"},
		{"source", "--download-only", "postgresql-" + major + "=" + version},
		{"download", "postgresql-server-dev-" + major + "=" + version},
	} {
		if err := command(ctx, dir, "apt-get", append(options[:len(options):len(options)], args...)...); err != nil {
			return err
		}
	}
	if err := shell(ctx, dir, "tar xjf *.orig.tar.bz2"); err != nil {
		return err
	}
	return shell(ctx, dir, "dpkg-deb -x postgresql-server-dev-*.deb headers")
}

// compile makes the library of C functions that the tests call.
func (src sources) compile(ctx context.Context, dir, major string) error {
	if err := os.MkdirAll(src.libs, 0o755); err != nil {
		return fmt.Errorf("make a place for libraries: %w", err)
	}
	headers := filepath.Join(dir, "headers/usr/include/postgresql", major, "server")
	if err := command(ctx, dir, "gcc", "-O1", "-fPIC", "-shared", "-fno-strict-aliasing", "-fwrapv", "-w", "-I", headers,
		"-o", filepath.Join(src.libs, "regress.so"), filepath.Join(src.tests, "regress", "regress.c")); err != nil {
		return err
	}
	for _, lib := range []string{"autoinc.so", "refint.so"} {
		if err := command(ctx, dir, "cp", filepath.Join("/usr/lib/postgresql", major, "lib", lib), src.libs); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(src.libs, "complete"), nil, 0o644); err != nil {
		return fmt.Errorf("mark the libraries as complete: %w", err)
	}
	return nil
}

func shell(ctx context.Context, dir, line string) error { return command(ctx, dir, "sh", "-c", line) }

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
