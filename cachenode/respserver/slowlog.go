package respserver

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	// maxSlowArgs and maxSlowArg bound what the slow log keeps of a command (slowlog.h).
	maxSlowArgs = 32
	maxSlowArg  = 128
	// maxSamples are kept of each latency event (latency.h).
	maxSamples = 160
)

// slowLog keeps the slowest commands of late, and what the latency monitor has seen.
type slowLog struct {
	slowerThan atomic.Int64 // microseconds; negative: nothing is logged
	monitor    atomic.Int64 // milliseconds from which the latency monitor counts a command; 0: off

	mu      sync.Mutex
	length  int
	next    int64
	entries []slowEntry // newest first
	events  map[string][]latencySample
}

type slowEntry struct {
	id           int64
	at           time.Time
	took         time.Duration
	args         []string
	client, name string
}

type latencySample struct {
	at    int64 // Unix seconds
	milli int64
}

// ran notes how long a command took.
func (s *session) ran(spec *command.Spec, args [][]byte, took time.Duration) {
	l := &s.st.srv.slow
	if limit := l.slowerThan.Load(); limit >= 0 && took.Microseconds() >= limit && spec.Name != "exec" {
		l.add(slowEntry{at: time.Now(), took: took, args: slowArgs(spec, args), client: s.address(), name: s.clientInfo().name})
	}
	if limit := l.monitor.Load(); limit > 0 && took.Milliseconds() >= limit {
		event := "command"
		if spec.Flags&command.Fast != 0 {
			event = "fast-command"
		}
		l.sample(event, took.Milliseconds())
	}
}

// slowArgs is what the log keeps of a command. Passwords are not kept.
func slowArgs(spec *command.Spec, args [][]byte) (kept []string) {
	for i, a := range args {
		switch {
		case i > 0 && secret(spec):
			kept = append(kept, "(redacted)")
		case i == maxSlowArgs-1 && len(args) > maxSlowArgs:
			return append(kept, fmt.Sprintf("... (%d more arguments)", len(args)-i))
		case len(a) > maxSlowArg:
			kept = append(kept, fmt.Sprintf("%s... (%d more bytes)", a[:maxSlowArg], len(a)-maxSlowArg))
		default:
			kept = append(kept, string(a))
		}
	}
	return kept
}

// secret tells the commands whose arguments may be passwords.
func secret(spec *command.Spec) bool {
	return spec.Name == "auth" || spec.Name == "hello" || spec.Name == "acl|setuser"
}

func (l *slowLog) add(e slowEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.next
	l.next++
	l.entries = slices.Insert(l.entries, 0, e)
	l.cut()
}

func (l *slowLog) cut() {
	if len(l.entries) > l.length {
		clear(l.entries[l.length:])
		l.entries = l.entries[:l.length]
	}
}

func (l *slowLog) setLength(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.length = n
	l.cut()
}

func (l *slowLog) maxLength() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.length
}

func (l *slowLog) sample(event string, milli int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().Unix()
	samples := l.events[event]
	if n := len(samples); n > 0 && samples[n-1].at == now {
		samples[n-1].milli = max(samples[n-1].milli, milli)
		return
	}
	if len(samples) == maxSamples {
		samples = slices.Delete(samples, 0, 1)
	}
	if l.events == nil {
		l.events = map[string][]latencySample{}
	}
	l.events[event] = append(samples, latencySample{now, milli})
}

func (s *session) slowlogCommand(sub string, args [][]byte) {
	l := &s.st.srv.slow
	switch sub {
	case "len":
		l.mu.Lock()
		n := len(l.entries)
		l.mu.Unlock()
		s.int(int64(n))
	case "reset":
		l.mu.Lock()
		l.entries = nil
		l.mu.Unlock()
		s.ok()
	case "get":
		count := int64(10)
		if len(args) > 3 {
			s.subcommandSyntax(args[1], "SLOWLOG")
			return
		}
		if len(args) == 3 {
			n, ok := resp.ParseInt(args[2])
			if !ok || n < -1 {
				s.fail("ERR count should be greater than or equal to -1")
				return
			}
			count = n
		}
		l.mu.Lock()
		entries := slices.Clone(l.entries)
		l.mu.Unlock()
		if count >= 0 {
			entries = entries[:min(int(min(count, 1<<30)), len(entries))]
		}
		s.st.w = resp.AppendArray(s.st.w, len(entries))
		for _, e := range entries {
			s.st.w = resp.AppendArray(s.st.w, 6)
			s.int(e.id)
			s.int(e.at.Unix())
			s.int(e.took.Microseconds())
			s.words(e.args)
			s.text(e.client)
			s.text(e.name)
		}
	}
}

