package pgpool

import (
	"io"
	"net"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A query that is passed on, and its answer, allocate nothing in the pooler: simple, extended with an unnamed statement,
// and with a prepared one.
func TestForwardingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := start(t, 1, nil)
	encode := func(msgs ...pgproto3.FrontendMessage) (b []byte) {
		for _, m := range msgs {
			var err error
			if b, err = m.Encode(b); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	run := []pgproto3.FrontendMessage{
		&pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{[]byte("1")}}, &pgproto3.Describe{ObjectType: 'P'},
		&pgproto3.Execute{}, &pgproto3.Sync{}}
	for _, tc := range []struct {
		name  string
		setUp []byte
		unit  []byte
	}{
		{"simple", nil, encode(&pgproto3.Query{String: "select 1"})},
		{"unnamed", nil, encode(&pgproto3.Parse{Query: "select 1"}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'},
			&pgproto3.Execute{}, &pgproto3.Sync{})},
		{"prepared", encode(&pgproto3.Parse{Name: "s", Query: "select $1::int4"}, &pgproto3.Sync{}), encode(run...)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc := p.dialRaw(t)
			buf := make([]byte, 4096)
			nc.Write(pgwire.AppendStartup(nil, pgwire.Version30, []pgwire.Param{{Name: "user", Value: "postgres"}}))
			untilReady(t, nc, buf)
			if tc.setUp != nil {
				nc.Write(tc.setUp)
				untilReady(t, nc, buf)
			}
			trip := func() {
				nc.Write(tc.unit)
				untilReady(t, nc, buf)
			}
			for range 200 {
				trip()
			}
			if n := testing.AllocsPerRun(500, trip); n != 0 {
				t.Errorf("%v allocations per unit", n)
			}
		})
	}
}

// Nor do units of several clients that share a server.
func TestBatchesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize, c.Tuning.Defaults.Batching, c.Tuning.Defaults.BatchMax = 1, batchingAll, 16
	})
	unit, buf := pgwire.AppendQuery(nil, "select 1"), make([]byte, 4096)
	var conns []net.Conn
	for range 8 {
		nc := p.dialRaw(t)
		nc.Write(pgwire.AppendStartup(nil, pgwire.Version30, []pgwire.Param{{Name: "user", Value: "postgres"}}))
		untilReady(t, nc, buf)
		conns = append(conns, nc)
	}
	trip := func() {
		for _, nc := range conns {
			nc.Write(unit)
		}
		for _, nc := range conns {
			untilReady(t, nc, buf)
		}
	}
	for range 200 {
		trip()
	}
	if n := testing.AllocsPerRun(500, trip); n != 0 {
		t.Errorf("%v allocations per eight units", n)
	}
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			if g.batched.units < 500 {
				t.Errorf("%d units in %d batches", g.batched.units, g.batched.batches)
			}
		}
	})
}

// untilReady reads whole messages up to ReadyForQuery.
func untilReady(t testing.TB, nc net.Conn, buf []byte) {
	for {
		if _, err := io.ReadFull(nc, buf[:pgwire.HeaderLen]); err != nil {
			t.Fatal(err)
		}
		typ, size, ok := pgwire.Header(buf)
		if !ok || size > len(buf) {
			t.Fatalf("message %c of %d bytes", typ, size)
		}
		if _, err := io.ReadFull(nc, buf[:size-pgwire.HeaderLen]); err != nil {
			t.Fatal(err)
		}
		switch typ {
		case pgwire.ErrorResponse:
			t.Fatalf("%s", buf[:size-pgwire.HeaderLen])
		case pgwire.ReadyForQuery:
			return
		}
	}
}
