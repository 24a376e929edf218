package netloop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if play := children[os.Getenv(childEnv)]; play != nil {
		play(bufio.NewReader(os.Stdin))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// deadline bounds every wait of these tests; reaching it is a failure.
const deadline = 20 * time.Second

// startLoop runs a loop until the test ends.
func startLoop(t testing.TB, cfg Config) *Loop {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(deadline):
			t.Error("Run did not return after its context ended")
		}
	})
	return l
}

// on runs fn on the loop and waits for it.
func on(t testing.TB, l *Loop, fn func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { fn(); close(done) }) {
		t.Fatal("loop has stopped")
	}
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("loop did not run a post")
	}
}

// pair returns both ends of a TCP connection on loopback.
func pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := ln.Accept()
		accepted <- c
	}()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server = <-accepted
	client.SetDeadline(time.Now().Add(deadline))
	t.Cleanup(func() { client.Close() })
	return client, server
}

// funcs is a Handler made of functions.
type funcs struct {
	data    func(c *Conn, b []byte) int
	drained func(c *Conn)
	closed  chan error
}

func (f *funcs) Data(c *Conn, b []byte) int { return f.data(c, b) }
func (f *funcs) Drained(c *Conn) {
	if f.drained != nil {
		f.drained(c)
	}
}
func (f *funcs) Closed(_ *Conn, err error) {
	if f.closed != nil {
		f.closed <- err
	}
}

func echo(c *Conn, b []byte) int {
	c.Write(b)
	return len(b)
}

func serve(t testing.TB, l *Loop, nc net.Conn, h Handler) *Conn {
	t.Helper()
	opened := make(chan *Conn, 1)
	if err := l.Adopt(nc, func(c *Conn) Handler { opened <- c; return h }); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-opened:
		return c
	case <-time.After(deadline):
		t.Fatal("connection was not adopted")
		return nil
	}
}

func TestEchoAnySize(t *testing.T) {
	l := startLoop(t, Config{})
	for _, size := range []int{1, 100, 1 << 10, directWrite, 64 << 10, 3 << 20} {
		client, server := pair(t)
		serve(t, l, server, &funcs{data: echo})
		checkEcho(t, client, size)
	}
}

// checkEcho sends size random bytes and wants them back.
func checkEcho(t *testing.T, client net.Conn, size int) {
	t.Helper()
	want := make([]byte, size)
	rand.Read(want)
	var wg sync.WaitGroup
	wg.Go(func() { client.Write(want) })
	got := make([]byte, size)
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatalf("size %d: %v", size, err)
	}
	wg.Wait()
	if !bytes.Equal(got, want) {
		t.Fatalf("size %d: echo differs", size)
	}
}

// frames is a handler of length-prefixed frames that it answers with their reverse: it exercises partial consumption.
func frames(c *Conn, b []byte) int {
	done := 0
	for len(b)-done >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(b[done:]))
		if len(b)-done < n {
			c.Expect(n)
			break
		}
		out := c.Buffer(n)
		out = append(out, b[done:done+4]...)
		body := slices.Clone(b[done+4 : done+n])
		slices.Reverse(body)
		c.SetBuffer(append(out, body...))
		done += n
	}
	return done
}

// checkFrames sends stream cut at the places that cut names and checks the answers.
func checkFrames(t testing.TB, l *Loop, bodies [][]byte, cut func(rest int) int) {
	client, server := pair(t)
	defer client.Close()
	serve(t, l, server, &funcs{data: frames})
	var stream, want []byte
	for _, b := range bodies {
		stream = binary.BigEndian.AppendUint32(stream, uint32(len(b)))
		stream = append(stream, b...)
		want = binary.BigEndian.AppendUint32(want, uint32(len(b)))
		r := slices.Clone(b)
		slices.Reverse(r)
		want = append(want, r...)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for len(stream) > 0 {
			n := min(cut(len(stream)), len(stream))
			client.Write(stream[:n])
			stream = stream[n:]
		}
	})
	got := make([]byte, len(want))
	_, err := io.ReadFull(client, got)
	wg.Wait()
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("frames came back wrong (error %v)", err)
	}
}

