package pgpool

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// lastWords reads to the end of a connection and returns the code of the error that it ends with, or "" if there is none.
func lastWords(t *testing.T, nc net.Conn) string {
	t.Helper()
	w := &wire{nc: nc, params: map[string]string{}, me: -1, patience: patience}
	var last message
	for {
		m, err := w.read()
		if err != nil {
			if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) { // a reset if it had not read everything
				t.Errorf("connection ended by %v", err)
			}
			break
		}
		last = m
	}
	if last.typ != pgwire.ErrorResponse {
		return ""
	}
	e := pgwire.ParseError(last.body)
	if e.Severity != "FATAL" {
		t.Errorf("last words %v", e)
	}
	return e.Code
}

func TestOddMessages(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	other := p.connect(t, "")
	header := func(typ byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{typ}, n) }
	for _, tc := range []struct {
		name string
		send []byte
		code string
	}{
		{"length 0", header(pgwire.Query, 0), "08P01"},
		{"length 3", header(pgwire.Query, 3), "08P01"},
		{"length 2^31", header(pgwire.Query, 1<<31), "08P01"},
		{"Bind of length 2^31", header(pgwire.Bind, 1<<31), "08P01"},
		{"unknown type", header('y', 4), "08P01"},
		{"unknown type behind a Parse", append(parse("", "select 1").encode(), header('y', 4)...), "08P01"},
		{"text after the login", []byte("\r\n\r\nhello\r\n\r\n"), "08P01"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			defer w.nc.Close()
			if _, err := w.nc.Write(tc.send); err != nil {
				t.Fatal(err)
			}
			if code := lastWords(t, w.nc); code != tc.code {
				t.Errorf("ended with %q, want %q", code, tc.code)
			}
			var n int
			if err := other.QueryRow(context.Background(), "select 5").Scan(&n); err != nil || n != 5 {
				t.Errorf("another client: %d, %v", n, err)
			}
			p.settled(t, 1)
		})
	}
}

// A client may be gone after any byte of what it sends. The pool gets every connection back or replaces it, and nobody is
// given what was meant for the client that left.
func TestClientThatLeavesAtAnyByte(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 2; c.Tuning.Defaults.MaxPrepared = 3 })
	other := p.connect(t, "")
	ctx := context.Background()
	if _, err := other.Exec(ctx, "drop table if exists leaving; create table leaving(who text)"); err != nil {
		t.Fatal(err)
	}
	session := startupPacket()
	for _, m := range join(
		parse("mine", "select 'stranger' || $1"), describe('S', "mine"), bind("", "mine", "1"), execute("", 0), syncs,
		query("set work_mem = '9MB'"),
		query("begin"), query("insert into leaving values ('stranger')"),
		query("copy leaving from stdin"), copyData("stranger\n"), copyDone,
		bind("", "mine", "2"), flushes, execute("", 0), syncs,
	) {
		session = append(session, m.encode()...)
	}
	for n := range len(session) + 1 {
		nc, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(deadline))
		if _, err := nc.Write(session[:n]); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 && n >= len(startupPacket()) { // every other one leaves in the middle of the answers
			if _, err := io.ReadFull(nc, make([]byte, 300)); err != nil {
				t.Fatal(err)
			}
		}
		nc.Close()
		want := fmt.Sprint("own ", n)
		var got, mem string
		if err := other.QueryRow(ctx, "select $1::text, current_setting('work_mem')", want).Scan(&got, &mem); err != nil || got != want || mem != "4MB" {
			t.Fatalf("after %d of %d bytes another client reads %q and work_mem %s, %v", n, len(session), got, mem, err)
		}
		if n%32 == 0 || n == len(session) {
			p.settled(t, 1)
		}
	}
	var rows int
	if err := other.QueryRow(ctx, "select count(*) from leaving").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows of clients that never committed, %v", rows, err)
	}
}

// heap is what the process holds, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// A client that reads nothing of a long result costs its buffers and a server, and nobody else anything.
func TestClientThatDoesNotRead(t *testing.T) {
	const rows, size = 200_000, 1000
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	ctx := context.Background()
	other := p.connect(t, "")
	lazy, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer lazy.nc.Close()
	lazy.nc.SetDeadline(time.Now().Add(deadline))
	before := heap()
	if _, err := lazy.nc.Write(query(fmt.Sprintf("select repeat('x', %d) from generate_series(1, %d)", size, rows)).encode()); err != nil {
		t.Fatal(err)
	}
	stopped := func() (paused bool, sent uint64) {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				if s := c.server; s != nil {
					paused, sent = s.paused, s.pool.stats.sent
				}
			}
		})
		return paused, sent
	}
	var last uint64
	same := 0
	waitFor(t, "the server to be stopped for good", func() bool {
		paused, sent := stopped()
		if !paused || sent != last {
			last, same = sent, 0
			return false
		}
		same++
		return same > 20
	})
	grown := heap() - before
	t.Logf("%d bytes are under way, the heap grew by %d", last, grown)
	if grown >= 8<<20 {
		t.Errorf("heap grew by %d bytes", grown)
	}
	for i := range 200 {
		var n int
		if err := other.QueryRow(ctx, "select $1::int", i).Scan(&n); err != nil || n != i {
			t.Fatalf("another client: %d, %v", n, err)
		}
	}
	if paused, sent := stopped(); !paused || sent < last {
		t.Error("the server went on")
	}
	lazy.nc.SetDeadline(time.Now().Add(deadline))
	in := bufio.NewReaderSize(lazy.nc, 64<<10)
	got := 0
	want := row(string(slices.Repeat([]byte("x"), size)))
	frame := make([]byte, len(want))
	for {
		if _, err := io.ReadFull(in, frame[:5]); err != nil {
			t.Fatal(err)
		}
		n := int(binary.BigEndian.Uint32(frame[1:])) + 1
		if n > len(want) {
			t.Fatalf("message %q of %d bytes after %d rows", frame[0], n, got)
		}
		if _, err := io.ReadFull(in, frame[5:n]); err != nil {
			t.Fatal(err)
		}
		if frame[0] == pgwire.DataRow {
			if string(frame[:n]) != string(want) {
				t.Fatalf("row %d is broken", got)
			}
			got++
		}
		if frame[0] == pgwire.ReadyForQuery {
			break
		}
	}
	if got != rows {
		t.Errorf("%d rows, want %d", got, rows)
	}
	p.settled(t, 2)
}
