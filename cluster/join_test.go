package cluster

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/outrigger-proxy/outrigger/cluster/gossiptest"
	"github.com/outrigger-proxy/outrigger/cluster/keyring"
)

// names is a DNS whose records change while members look.
type names struct {
	mu   sync.Mutex
	host map[string][]string
	srv  map[string][]*net.SRV
}

func (n *names) LookupHost(_ context.Context, host string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	if ips := n.host[host]; len(ips) > 0 {
		return slices.Clone(ips), nil
	}
	return nil, errors.New(host + ": no such host")
}

func (n *names) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if records := n.srv[name]; service == "" && proto == "" && len(records) > 0 {
		return name, records, nil
	}
	return "", nil, errors.New(name + ": no such name")
}

func TestResolve(t *testing.T) {
	dns := &names{
		host: map[string][]string{"cache.svc": {"10.0.0.1", "fd00::1"}, "one": {"10.0.0.3"}, "two": {"fd00::2"}},
		srv: map[string][]*net.SRV{
			"_gossip._udp.cache.svc": {{Target: "one.", Port: 7000}, {Target: "gone.", Port: 1}, {Target: "two.", Port: 7001}},
			"cache.svc":              {{Target: "10.0.0.9", Port: 9}},
			"all.gone":               {{Target: "gone.", Port: 1}},
		},
	}
	c, err := New(Config{Name: "a", PeerAddr: ":1", Resolver: dns})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ entry, want string }{
		{"10.1.1.1", "10.1.1.1:7946"},
		{"10.1.1.1:5", "10.1.1.1:5"},
		{"[fd00::9]:5", "[fd00::9]:5"},
		{"cache.svc", "10.0.0.1:7946 [fd00::1]:7946"},
		{"cache.svc:5", "10.0.0.1:5 [fd00::1]:5"},
		{"_gossip._udp.cache.svc", "10.0.0.3:7000 [fd00::2]:7001"},
		{"srv+_gossip._udp.cache.svc", "10.0.0.3:7000 [fd00::2]:7001"},
		{"srv+cache.svc", "10.0.0.9:9"},
		{"srv+all.gone", "error: look up member: gone: no such host"},
		{"srv+nowhere", "error: look up SRV records of members: nowhere: no such name"},
		{"nowhere", "error: look up member: nowhere: no such host"},
	}
	for _, tt := range tests {
		addrs, err := c.resolve(t.Context(), tt.entry)
		got := strings.Join(addrs, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.entry, got, tt.want)
		}
	}
}

// Members that started alone, because their names led nowhere, meet when DNS knows one of them.
func TestNamesAreLookedUpForEver(t *testing.T) {
	dns := &names{host: map[string][]string{}, srv: map[string][]*net.SRV{}}
	a := start(t, Config{Name: "a", Join: []string{"srv+cache"}, Resolver: dns})
	b := start(t, Config{Name: "b", Join: []string{"cache:1", "srv+cache"}, Resolver: dns})
	for _, m := range []*testMember{a, b} {
		if m.names() != m.cfg.Name || m.Joined() {
			t.Errorf("%s sees %q, joined %v", m.cfg.Name, m.names(), m.Joined())
		}
	}
	dns.mu.Lock()
	dns.srv["cache"] = []*net.SRV{{Target: "gone", Port: 1}, {Target: "127.0.0.1", Port: uint16(a.cfg.BindPort)}}
	dns.mu.Unlock()
	waitMembers(t, "a b", a, b)
	waitFor(t, "both to be joined", func() bool { return a.Joined() && b.Joined() })
}

// A member with another key serves alone. It says so, also when the names to join lead to itself as well, as those of all pods do.
func TestAloneWithAnotherKey(t *testing.T) {
	t.Parallel()
	keyed := func(key byte, cfg Config) Config {
		keys, err := keyring.New("outrigger", cfg.Name, [][]byte{bytes.Repeat([]byte{key}, 32)})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Keys = keys
		return cfg
	}
	a := start(t, keyed(1, Config{Name: "a"}))
	var out lockedBuffer
	cfg := keyed(2, Config{Name: "b", BindPort: gossiptest.Port(t), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	cfg.Join = []string{a.addr, joinAddr("127.0.0.1", cfg.BindPort)}
	b := start(t, cfg)
	waitFor(t, "the failure to be told", func() bool { return b.Alone() != nil && strings.Contains(out.String(), "cannot join anybody yet") })
	if text := b.Alone().Error(); !strings.Contains(text, "cluster_key_file") || strings.Contains(text, "\n") {
		t.Errorf("it says %q", text)
	}
	waitFor(t, "the search to end", b.Joined)
	if err := a.Alone(); err != nil {
		t.Errorf("one with nobody to join says %q", err)
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
