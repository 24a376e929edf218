package respserver

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
)

// sampleEvery is how often a quick command is timed: reading the clock for each would cost more than many of them. Those that
// may take long are always timed, so that the slow log misses nothing.
const sampleEvery = 16

// commandStat counts the calls of one command on one loop. The loop writes, others read.
type commandStat struct {
	calls, rejected, failed atomic.Uint64
	timed, nanos            atomic.Uint64 // a sample of the calls
	histogram               [latencyBuckets]atomic.Uint32
}

// latencyBuckets are those of LATENCY HISTOGRAM: the i-th holds calls of up to 2^i microseconds.
const latencyBuckets = 25

// heavy tells the commands that are always timed.
func heavy(spec *command.Spec) bool {
	return spec.Flags&command.Fast == 0 && spec.Name != "set" && spec.Name != "setex" && spec.Name != "mset"
}

// closely is the threshold of the slow log, in microseconds, below which every command is timed: who wants to hear of those
// that take a millisecond wants to hear of each.
const closely = 1000

// timing tells whether a command's call of that number is to be timed. The first is, so that each has been.
func (st *loopState) timing(spec *command.Spec, call uint64) bool {
	if call%sampleEvery == 1 || heavy(spec) {
		return true
	}
	limit := st.srv.slow.slowerThan.Load()
	return limit >= 0 && limit <= closely
}

func (c *commandStat) time(d time.Duration) {
	c.timed.Add(1)
	c.nanos.Add(uint64(d))
	micros := uint64(d / time.Microsecond)
	bucket := 0
	if micros > 1 {
		bucket = bits.Len64(micros - 1)
	}
	c.histogram[min(bucket, latencyBuckets-1)].Add(1)
}

// commandTotal is a commandStat summed over the loops.
type commandTotal struct {
	spec                    *command.Spec
	calls, rejected, failed uint64
	timed                   uint64
	nanos                   uint64 // of all calls, going by those that were timed
	histogram               [latencyBuckets]uint64
}

// commandTotals are the commands that were called, in the order of their IDs.
func (srv *Server) commandTotals() (all []commandTotal) {
	for _, spec := range srv.table.ByID() {
		t := commandTotal{spec: spec}
		nanos := uint64(0)
		for _, st := range srv.loops {
			c := &st.stats[spec.ID]
			t.calls += c.calls.Load()
			t.rejected += c.rejected.Load()
			t.failed += c.failed.Load()
			t.timed += c.timed.Load()
			nanos += c.nanos.Load()
			for i := range t.histogram {
				t.histogram[i] += uint64(c.histogram[i].Load())
			}
		}
		if t.timed > 0 {
			t.nanos = uint64(float64(nanos) / float64(t.timed) * float64(t.calls))
		}
		if t.calls+t.rejected > 0 {
			all = append(all, t)
		}
	}
	return all
}

// percentile is the latency in microseconds below which the share p of the timed calls was.
func (t *commandTotal) percentile(p float64) float64 {
	rank, seen := uint64(p*float64(t.timed)), uint64(0)
	for i, n := range t.histogram {
		if seen += n; seen > rank || seen == t.timed {
			return float64(uint64(1) << i)
		}
	}
	return 0
}

// resetStats is CONFIG RESETSTAT.
func (srv *Server) resetStats() {
	for _, st := range srv.loops {
		st.errors.reset()
		for i := range st.stats {
			c := &st.stats[i]
			for _, n := range []*atomic.Uint64{&c.calls, &c.rejected, &c.failed, &c.timed, &c.nanos} {
				n.Store(0)
			}
			for i := range c.histogram {
				c.histogram[i].Store(0)
			}
		}
	}
	srv.accepted.Store(0)
	srv.refused.Store(0)
	srv.commands.Store(0)
	held := srv.cfg.Store.Stats()
	srv.base.Store(&held)
}
