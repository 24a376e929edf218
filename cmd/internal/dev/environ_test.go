package dev

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// effective is what a process would read: of a name set twice, the last counts.
func effective(environ []string, name string) (string, bool) {
	cmd := exec.Cmd{Env: environ}
	for _, entry := range cmd.Environ() {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

func TestOverride(t *testing.T) {
	base := []string{"A=first", "A=last", "PGHOSTADDR=10.0.0.1", "PRIMARY_DB_URL=x", "B=caller", "HOME=/root"}
	got := override(base, map[string]string{"B": "dev", "C": "new"})
	for name, want := range map[string]string{"A": "last", "B": "dev", "C": "new", "HOME": "/root"} {
		if v, _ := effective(got, name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	for _, name := range []string{"PGHOSTADDR", "PRIMARY_DB_URL"} {
		if v, ok := effective(got, name); ok {
			t.Errorf("%s=%s would lead astray", name, v)
		}
	}
	if slices.Contains(base, "C=new") || len(base) != 6 {
		t.Errorf("the caller's environment was changed: %q", base)
	}
}

func TestChoosePorts(t *testing.T) {
	ports, err := choosePorts(3, false)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, sidecar := range ports {
		for _, addr := range sidecar {
			if seen[addr] || !strings.HasPrefix(addr, "127.0.0.1:") || strings.HasSuffix(addr, ":0") {
				t.Errorf("address %s in %v", addr, ports)
			}
			seen[addr] = true
		}
	}
	addr, release, err := hold("0")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, port, _ := strings.Cut(addr, ":")
	if _, _, err := hold(port); err == nil {
		t.Errorf("port %s is held twice", port)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		opts Options
		ok   bool
	}{
		{Options{Nodes: 1}, true},
		{Options{Nodes: 3, Replicas: 2, Scale: 10}, true},
		{Options{Nodes: 0}, false},
		{Options{Nodes: 1, Replicas: -1}, false},
		{Options{Nodes: 1, Scale: -1}, false},
		{Options{Nodes: 1000}, false},
	} {
		if err := tt.opts.Validate(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.opts, err)
		}
	}
}