func TestFramesArriveWholeHoweverCut(t *testing.T) {
	l := startLoop(t, Config{ReadBuffer: 4096, MaxHeld: 8192})
	rnd := mrand.New(mrand.NewPCG(1, 2))
	var bodies [][]byte
	for range 300 {
		b := make([]byte, rnd.IntN(3000))
		rand.Read(b)
		bodies = append(bodies, b)
	}
	big := make([]byte, 2<<20) // far beyond MaxHeld: Expect gathers it
	rand.Read(big)
	bodies = append(bodies, big, []byte("end"))
	checkFrames(t, l, bodies, func(int) int { return 1 + rnd.IntN(5000) })
	checkFrames(t, l, bodies[:20], func(int) int { return 1 })
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("hello"), uint8(1))
	f.Add(bytes.Repeat([]byte{7}, 5000), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, step uint8) {
		l := startLoop(t, Config{ReadBuffer: 512})
		checkFrames(t, l, [][]byte{body, nil, body}, func(int) int { return int(step)*16 + 1 })
	})
}

func TestHeldBytesComeAgainOnRedeliver(t *testing.T) {
	l := startLoop(t, Config{})
	client, server := pair(t)
	var open atomic.Bool
	c := serve(t, l, server, &funcs{data: func(c *Conn, b []byte) int {
		if !open.Load() {
			return 0
		}
		return echo(c, b)
	}})
	client.Write([]byte("wait"))
	waitFor(t, func() bool {
		var n int
		on(t, l, func() { n = len(c.Held()) })
		return n == 4
	})
	open.Store(true)
	on(t, l, c.Redeliver)
	got := make([]byte, 4)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "wait" {
		t.Fatalf("got %q, %v", got, err)
	}
	on(t, l, func() {
		if c.Held() != nil {
			t.Error("an idle connection holds a buffer")
		}
	})
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("condition was not met in time")
		}
	}
}

// A connection whose handler consumes nothing is read up to the bound and no further, and goes on afterwards.
func TestHeldBytesAreBounded(t *testing.T) {
	l := startLoop(t, Config{MaxHeld: 32 << 10})
	client, server := pair(t)
	var open bool
	var total int
	c := serve(t, l, server, &funcs{data: func(c *Conn, b []byte) int {
		if !open {
			return 0
		}
		total += len(b)
		return len(b)
	}})
	const size = 16 << 20
	var wg sync.WaitGroup
	wg.Go(func() { client.Write(make([]byte, size)) })
	waitFor(t, func() bool {
		var deaf bool
		on(t, l, func() { deaf = c.deaf })
		return deaf
	})
	on(t, l, func() {
		if n := len(c.Held()); n > 32<<10+64<<10 {
			t.Errorf("%d bytes held, over the bound and a read", n)
		}
		open = true
		c.Redeliver()
	})
	wg.Wait()
	waitFor(t, func() bool {
		var n int
		on(t, l, func() { n = total })
		return n == size
	})
}

// A fast source and a slow reader: the source is paused at the high-water mark, resumed at the low one, and all arrives.
func TestBackPressureBoundsTheQueue(t *testing.T) {
	l := startLoop(t, Config{})
	source, sourceEnd := pair(t)
	sink, sinkEnd := pair(t)
	var from *Conn
	pauses, most := 0, 0
	to := serve(t, l, sinkEnd, &funcs{data: echo, drained: func(*Conn) { from.ResumeReading() }})
	from = serve(t, l, sourceEnd, &funcs{data: func(c *Conn, b []byte) int {
		to.Write(b)
		most = max(most, to.Queued())
		if to.Congested() {
			pauses++
			c.PauseReading()
		}
		return len(b)
	}})
	const size = 64 << 20
	want := make([]byte, size)
	rand.Read(want)
	var wg sync.WaitGroup
	wg.Go(func() { source.Write(want) })
	waitFor(t, func() bool {
		var n int
		on(t, l, func() { n = pauses })
		return n > 0
	})
	got := make([]byte, size)
	if _, err := io.ReadFull(sink, got); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if !bytes.Equal(got, want) {
		t.Fatal("bytes differ")
	}
	on(t, l, func() {
		if limit := l.cfg.HighWater + l.cfg.ReadBuffer; most > limit {
			t.Errorf("queue grew to %d, limit %d", most, limit)
		}
	})
}

