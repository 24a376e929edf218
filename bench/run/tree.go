package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// tree is the source that is measured.
type tree struct {
	root    string
	commit  string // short; "unknown" outside of a repository; ends with -dirty when changed
	changed bool   // it differs from its commit, or has none
}

func findTree(ctx context.Context) (tree, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil {
		return tree{}, fmt.Errorf("find the source tree: %w", err)
	}
	if filepath.Base(mod) != "go.mod" {
		return tree{}, errors.New("find the source tree: run this inside of it")
	}
	t := tree{root: filepath.Dir(mod), commit: "unknown", changed: true}
	commit, err := exec.CommandContext(ctx, "git", "-C", t.root, "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return t, nil // an unpacked archive is measured as well
	}
	t.commit = strings.TrimSpace(string(commit))
	status, err := exec.CommandContext(ctx, "git", "-C", t.root, "status", "--porcelain", "--", ".", ":!bench/results").Output()
	t.changed = err != nil || len(status) > 0
	if t.changed {
		t.commit += "-dirty"
	}
	return t, nil
}
