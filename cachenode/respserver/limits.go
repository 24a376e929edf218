package respserver

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// OutputLimit bounds the bytes that may wait for a client which reads slowly. A client that has more is closed. 0 stands for
// no limit.
type OutputLimit struct {
	Hard int64
	Soft int64         // bytes that For may be passed, but not longer
	For  time.Duration // whole seconds
}

// OutputLimits are those of Redis's classes of clients.
type OutputLimits struct {
	Normal  OutputLimit
	Replica OutputLimit // nobody is one here
	PubSub  OutputLimit // who subscribes or monitors: who is sent what was not asked for
}

// DefaultOutputLimits are Redis's, but for the class normal, which has none there. A client is served no further as soon as it
// does not read, so that only a single reply can be that large.
var DefaultOutputLimits = OutputLimits{
	Normal:  OutputLimit{1 << 30, 256 << 20, time.Minute},
	Replica: OutputLimit{256 << 20, 64 << 20, time.Minute},
	PubSub:  OutputLimit{32 << 20, 8 << 20, time.Minute},
}

// limitError is what is wrong with a text of limits, in the words of Redis's config.c.
type limitError string

func (e limitError) Error() string { return string(e) }

const (
	errLimitWords  limitError = "Wrong number of arguments in buffer limit configuration."
	errLimitClass  limitError = "Invalid client class specified in buffer limit configuration."
	errLimitNumber limitError = "Error in hard, soft or soft_seconds setting in buffer limit configuration."
)

// With returns the limits that text makes of them: a class, its hard limit, its soft limit and its seconds, for any number of
// classes, as Redis's client-output-buffer-limit takes them. Classes that are not named stay as they are.
func (l OutputLimits) With(text string) (OutputLimits, error) {
	words := strings.Fields(text)
	if len(words)%4 != 0 {
		return l, errLimitWords
	}
	for ; len(words) > 0; words = words[4:] {
		var of *OutputLimit
		switch strings.ToLower(words[0]) {
		case "normal":
			of = &l.Normal
		case "replica", "slave":
			of = &l.Replica
		case "pubsub":
			of = &l.PubSub
		default:
			return l, errLimitClass
		}
		hard, hardOK := parseMemory(words[1])
		soft, softOK := parseMemory(words[2])
		seconds, err := strconv.ParseInt(words[3], 10, 64)
		if !hardOK || !softOK || err != nil || seconds < 0 || seconds > math.MaxInt32 {
			return l, errLimitNumber
		}
		*of = OutputLimit{hard, soft, time.Duration(seconds) * time.Second}
	}
	return l, nil
}

// String is as CONFIG GET tells them.
func (l OutputLimits) String() string {
	text := func(class string, o OutputLimit) string {
		return fmt.Sprintf("%s %d %d %d", class, o.Hard, o.Soft, int64(o.For.Seconds()))
	}
	return text("normal", l.Normal) + " " + text("slave", l.Replica) + " " + text("pubsub", l.PubSub)
}

// limit is that of the session's class. Who has not logged in is owed little but errors: strangers must not take memory by
// not reading them.
func (s *session) limit() OutputLimit {
	if !s.authed {
		return OutputLimit{Hard: outputUnnoticed}
	}
	limits := s.st.srv.outputLimits.Load()
	if s.monitors || s.subscriptions() > 0 {
		return limits.PubSub
	}
	return limits.Normal
}

// checkOutput closes the session if more waits for its client than may. It is called when something was added to that, and
// now and then while the soft limit is passed.
func (s *session) checkOutput() {
	waits := int64(s.conn.Queued() + s.waiting)
	if waits <= outputUnnoticed && s.softSince == 0 || s.closed {
		return
	}
	l := s.limit()
	now := s.st.loop.UnixMilli()
	switch {
	case l.Hard > 0 && waits > l.Hard:
		s.overflow(waits, l.Hard)
	case l.Soft == 0 || waits <= l.Soft:
		s.softSince = 0
	case s.softSince == 0:
		s.softSince = now
		s.st.swollen = true
		s.st.wantHousekeeping()
	case now-s.softSince > l.For.Milliseconds():
		s.overflow(waits, l.Soft)
	}
}

// outputUnnoticed is how many bytes may wait before anybody looks at the limits.
const outputUnnoticed = 16 << 10

func (s *session) overflow(waits, limit int64) {
	s.st.srv.reports.warn("closed a client that reads too slowly (cache_output_buffer_limits)",
		"client", s.address(), "name", s.clientInfo().name, "bytes_waiting", waits, "limit", limit)
	s.conn.Close(errSlowReader)
}
