package health

import (
	"errors"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

func TestJudge(t *testing.T) {
	up := func(role Role, timeline uint32, system uint64) Server {
		return Server{Addr: "a", CheckedAt: time.Unix(1, 0), Up: true, Role: role, Timeline: timeline, SystemID: system}
	}
	p := func(timeline uint32) Server { return up(RolePrimary, timeline, 1) }
	r := func(timeline uint32) Server { return up(RoleReplica, timeline, 1) }
	down := Server{Addr: "a", CheckedAt: time.Unix(1, 0), Role: RolePrimary, Timeline: 9, SystemID: 1}
	unasked, refused, vacant := Server{Addr: "a"}, down, Server{}
	refused.refused = true
	const none, ok = NotFenced, true
	type step struct {
		name    string
		servers []Server
		primary int
		ok      bool
		fences  []Fence
	}
	for _, story := range [][]step{
		{
			{"nothing known", []Server{unasked, unasked}, 0, !ok, []Fence{none, none}},
			{"the other not asked yet", []Server{p(1), unasked}, 0, !ok, []Fence{Unproven, none}},
			{"all asked", []Server{p(1), r(1)}, 0, ok, []Fence{none, none}},
			{"primary down", []Server{down, r(1)}, 0, !ok, []Fence{none, none}},
			{"a replica of a primary not seen", []Server{down, r(2)}, 0, !ok, []Fence{none, none}},
			{"promoted beside the old one", []Server{p(1), p(2)}, 1, ok, []Fence{OldPrimary, none}},
			{"old one alone", []Server{p(1), down}, 1, !ok, []Fence{OldPrimary, none}},
			{"old one has joined", []Server{r(2), p(2)}, 1, ok, []Fence{none, none}},
			{"a replica that follows nobody here", []Server{r(1), p(2)}, 1, ok, []Fence{OtherTimeline, none}},
			{"a replica with a high timeline", []Server{r(7), p(2)}, 1, ok, []Fence{OtherTimeline, none}},
			{"another cluster at the address", []Server{up(RolePrimary, 9, 2), down}, 1, !ok, []Fence{OtherCluster, none}},
			{"a replica of another cluster", []Server{up(RoleReplica, 2, 2), p(2)}, 1, ok, []Fence{OtherCluster, none}},
			{"two on one timeline", []Server{p(2), p(2)}, 1, ok, []Fence{SecondPrimary, none}},
			{"the role moved without a timeline", []Server{p(2), r(2)}, 0, ok, []Fence{none, none}},
		},
		{{"old primary listed first", []Server{p(1), p(3), r(3)}, 1, ok, []Fence{OldPrimary, none, none}}},
		{
			{"begun without a primary", []Server{r(2), down, r(2), r(1)}, 0, !ok, []Fence{none, none, none, OtherTimeline}},
			{"a stranger as primary", []Server{r(2), up(RolePrimary, 2, 5), r(2), r(1)}, 0, !ok, []Fence{none, OtherCluster, none, OtherTimeline}},
		},
		{
			{"all follow", []Server{p(1), r(1), r(1)}, 0, ok, []Fence{none, none, none}},
			{"one was promoted where we cannot see it", []Server{down, down, r(2)}, 0, !ok, []Fence{none, none, none}},
			{"the old primary is seen first", []Server{p(1), down, r(2)}, 0, !ok, []Fence{OldPrimary, none, none}},
			{"and stays alone", []Server{p(1), down, down}, 0, !ok, []Fence{OldPrimary, none, none}},
			{"then the new one", []Server{p(1), p(2), r(2)}, 1, ok, []Fence{OldPrimary, none, none}},
			{"a replica that has gone its own way", []Server{r(2), p(2), r(1)}, 1, ok, []Fence{none, none, OtherTimeline}},
			{"and on", []Server{r(2), p(2), r(4)}, 1, ok, []Fence{none, none, OtherTimeline}},
		},
		{{"strangers from the beginning", []Server{up(RoleReplica, 1, 8), p(1)}, 1, ok, []Fence{OtherCluster, none}}},
		{{"vacant places say nothing", []Server{p(1), vacant}, 0, ok, []Fence{none, none}}},
		{
			{"not all have refused", []Server{refused, unasked}, 0, !ok, []Fence{none, none}},
			{"nobody lets us look", []Server{refused, refused}, 0, ok, []Fence{none, none}},
			{"but then one does", []Server{refused, p(1)}, 1, ok, []Fence{none, none}},
			{"and goes", []Server{refused, down}, 1, !ok, []Fence{none, none}},
		},
	} {
		var j judge
		for _, s := range story {
			got := j.pass(s.servers)
			if got != s.ok || j.primary != s.primary {
				t.Errorf("%s: primary %d, %v; want %d, %v", s.name, j.primary, got, s.primary, s.ok)
			}
			for i, want := range s.fences {
				if f := s.servers[i].Fence; f != want {
					t.Errorf("%s: server %d is fenced as %q, want %q", s.name, i, f, want)
				}
			}
		}
	}
}

// An answer that lets nobody look is the answer of a server that is there, unless it says that it is not.
func TestRefusedProbes(t *testing.T) {
	full, down := &pgwire.Error{Code: "53300"}, &pgwire.Error{Code: "57P03"}
	primary := Server{Addr: "a", Up: true, Role: RolePrimary, SystemID: 1, Timeline: 1}
	replica := primary
	replica.Role = RoleReplica
	for _, tc := range []struct {
		name        string
		old         Server
		err         error
		up, refused bool
	}{
		{"a primary without a connection to spare", primary, full, true, true},
		{"a primary that shuts down", primary, down, false, false},
		{"a primary that does not answer", primary, errors.New("timeout"), false, false},
		{"a replica, whose lag nobody knows", replica, full, false, true},
		{"never seen", Server{Addr: "a"}, full, false, true},
	} {
		if s := tc.old.after(Server{}, tc.err); s.Up != tc.up || s.refused != tc.refused || s.LastError == nil || s.Role != tc.old.Role {
			t.Errorf("%s: %+v", tc.name, s)
		}
	}
	if s := primary.after(Server{}, full).after(primary, nil); s.refused || s.LastError != nil || !s.Up {
		t.Errorf("after a good probe: %+v", s)
	}
}

// A replica that has lost its receiver tells an earlier timeline than it has reached.
func TestATimelineIsNotForgotten(t *testing.T) {
	old := Server{Up: true, Role: RoleReplica, SystemID: 1, Timeline: 3}
	said := Server{Up: true, Role: RoleReplica, SystemID: 1, Timeline: 2}
	if s := old.after(said, nil); s.Timeline != 3 {
		t.Errorf("timeline %d", s.Timeline)
	}
	old.Up = false // it may have been rebuilt
	if s := old.after(said, nil); s.Timeline != 2 {
		t.Errorf("timeline %d after a restart", s.Timeline)
	}
}
