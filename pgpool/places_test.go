package pgpool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestAddressesAreGroupedByServer(t *testing.T) {
	for _, tc := range []struct {
		spread bool
		listed []netip.Addr
		want   [][]netip.Addr
	}{
		{true, addrs("10.0.0.1"), [][]netip.Addr{addrs("10.0.0.1")}},
		{true, addrs("fd00::1", "10.0.0.1"), [][]netip.Addr{addrs("10.0.0.1", "fd00::1")}},
		{true, addrs("10.0.0.2", "10.0.0.1", "::ffff:10.0.0.2", "fd00::1"), [][]netip.Addr{addrs("10.0.0.1"), addrs("10.0.0.2")}},
		{true, addrs("10.0.0.1", "fd00::2", "fd00::1"), [][]netip.Addr{addrs("fd00::1"), addrs("fd00::2")}},
		{false, addrs("10.0.0.2", "10.0.0.1", "fd00::1"), [][]netip.Addr{addrs("10.0.0.1", "10.0.0.2", "fd00::1")}},
	} {
		if got := byServer(tc.listed, tc.spread); !slices.EqualFunc(got, tc.want, slices.Equal) {
			t.Errorf("%v, %v: got %v, want %v", tc.listed, tc.spread, got, tc.want)
		}
	}
}

func TestPlacesKeepTheirAddresses(t *testing.T) {
	was := make([]*place, 3)
	for _, step := range []struct {
		listed, want []string // empty: vacant
		left         int
	}{
		{[]string{"10.0.0.2"}, []string{"10.0.0.2", "", ""}, 0},
		{[]string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.2", "10.0.0.1", ""}, 0},
		{[]string{"10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5"}, []string{"10.0.0.3", "10.0.0.1", "10.0.0.4"}, 1},
		{[]string{"10.0.0.5"}, []string{"10.0.0.5", "", ""}, 0},
		{[]string{"10.0.0.5", "fd00::5"}, []string{"10.0.0.5", "", ""}, 0},
	} {
		now, left := settle(was, byServer(addrs(step.listed...), true))
		for i, want := range step.want {
			was[i] = &place{addrs: now[i]}
			if got := len(now[i]) > 0; got != (want != "") || got && now[i][0].String() != want {
				t.Errorf("%v: place %d is %v, want %q", step.listed, i, now[i], want)
			}
		}
		if left != step.left {
			t.Errorf("%v: %d left, want %d", step.listed, left, step.left)
		}
	}
}

func TestNamesGetPlaces(t *testing.T) {
	parse := func(url string, spread bool) Server {
		s, err := ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		s.Spread = spread
		return s
	}
	servers := []Server{parse("postgres://u@primary.test/d", false), parse("postgres://u@10.0.0.1/d", true), parse("postgres://u@/d?host=/tmp", true),
		parse("postgres://u@replicas.test/d", true), parse("postgres://u@replicas.test/d", true), parse("postgres://u@[::1]/d", true)}
	all := inPlaces(servers, nil)
	if len(all) != 4+2*placesPerName {
		t.Fatalf("%d servers", len(all))
	}
	ids := make(map[string]bool)
	for _, s := range all {
		ids[s.id] = true
	}
	if len(ids) != 4+placesPerName { // one name was given twice
		t.Errorf("ids %v", ids)
	}
	var found [][2]int
	for _, n := range names(all) {
		found = append(found, [2]int{n.first, n.places})
	}
	if want := [][2]int{{0, 1}, {3, placesPerName}, {3 + placesPerName, placesPerName}}; !slices.Equal(found, want) {
		t.Errorf("names at %v, want %v", found, want)
	}
	all[4].place.Store(&place{label: "moved"})
	if again := inPlaces(servers, all); again[4].label() != "moved" || again[0].vacant() || !again[5].vacant() {
		t.Error("a reload forgets the places")
	}
}

// zoneFile is a resolver for tests.
type zoneFile struct {
	mu    sync.Mutex
	hosts map[string][]netip.Addr
	err   error
	looks int
}

func (z *zoneFile) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.looks++
	if z.err != nil || len(z.hosts[host]) == 0 {
		return nil, errors.Join(z.err, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true})
	}
	return slices.Clone(z.hosts[host]), nil
}

func (z *zoneFile) set(host string, list ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.hosts[host] = addrs(list...)
}

// fail has lookups fail, or not, and waits until one has.
func (z *zoneFile) fail(t *testing.T, err error) {
	t.Helper()
	z.mu.Lock()
	z.err = err
	before := z.looks
	z.mu.Unlock()
	waitFor(t, "another lookup", func() bool {
		z.mu.Lock()
		defer z.mu.Unlock()
		return z.looks > before+1
	})
}

