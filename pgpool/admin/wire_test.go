package admin

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// wire is a client that speaks messages to a console over a pipe.
type wire struct {
	t    *testing.T
	nc   net.Conn
	fe   *pgproto3.Frontend
	done chan error // what Serve returned
}

func newWire(t *testing.T, role Role, f *fake) *wire {
	t.Helper()
	return newWireIn(t.Context(), t, role, f)
}

func newWireIn(ctx context.Context, t *testing.T, role Role, f *fake) *wire {
	t.Helper()
	client, server := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	client.SetDeadline(deadline)
	server.SetDeadline(deadline)
	w := &wire{t: t, nc: client, fe: pgproto3.NewFrontend(pgproto3.NewChunkReader(client), client), done: make(chan error, 1)}
	go func() {
		defer server.Close()
		w.done <- Serve(ctx, server, role, f, f)
	}()
	t.Cleanup(func() { client.Close() })
	return w
}

// send sends all messages at once. It does not wait, as a pipe has no buffer.
func (w *wire) send(messages ...pgproto3.FrontendMessage) {
	w.t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sendRaw(b)
}

func (w *wire) sendRaw(b []byte) {
	sent := make(chan struct{})
	go func() { defer close(sent); w.nc.Write(b) }()
	w.t.Cleanup(func() { w.nc.Close(); <-sent })
}

// ready returns what came up to ReadyForQuery, a word for each message.
func (w *wire) ready() string {
	w.t.Helper()
	var words []string
	for {
		m, err := w.fe.Receive()
		if err != nil {
			w.t.Fatalf("after %q: %v", words, err)
		}
		words = append(words, word(m))
		if z, ok := m.(*pgproto3.ReadyForQuery); ok {
			if z.TxStatus != pgwire.Idle {
				w.t.Errorf("transaction status %q", z.TxStatus)
			}
			return strings.Join(words, " ")
		}
	}
}

func word(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		return m.Code
	case *pgproto3.CommandComplete:
		return "C:" + string(m.CommandTag)
	case *pgproto3.RowDescription:
		return fmt.Sprintf("T%d/%d", len(m.Fields), m.Fields[0].Format)
	case *pgproto3.ParameterStatus:
		return "S:" + m.Name
	case *pgproto3.BackendKeyData:
		return fmt.Sprintf("K%d,%d", m.ProcessID, m.SecretKey)
	}
	b, err := m.Encode(nil)
	if err != nil {
		panic(err)
	}
	return string(b[:1])
}

