package pgpool

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

func TestMaxPacketSize(t *testing.T) {
	const limit = 1 << 16
	p := start(t, 1, func(c *Config) { c.Tuning.MaxPacket = limit; c.Tuning.Defaults.PoolSize = 1 })
	other := p.connect(t, "")
	for _, tc := range []struct {
		name string
		send []byte
	}{
		{"Query", pgwire.AppendHeader(nil, pgwire.Query, limit)},
		{"Parse", pgwire.AppendHeader(nil, pgwire.Parse, limit)},
		{"Bind", pgwire.AppendHeader(nil, pgwire.Bind, limit)},
		{"CopyData without a COPY", pgwire.AppendHeader(nil, pgwire.CopyData, limit)},
		{"behind a Parse", append(parse("", "select 1").encode(), pgwire.AppendHeader(nil, pgwire.Bind, limit)...)},
		{"behind a query", append(query("select 1").encode(), pgwire.AppendHeader(nil, pgwire.Query, limit)...)},
		{"in a transaction", append(query("begin").encode(), pgwire.AppendHeader(nil, pgwire.Query, limit)...)},
		{"1 GiB", []byte{pgwire.Query, 0x40, 0, 0, 0}},
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
			var last message
			for m := last; err == nil; m, err = w.read() {
				last = m
			}
			e := pgwire.ParseError(last.body)
			if last.typ != pgwire.ErrorResponse || e.Code != "08P01" || !e.Fatal() || !strings.Contains(e.Message, "max_packet_size") {
				t.Errorf("ended with %v, %v", e, err)
			}
			if _, err := other.Exec(context.Background(), "select 1"); err != nil {
				t.Errorf("another client: %v", err)
			}
			p.settled(t, 1)
		})
	}
	// Up to the limit, all is well; and a reload changes it for clients that are there.
	text := strings.Repeat("x", limit-100)
	var got string
	if err := other.QueryRow(context.Background(), "select $1::text", text).Scan(&got); err != nil || got != text {
		t.Errorf("%d bytes back, %v", len(got), err)
	}
	tuning := *p.tuning.Load()
	tuning.MaxPacket = 0
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	p.on(t, 0, func(*worker) {})
	text = strings.Repeat("x", 4*limit)
	if err := other.QueryRow(context.Background(), "select $1::text", text).Scan(&got); err != nil || got != text {
		t.Errorf("after the reload: %d bytes back, %v", len(got), err)
	}
}

// A message larger than the buffers goes through in pieces: what the pooler holds of it does not grow with it.
func TestLargeMessagesAreStreamed(t *testing.T) {
	const size = 100 << 20
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for _, tc := range []struct {
		name       string
		head, tail []byte
		want       string // in the answer
	}{
		{"Bind", append(parse("", "select length($1::text)").encode(), largeBind(size)...), append([]byte{0, 0}, append(execute("", 0).encode(), syncs.encode()...)...), "104857600"},
		{"CopyData", append(query("create temp table big(v text); copy big from stdin").encode(), pgwire.AppendHeader(nil, pgwire.CopyData, size+1)...),
			append([]byte("\n"), append(copyDone.encode(), query("select length(v) from big").encode()...)...), "104857600"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			defer w.nc.Close()
			before, most := heap(), int64(0)
			send := func(b []byte) {
				if _, err := w.nc.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			send(tc.head)
			for sent := 0; sent < size; sent += len(chunk) {
				send(chunk)
				if sent%(10<<20) == 0 {
					most = max(most, heap())
				}
			}
			send(tc.tail)
			found := false
			for !found {
				m, err := w.read()
				if err != nil || m.typ == pgwire.ErrorResponse {
					t.Fatalf("%v, %v", m, err)
				}
				found = m.typ == pgwire.DataRow && bytes.Contains(m.body, []byte(tc.want))
			}
			t.Logf("the heap grew by %d bytes", most-before)
			if most-before > 6<<20 {
				t.Errorf("the heap grew by %d bytes for a message of %d", most-before, size)
			}
		})
	}
}

// largeBind begins a Bind of one parameter of n bytes.
func largeBind(n int) []byte {
	body := []byte{0, 0, 0, 0, 0, 1} // no names, no formats, one parameter
	body = binary.BigEndian.AppendUint32(body, uint32(n))
	return append(pgwire.AppendHeader(nil, pgwire.Bind, len(body)+n+2), body...)
}