// aliases has addr reached at more addresses of the loopback, all with the port that it returns.
func aliases(t *testing.T, addr string, hosts ...string) (port string) {
	t.Helper()
	port = "0"
	for _, host := range hosts {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Skipf("no second loopback address: %v", err)
		}
		_, port, _ = net.SplitHostPort(ln.Addr().String())
		var passing sync.WaitGroup
		passing.Go(func() {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				passing.Go(func() {
					defer nc.Close()
					to, err := net.Dial("tcp", addr)
					if err != nil {
						return
					}
					passing.Go(func() { defer to.Close(); io.Copy(to, nc) })
					io.Copy(nc, to)
				})
			}
		})
		t.Cleanup(func() { ln.Close(); passing.Wait() })
	}
	return port
}

// withZone has the pooler's servers looked up in zone.
func withZone(zone *zoneFile, watcher **Watcher) func(*Config) {
	return func(c *Config) {
		c.Tuning.DNSMaxTTL = 10 * time.Millisecond
		c.Roles = func(servers []Server) (Roles, error) {
			w, err := newWatcher(servers, health.Config{Interval: 50 * time.Millisecond, TroubleInterval: 20 * time.Millisecond, Logger: c.Logger})
			if err == nil {
				w.lookup, *watcher = zone.lookup, w
			}
			return w, err
		}
	}
}

