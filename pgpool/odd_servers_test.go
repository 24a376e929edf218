package pgpool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// oddServer is a server that lets everybody in and then does what a script says: it is called with each connection's
// number, from 1, the connection and each Query that comes over it and begins with show odd, begin or insert.
type oddServer struct {
	ln     net.Listener
	script func(n int, nc net.Conn, sql string) (goOn bool)
	once   func(n int, nc net.Conn)       // after the login, if not nil
	all    bool                           // script is called with all that comes
	parts  func(n int, sql string) []byte // what it answers to an Execute, as if to a Query; nil: it knows Query alone

	running sync.WaitGroup
	mu      sync.Mutex
	conns   []net.Conn      // under mu
	unsent  map[int]*unsent // by connection; under mu
}

func startOdd(t *testing.T, once func(int, net.Conn), script func(int, net.Conn, string) bool) *oddServer {
	t.Helper()
	return (&oddServer{script: script, once: once}).start(t)
}

// startStub runs a server that answers every Query with what script returns, ends the connection for nil, and answers
// nothing else.
func startStub(t *testing.T, script func(n int, sql string) []byte) *oddServer {
	t.Helper()
	return (&oddServer{all: true, script: func(n int, nc net.Conn, sql string) bool {
		b := script(n, sql)
		nc.Write(b)
		return b != nil
	}}).start(t)
}

func (o *oddServer) start(t *testing.T) *oddServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.ln = ln
	o.running.Go(o.accept)
	t.Cleanup(func() {
		ln.Close()
		o.mu.Lock()
		for _, nc := range o.conns {
			nc.Close()
		}
		o.mu.Unlock()
		o.running.Wait()
	})
	return o
}

func (o *oddServer) accept() {
	for {
		nc, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns = append(o.conns, nc)
		n := len(o.conns)
		o.mu.Unlock()
		o.running.Go(func() {
			defer nc.Close()
			o.serve(n, nc)
		})
	}
}

func (o *oddServer) serve(n int, nc net.Conn) {
	st, err := pgwire.ReadStartup(nc)
	if err != nil || st.Kind != pgwire.KindStartup {
		return
	}
	b := message{pgwire.Authentication, []byte{0, 0, 0, 0}}.encode()
	b = pgwire.AppendParameterStatus(b, "server_version", "15.0")
	b = pgwire.AppendBackendKeyData(b, uint32(n), []byte{1, 2, 3, 4})
	nc.Write(pgwire.AppendReadyForQuery(b, pgwire.Idle))
	for once := o.once; ; {
		var head [5]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(nc, body); err != nil {
			return
		}
		if head[0] != pgwire.Query {
			if o.parts != nil {
				if !o.part(n, nc, head[0], body) {
					return
				}
				continue
			}
			if o.all {
				continue
			}
			return
		}
		sql := strings.TrimRight(string(body), "\x00")
		if o.all || strings.HasPrefix(sql, "show odd") || strings.HasPrefix(sql, "begin") || strings.HasPrefix(sql, "insert") {
			if !o.script(n, nc, sql) {
				return
			}
			continue
		}
		nc.Write(answer(sql)) // what the pooler asks itself, and well-behaved clients
		if once != nil {
			once(n, nc) // when the pooler has asked what it asks behind a login
			once = nil
		}
	}
}

// unsent is what an odd server has answered to the messages before a Sync.
type unsent struct {
	sql      string // the unnamed statement
	out      []byte
	status   byte // at the Sync
	skipping bool
}

// part answers a message of the extended protocol as PostgreSQL does: nothing before the Sync, but for an error, and nothing
// between that and the Sync. parts says what a Query would be answered.
func (o *oddServer) part(n int, nc net.Conn, typ byte, body []byte) (goOn bool) {
	o.mu.Lock()
	if o.unsent == nil {
		o.unsent = map[int]*unsent{}
	}
	u := o.unsent[n]
	if u == nil {
		u = &unsent{status: pgwire.Idle}
		o.unsent[n] = u
	}
	o.mu.Unlock()
	switch {
	case typ == pgwire.Sync:
		nc.Write(pgwire.AppendReadyForQuery(u.out, u.status))
		*u = unsent{status: pgwire.Idle}
	case u.skipping:
	case typ == pgwire.Parse:
		_, rest, _ := pgwire.CString(body)
		sql, _, _ := pgwire.CString(rest)
		u.sql = string(sql)
		u.out = append(u.out, parseComplete...)
	case typ == pgwire.Bind:
		u.out = append(u.out, pgwire.BindComplete, 0, 0, 0, 4)
	case typ == pgwire.Describe: // parts says it in its place
	case typ == pgwire.Execute:
		b := o.parts(n, u.sql)
		if end := len(b) - 6; end >= 0 && b[end] == pgwire.ReadyForQuery {
			if b[end+5] != pgwire.Idle {
				u.status = b[end+5]
			}
			b = b[:end]
		}
		u.out = append(u.out, b...)
		if u.skipping = b[0] == pgwire.ErrorResponse; u.skipping {
			nc.Write(u.out)
			u.out = nil
		}
	default:
		return false
	}
	return true
}

