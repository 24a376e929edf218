// Package contender starts, finds and ends what is measured: Outrigger, its rivals, and PostgreSQL itself for a
// connection without a proxy. Every process listens on a free loopback port, is measured by its process id, and ends
// with its owner.
package contender

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// Names of the contenders.
const (
	Outrigger = "outrigger"
	PgBouncer = "pgbouncer"
	Redis     = "redis-server"
	Direct    = "direct"
)

// Limits that every pooler gets.
const (
	PoolSize   = 20 // server connections
	MaxClients = 2000
)

// ErrNoProcess is returned for numbers of a contender that has no process of its own.
var ErrNoProcess = errors.New("no process of its own")

// Contender is something that load is put on.
type Contender struct {
	// Constant after the start.
	Name     string
	Version  string
	Settings string // those that are not the program's defaults, in a line
	addrs    map[load.Half]string
	cannot   func(load.Workload) string // may be nil
	process  *process                   // nil: not measured
}

// Addr is where it serves a half, host:port; empty when it does not.
func (c *Contender) Addr(h load.Half) string { return c.addrs[h] }

// Cannot gives the reason why it cannot take a workload of a half that it serves, or "".
func (c *Contender) Cannot(w load.Workload) string {
	if c.cannot == nil {
		return ""
	}
	return c.cannot(w)
}

// CPU is the time that its process has used, user and system, over all threads, in steps of the kernel's 10 ms.
func (c *Contender) CPU() (time.Duration, error) {
	if c.process == nil {
		return 0, ErrNoProcess
	}
	return cpuTime(c.process.child.Pid())
}

// Memory is what its process holds resident, in bytes.
func (c *Contender) Memory() (int64, error) {
	if c.process == nil {
		return 0, ErrNoProcess
	}
	return residentMemory(c.process.child.Pid())
}

// Log is what its process printed.
func (c *Contender) Log() string {
	if c.process == nil {
		return ""
	}
	return c.process.said()
}

// Stop ends its process and waits for the end.
func (c *Contender) Stop() {
	if c.process != nil {
		c.process.stop()
	}
}

// OfDirect is PostgreSQL without a proxy.
func OfDirect(servers *devpg.Cluster, version string) *Contender {
	return &Contender{Name: Direct, Version: version, addrs: map[load.Half]string{load.Pooler: servers.Addr(0)}}
}

// Missing says that a program is not there, and what to do.
type Missing struct {
	Program string // as it was looked for
	Package string // of Debian
}

func (m *Missing) Error() string {
	return fmt.Sprintf("%s is not installed: run `apt-get install %s`", m.Program, m.Package)
}

// Find returns the path of a program. A path that was asked for must be right; without one, PATH and then the places where
// packages put it are searched, and a *Missing says that it is nowhere.
func Find(asked, program, pkg string, places ...string) (string, error) {
	if asked != "" {
		path, err := exec.LookPath(asked)
		if err != nil {
			return "", fmt.Errorf("the %s that was asked for: %w", program, err)
		}
		return path, nil
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &Missing{Program: program, Package: pkg}
}
