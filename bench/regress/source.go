package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg/pgtests"
)

// sources are the tests, and what of them is compiled.
type sources struct {
	version string // of Debian's package
	tests   string // src/test of PostgreSQL's source tree
	libs    string // regress.so, autoinc.so, refint.so
	tools   string // src/test where pg_regress and isolationtester are
}

// fetchSources returns the tests of the PostgreSQL that is installed. What was downloaded once stays in the user's cache.
func fetchSources(ctx context.Context) (sources, error) {
	fmt.Println("getting PostgreSQL's tests ...")
	tree, err := pgtests.Get(ctx)
	if err != nil {
		return sources{}, err
	}
	src := sources{
		version: tree.Version,
		tests:   filepath.Join(tree.Root, "src", "test"),
		libs:    filepath.Join(tree.Dir, "libs"),
		tools:   filepath.Join("/usr/lib/postgresql", tree.Major, "lib/pgxs/src/test"),
	}
	if _, err := os.Stat(filepath.Join(src.libs, "complete")); err == nil {
		return src, nil
	}
	if err := tree.Package(ctx, "postgresql-server-dev-"+tree.Major, "headers"); err != nil {
		return src, err
	}
	return src, src.compile(ctx, tree)
}

// compile makes the library of C functions that the tests call.
func (src sources) compile(ctx context.Context, tree pgtests.Tree) error {
	if err := os.MkdirAll(src.libs, 0o755); err != nil {
		return fmt.Errorf("make a place for libraries: %w", err)
	}
	headers := filepath.Join(tree.Dir, "headers/usr/include/postgresql", tree.Major, "server")
	if err := command(ctx, tree.Dir, "gcc", "-O1", "-fPIC", "-shared", "-fno-strict-aliasing", "-fwrapv", "-w", "-I", headers,
		"-o", filepath.Join(src.libs, "regress.so"), filepath.Join(src.tests, "regress", "regress.c")); err != nil {
		return err
	}
	for _, lib := range []string{"autoinc.so", "refint.so"} {
		if err := command(ctx, tree.Dir, "cp", filepath.Join("/usr/lib/postgresql", tree.Major, "lib", lib), src.libs); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(src.libs, "complete"), nil, 0o644); err != nil {
		return fmt.Errorf("mark the libraries as complete: %w", err)
	}
	return nil
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