func TestWelcome(t *testing.T) {
	w := newWire(t, Stats, &fake{})
	want := "S:server_version S:server_encoding S:client_encoding S:DateStyle S:TimeZone S:integer_datetimes S:standard_conforming_strings S:is_superuser K0,0 Z"
	if got := w.ready(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestExtended(t *testing.T) {
	type list = []pgproto3.FrontendMessage
	parse := func(name, sql string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: sql} }
	bind := func(portal, name string, formats ...int16) *pgproto3.Bind {
		return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name, ResultFormatCodes: formats}
	}
	describe := func(kind byte, name string) *pgproto3.Describe {
		return &pgproto3.Describe{ObjectType: kind, Name: name}
	}
	run := func(portal string, n uint32) *pgproto3.Execute { return &pgproto3.Execute{Portal: portal, MaxRows: n} }
	drop := func(kind byte, name string) *pgproto3.Close { return &pgproto3.Close{ObjectType: kind, Name: name} }
	sync := &pgproto3.Sync{}
	var many list
	for i := range maxStatements + 1 {
		many = append(many, parse(fmt.Sprint("s", i), "show version"))
	}

	tests := []struct {
		name string
		send list
		want []string // up to each ReadyForQuery
	}{
		{"one batch", list{parse("", "show version"), describe('S', ""), bind("", ""), describe('P', ""), run("", 0), sync}, []string{"1 t T1/0 2 T1/0 D C:SHOW Z"}},
		{"binary", list{parse("", "show pools"), bind("", "", 1), describe('P', ""), run("", 0), sync}, []string{"1 2 T17/1 D D C:SHOW Z"}},
		{"no rows", list{parse("", "set a = b"), describe('S', ""), bind("", ""), describe('P', ""), run("", 0), sync}, []string{"1 t n 2 n C:SET a=b Z"}},
		{"notice", list{parse("", "set datestyle = b"), bind("", ""), run("", 0), sync}, []string{"1 2 N C:SET Z"}},
		{"empty", list{parse("", "-- x"), describe('S', ""), bind("", ""), run("", 0), sync}, []string{"1 t n 2 I Z"}},
		{"named, again and again", list{parse("a", "show version"), sync, bind("", "a"), run("", 0), bind("", "a"), run("", 0), sync}, []string{"1 Z", "2 D C:SHOW 2 D C:SHOW Z"}},
		{"fetch", list{parse("", "show pools"), bind("p", ""), run("p", 1), run("p", 1), run("p", 1), sync}, []string{"1 2 D s D s C:SHOW Z"}},
		{"fetch more than there is", list{parse("", "show pools"), bind("p", ""), run("p", 9), run("p", 0), sync}, []string{"1 2 D D C:SHOW C:SHOW Z"}},
		{"portals end with the batch", list{parse("a", "show version"), bind("p", "a"), sync, run("p", 0), sync}, []string{"1 2 Z", "34000 Z"}},
		{"close", list{parse("a", "show version"), bind("p", "a"), drop('P', "p"), drop('S', "a"), drop('S', "none"), bind("", "a"), sync}, []string{"1 2 3 3 3 26000 Z"}},
		{"error skips to sync", list{parse("", "nonsense"), bind("", ""), run("", 0), sync, parse("", "reload"), bind("", ""), run("", 0), sync}, []string{"42601 Z", "1 2 C:RELOAD Z"}},
		{"query ends an error", list{parse("", "nonsense"), &pgproto3.Query{String: "show version"}}, []string{"42601 T1/0 D C:SHOW Z"}},
		{"query ends unnamed statement", list{parse("", "show version"), &pgproto3.Query{String: ""}, bind("", ""), sync}, []string{"1 I Z", "26000 Z"}},
		{"two commands", list{parse("", "show pools; show stats"), sync}, []string{"42601 Z"}},
		{"open quote", list{parse("", "set a = 'b"), sync}, []string{"42601 Z"}},
		{"same name twice", list{parse("a", "reload"), parse("a", "reload"), sync}, []string{"1 42P05 Z"}},
		{"same portal twice", list{parse("", "reload"), bind("p", ""), bind("p", ""), sync}, []string{"1 2 42P03 Z"}},
		{"no such statement", list{describe('S', "a"), sync, bind("", "a"), sync}, []string{"26000 Z", "26000 Z"}},
		{"no such portal", list{describe('P', "a"), sync, run("a", 0), sync}, []string{"34000 Z", "34000 Z"}},
		{"parameters", list{parse("", "show pools"), &pgproto3.Bind{Parameters: [][]byte{nil, []byte("x")}}, sync}, []string{"1 08P01 Z"}},
		{"too few formats", list{parse("", "show pools"), bind("", "", 0, 0), sync}, []string{"1 08P01 Z"}},
		{"no such format", list{parse("", "show pools"), bind("", "", 2), sync}, []string{"1 22023 Z"}},
		{"long name", list{parse(strings.Repeat("a", 257), "show pools"), sync}, []string{"42622 Z"}},
		{"too many statements", append(many, sync, parse("", "show pools"), sync), []string{strings.Repeat("1 ", maxStatements) + "54000 Z", "1 Z"}},
		{"copy is ignored", list{&pgproto3.CopyData{Data: []byte("x")}, &pgproto3.CopyDone{}, &pgproto3.CopyFail{}, sync}, []string{"Z"}},
		{"simple: rest is skipped after an error", list{&pgproto3.Query{String: "show version; nonsense; show version"}}, []string{"T1/0 D C:SHOW 42601 Z"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWire(t, Admin, &fake{})
			w.ready()
			w.send(append(tt.send, &pgproto3.Terminate{})...)
			for i, want := range tt.want {
				if got := w.ready(); got != want {
					t.Errorf("answer %d: got %s, want %s", i, got, want)
				}
			}
			if err := <-w.done; err != nil {
				t.Error("Serve:", err)
			}
		})
	}
}

