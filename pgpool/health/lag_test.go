package health

import (
	"testing"
	"time"
)

func at(seconds int) time.Time { return time.Unix(int64(1000+seconds), 0) }

// What a replica shows is as old as the primary's last moment at that position.
func TestLagIsTheAgeOfWhatIsShown(t *testing.T) {
	var tr trail
	s := Server{Up: true, Role: RoleReplica, ReplayLSN: 100, LSN: 100, replayAge: time.Hour}
	check := func(what string, lag time.Duration, bytes int64) {
		t.Helper()
		tr.measure(&s, false)
		if s.Lag != lag || s.LagBytes != bytes {
			t.Errorf("%s: %v, %d bytes; want %v, %d", what, s.Lag, s.LagBytes, lag, bytes)
		}
	}
	check("no primary seen, all that came is replayed", 0, 0)
	s.LSN = 150
	check("no primary seen, more has come", time.Hour, 50)
	tr.add(200, at(0))
	check("behind when it was first seen", time.Hour, 100)
	s.replayAge = UnknownLag
	check("and has replayed no transaction yet", UnknownLag, 100)
	s.ReplayLSN = 200
	check("caught up", 0, 0)
	tr.add(200, at(60))
	check("an idle primary", 0, 0)
	tr.add(300, at(61))
	check("without a receiver, all that came is replayed", time.Second, 100)
	tr.add(300, at(90))
	check("and goes on like that", 30*time.Second, 100)
	tr.add(400, at(91))
	s.ReplayLSN = 300
	check("catching up", time.Second, 100)
	s.ReplayLSN = 450
	check("ahead of the last probe of the primary", 0, 0)
	tr.add(350, at(100)) // promoted with less
	check("ahead of a new primary", 0, 0)
	tr.add(500, at(101))
	check("behind the new primary", time.Second, 50)
}

// A replica that is late on purpose is so by a constant, however long that lasts.
func TestATrailReachesFarBack(t *testing.T) {
	var tr trail
	s := Server{Up: true, Role: RoleReplica, replayAge: UnknownLag}
	const delay = 3600
	for now := range 15_000 {
		tr.add(uint64(1000+now), at(now))
		if now < 2*delay {
			continue
		}
		s.ReplayLSN = uint64(1000 + now - delay)
		tr.measure(&s, false)
		if lag := s.Lag.Seconds(); lag < delay || lag > delay*1.1 {
			t.Fatalf("after %d s: %v", now, s.Lag)
		}
	}
}

// A replica leaves at the limit and comes back at half of it, for every limit.
func TestHysteresis(t *testing.T) {
	lags := []int64{0, 4, 11, 9, 6, 12, 40, 6, 5, 9, 10, 11, 3, 0, 7}
	for _, limit := range []int64{1, 5, 10, 20, 100} {
		held, out := int64(0), false
		for i, lag := range lags {
			if lag > limit {
				out = true
			} else if 2*lag <= limit {
				out = false
			}
			held = hold(held, lag)
			if got := held > limit; got != out {
				t.Errorf("limit %d, lag %v: out %v, want %v", limit, lags[:i+1], got, out)
			}
		}
	}
	if h := hold(hold(time.Second, UnknownLag), 0); h != 0 {
		t.Errorf("%v is held", h)
	}
}

func TestWithin(t *testing.T) {
	s := Server{Up: true, Role: RoleReplica, held: time.Second, heldBytes: 100}
	for _, tc := range []struct {
		lag   time.Duration
		bytes int64
		want  bool
	}{{0, 0, true}, {time.Second, 100, true}, {time.Second - 1, 0, false}, {0, 99, false}, {time.Hour, 0, true}} {
		if got := s.Within(tc.lag, tc.bytes); got != tc.want {
			t.Errorf("%v, %d: %v", tc.lag, tc.bytes, got)
		}
	}
	for _, change := range []func(s *Server){
		func(s *Server) { s.Up = false },
		func(s *Server) { s.Role = RolePrimary },
		func(s *Server) { s.Fence = OtherTimeline },
	} {
		s := s
		if change(&s); s.Within(0, 0) {
			t.Errorf("%+v", s)
		}
	}
}