// hosts are the addresses that connections to servers of a role lead to.
func (p *testPooler) hosts(role string) (out []string) {
	for _, s := range p.Console().Servers() {
		if tcp := s.Addr.(*net.TCPAddr); s.Role == role || role == "" {
			out = append(out, tcp.IP.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Addresses of a replica's name come and go: each is a replica, and one that is not listed any more drains.
func TestAddressesUnderOneNameAreReplicas(t *testing.T) {
	port := aliases(t, pg.Addr(1), "127.0.0.2", "127.0.0.3")
	zone := &zoneFile{hosts: map[string][]netip.Addr{"replicas.test": addrs("127.0.0.2")}}
	replica, err := ParseURL("postgres://postgres@replicas.test:" + port + "/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	replica.Spread = true
	var watcher *Watcher
	p := start(t, 1, func(c *Config) {
		withZone(zone, &watcher)(c)
		c.Tuning.Databases = fallback(testServer(t, 0), replica)
	})
	usable := func() (n int) {
		for i := range watcher.Snapshot().Servers {
			if watcher.Usable(i, &Policy{}) {
				n++
			}
		}
		return n
	}
	shown := func() (out []string) {
		for _, h := range p.Console().Health() {
			if h.Role == "replica" {
				out = append(out, h.Server)
			}
		}
		return out
	}
	read := func() { // by several clients at once, so that all replicas are used
		var reading sync.WaitGroup
		for range 4 {
			c := p.connect(t, simple)
			reading.Go(func() {
				if _, err := c.Exec(context.Background(), "select pg_sleep(0.01)"); err != nil {
					t.Error(err)
				}
				c.Close(context.Background())
			})
		}
		reading.Wait()
	}
	waitFor(t, "one replica", func() bool { return usable() == 1 })
	read()
	if got := p.hosts("replica"); !slices.Equal(got, []string{"127.0.0.2"}) || !slices.Equal(shown(), []string{"replicas.test:" + port}) {
		t.Errorf("connections to %v, shown as %v", got, shown())
	}
	if n := slices.IndexFunc(p.Console().Pools(), func(r admin.Pool) bool { return r.Server == "" || r.Role == "unknown" }); n >= 0 {
		t.Errorf("a vacant place is shown: %+v", p.Console().Pools()[n])
	}

	zone.set("replicas.test", "127.0.0.2", "127.0.0.3")
	waitFor(t, "two replicas", func() bool { return usable() == 2 })
	waitFor(t, "reads on both", func() bool { read(); return slices.Equal(p.hosts("replica"), []string{"127.0.0.2", "127.0.0.3"}) })
	if want := []string{"127.0.0.2:" + port, "127.0.0.3:" + port}; !slices.Equal(shown(), want) {
		t.Errorf("shown as %v, want %v", shown(), want)
	}
	if h := p.Console().DNSHosts(); len(h) != 1 || h[0].Host != "replicas.test" || !slices.Equal(h[0].Addrs, []string{"127.0.0.2", "127.0.0.3"}) {
		t.Errorf("SHOW DNS_HOSTS: %+v", h)
	}

	zone.fail(t, errors.New("server misbehaving"))
	if n := usable(); n != 2 {
		t.Errorf("%d replicas after a lookup has failed", n)
	}
	zone.fail(t, nil)

	p.on(t, 0, func(*worker) {}) // what is free is free
	zone.set("replicas.test", "127.0.0.3")
	p.on(t, 0, func(w *worker) {
		all := names(*watcher.servers.Load())
		watcher.assign(all[0], addrs("127.0.0.3"))
		for _, g := range w.groups {
			for _, pl := range g.pools[1:] {
				for s := pl.take(); s != nil; s = pl.take() {
					if s.conn.RemoteAddr().(*net.TCPAddr).IP.String() == "127.0.0.2" {
						t.Error("a connection to an address that is not listed any more is lent")
					}
					s.retire()
				}
			}
		}
	})
	waitFor(t, "the first to drain", func() bool { return !slices.Contains(p.hosts(""), "127.0.0.2") })
	waitFor(t, "one replica", func() bool { return usable() == 1 })
	read()
	if got := p.hosts("replica"); !slices.Equal(got, []string{"127.0.0.3"}) {
		t.Errorf("connections to %v", got)
	}
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			if len(g.pools) != 1+placesPerName {
				t.Errorf("%d pools", len(g.pools))
			}
		}
	})
}

// A name beyond whose bound there are addresses serves with as many as it has places.
func TestTooManyAddressesUnderOneName(t *testing.T) {
	replica, err := ParseURL("postgres://postgres@replicas.test:1/postgres")
	if err != nil {
		t.Fatal(err)
	}
	replica.Spread = true
	var log strings.Builder
	w, err := newWatcher(inPlaces([]Server{testServer(t, 0), replica}, nil), health.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var many []netip.Addr
	for i := range placesPerName + 3 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	for range 2 {
		for _, n := range names(*w.servers.Load()) {
			w.assign(n, many)
		}
	}
	if n := w.Snapshot().Present(); n != 1+placesPerName {
		t.Errorf("%d servers", n)
	}
	if !strings.Contains(log.String(), "left_out=3") {
		t.Errorf("logged: %s", log.String())
	}
}

// A transaction ends where it began, whatever becomes of the name; the next one is where the name leads.
func TestAPrimaryThatMovesDrains(t *testing.T) {
	port := aliases(t, pg.Addr(0), "127.0.0.2", "127.0.0.3")
	zone := &zoneFile{hosts: map[string][]netip.Addr{"primary.test": addrs("127.0.0.2")}}
	server, err := ParseURL("postgres://postgres@primary.test:" + port + "/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	var watcher *Watcher
	p := start(t, 1, func(c *Config) {
		withZone(zone, &watcher)(c)
		c.Tuning.Databases = fallback(server)
	})
	waitFor(t, "the first look", func() bool { _, ok := watcher.Primary(); return ok && (*watcher.servers.Load())[0].place.Load() != nil })
	c, listening := p.connect(t, simple), p.connect(t, simple)
	mustExec(t, listening, "listen moves")
	mustExec(t, c, "begin")
	mustExec(t, c, "create temp table stays ()")
	if got := p.hosts(""); !slices.Equal(got, []string{"127.0.0.2"}) {
		t.Fatalf("connections to %v", got)
	}
	zone.set("primary.test", "127.0.0.3")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := listening.WaitForNotification(ctx); !hasCode(err, "08006") {
		t.Errorf("who listens at the old address is told %v", err)
	}
	mustExec(t, c, "select * from stays")
	mustExec(t, c, "rollback")
	waitFor(t, "the old connections to be gone", func() bool { return !slices.Contains(p.hosts(""), "127.0.0.2") })
	mustExec(t, c, "select 1")
	if got := p.hosts(""); !slices.Equal(got, []string{"127.0.0.3"}) {
		t.Errorf("connections to %v", got)
	}
}

// The certificate is that of the name, at whatever address.
func TestPlacesAreVerifiedByName(t *testing.T) {
	e := startEncrypted(t)
	port := aliases(t, e.Addr(0), "127.0.0.2") // the certificate does not have that
	zone := &zoneFile{hosts: map[string][]netip.Addr{"localhost": addrs("127.0.0.2"), "elsewhere.test": addrs("127.0.0.2")}}
	for host, good := range map[string]bool{"localhost": true, "elsewhere.test": false} {
		s := e.server(t, "verify-full", host, serverPassword, e.roots)
		s.Addr = net.JoinHostPort(host, port)
		all := inPlaces([]Server{s}, nil)
		w, err := newWatcher(all, health.Config{})
		if err != nil {
			t.Fatal(err)
		}
		w.lookup = zone.lookup
		w.look(context.Background(), names(all)[0])
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		session, err := all[0].dial(ctx, s.Credentials, "postgres")
		if err == nil {
			if got := session.Conn.RemoteAddr().String(); !strings.HasPrefix(got, "127.0.0.2:") {
				t.Errorf("%s leads to %s", host, got)
			}
			session.Conn.Close()
		}
		if good != (err == nil) || err != nil && !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// atPlace says that the primary is at one of the places behind the second name.
type atPlace struct{ alone }

func (atPlace) Primary() (int, bool) { return 5, true }

// EXPLAIN ROUTE for a database that nobody has used yet knows as many servers as there are places.
func TestRouteToAPlaceIsExplained(t *testing.T) {
	replicas, err := ParseURL("postgres://u@localhost:1/d")
	if err != nil {
		t.Fatal(err)
	}
	replicas.Spread = true
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), replicas)
		c.Roles = func([]Server) (Roles, error) { return atPlace{}, nil }
	})
	answer, err := p.Console().Route(admin.RouteQuestion{Database: "unused", SQL: "insert into t values (1)"})
	if err != nil || answer.Side != "primary" {
		t.Errorf("%+v, %v", answer, err)
	}
}
