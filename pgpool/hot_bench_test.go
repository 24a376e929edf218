package pgpool

import (
	"net"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// BenchmarkAccounting is what is noted of an extended unit that is passed on and answered, and of how its shape has run.
func BenchmarkAccounting(b *testing.B) {
	b.Run("expectations", func(b *testing.B) {
		var owed expectations
		unit := [...]expectation{{kind: kindParse}, {kind: kindBind}, {kind: kindDescribe}, {kind: kindExecute}, {kind: kindSync}}
		b.ReportAllocs()
		for b.Loop() {
			for i := range unit {
				owed.push(unit[i])
			}
			for owed.n > 0 {
				owed.pop()
			}
		}
	})
	b.Run("shape", func(b *testing.B) {
		var table shapes
		h, now := table.find([]byte("select abalance from pgbench_accounts where aid = 1")), time.Now()
		b.ReportAllocs()
		for b.Loop() {
			h.ran(40*time.Microsecond, 100, now)
		}
	})
	b.Run("generalise", func(b *testing.B) {
		var table shapes
		text := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 73012")
		b.ReportAllocs()
		for b.Loop() {
			table.find(text)
		}
	})
}

// BenchmarkDispatch is sixteen clients who wait for one server of PostgreSQL, each with a server's time to itself or all in
// a batch: the time is that of all sixteen, with what the server takes.
func BenchmarkDispatch(b *testing.B) {
	for _, way := range []Batching{BatchingOff, batchingAll} {
		b.Run(way.String(), func(b *testing.B) {
			p := start(b, 1, func(c *Config) {
				c.Tuning.Defaults.PoolSize, c.Tuning.Defaults.Batching, c.Tuning.Defaults.BatchMax = 1, way, 16
			})
			unit, buf := pgwire.AppendQuery(nil, "select 1"), make([]byte, 4096)
			var conns [16]net.Conn
			for i := range conns {
				conns[i] = p.dialRaw(b)
				conns[i].Write(pgwire.AppendStartup(nil, pgwire.Version30, []pgwire.Param{{Name: "user", Value: "postgres"}}))
				untilReady(b, conns[i], buf)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, nc := range conns {
					nc.Write(unit)
				}
				for _, nc := range conns {
					untilReady(b, nc, buf)
				}
			}
		})
	}
}