// tagged is a whole reply of a command, with the state of the transaction behind it.
func tagged(tag string, status byte) []byte {
	return pgwire.AppendReadyForQuery(message{pgwire.CommandComplete, cstrings(tag)}.encode(), status)
}

// failing is a whole reply of a command that fails.
func failing(code string, status byte) []byte {
	return pgwire.AppendReadyForQuery(pgwire.AppendErrorResponse(nil, &pgwire.Error{Severity: "ERROR", Code: code, Message: "odd error"}), status)
}

// answerIn is answer within a transaction.
func answerIn(sql string) []byte {
	b := answer(sql)
	b[len(b)-1] = pgwire.InBlock
	return b
}

// answer is a whole reply of one row: the text of the query.
func answer(sql string) []byte {
	b := message{pgwire.RowDescription, append(binary.BigEndian.AppendUint16(nil, 1), append(cstrings("q"), make([]byte, 18)...)...)}.encode()
	b = append(b, row(sql)...)
	b = append(b, message{pgwire.CommandComplete, cstrings("SELECT 1")}.encode()...)
	return pgwire.AppendReadyForQuery(b, pgwire.Idle)
}

func row(text string) []byte {
	body := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, 1), uint32(len(text)))
	return message{pgwire.DataRow, append(body, text...)}.encode()
}

// startBefore runs a pooler of one server connection in front of o.
func (o *oddServer) startBefore(t *testing.T) *testPooler {
	return start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(o.server())
		c.Tuning.Defaults.PoolSize = 1
	})
}

func (o *oddServer) server() Server {
	return Server{Network: "tcp", Addr: o.ln.Addr().String(), Host: "127.0.0.1", Database: "odd", Credentials: auth.NewCredentials("odd", "")}
}

// startBeforeBoth runs a pooler of one connection to each of a primary and a replica.
func startBeforeBoth(t *testing.T, primary, replica *oddServer) *testPooler {
	return start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(primary.server(), replica.server())
		c.Tuning.Defaults.PoolSize = 1
		c.Roles = func([]Server) (Roles, error) { return &leaderless{}, nil }
	})
}

// committed is a client whose transactions are known to be READ COMMITTED.
func (p *testPooler) committed(t *testing.T) *wire {
	t.Helper()
	w, err := wireTo(p.addr, "odd", "default_transaction_isolation", "read committed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.nc.Close() })
	return w
}

func (p *testPooler) wire(t *testing.T) *wire {
	t.Helper()
	w, err := wireTo(p.addr, "odd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.nc.Close() })
	return w
}

// asked is a whole and normal answer.
func (w *wire) asked(t *testing.T, sql string) {
	t.Helper()
	var got []byte
	for _, m := range w.play(step{query(sql)}, whole) {
		got = append(got, m.encode()...)
	}
	if want := answer(sql); !bytes.Equal(got, want) {
		t.Errorf("%s: answered %q, want %q", sql, got, want)
	}
}

// What a server does wrong in its reply is an error for its client, after whole messages only, and nothing for anybody else.
func TestOddReplies(t *testing.T) {
	huge := func(typ byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{typ}, n) }
	fatal := pgwire.AppendErrorResponse(nil, &pgwire.Error{Severity: "FATAL", Code: "57P01", Message: "odd end"})
	begun := answer("x")[:len(answer("x"))-len(message{pgwire.CommandComplete, cstrings("SELECT 1")}.encode())-6]
	for _, tc := range []struct {
		name   string
		reply  []byte
		code   string // of the client's last message, if it is an error; "" if it gets none
		broken bool   // the connection may end inside a message that was begun
	}{
		{"nothing", nil, "08006", false},
		{"garbage", []byte("\x00\x01garbage, and no message"), "08006", false},
		{"unknown type", huge('y', 4), "08006", false},
		{"length 3", huge(pgwire.DataRow, 3), "08006", false},
		{"length 0", huge(pgwire.CommandComplete, 0), "08006", false},
		{"length over 1 GB", huge(pgwire.DataRow, 1<<30+1), "08006", false},
		{"length with the sign bit", huge(pgwire.DataRow, 1<<31+7), "08006", false},
		{"long ReadyForQuery", huge(pgwire.ReadyForQuery, 1<<20), "08006", false},
		{"ReadyForQuery without a status", huge(pgwire.ReadyForQuery, 4), "08006", false},
		{"half a header", []byte{pgwire.DataRow, 0, 0}, "08006", false},
		{"half a message", append(huge(pgwire.DataRow, 100), "half"...), "08006", false},
		{"answer to a Parse", huge(pgwire.ParseComplete, 4), "08006", false},
		{"FATAL in mid-reply", append(bytes.Clone(begun), fatal...), "57P01", false},
		{"death between rows", begun, "08006", false},
		{"death in a long row", append(bytes.Clone(begun), append(huge(pgwire.DataRow, 1<<20), make([]byte, 100<<10)...)...), "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOdd(t, nil, func(_ int, nc net.Conn, _ string) bool { nc.Write(tc.reply); return false })
			p := o.startBefore(t)
			victim, other := p.wire(t), p.wire(t)
			other.asked(t, "show before")
			victim.nc.SetDeadline(time.Now().Add(deadline))
			victim.nc.Write(query("show odd").encode())
			var last message
			var err error
			for {
				var m message
				if m, err = victim.read(); err != nil {
					break
				}
				if m.typ == pgwire.ReadyForQuery {
					break
				}
				last = m
			}
			if broken := errors.Is(err, io.ErrUnexpectedEOF); broken != tc.broken {
				t.Errorf("connection ended by %v", err)
			}
			if err == nil {
				victim.asked(t, "show itself")
				victim.nc.Close()
			}
			var code string
			if last.typ == pgwire.ErrorResponse {
				code = pgwire.ParseError(last.body).Code
			}
			if code != tc.code {
				t.Errorf("last message %v, want code %q", last, tc.code)
			}
			other.asked(t, "show after")
			p.settled(t, 1)
		})
	}
}

