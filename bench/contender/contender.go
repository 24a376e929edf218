// Package contender starts, finds and ends what is measured: Outrigger, its rivals, and PostgreSQL itself for a
// connection without a proxy. Every process listens on a free loopback port, is measured by its process id, and ends
// with its owner.
package contender

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// Names of the contenders.
const (
	Outrigger = "outrigger"
	PgBouncer = "pgbouncer"
	Redis     = "redis-server"
	Memcached = "memcached"
	HAProxy   = "haproxy"
	Olric     = "olric-server"
	Direct    = "direct"
	Pgpool    = "pgpool"

	// Outrigger with other settings.
	Unsplit   = "unsplit"   // reads stay on the primary
	Eventual  = "eventual"  // reads see whatever a replica has
	Unbatched = "unbatched" // every unit has a server to itself
)

// OnLoops is Outrigger's name on more than one event loop.
func OnLoops(n int) string { return fmt.Sprintf("%d loops", n) }

// Limits that every pooler gets.
const (
	PoolSize      = 20 // server connections
	SmallPoolSize = 4
	MaxClients    = 11_000
)

// User and Password are who clients log in as where a pooler asks for a password.
const (
	User     = devpg.User
	Password = "correct horse"
)

// Options say how a pooler is to be run.
type Options struct {
	// Service is what it is started for; the zero value is a pooler that trusts everybody.
	Service load.Service
	// Replicas makes Outrigger use the cluster's replicas.
	Replicas bool
	// Name and Env are for Outrigger under another name, with more variables in its environment.
	Name string
	Env  []string

	// Of caches.
	Loops  int   // Outrigger's; 0: one
	Memory int64 // bytes that may be used; 0: as many as the program takes by itself

	// Of a node among others.
	Node   string   // Outrigger's name of it
	Join   []string // gossip addresses of those that run already
	Copies int      // of everything, Olric's; 0: one
}

// poolSize is how many servers it may use.
func (o Options) poolSize() int {
	if o.Service == load.SmallPool {
		return SmallPoolSize
	}
	return PoolSize
}

// logins tells whether it asks for a password.
func (o Options) logins() bool { return o.Service == load.Logins }

// service is the one that it was started for.
func (o Options) service() load.Service { return cmp.Or(o.Service, load.Pooler) }

// verifier is what poolers know of the password: SCRAM's keys. From the password itself some would derive them anew for
// every login, and thousands of iterations would be all that a storm of logins measures.
func verifier() string {
	const iterations = 4096 // SCRAM_SHA_256_DEFAULT_ITERATIONS in PostgreSQL's scram-common.h
	salt := []byte("outrigger's salt")
	// The password and the salt are short and constant: no error of pbkdf2's can happen.
	salted, err := pbkdf2.Key(sha256.New, Password, salt, iterations, sha256.Size)
	if err != nil {
		panic(err)
	}
	sign := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, text(salt), text(stored[:]), text(sign("Server Key")))
}

// userlist writes a file for auth_file in dir, readable for poolers that run as somebody else, and returns its path.
func userlist(dir string) (string, error) {
	path := filepath.Join(dir, "userlist.txt")
	if err := os.WriteFile(path, fmt.Appendf(nil, "%q %q\n", User, verifier()), 0o644); err != nil {
		return "", fmt.Errorf("write the list of users: %w", err)
	}
	return path, nil
}

// firstQuery logs in and runs a query: the pooler is ready when it is answered.
func firstQuery(ctx context.Context, addr string) error {
	client, err := load.Connect(ctx, addr, auth.NewCredentials(User, Password))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Query("select 1", startTimeout)
}

// ErrNoProcess is returned for numbers of a contender that has no process of its own.
var ErrNoProcess = errors.New("no process of its own")

// Contender is something that load is put on.
type Contender struct {
	// Constant after the start.
	Name     string
	Version  string
	Settings string // those that are not the program's defaults, in a line
	Loops    int    // event loops of a cache of ours, 0 else
	addrs    map[load.Service]string
	cannot   func(load.Workload) string // may be nil
	process  *process                   // nil: not measured
	family   bool                       // its child processes are measured with it
	ready    time.Duration              // from exec until it was ready
}

// Label is its name, and what it serves where that is not what others of the name do.
func (c *Contender) Label() string {
	for service := range c.addrs {
		if service == load.SmallPool || service == load.Logins || service == load.Cache && c.Name == Outrigger {
			return fmt.Sprintf("%s (%s)", c.Name, service)
		}
	}
	return c.Name
}

// Addr is where it serves, host:port; empty when it does not.
func (c *Contender) Addr(h load.Service) string { return c.addrs[h] }

// Cannot gives the reason why it cannot take a workload of a service that it has, or "".
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
	return sum(c.pids(), cpuTime)
}

// pids are its processes, first the one that was started.
func (c *Contender) pids() []int {
	all := []int{c.process.child.Pid()}
	if c.family {
		all = append(all, devpg.ChildrenOf(all[0])...)
	}
	return all
}

// Processes is how many CPU and Memory look at; 1 where there is none.
func (c *Contender) Processes() int {
	if c.process == nil {
		return 1
	}
	return len(c.pids())
}

// sum adds up a number of the first process and those of the others that still run.
func sum[T int64 | time.Duration](pids []int, of func(pid int) (T, error)) (T, error) {
	total, err := of(pids[0])
	for _, pid := range pids[1:] {
		if n, err := of(pid); err == nil {
			total += n
		}
	}
	return total, err
}

// Memory is what its process holds resident, in bytes.
func (c *Contender) Memory() (int64, error) {
	if c.process == nil {
		return 0, ErrNoProcess
	}
	return sum(c.pids(), residentMemory)
}

// Ready is how long it took to start: from exec until it said that it was ready and, a pooler, had answered a query.
func (c *Contender) Ready() time.Duration { return c.ready }

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

// OfDirect is PostgreSQL at addr without a proxy, for workloads of up to most clients: each has a server process of its own.
func OfDirect(addr, version string, most int) *Contender {
	return &Contender{Name: Direct, Version: version, cannot: upTo(most), addrs: map[load.Service]string{load.Pooler: addr}}
}

// upTo gives the reason against workloads of more clients than most.
func upTo(most int) func(load.Workload) string {
	return func(w load.Workload) string {
		if w.Clients <= most {
			return ""
		}
		return fmt.Sprintf("more than %d clients are not tried without a pooler", most)
	}
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
