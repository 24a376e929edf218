package devpg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNoPatroni is returned by StartPatroni when Patroni or etcd is not there.
var ErrNoPatroni = errors.New("patroni or etcd not found in PATH: run `apt-get install patroni etcd-server`")

// Patroni is a cluster of servers whose roles Patroni decides, by an etcd of its own. Replication is synchronous: no
// commit that a client was told of is lost with the primary. Members are numbered from 0.
type Patroni struct {
	// Constant after StartPatroni.
	c       *Cluster // of no servers: for its directory and user
	etcd    *Child
	store   string // etcd's address for clients
	members []*member

	mu sync.Mutex // held across start and kill of members
}

// member is a server and the Patroni beside it.
type member struct {
	name, data, log, config string
	addr, api               string // of the server, and of Patroni

	child *Child // Patroni; the server is its own
}

// StartPatroni makes a cluster and waits until it has a leader that the others follow, one of them synchronously.
func StartPatroni(ctx context.Context, members int) (*Patroni, error) {
	for _, name := range []string{"patroni", "etcd"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, ErrNoPatroni
		}
	}
	bin, err := findBin()
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := newTempDir(owner)
	if err != nil {
		return nil, err
	}
	p := &Patroni{c: &Cluster{bin: bin, owner: owner, dir: dir}}
	if err := p.start(ctx, members); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Patroni) start(ctx context.Context, members int) error {
	if err := p.startStore(ctx); err != nil {
		return err
	}
	for i := range members {
		name := fmt.Sprintf("member%d", i)
		path := filepath.Join(p.c.dir.path, name)
		m := &member{name: name, data: path, log: path + ".log", config: path + ".yml"}
		for _, addr := range []*string{&m.addr, &m.api} {
			port, err := freePort()
			if err != nil {
				return err
			}
			*addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		}
		p.members = append(p.members, m)
		if err := p.configure(m); err != nil {
			return err
		}
		if err := p.launch(m); err != nil {
			return err
		}
		if i == 0 { // who comes first makes the cluster; the others copy it
			if err := p.await(ctx, "a leader", func(s []State) bool { return len(s) == 1 && s[0].Role == "leader" }); err != nil {
				return err
			}
		}
	}
	return p.await(ctx, "all members to follow", func(all []State) bool {
		streaming, synchronous := 0, members == 1
		for _, s := range all {
			if s.Role != "leader" && (s.State == "streaming" || s.State == "running") {
				streaming++
			}
			synchronous = synchronous || s.Role == "sync_standby"
		}
		return streaming == members-1 && synchronous
	})
}

// startStore starts etcd, which lives in memory as far as it can.
func (p *Patroni) startStore(ctx context.Context) error {
	var err error
	for range bindAttempts {
		var ports [2]int
		for i := range ports {
			if ports[i], err = freePort(); err != nil {
				return err
			}
		}
		p.store = "127.0.0.1:" + strconv.Itoa(ports[0])
		client, peer := "http://"+p.store, "http://127.0.0.1:"+strconv.Itoa(ports[1])
		cmd := exec.Command("etcd", "--name", "store", "--data-dir", filepath.Join(p.c.dir.path, "etcd"),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "store="+peer,
			"--logger", "zap", "--log-level", "error")
		if p.etcd, err = p.spawn(cmd, filepath.Join(p.c.dir.path, "etcd.log")); err != nil {
			return fmt.Errorf("start etcd: %w", err)
		}
		if err = p.awaitStore(ctx, client); err == nil {
			return nil
		}
		p.etcd.Stop(syscall.SIGKILL, 0)
	}
	said, _ := os.ReadFile(filepath.Join(p.c.dir.path, "etcd.log"))
	return fmt.Errorf("start etcd: %w; it said:\n%s", err, said)
}

func (p *Patroni) awaitStore(ctx context.Context, url string) error {
	for {
		if _, err := get(ctx, url+"/health"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.etcd.Done():
			return errors.New("it has ended")
		case <-time.After(pollInterval):
		}
	}
}

// configure writes a member's file. JSON is YAML.
func (p *Patroni) configure(m *member) error {
	type object = map[string]any
	host, port, _ := net.SplitHostPort(m.addr)
	config := object{
		"scope": "outrigger", "name": m.name,
		"restapi": object{"listen": m.api, "connect_address": m.api},
		"etcd3":   object{"host": p.store},
		"bootstrap": object{
			"dcs": object{
				// Quick, and still ttl >= loop_wait + 2 * retry_timeout, below which Patroni may give up a healthy leader.
				"ttl": 5, "loop_wait": 1, "retry_timeout": 2, "maximum_lag_on_failover": 64 << 20, "synchronous_mode": true,
				"postgresql": object{"use_pg_rewind": true},
			},
			"initdb": []any{object{"encoding": "UTF8"}, object{"locale": "C"}, object{"auth-host": "trust"}, object{"auth-local": "trust"}, "no-sync"},
		},
		"postgresql": object{
			"listen": m.addr, "connect_address": m.addr, "data_dir": m.data, "bin_dir": p.c.bin, "pgpass": m.data + ".pgpass",
			"authentication": object{"superuser": object{"username": User, "password": "x"}, "replication": object{"username": "replicator", "password": "x"}},
			"parameters": object{"unix_socket_directories": p.c.dir.path, "fsync": "off", "dynamic_shared_memory_type": "mmap",
				"wal_keep_size": "256MB", "wal_retrieve_retry_interval": "100ms", "lc_messages": "C", "port": port, "listen_addresses": host},
		},
	}
	b, err := json.MarshalIndent(config, "", " ")
	if err != nil {
		return fmt.Errorf("encode configuration of %s: %w", m.name, err)
	}
	return p.c.writeFile(m.config, string(b))
}