// TestFlush waits for an answer without a Sync.
func TestFlush(t *testing.T) {
	w := newWire(t, Stats, &fake{})
	w.ready()
	w.send(&pgproto3.Parse{Query: "show pools"}, &pgproto3.Flush{})
	if m, err := w.fe.Receive(); err != nil || word(m) != "1" {
		t.Errorf("got %v, %v", m, err)
	}
}

// TestManyRows wants all rows, and no pile of them in memory.
func TestManyRows(t *testing.T) {
	const n = 5000
	sql := pgwire.AppendQuery(nil, "show clients")
	s := &stream{in: bytes.NewReader(sql)}
	f := &fake{clients: n}
	if err := Serve(t.Context(), s, Stats, f, f); err != nil {
		t.Fatal(err)
	}
	if s.largest > maxPending+4<<10 {
		t.Errorf("wrote %d bytes at once", s.largest)
	}
	w := &wire{t: t, fe: pgproto3.NewFrontend(pgproto3.NewChunkReader(&s.out), nil)}
	w.ready()
	if got, want := w.ready(), "T21/0"+strings.Repeat(" D", n)+" C:SHOW Z"; got != want {
		t.Errorf("got %d bytes of messages, want %d", len(got), len(want))
	}
}

// TestTypeSizes compares with what pg_type says.
func TestTypeSizes(t *testing.T) {
	var d pgproto3.RowDescription
	b := appendRowDescription(nil, []field{{"a", oidInt4}, {"b", oidText}, {"c", oidNumeric}, {"d", oidInt8}, {"e", oidBytea}}, formats{1})
	if err := d.Decode(b[pgwire.HeaderLen:]); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int16{4, -1, -1, 8, -1} {
		if f := d.Fields[i]; f.DataTypeSize != want || f.TypeModifier != -1 || f.Format != formatBinary {
			t.Errorf("%s: %+v", f.Name, f)
		}
	}
}

