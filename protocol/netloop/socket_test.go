package netloop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv tells the test program which child it is to play.
const childEnv = "NETLOOP_TEST_CHILD"

// children are the parts of tests that need a process of their own. The test and its child talk over the child's stdin
// and stdout.
var children = map[string]func(in *bufio.Reader){
	"listen": listenChild,
	"starve": starveChild,
}

// child runs this test program as a child; the lines that it prints come out.
func child(t *testing.T, name string, args ...string) (stdin io.Writer, lines *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(2*deadline, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		in.Close() // the end of its input ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("child %s: %v", name, err)
		}
		killer.Stop()
	})
	return in, bufio.NewReader(out)
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("child ended: %v", err)
	}
	return strings.TrimSpace(s)
}

// listenChild listens on the address that it reads and greets whoever comes, once.
func listenChild(in *bufio.Reader) {
	addr, _ := in.ReadString('\n')
	ln, err := Listen(context.Background(), "tcp", strings.TrimSpace(addr), true)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	fmt.Println("listening")
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.Write([]byte("child"))
			nc.Close()
		}
	}()
	io.Copy(io.Discard, in)
}

// A second process listens on the port of the first, which can then stop: nobody is turned away.
func TestTwoProcessesListenOnOnePort(t *testing.T) {
	ln, err := Listen(t.Context(), "tcp", "127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if other, err := Listen(t.Context(), "tcp", ln.Addr().String(), false); err == nil {
		other.Close()
		t.Error("a listener without the option shares the port")
	}
	in, out := child(t, "listen")
	fmt.Fprintln(in, ln.Addr())
	if s := line(t, out); s != "listening" {
		t.Fatal(s)
	}
	ln.Close()
	for range 20 {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(deadline))
		if b, err := io.ReadAll(nc); string(b) != "child" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		nc.Close()
	}
}

// starveChild runs a Listener with next to no descriptors. When it has failed some times it gets more.
func starveChild(in *bufio.Reader) {
	ln, err := Listen(context.Background(), "tcp", "127.0.0.1:0", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	lst := NewListener(ln, slog.New(slog.DiscardHandler), func(ctx context.Context, nc net.Conn) {
		nc.Write([]byte("x"))
		<-ctx.Done()
		nc.Close()
	})
	// One descriptor above those in use: one client gets in.
	free, err := unix.Dup(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	unix.Close(free)
	var was unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &was)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free) + 1, Max: was.Max})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- lst.Run(ctx) }()
	fmt.Println(ln.Addr())
	in.ReadString('\n')
	for lst.Failures() < 3 {
		time.Sleep(time.Millisecond)
	}
	begin := lst.Failures()
	time.Sleep(300 * time.Millisecond)
	fmt.Println("failures in 0.3 s:", lst.Failures()-begin)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	io.Copy(io.Discard, in)
	cancel()
	<-done
}

// Without descriptors accept fails, is counted and does not spin; with descriptors the waiting clients get in.
func TestAcceptBacksOffWithoutDescriptors(t *testing.T) {
	in, out := child(t, "starve")
	addr := line(t, out)
	var clients []net.Conn
	for range 5 {
		nc, err := net.Dial("tcp", addr) // the kernel's backlog takes them
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(deadline))
		clients = append(clients, nc)
	}
	fmt.Fprintln(in)
	var n int
	if s := line(t, out); func() bool { _, err := fmt.Sscanf(s, "failures in 0.3 s: %d", &n); return err != nil }() {
		t.Fatal(s)
	}
	if n > 10 { // pauses of 40 ms and more by then
		t.Errorf("%d attempts in 0.3 s", n)
	}
	for i, nc := range clients {
		if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

// Accepted and dialled connections probe a silent peer.
func TestKeepAlive(t *testing.T) {
	ln, err := Listen(t.Context(), "tcp", "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := Dialer().DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for _, nc := range []net.Conn{accepted, dialled} {
		rc, err := nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		rc.Control(func(fd uintptr) {
			if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE); on == 0 || err != nil {
				t.Errorf("keep-alive is off: %v", err)
			}
			if interval, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL); interval != 15 || err != nil {
				t.Errorf("probes every %d s, %v", interval, err)
			}
		})
	}
}

// Everything but the address is the same over a Unix socket.
func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	ln, err := Listen(t.Context(), "unix", path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := startLoop(t, Config{})
	client, err := Dialer().DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(deadline))
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	h := &funcs{data: echo, closed: make(chan error, 1)}
	c := serve(t, l, server, h)
	for _, size := range []int{1, 1000, 1 << 20} {
		checkEcho(t, client, size)
	}
	on(t, l, func() {
		if a := c.RemoteAddr(); a == nil || a.Network() != "unix" {
			t.Errorf("remote address %v", a)
		}
	})
	client.Close()
	if err := <-h.closed; err != nil {
		t.Errorf("closed with %v", err)
	}
}
