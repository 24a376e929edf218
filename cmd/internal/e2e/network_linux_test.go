package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// network is a wire between hosts, each a network namespace of its own with one interface. The interfaces are TUN devices
// whose other end the test holds: it carries every packet, and so can lose, delay and cut as it likes, in each direction
// on its own, without the kernel's traffic control, which few containers have. Nothing of it has a name or lives longer
// than the test's file descriptors, so nothing is left behind however the test ends.
type network struct {
	hosts    []*host
	carrying sync.WaitGroup

	mu    sync.Mutex
	paths map[[2]*host]path // from, to; what is not there is a perfect one
}

// path is what happens to packets on the way from one host to another.
type path struct {
	loss  float64 // share that gets lost
	delay time.Duration
}

var cut = path{loss: 1}

// host is one machine of a network.
type host struct {
	net   *network
	addr  [4]byte
	space *os.File // its network namespace
	wire  *os.File // our end of its interface
}

// newNetwork makes a network of n hosts, for the time of the test. Where that is not permitted the test is skipped.
func newNetwork(t *testing.T, n int) *network {
	t.Helper()
	nw := &network{paths: map[[2]*host]path{}}
	t.Cleanup(nw.close)
	for i := range n {
		h := &host{net: nw, addr: [4]byte{10, 77, 0, byte(i + 1)}}
		if err := h.open(); err != nil {
			if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
				t.Skipf("SKIPPED: network namespaces need CAP_SYS_ADMIN, CAP_NET_ADMIN and /dev/net/tun: %v", err)
			}
			t.Fatal(err)
		}
		nw.hosts = append(nw.hosts, h)
	}
	for _, h := range nw.hosts {
		nw.carrying.Go(h.carry)
	}
	return nw
}

func (nw *network) close() {
	for _, h := range nw.hosts {
		h.wire.Close() // ends its carry
	}
	nw.carrying.Wait()
	for _, h := range nw.hosts {
		h.space.Close()
	}
}

// set changes the paths from each of some hosts to each of others.
func (nw *network) set(p path, from, to []*host) {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	for _, a := range from {
		for _, b := range to {
			nw.paths[[2]*host{a, b}] = p
		}
	}
}

// heal makes all paths perfect.
func (nw *network) heal() {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	clear(nw.paths)
}

// String is the host's address.
func (h *host) String() string { return net.IP(h.addr[:]).String() }

// within runs f on a thread that is in the host's namespace. What f starts there stays there: processes, connections.
func (h *host) within(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(h.space.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// dial connects from the host to an address, which may be its own loopback.
func (h *host) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.within(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// open makes the namespace and its interface.
func (h *host) open() error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // see within
		done <- h.build()
	}()
	return <-done
}

func (h *host) build() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	if h.space, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w", err)
	}
	tun, err := unix.NewIfreq("eth0")
	if err != nil {
		return err
	}
	tun.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, tun); err != nil {
		return errors.Join(fmt.Errorf("make interface: %w", err), unix.Close(fd))
	}
	h.wire = os.NewFile(uintptr(fd), "/dev/net/tun") // from here on Go's poller waits for it

	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	for _, setting := range []struct {
		device  string
		request uint
		value   any
	}{
		{"lo", unix.SIOCSIFFLAGS, uint16(unix.IFF_UP)},
		{"eth0", unix.SIOCSIFADDR, h.addr[:]},
		{"eth0", unix.SIOCSIFNETMASK, []byte{255, 255, 255, 0}},
		{"eth0", unix.SIOCSIFFLAGS, uint16(unix.IFF_UP | unix.IFF_RUNNING)},
	} {
		r, err := unix.NewIfreq(setting.device)
		if err != nil {
			return err
		}
		switch v := setting.value.(type) {
		case uint16:
			r.SetUint16(v)
		case []byte:
			if err := r.SetInet4Addr(v); err != nil {
				return err
			}
		}
		if err := unix.IoctlIfreq(socket, setting.request, r); err != nil {
			return fmt.Errorf("set up %s: %w", setting.device, err)
		}
	}
	return nil
}