// launch starts a member's Patroni, which starts the server.
func (p *Patroni) launch(m *member) (err error) {
	if m.child, err = p.spawn(exec.Command("patroni", m.config), m.log); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	return nil
}

// spawn starts a program as the servers' user. When we die it is told to end, which for Patroni is to stop its server.
func (p *Patroni) spawn(cmd *exec.Cmd, logPath string) (*Child, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has its own descriptor
	p.c.prepare(cmd)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	cmd.Stdout, cmd.Stderr = log, log
	return StartChild(cmd)
}

// Stop ends everything and removes it.
func (p *Patroni) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		p.kill(m)
	}
	if p.etcd != nil {
		p.etcd.Stop(syscall.SIGKILL, stopGrace)
	}
	return p.c.dir.remove()
}

// Len is the number of members.
func (p *Patroni) Len() int { return len(p.members) }

// Addr is host:port of member i's server.
func (p *Patroni) Addr(i int) string { return p.members[i].addr }

// Kill ends member i like the loss of its machine: SIGKILL to Patroni, to the server and to its backends.
func (p *Patroni) Kill(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill(p.members[i])
}

func (p *Patroni) kill(m *member) {
	if m.child != nil {
		m.child.Stop(syscall.SIGKILL, stopGrace)
	}
	n := node{data: m.data}
	lines := n.pidFile()
	if len(lines) == 0 {
		return
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil || !strings.Contains(commandOf(pid), m.data) { // another process has got the id
		return
	}
	backends := ChildrenOf(pid)
	for _, pid := range append([]int{pid}, backends...) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for commandOf(pid) != "" { // it is not our child: init waits for it
		time.Sleep(pollInterval)
	}
	n.forget()
}

// commandOf returns the command line of a process; empty if there is none, or it has ended.
func commandOf(pid int) string {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return string(b)
}

// Restart starts member i again. It joins as a replica if there is another leader by now.
func (p *Patroni) Restart(i int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.launch(p.members[i])
}

// Log is what Patroni and the server of member i have said.
func (p *Patroni) Log(i int) string {
	b, _ := os.ReadFile(p.members[i].log)
	return string(b)
}

// State is what Patroni says of a member.
type State struct {
	Name  string
	Role  string // leader, replica, sync_standby
	State string // running, streaming, stopped, …
}

// States asks the members in turn for what they know of all.
func (p *Patroni) States(ctx context.Context) (all []State, err error) {
	for _, m := range p.members {
		var body []byte
		if body, err = get(ctx, "http://"+m.api+"/cluster"); err == nil {
			var cluster struct{ Members []State }
			if err = json.Unmarshal(body, &cluster); err == nil {
				return cluster.Members, nil
			}
		}
	}
	return nil, err
}

// Leader is the number of the member that is the leader, or -1.
func (p *Patroni) Leader(ctx context.Context) int {
	all, _ := p.States(ctx)
	for _, s := range all {
		for i, m := range p.members {
			if m.name == s.Name && s.Role == "leader" && s.State == "running" {
				return i
			}
		}
	}
	return -1
}

// Switchover hands the lead from one member to another, and returns when that has it.
func (p *Patroni) Switchover(ctx context.Context, from, to int) error {
	body := fmt.Sprintf(`{"leader": %q, "candidate": %q}`, p.members[from].name, p.members[to].name)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.members[from].api+"/switchover", strings.NewReader(body))
	if err != nil {
		return err
	}
	_, err = do(req)
	return err
}

// await waits until the members' states are as they should be.
func (p *Patroni) await(ctx context.Context, what string, cond func([]State) bool) error {
	for {
		all, err := p.States(ctx)
		if err == nil && cond(all) {
			return nil
		}
		select {
		case <-ctx.Done():
			var said strings.Builder
			for i, m := range p.members {
				fmt.Fprintf(&said, "%s:\n%s\n", m.name, p.Log(i))
			}
			return fmt.Errorf("wait for %s: %w; the state is %v, %w; they said:\n%s", what, context.Cause(ctx), all, err, said.String())
		case <-time.After(10 * pollInterval):
		}
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return do(req)
}

// do sends a request on a connection of its own, so that none is left.
func do(req *http.Request) ([]byte, error) {
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}