// settled waits until n clients are left and every connection that is booked exists and is free.
func (p *testPooler) settled(t *testing.T, n int64) {
	t.Helper()
	waitFor(t, "pools to settle", func() bool {
		clients, same := int64(0), true
		var used, all int32
		for i := range p.workers {
			p.on(t, i, func(w *worker) {
				clients += int64(len(w.clients))
				for _, g := range w.groups {
					for _, pl := range g.pools {
						same = same && pl.waiting.n == 0 && pl.dialing == 0 && len(pl.free) == len(pl.all)
						all += int32(len(pl.all))
					}
				}
			})
		}
		p.mu.Lock()
		for _, g := range p.groups {
			for _, slots := range g.slots {
				used += slots.used.Load()
			}
		}
		p.mu.Unlock()
		return same && clients == n && p.nclients.Load() == n && used == all
	})
}

// What a server says unasked, while it is idle, costs only its connection.
func TestOddIdleServers(t *testing.T) {
	for _, tc := range []struct {
		name    string
		unasked []byte
	}{
		{"garbage", []byte("garbage, and no message")},
		{"a row", row("whose?")},
		{"ReadyForQuery", pgwire.AppendReadyForQuery(nil, pgwire.Idle)},
		{"an error", pgwire.AppendErrorResponse(nil, &pgwire.Error{Severity: "FATAL", Code: "57P01", Message: "odd end"})},
		{"an error without its code", message{pgwire.ErrorResponse, append(cstrings("Modd"), 0)}.encode()},
		{"nothing, and ends", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			speak, spoken := make(chan struct{}), make(chan struct{})
			o := startOdd(t, func(n int, nc net.Conn) {
				if n == 1 {
					<-speak
					nc.Write(tc.unasked)
					if tc.unasked == nil {
						nc.Close()
					}
					close(spoken)
				}
			}, nil)
			p := o.startBefore(t)
			c := p.wire(t) // its login made the first connection
			close(speak)
			<-spoken
			waitFor(t, "the server to be given up", func() bool {
				n := 0
				p.on(t, 0, func(w *worker) {
					for _, g := range w.groups {
						n += len(g.pools[0].all)
					}
				})
				return n == 0
			})
			c.asked(t, "show the first query")
			c.asked(t, "show the second")
			p.settled(t, 1)
		})
	}
}

// An error without SQLSTATE is passed on as it is.
func TestErrorWithoutItsCode(t *testing.T) {
	e := message{pgwire.ErrorResponse, append(cstrings("SERROR", "Modd"), 0)}
	o := startOdd(t, nil, func(_ int, nc net.Conn, _ string) bool {
		nc.Write(pgwire.AppendReadyForQuery(e.encode(), pgwire.Idle))
		return true
	})
	p := o.startBefore(t)
	c := p.wire(t)
	replies := c.play(step{query("show odd")}, whole)
	if len(replies) != 2 || replies[0].String() != e.String() || replies[1].typ != pgwire.ReadyForQuery {
		t.Errorf("replies %v", replies)
	}
	c.asked(t, "show after")
	p.settled(t, 1)
}

func TestOneByteAtATime(t *testing.T) {
	long := strings.Repeat("long ", 40)
	o := startOdd(t, nil, func(_ int, nc net.Conn, sql string) bool {
		for _, b := range answer(sql) {
			nc.Write([]byte{b})
			time.Sleep(20 * time.Microsecond) // or the kernel joins them
		}
		return true
	})
	p := o.startBefore(t)
	c := p.wire(t)
	for _, sql := range []string{"show odd", "show odd " + long, "show normal"} {
		c.asked(t, sql)
	}
	p.settled(t, 1)
}

// A login that goes wrong is told to the client.
func TestServerThatFailsAtLogin(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			io.ReadFull(nc, make([]byte, 8))
			nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			nc.Close()
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	o := &oddServer{ln: ln}
	p := o.startBefore(t)
	for range 2 {
		_, err := wireTo(p.addr, "odd")
		if err == nil || !strings.Contains(err.Error(), "08001") {
			t.Errorf("login: %v", err)
		}
	}
	waitFor(t, "the clients to be forgotten", func() bool { return p.nclients.Load() == 0 })
}