func TestCloseIsToldOnce(t *testing.T) {
	l := startLoop(t, Config{})
	boom := errors.New("boom")
	for _, tc := range []struct {
		name string
		end  func(client net.Conn, c *Conn)
		want error
	}{
		{"by the other side", func(client net.Conn, _ *Conn) { client.Close() }, nil},
		{"by the handler", func(_ net.Conn, c *Conn) { on(t, l, func() { c.Close(boom); c.Close(nil); c.Write([]byte("late")) }) }, boom},
		{"after the flush", func(_ net.Conn, c *Conn) { on(t, l, func() { c.Write([]byte("bye")); c.CloseAfterFlush() }) }, nil},
	} {
		client, server := pair(t)
		h := &funcs{data: echo, closed: make(chan error, 2)}
		c := serve(t, l, server, h)
		tc.end(client, c)
		select {
		case err := <-h.closed:
			if err != tc.want {
				t.Errorf("%s: closed with %v, want %v", tc.name, err, tc.want)
			}
		case <-time.After(deadline):
			t.Fatalf("%s: handler was not told", tc.name)
		}
		if tc.name == "after the flush" {
			if b, err := io.ReadAll(client); string(b) != "bye" || err != nil {
				t.Errorf("client read %q, %v", b, err)
			}
		}
		on(t, l, func() {})
		if len(h.closed) > 0 {
			t.Errorf("%s: told twice", tc.name)
		}
	}
	on(t, l, func() {
		if n := l.Stats().Conns; n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}

// Between the end of a connection and its handler's knowledge of it runs nothing that could count on it.
func TestCloseIsToldAheadOfWhatComesNext(t *testing.T) {
	l := startLoop(t, Config{})
	for _, name := range []string{"a post", "a timer"} {
		_, server := pair(t)
		h := &funcs{data: echo, closed: make(chan error, 1)}
		c := serve(t, l, server, h)
		told := make(chan bool, 1)
		next := func() { told <- len(h.closed) > 0 }
		on(t, l, func() { // both come in the next tick
			l.Post(func() {
				c.Close(nil)
				if name == "a timer" {
					l.NewTimer(next).Reset(0)
				}
			})
			if name == "a post" {
				l.Post(next)
			}
		})
		select {
		case ok := <-told:
			if !ok {
				t.Errorf("%s behind a close came first", name)
			}
		case <-time.After(deadline):
			t.Fatal("nothing came")
		}
	}
}

func TestStopClosesEverything(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	_, server := pair(t)
	h := &funcs{data: echo, closed: make(chan error, 1)}
	serve(t, l, server, h)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-h.closed; !errors.Is(err, ErrStopped) {
		t.Errorf("closed with %v", err)
	}
	_, server = pair(t)
	if err := l.Adopt(server, nil); !errors.Is(err, ErrStopped) {
		t.Errorf("Adopt after the end: %v", err)
	}
	if l.Post(func() {}) {
		t.Error("Post after the end was taken")
	}
}

func TestPostsOfOneGoroutineRunInOrder(t *testing.T) {
	l := startLoop(t, Config{})
	var got []int
	for i := range 1000 {
		l.Post(func() { got = append(got, i) })
	}
	on(t, l, func() {})
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Fatalf("%d posts ran, sorted %v", len(got), slices.IsSorted(got))
	}
}

func TestTimersFireInOrderAndCanBeMoved(t *testing.T) {
	l := startLoop(t, Config{})
	fired := make(chan int, 100)
	on(t, l, func() {
		var ts []*Timer
		for i := range 50 {
			ts = append(ts, l.NewTimer(func() { fired <- i }))
			ts[i].Reset(time.Duration(50-i) * time.Millisecond)
		}
		for i := range 50 {
			switch {
			case i%5 == 0:
				ts[i].Stop()
			case i%5 == 1:
				ts[i].Reset(time.Duration(100+i) * time.Millisecond)
			}
		}
		ts[0].Stop()
	})
	var got []int
	for len(got) < 40 {
		select {
		case i := <-fired:
			got = append(got, i)
		case <-time.After(deadline):
			t.Fatalf("only %d timers fired", len(got))
		}
	}
	var want []int
	for i := 49; i >= 0; i-- {
		if i%5 > 1 {
			want = append(want, i)
		}
	}
	for i := 1; i < 50; i += 5 {
		want = append(want, i)
	}
	if !slices.Equal(got, want) {
		t.Errorf("fired %v, want %v", got, want)
	}
	select {
	case i := <-fired:
		t.Errorf("timer %d fired though stopped", i)
	default:
	}
}

func TestDispatchRunsBetweenReadAndWrite(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var waiting []*Conn
	l.OnDispatch(func() {
		for _, c := range waiting {
			c.Write([]byte("dispatched"))
		}
		waiting = waiting[:0]
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	defer func() { cancel(); <-done }()
	client, server := pair(t)
	serve(t, l, server, &funcs{data: func(c *Conn, b []byte) int {
		waiting = append(waiting, c)
		return len(b)
	}})
	client.Write([]byte("x"))
	got := make([]byte, 10)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "dispatched" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// What a handler has for dispatch when its queue has drained is looked at without waiting for anything else.
func TestDispatchRunsBehindDrained(t *testing.T) {
	l, err := New(Config{HighWater: 1 << 10, LowWater: 1 << 9})
	if err != nil {
		t.Fatal(err)
	}
	drained, dispatched := false, make(chan struct{})
	l.OnDispatch(func() {
		if drained {
			drained = false
			close(dispatched)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	defer func() { cancel(); <-done }()
	client, server := pair(t)
	serve(t, l, server, &funcs{
		data: func(c *Conn, b []byte) int {
			c.SetBuffer(append(c.Buffer(2<<10), make([]byte, 2<<10)...)) // more than HighWater, less than a socket takes
			return len(b)
		},
		drained: func(*Conn) { drained = true },
	})
	client.Write([]byte("x"))
	select {
	case <-dispatched:
	case <-time.After(deadline):
		t.Error("it waits for the next event")
	}
}

func TestMoveBetweenLoops(t *testing.T) {
	a, b := startLoop(t, Config{}), startLoop(t, Config{})
	client, server := pair(t)
	h := &funcs{data: echo}
	c := serve(t, a, server, h)
	for i := range 100 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		moved := make(chan struct{})
		on(t, from, func() { c.Move(to, func(*Conn) { close(moved) }) })
		<-moved
		client.Write([]byte{byte(i)})
		got := make([]byte, 1)
		if _, err := io.ReadFull(client, got); err != nil || got[0] != byte(i) {
			t.Fatalf("move %d: got %v, %v", i, got, err)
		}
		on(t, to, func() {}) // the write is flushed: the connection is idle
	}
}

// testCertificate makes a throwaway certificate for 127.0.0.1.
func testCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLSOnTheLoop(t *testing.T) {
	cert := testCertificate(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l := startLoop(t, Config{})
		raw, server := pair(t)
		client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		session := TLSServer(server, &tls.Config{Certificates: []tls.Certificate{cert}})
		var wg sync.WaitGroup
		wg.Go(func() {
			// Sent right behind the handshake: the server's session may read it ahead.
			client.Write([]byte("early"))
		})
		if err := session.Handshake(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		h := &funcs{data: echo, closed: make(chan error, 1)}
		c := serve(t, l, session, h)
		got := make([]byte, 5)
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "early" {
			t.Fatalf("got %q, %v", got, err)
		}
		for _, size := range []int{1, 1000, 16 << 10, 64 << 10, 5 << 20} {
			checkEcho(t, client, size)
		}
		on(t, l, func() { c.Write([]byte("bye")); c.CloseAfterFlush() })
		if b, err := io.ReadAll(client); string(b) != "bye" || err != nil {
			t.Errorf("client read %q, %v (an unexpected EOF means no close-notify)", b, err)
		}
		<-h.closed
	}
}

// A large reply is sealed piece by piece: it is not held twice, nor copied for each record.
func TestTLSSealsPieceByPiece(t *testing.T) {
	l := startLoop(t, Config{})
	raw, server := pair(t)
	client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	session := TLSServer(server, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}})
	var wg sync.WaitGroup
	wg.Go(func() { client.Handshake() })
	if err := session.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	c := serve(t, l, session, &funcs{data: echo})
	want := make([]byte, 96<<20) // more than the kernel takes
	for i := range want {
		want[i] = byte(i >> 12)
	}
	on(t, l, func() { c.Write(want) })
	on(t, l, func() {
		if !c.blocked || c.Queued() < len(want)/4 || cap(c.tls.sealed) > 4*sealAtOnce {
			t.Errorf("blocked %v, %d bytes queued, room for %d sealed", c.blocked, c.Queued(), cap(c.tls.sealed))
		}
	})
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got something else, %v", err)
	}
	on(t, l, func() {
		if c.Queued() != 0 || c.out != nil || c.tls.sealed != nil {
			t.Errorf("%d bytes are left", c.Queued())
		}
	})
}

// What the TLS session itself answers, as to key updates, counts as output: who asks for it and does not read is congested.
func TestTLSAnswersCongest(t *testing.T) {
	l := startLoop(t, Config{})
	raw, server := pair(t)
	client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	session := TLSServer(server, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}})
	var wg sync.WaitGroup
	wg.Go(func() { client.Handshake() })
	if err := session.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	c := serve(t, l, session, &funcs{data: echo})
	on(t, l, func() {
		c.blocked = true // the client reads nothing
		c.tls.Write(make([]byte, 1<<20))
		c.queued()
		if !c.Congested() {
			t.Errorf("not congested with %d bytes queued", c.Queued())
		}
	})
}

// Records cut anywhere must survive: the memory transport runs dry in the middle of each of them.
func TestTLSRecordsArriveInPieces(t *testing.T) {
	l := startLoop(t, Config{})
	raw, server := pair(t)
	client := tls.Client(dribble{raw}, &tls.Config{InsecureSkipVerify: true})
	session := TLSServer(server, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}})
	var wg sync.WaitGroup
	wg.Go(func() { client.Handshake() })
	if err := session.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	serve(t, l, session, &funcs{data: echo})
	checkEcho(t, client, 20<<10)
}