// TestViolations sends what no client may send: Serve returns what the caller has to tell the client.
func TestViolations(t *testing.T) {
	message := func(typ byte, body string) []byte {
		return append(pgwire.AppendHeader(nil, typ, len(body)), body...)
	}
	tests := []struct {
		name string
		send []byte
	}{
		{"too long", pgwire.AppendHeader(nil, 'Q', maxMessage)},
		{"length below 4", []byte{'Q', 0, 0, 0, 3}},
		{"length of 4 GB", []byte{'Q', 255, 255, 255, 255}},
		{"query without end", message('Q', "show pools")},
		{"query without a byte", message('Q', "")},
		{"query with more after it", message('Q', "show pools\x00x")},
		{"negative length in bind", message('B', "\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00")},
		{"short bind", message('B', "\x00\x00\x00\x00\x00\x00\xff\xff")},
		{"short parse", message('P', "a\x00b\x00\xff\xff")},
		{"describe neither", message('D', "Xa\x00")},
		{"close nothing", message('C', "")},
		{"short execute", message('E', "\x00\x00\x00")},
		{"password", message('p', "secret\x00")},
		{"unknown type", message('!', "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWire(t, Admin, &fake{})
			w.ready()
			w.sendRaw(tt.send)
			err := <-w.done
			if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "08P01" {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

func TestFunctionCall(t *testing.T) {
	w := newWire(t, Admin, &fake{})
	w.ready()
	w.sendRaw(pgwire.AppendHeader(nil, pgwire.FunctionCall, 0))
	if got := w.ready(); got != "0A000 Z" {
		t.Errorf("got %s", got)
	}
}

// TestEnd is the ways in which a session ends without an error.
func TestEnd(t *testing.T) {
	tests := []struct {
		name string
		end  func(w *wire, server net.Conn)
	}{
		{"client closes", func(w *wire, _ net.Conn) { w.nc.Close() }},
		{"in the middle of a message", func(w *wire, _ net.Conn) { w.nc.Write([]byte{'Q', 0}); w.nc.Close() }},
		{"terminate", func(w *wire, _ net.Conn) { w.send(&pgproto3.Terminate{}) }},
		{"deadline", func(_ *wire, server net.Conn) { server.SetDeadline(time.Unix(1, 0)) }},
		{"client closes before the answer", func(w *wire, _ net.Conn) { w.nc.Write(pgwire.AppendQuery(nil, "show pools")); w.nc.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			defer server.Close()
			client.SetDeadline(time.Now().Add(10 * time.Second))
			w := &wire{t: t, nc: client, fe: pgproto3.NewFrontend(pgproto3.NewChunkReader(client), client), done: make(chan error, 1)}
			go func() { w.done <- Serve(t.Context(), server, Admin, &fake{}, &fake{}) }()
			w.ready()
			tt.end(w, server)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			select {
			case err := <-w.done:
				if err != nil {
					t.Error("Serve:", err)
				}
			case <-ctx.Done():
				t.Fatal("Serve does not return")
			}
		})
	}
}

// stream is a connection whose client has said all it will say, and reads everything.
type stream struct {
	net.Conn
	in      io.Reader
	out     bytes.Buffer
	largest int // write
}

func (s *stream) SetDeadline(time.Time) error     { return nil }
func (s *stream) SetReadDeadline(time.Time) error { return nil }

func (s *stream) Read(b []byte) (int, error) { return s.in.Read(b) }

func (s *stream) Write(b []byte) (int, error) {
	s.largest = max(s.largest, len(b))
	return s.out.Write(b)
}

// FuzzServe feeds a whole session at once and byte by byte: both must answer the same, in messages that end where the
// output does.
func FuzzServe(f *testing.F) {
	seed := func(messages ...pgproto3.FrontendMessage) {
		var b []byte
		for _, m := range messages {
			var err error
			if b, err = m.Encode(b); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b)
	}
	seed(&pgproto3.Query{String: "show pools; set a = 'b'"}, &pgproto3.Terminate{})
	seed(&pgproto3.Parse{Name: "s", Query: "show stats", ParameterOIDs: []uint32{25}}, &pgproto3.Describe{ObjectType: 'S', Name: "s"},
		&pgproto3.Bind{PreparedStatement: "s", ResultFormatCodes: []int16{1}}, &pgproto3.Execute{MaxRows: 1}, &pgproto3.Close{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})
	seed(&pgproto3.Bind{ParameterFormatCodes: []int16{0, 1}, Parameters: [][]byte{nil, []byte("abc")}}, &pgproto3.Flush{}, &pgproto3.Sync{})
	f.Add([]byte{'Q', 0, 0, 0, 4})
	f.Add([]byte("B\x00\x00\x00\x10\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := &stream{in: bytes.NewReader(in)}
		err := Serve(t.Context(), whole, Admin, &fake{}, &fake{err: errors.New("no")})
		single := &stream{in: &oneByte{in}}
		if errSingle := Serve(t.Context(), single, Admin, &fake{}, &fake{err: errors.New("no")}); fmt.Sprint(err) != fmt.Sprint(errSingle) {
			t.Errorf("whole: %v, byte by byte: %v", err, errSingle)
		}
		if !bytes.Equal(whole.out.Bytes(), single.out.Bytes()) {
			t.Error("answers differ when bytes come one by one")
		}
		for b := whole.out.Bytes(); len(b) > 0; {
			if len(b) < pgwire.HeaderLen || 1+int(binary.BigEndian.Uint32(b[1:])) > len(b) {
				t.Fatalf("the output ends with half a message: %q", b)
			}
			b = b[1+binary.BigEndian.Uint32(b[1:]):]
		}
	})
}

type oneByte struct{ rest []byte }

func (o *oneByte) Read(b []byte) (int, error) {
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	b[0] = o.rest[0]
	o.rest = o.rest[1:]
	return 1, nil
}
