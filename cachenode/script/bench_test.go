package script

import (
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// BenchmarkEval compares a lock's release as a script and as a native, and a script that does nothing.
func BenchmarkEval(b *testing.B) {
	release := renditions["redis-py Lock release"]
	for _, bench := range []struct {
		name, source string
		native       native
	}{{"empty", "return 1", nil}, {"release/script", release, nil}, {"release/native", release, deleteOwned}} {
		b.Run(bench.name, func(b *testing.B) {
			o := newOurs(Config{})
			p, err := o.c.Scripts.(*Runner).e.load(bench.source)
			if err != nil {
				b.Fatal(err)
			}
			p.native = bench.native
			evalsha := o.table.Lookup([]byte("evalsha"))
			args := redistest.Args([]string{"evalsha", p.sha, "1", "lock", "token"})
			o.c.NowMilli = 1
			b.ReportAllocs()
			for b.Loop() {
				o.c.Args, o.c.Out = args, o.c.Out[:0]
				evalsha.Exec(&o.c)
			}
		})
	}
}
