package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/cluster/gossiptest"
	"github.com/outrigger-proxy/outrigger/cluster/keyring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testMember is a running member.
type testMember struct {
	*Cluster
	addr string
	stop func()
}

// start runs a member until the test ends or stop is called.
func start(t *testing.T, cfg Config) *testMember {
	t.Helper()
	cfg.BindAddr = "127.0.0.1"
	if cfg.BindPort == 0 {
		cfg.BindPort = gossiptest.Port(t)
	}
	if cfg.PeerAddr == "" {
		cfg.PeerAddr = ":7947"
	}
	cfg.JoinInterval = 200 * time.Millisecond
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = 2 * time.Second // on a busy machine quicker probes take the living for dead
	}
	cfg.GossipInterval = 20 * time.Millisecond
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, c)
}

func run(t *testing.T, c *Cluster) *testMember {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	m := &testMember{Cluster: c, addr: joinAddr(c.cfg.BindAddr, c.cfg.BindPort)}
	m.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Run of %s: %v", c.cfg.Name, err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("Run of %s does not return", c.cfg.Name)
			}
		})
	}
	t.Cleanup(m.stop)
	return m
}

// names lists the members of a view, a leaving one with a '-' behind.
func (m *testMember) names() string {
	var out []string
	for _, member := range m.View().Members {
		name := member.Name
		if member.State == Leaving {
			name += "-"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func waitMembers(t *testing.T, want string, members ...*testMember) {
	t.Helper()
	for _, m := range members {
		waitFor(t, fmt.Sprintf("%s to see %q, sees %q", m.cfg.Name, want, m.names()), func() bool { return m.names() == want })
	}
}

func startThree(t *testing.T) (a, b, c *testMember) {
	t.Helper()
	return startThreeWith(t, Config{})
}

func startThreeWith(t *testing.T, cfg Config) (a, b, c *testMember) {
	t.Helper()
	named := func(name string, join ...string) Config {
		cfg := cfg
		cfg.Name, cfg.Join = name, join
		return cfg
	}
	a = start(t, named("a"))
	b = start(t, named("b", a.addr))
	c = start(t, named("c", a.addr))
	waitMembers(t, "a b c", a, b, c)
	return a, b, c
}

func TestThreeMembersAgree(t *testing.T) {
	a, b, c := startThree(t)
	va, vb, vc := a.View(), b.View(), c.View()
	if va.Epoch != vb.Epoch || vb.Epoch != vc.Epoch {
		t.Errorf("epochs %x %x %x differ", va.Epoch, vb.Epoch, vc.Epoch)
	}
	if !slices.Equal(va.Members, vb.Members) || !slices.Equal(vb.Members, vc.Members) {
		t.Errorf("members differ:\n%+v\n%+v\n%+v", va.Members, vb.Members, vc.Members)
	}
	if va.Me().Name != "a" || vc.Me().Name != "c" {
		t.Errorf("selves are %s and %s", va.Me().Name, vc.Me().Name)
	}
	if got := va.Find("b").PeerAddr; got != "127.0.0.1:7947" {
		t.Errorf("the peer address without host becomes %q", got)
	}
	if va.Find("nobody") != nil {
		t.Error("found nobody")
	}
}

// Two members that both started alone, because neither could reach the other, find each other later.
func TestLonersMerge(t *testing.T) {
	portA, portB := gossiptest.Port(t), gossiptest.Port(t)
	a := start(t, Config{Name: "a", BindPort: portA, Join: []string{joinAddr("127.0.0.1", portB)}})
	waitFor(t, "a to run alone", func() bool { return a.names() == "a" && !a.Joined() })
	b := start(t, Config{Name: "b", BindPort: portB})
	waitMembers(t, "a b", a, b)
	if !a.Joined() || !b.Joined() {
		t.Error("not joined")
	}
}

func TestNameThatLeadsToOurselvesCountsAsJoined(t *testing.T) {
	port := gossiptest.Port(t)
	a := start(t, Config{Name: "a", BindPort: port, Join: []string{joinAddr("127.0.0.1", port)}})
	waitFor(t, "a to be joined", a.Joined)
}

func TestLeave(t *testing.T) {
	a, b, c := startThree(t)
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitMembers(t, "a b- c", a, b, c)
	for _, m := range []*testMember{a, b, c} {
		if got := m.View().Ring.Members(); !slices.Equal(got, []string{"a", "c"}) {
			t.Errorf("%s: the ring still is of %v", m.cfg.Name, got)
		}
	}
	began := time.Now()
	b.stop()
	waitMembers(t, "a c", a, c)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the leave took %v to be known", took)
	}
}

func TestLastMemberLeavingKeepsItsRing(t *testing.T) {
	a := start(t, Config{Name: "a"})
	waitFor(t, "a to run", a.Joined)
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitMembers(t, "a-", a)
	if got := a.View().Owner(0).Name; got != "a" {
		t.Errorf("partition 0 belongs to %q", got)
	}
}

func TestCrashIsNoticed(t *testing.T) {
	a, b, c := startThreeWith(t, Config{ProbeInterval: 200 * time.Millisecond})
	c.Close()
	c.stop()
	began := time.Now()
	waitMembers(t, "a b", a, b)
	t.Logf("noticed after %v with probes each %v", time.Since(began), a.cfg.ProbeInterval)
}

func TestRestartIsAnotherInstance(t *testing.T) {
	a, b, _ := startThree(t)
	before := a.View().Find("b").Instance
	port := b.cfg.BindPort
	b.Close()
	b.stop()
	again := start(t, Config{Name: "b", BindPort: port, Join: []string{a.addr}})
	waitFor(t, "a to see the new instance of b", func() bool {
		m := a.View().Find("b")
		return m != nil && m.Instance == again.View().Me().Instance && m.Instance != before
	})
}

func TestForeignClusterIsRefused(t *testing.T) {
	a, b, c := startThree(t)
	foreign := start(t, Config{Name: "x", ClusterName: "other", Join: []string{a.addr}})
	ally := start(t, Config{Name: "y", ClusterName: "other", Join: []string{foreign.addr, b.addr}})
	waitMembers(t, "x y", foreign, ally)
	// A member that is let in shows that the cluster has gossiped since the foreigners tried.
	d := start(t, Config{Name: "d", Join: []string{a.addr}})
	waitMembers(t, "a b c d", a, b, c, d)
	if foreign.Joined() && foreign.names() != "x y" {
		t.Errorf("the foreigner sees %q", foreign.names())
	}
}

func keys(t *testing.T, all ...[]byte) *keyring.Keyring {
	t.Helper()
	r, err := keyring.New("outrigger", "test", all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A key is replaced while members come, go and talk: at no step is anybody lost.
func TestKeysAreReplaced(t *testing.T) {
	old, fresh := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	rings := []*keyring.Keyring{keys(t, old), keys(t, old), keys(t, old)}
	a := start(t, Config{Name: "a", Keys: rings[0]})
	b := start(t, Config{Name: "b", Keys: rings[1], Join: []string{a.addr}})
	c := start(t, Config{Name: "c", Keys: rings[2], Join: []string{a.addr}})
	members := []*testMember{a, b, c}
	waitMembers(t, "a b c", members...)
	names := "a b c"
	for step, wanted := range [][][]byte{{old, fresh}, {fresh, old}, {fresh}} {
		for i, m := range []*testMember{a, b, c} {
			if err := rings[i].Set(wanted); err != nil {
				t.Fatal(err)
			}
			if err := m.Rekey(); err != nil {
				t.Fatal(err)
			}
			if i != step { // once in each step, at another point
				continue
			}
			name := fmt.Sprint("new", step)
			ring := keys(t, wanted...)
			n := start(t, Config{Name: name, Keys: ring, Join: []string{a.addr}})
			members, names = append(members, n), names+" "+name
			rings = append(rings, ring)
			waitMembers(t, names, members...)
		}
		for i, n := range members[3:] {
			if err := rings[3+i].Set(wanted); err != nil {
				t.Fatal(err)
			}
			if err := n.Rekey(); err != nil {
				t.Fatal(err)
			}
		}
	}
	late := start(t, Config{Name: "late", Keys: keys(t, old), Join: []string{a.addr, b.addr, c.addr}})
	d := start(t, Config{Name: "z", Keys: keys(t, fresh), Join: []string{c.addr}})
	waitMembers(t, names+" z", append(members, d)...)
	waitMembers(t, "late", late)
}

func TestSecretKey(t *testing.T) {
	key, other := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	a := start(t, Config{Name: "a", Keys: keys(t, key)})
	stranger := start(t, Config{Name: "x", Keys: keys(t, other), Join: []string{a.addr}})
	b := start(t, Config{Name: "b", Keys: keys(t, key), Join: []string{a.addr}})
	waitMembers(t, "a b", a, b)
	waitMembers(t, "x", stranger)
}

func TestSubscribersSeeEachViewInOrder(t *testing.T) {
	port := gossiptest.Port(t)
	c, err := New(Config{Name: "a", BindAddr: "127.0.0.1", BindPort: port, PeerAddr: ":1", GossipInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	last, broken := c.View(), false
	c.Subscribe(func(old, new *View) {
		mu.Lock()
		defer mu.Unlock()
		broken = broken || old != last
		last = new
	})
	a := run(t, c)
	b := start(t, Config{Name: "b", Join: []string{a.addr}})
	waitMembers(t, "a b", a, b)
	b.stop()
	waitMembers(t, "a", a)
	waitFor(t, "the subscriber to have the last view", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return last == c.View()
	})
	if mu.Lock(); broken {
		t.Error("a view was skipped")
	}
	mu.Unlock()
}

// A member that joins a cluster sees all of it at once, though memberlist tells of one after the other.
func TestFirstViewIsWhole(t *testing.T) {
	c, err := New(Config{Name: "new", BindAddr: "127.0.0.1", BindPort: gossiptest.Port(t), PeerAddr: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	views := make(chan *View, 10)
	c.Subscribe(func(_, new *View) { views <- new })
	run(t, c)
	waitFor(t, "the member to run", c.Joined)
	c.setJoining(true)
	for i := range 5 {
		c.put(Member{Name: fmt.Sprintf("m%d", i), Instance: uint64(i)})
		waitFor(t, "the news to be looked at", func() bool { return len(c.changed) == 0 })
	}
	c.setJoining(false)
	if got := len((<-views).Members); got != 6 {
		t.Errorf("the first view has %d members, want all 6", got)
	}
	// One that has met others hides nothing: what it does not follow at once would be late.
	c.setJoining(true)
	c.put(Member{Name: "one more", Instance: 9})
	if got := len((<-views).Members); got != 7 {
		t.Errorf("the next view has %d members, want 7", got)
	}
}

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no name", Config{PeerAddr: ":1"}, "name is empty"},
		{"bad bind", Config{Name: "a", PeerAddr: ":1", BindAddr: "nowhere"}, "gossip address"},
		{"bad advertise", Config{Name: "a", PeerAddr: ":1", AdvertiseAddr: "nowhere"}, "advertised"},
		{"no peer address", Config{Name: "a"}, "peer address"},
		{"long zone", Config{Name: "a", PeerAddr: ":1", Zone: strings.Repeat("z", 600)}, "shorten"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestMetadataRefusals(t *testing.T) {
	good := metadata{basics: basics{VersionMin: 1, VersionMax: 1, Cluster: "c", Ring: decodeGood(t).Ring}}
	tests := []struct {
		name   string
		change func(*metadata)
		want   string
	}{
		{"same", func(*metadata) {}, ""},
		{"newer but compatible", func(m *metadata) { m.VersionMax = 9 }, ""},
		{"cluster", func(m *metadata) { m.Cluster = "d" }, "cluster"},
		{"too new", func(m *metadata) { m.VersionMin, m.VersionMax = 8, 9 }, "versions"},
		{"ring", func(m *metadata) { m.Ring = "other" }, "ring"},
	}
	for _, tt := range tests {
		m := good
		tt.change(&m)
		err := m.compatible("c")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// decodeGood returns what a member of this build says about itself, having gone over the wire.
func decodeGood(t *testing.T) metadata {
	t.Helper()
	c, err := New(Config{Name: "a", PeerAddr: "h:1", Zone: "z"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMetadata(c.activeMeta)
	if err != nil {
		t.Fatal(err)
	}
	if m.PeerAddr != "h:1" || m.Zone != "z" || m.State != Active {
		t.Errorf("metadata came back as %+v", m)
	}
	return m
}

func TestGossipLogger(t *testing.T) {
	var b strings.Builder
	l := newGossipLogger(slog.New(slog.NewTextHandler(&b, nil)))
	l.Printf("[DEBUG] memberlist: unseen")
	l.Printf("[WARN] memberlist: odd packet")
	l.Printf("[ERR] memberlist: broken")
	out := b.String()
	for _, want := range []string{`level=INFO msg=gossip detail="odd packet"`, `level=WARN msg=gossip detail=broken`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "unseen") {
		t.Errorf("debug lines get through:\n%s", out)
	}
}