// held is a packet on a path with a delay.
type held struct {
	to     *host
	due    time.Time
	packet []byte
}

// carry takes the host's packets to where they go, until the wire is closed. What comes too fast for a path is lost, as on
// any router.
func (h *host) carry() {
	late := make(chan held, 4096)
	var delivering sync.WaitGroup
	delivering.Go(func() {
		for p := range late {
			time.Sleep(time.Until(p.due))
			p.to.deliver(p.packet)
		}
	})
	defer delivering.Wait()
	defer close(late)
	packet := make([]byte, 64<<10)
	for {
		n, err := h.wire.Read(packet)
		if err != nil {
			return
		}
		to := h.net.find(packet[:n])
		if to == nil {
			continue
		}
		h.net.mu.Lock()
		p := h.net.paths[[2]*host{h, to}]
		h.net.mu.Unlock()
		switch {
		case p.loss > 0 && rand.Float64() < p.loss:
		case p.delay > 0:
			select {
			case late <- held{to, time.Now().Add(p.delay), bytes.Clone(packet[:n])}:
			default:
			}
		default:
			to.deliver(packet[:n])
		}
	}
}

// find tells which host an IPv4 packet is for (RFC 791, section 3.1).
func (nw *network) find(packet []byte) *host {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return nil
	}
	last := int(binary.BigEndian.Uint32(packet[16:20]) & 0xff)
	if last < 1 || last > len(nw.hosts) || !bytes.Equal(packet[16:20], nw.hosts[last-1].addr[:]) {
		return nil
	}
	return nw.hosts[last-1]
}

// deliver gives the host a packet. One that it does not take is lost.
func (h *host) deliver(packet []byte) { _, _ = h.wire.Write(packet) }

// newRemoteFleet makes a node for each host. What they say to each other is encrypted.
func newRemoteFleet(t *testing.T, hosts []*host) fleet {
	t.Helper()
	key := filepath.Join(tempDir(t), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	var f fleet
	for i, h := range hosts {
		n := &node{name: "node" + strconv.Itoa(i), cache: "127.0.0.1:6379", http: "127.0.0.1:7948", args: []string{"--cluster-key-file=" + key}}
		n.moveTo(h)
		f = append(f, n)
	}
	f.introduce(t)
	return f
}

// hosts are where the nodes live.
func (f fleet) hosts() (hosts []*host) {
	for _, n := range f {
		hosts = append(hosts, n.where().(*host))
	}
	return hosts
}

// The network itself: packets arrive, those of a cut path do not, and those of a slow one arrive late.
func TestNetwork(t *testing.T) {
	t.Parallel()
	nw := newNetwork(t, 2)
	a, b := nw.hosts[0], nw.hosts[1]
	var l net.Listener
	var err error
	if err := b.within(func() error { l, err = net.Listen("tcp", b.String()+":7"); return err }); err != nil {
		t.Fatal(err)
	}
	var echoing sync.WaitGroup
	echoing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); echoing.Wait() })
	ask := func(limit time.Duration) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		begin := time.Now()
		c, err := a.dial(ctx, "tcp", l.Addr().String())
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err = c.Write([]byte("x")); err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		return time.Since(begin), err
	}
	if _, err := ask(10 * time.Second); err != nil {
		t.Fatalf("on a perfect path: %v", err)
	}
	nw.set(path{delay: 100 * time.Millisecond}, []*host{a}, []*host{b})
	if took, err := ask(10 * time.Second); err != nil || took < 200*time.Millisecond {
		t.Errorf("with two trips of 100 ms: %v, %v", took, err)
	}
	nw.heal()
	nw.set(cut, []*host{b}, []*host{a})
	if _, err := ask(500 * time.Millisecond); err == nil {
		t.Error("an answer came over a cut path")
	}
	nw.heal()
	if _, err := ask(10 * time.Second); err != nil {
		t.Errorf("on a healed path: %v", err)
	}
}