// dribble writes in small pieces, each its own segment.
type dribble struct{ net.Conn }

func (d dribble) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += 301 {
		if _, err := d.Conn.Write(b[i:min(i+301, len(b))]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func TestGarbageInsteadOfTLSRecordsCloses(t *testing.T) {
	l := startLoop(t, Config{})
	raw, server := pair(t)
	client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	session := TLSServer(server, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}})
	var wg sync.WaitGroup
	wg.Go(func() { client.Handshake() })
	if err := session.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	h := &funcs{data: echo, closed: make(chan error, 1)}
	serve(t, l, session, h)
	raw.Write([]byte("this is not a TLS record at all"))
	select {
	case err := <-h.closed:
		if err == nil {
			t.Error("closed without an error")
		}
	case <-time.After(deadline):
		t.Fatal("connection stayed open")
	}
}

func TestListenerRunsHandlersAndWaitsForThem(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ended atomic.Int32
	lst := NewListener(ln, slog.New(slog.DiscardHandler), func(ctx context.Context, nc net.Conn) {
		defer nc.Close()
		nc.Write([]byte("hi"))
		<-ctx.Done()
		ended.Add(1)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- lst.Run(ctx) }()
	for range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := make([]byte, 2)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil || ended.Load() != 3 {
		t.Errorf("Run returned %v with %d handlers ended", err, ended.Load())
	}
}

// failing is a listener whose accept fails as when descriptors run out.
type failing struct {
	net.Listener
	left atomic.Int32
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, errors.New("accept4: too many open files")
	}
	return f.Listener.Accept()
}

func TestListenerSurvivesWantOfDescriptors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Listener: ln}
	f.left.Store(3)
	lst := NewListener(f, slog.New(slog.DiscardHandler), func(_ context.Context, nc net.Conn) { nc.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- lst.Run(ctx) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.ReadAll(c)
	c.Close()
	cancel()
	if err := <-done; err != nil || lst.Failures() != 3 {
		t.Errorf("Run returned %v after %d failures, want 3", err, lst.Failures())
	}
}

func TestBufferClasses(t *testing.T) {
	var p buffers
	for _, n := range []int{0, 1, 1 << 10, 1<<10 + 1, 4 << 10, 4<<10 + 1, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 1<<20 + 1} {
		b := p.get(n)
		if cap(b) < n || len(b) != 0 {
			t.Errorf("get(%d) returned len %d cap %d", n, len(b), cap(b))
		}
		if n <= 1<<20 && cap(b) > max(4*n, 1<<10) {
			t.Errorf("get(%d) wastes: cap %d", n, cap(b))
		}
		p.put(b)
		if n <= 1<<20 {
			if again := p.get(n); &again[:1][0] != &b[:1][0] {
				t.Errorf("get(%d) did not reuse the buffer", n)
			}
		}
	}
}