func (s *session) latencyCommand(sub string, args [][]byte) {
	l := &s.st.srv.slow
	l.mu.Lock()
	events := map[string][]latencySample{}
	var names []string
	for name, samples := range l.events {
		names = append(names, name)
		events[name] = slices.Clone(samples)
	}
	l.mu.Unlock()
	slices.Sort(names)
	switch sub {
	case "latest":
		s.st.w = resp.AppendArray(s.st.w, len(names))
		for _, name := range names {
			samples := events[name]
			last, highest := samples[len(samples)-1], int64(0)
			for _, one := range samples {
				highest = max(highest, one.milli)
			}
			s.st.w = resp.AppendArray(s.st.w, 4)
			s.text(name)
			s.int(last.at)
			s.int(last.milli)
			s.int(highest)
		}
	case "history":
		samples := events[string(args[2])]
		s.st.w = resp.AppendArray(s.st.w, len(samples))
		for _, one := range samples {
			s.st.w = resp.AppendArray(s.st.w, 2)
			s.int(one.at)
			s.int(one.milli)
		}
	case "reset":
		n := int64(0)
		l.mu.Lock()
		for name := range l.events {
			if len(args) == 2 || slices.Contains(strs(args[2:]), name) {
				delete(l.events, name)
				n++
			}
		}
		l.mu.Unlock()
		s.int(n)
	case "graph":
		samples := events[string(args[2])]
		if len(samples) == 0 {
			s.fail("ERR No samples available for event '" + string(args[2]) + "'")
			return
		}
		text := string(args[2]) + ", milliseconds by second:\n"
		for _, one := range samples {
			text += time.Unix(one.at, 0).UTC().Format(time.TimeOnly) + " " + strconv.FormatInt(one.milli, 10) + "\n"
		}
		s.st.w = resp.AppendVerbatim(s.st.w, "txt", text, s.proto)
	case "doctor":
		text := "I have seen no latency spike.\n"
		if l.monitor.Load() == 0 {
			text = "The latency monitor is off: turn it on by CONFIG SET latency-monitor-threshold <milliseconds>.\n"
		} else if len(names) > 0 {
			text = ""
			for _, name := range names {
				text += fmt.Sprintf("%s: %d spikes, the last of %d ms\n", name, len(events[name]), events[name][len(events[name])-1].milli)
			}
		}
		s.st.w = resp.AppendVerbatim(s.st.w, "txt", text, s.proto)
	case "histogram":
		s.histograms(args[2:])
	}
}

// histograms is LATENCY HISTOGRAM: of each command the calls that were timed, by powers of two of microseconds, cumulative.
func (s *session) histograms(names [][]byte) {
	var found []commandTotal
	for _, t := range s.st.srv.commandTotals() {
		wanted := len(names) == 0
		for _, n := range names {
			wanted = wanted || command.EqualFold(n, t.spec.Name) || t.spec.Container != nil && command.EqualFold(n, t.spec.Container.Name)
		}
		if wanted && t.timed > 0 {
			found = append(found, t)
		}
	}
	s.st.w = resp.AppendMap(s.st.w, len(found), s.proto)
	for _, t := range found {
		s.text(t.spec.Name)
		s.st.w = resp.AppendMap(s.st.w, 2, s.proto)
		s.text("calls")
		s.int(int64(t.timed))
		s.text("histogram_usec")
		buckets, sum := 0, uint64(0)
		for _, n := range t.histogram {
			if n > 0 {
				buckets++
			}
		}
		s.st.w = resp.AppendMap(s.st.w, buckets, s.proto)
		for i, n := range t.histogram {
			if n > 0 {
				sum += n
				s.int(1 << i)
				s.int(int64(sum))
			}
		}
	}
}
