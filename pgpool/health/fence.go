package health

// Fence says why a server that answers is used for nothing.
type Fence uint8

// The reasons.
const (
	NotFenced     Fence = iota
	Unproven            // there is nothing yet to compare it with
	OtherCluster        // it has another system identifier
	OldPrimary          // it takes writes on a timeline that the cluster has left
	SecondPrimary       // it takes writes as another server does, on the same timeline
	OtherTimeline       // a replica, but not on the primary's timeline
)

// String returns the reason as SHOW prints it.
func (f Fence) String() string {
	return [...]string{"", "unproven", "other cluster", "old primary", "second primary", "other timeline"}[f]
}

// judge decides who is the primary and who is fenced. It remembers the cluster, so that a server that comes back after
// another was promoted, or a stranger at a known address, is told apart even when it is the only one that answers.
type judge struct {
	systemID uint64 // 0: not known yet
	timeline uint32 // of the last primary
	primary  int    // the last one
	follows  []bool // by server: it was last seen as a replica on timeline
}

// pass sets Fence of all servers, and returns whether one of them is the primary: the one of the cluster that is up, not in
// recovery, and has the highest timeline; among equals the one that was it before.
func (j *judge) pass(servers []Server) (ok bool) {
	assumed := false
	if j.systemID == 0 {
		switch first, asked := identify(servers); {
		case first >= 0:
			j.systemID = servers[first].SystemID
		case asked: // one that lets nobody look is taken to be what the configuration says, as long as nobody knows better
			assumed = servers[0].refused
		}
	}
	j.promoted(servers)
	best := -1
	for i := range servers {
		s := &servers[i]
		s.Fence = NotFenced
		switch {
		case !s.Up:
		case j.systemID == 0:
			s.Fence = Unproven
		case s.SystemID != j.systemID:
			s.Fence = OtherCluster
		case s.Role != RolePrimary:
		case s.Timeline < j.timeline:
			s.Fence = OldPrimary
		case best < 0 || s.Timeline > servers[best].Timeline || s.Timeline == servers[best].Timeline && i == j.primary:
			best = i
		}
	}
	if best >= 0 {
		j.timeline, j.primary = servers[best].Timeline, best
	}
	followed := j.timeline
	if best < 0 { // a replica may know of a promotion before its primary is seen
		for i := range servers {
			if s := &servers[i]; s.Up && s.Fence == NotFenced {
				followed = max(followed, s.Timeline)
			}
		}
	}
	for i := range servers {
		s := &servers[i]
		switch {
		case i == best || !s.Up || s.Fence != NotFenced:
		case s.Role == RolePrimary && s.Timeline < j.timeline:
			s.Fence = OldPrimary
		case s.Role == RolePrimary:
			s.Fence = SecondPrimary
		case s.Timeline != followed:
			s.Fence = OtherTimeline
		}
	}
	for i, s := range servers {
		j.follows[i] = s.Up && s.Role == RoleReplica && s.Fence == NotFenced && s.Timeline == j.timeline
	}
	return best >= 0 || assumed
}

// promoted looks for replicas that followed the primary and now are on a later timeline: somebody was promoted, whether we
// can see who or not. The primary of before is an old one from then on, also if it is the only one that answers.
func (j *judge) promoted(servers []Server) {
	if j.follows == nil {
		j.follows = make([]bool, len(servers))
	}
	for i, s := range servers {
		if j.follows[i] && s.Up && s.Role == RoleReplica && s.SystemID == j.systemID {
			j.timeline = max(j.timeline, s.Timeline)
		}
	}
}

// identify returns which server says what the cluster is, or -1: the first primary, or else the first that is up. None says
// it until all have been asked, so that an old primary that answers first is not believed.
func identify(servers []Server) (first int, asked bool) {
	first = -1
	for i, s := range servers {
		switch {
		case s.Addr == "":
		case s.CheckedAt.IsZero():
			return -1, false
		case s.Up && (first < 0 || s.Role == RolePrimary && servers[first].Role != RolePrimary):
			first = i
		}
	}
	return first, true
}
