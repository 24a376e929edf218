package load

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// fakeServer lets everybody in and gives every Query to reply, which writes an answer or closes the connection.
func fakeServer(t *testing.T, reply func(net.Conn) error) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(conn, reply) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String()
}

func serve(conn net.Conn, reply func(net.Conn) error) {
	defer conn.Close()
	if _, err := pgwire.ReadStartup(conn); err != nil {
		return
	}
	if _, err := conn.Write(append(pgwire.AppendAuthenticationOk(nil), message(pgwire.ReadyForQuery, "I")...)); err != nil {
		return
	}
	for {
		var head [pgwire.HeaderLen]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil || head[0] != pgwire.Query {
			return
		}
		_, size, _ := pgwire.Header(head[:])
		if _, err := io.CopyN(io.Discard, conn, int64(size-pgwire.HeaderLen)); err != nil || reply(conn) != nil {
			return
		}
	}
}

func answer(conn net.Conn) error {
	_, err := io.WriteString(conn, message(pgwire.DataRow, "\x00\x00")+message(pgwire.ReadyForQuery, "I"))
	return err
}

func nobody() *auth.Credentials { return auth.NewCredentials(devpg.User, "") }

// While the server stands still, four clients have four requests under way; all that were due meanwhile are late.
func TestOpenLoopSeesAStall(t *testing.T) {
	const stall = 500 * time.Millisecond
	over := make(chan struct{})
	var once sync.Once
	begin := time.Now()
	addr := fakeServer(t, func(conn net.Conn) error {
		if time.Since(begin) > time.Second {
			once.Do(func() { time.AfterFunc(stall, func() { close(over) }) })
			<-over
		}
		return answer(conn)
	})
	l := OpenLoop{Clients: 4, Rate: 200, Duration: 3 * time.Second, Rows: 10}
	begin = time.Now()
	o, err := l.Run(t.Context(), addr, nobody())
	if err != nil {
		t.Fatal(err)
	}
	if o.Failed != 0 || o.Due < 500 || o.Due > 700 {
		t.Errorf("%+v", o)
	}
	// Of about 600 requests 80 come in the first 400 ms of the stall, and wait for 100 ms at least.
	if o.P95 < 100*time.Millisecond || o.P999 < 400*time.Millisecond {
		t.Errorf("the stall does not show: %+v", o.Percentiles)
	}
	if o.CPU <= 0 || o.CPU > o.Took {
		t.Errorf("CPU time %v in %v", o.CPU, o.Took)
	}
}

func TestOpenLoopFailures(t *testing.T) {
	l := OpenLoop{Clients: 2, Rate: 500, Duration: 200 * time.Millisecond, Rows: 10}
	var mu sync.Mutex
	n := 0
	nth := func(of int) bool { // every so many calls, of all clients
		mu.Lock()
		defer mu.Unlock()
		n++
		return n%of == 0
	}
	refusing := fakeServer(t, func(conn net.Conn) error {
		if nth(2) {
			_, err := io.WriteString(conn, message(pgwire.ErrorResponse, "SERROR\x00\x00")+message(pgwire.ReadyForQuery, "I"))
			return err
		}
		return answer(conn)
	})
	if o, err := l.Run(t.Context(), refusing, nobody()); err != nil || o.Failed != o.Due/2 {
		t.Errorf("every second one is refused: %+v, %v", o, err)
	}
	closing := fakeServer(t, func(conn net.Conn) error {
		if nth(10) {
			return errors.New("enough")
		}
		return answer(conn)
	})
	if o, err := l.Run(t.Context(), closing, nobody()); err != nil || o.Failed == 0 || o.Failed > o.Due-9 {
		t.Errorf("both are thrown out after a while: %+v, %v", o, err)
	}
	mute := fakeServer(t, func(net.Conn) error { return errors.New("at once") })
	if o, err := l.Run(t.Context(), mute, nobody()); err == nil || o.Failed != o.Due {
		t.Errorf("nothing is answered: %+v, %v", o, err)
	}
	if _, err := l.Run(t.Context(), "127.0.0.1:1", nobody()); err == nil {
		t.Error("nobody is there, and there is no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopping := fakeServer(t, func(conn net.Conn) error {
		cancel()
		_, err := conn.Read(make([]byte, 1)) // until it is closed
		return err
	})
	if _, err := l.Run(ctx, stopping, nobody()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Without a schedule the clients ask as fast as the server answers.
func TestOpenLoopFullSpeed(t *testing.T) {
	l := OpenLoop{Clients: 3, Duration: 300 * time.Millisecond, Warm: 100 * time.Millisecond, Rows: 10}
	o, err := l.Run(t.Context(), fakeServer(t, answer), nobody())
	if err != nil || o.Failed != 0 || o.Due < 3 || o.Rate <= 0 || o.P50 <= 0 || o.P999 < o.P50 {
		t.Errorf("%+v, %v", o, err)
	}
}
