package respserver

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A session that tracks is remembered with each key before it reads it. So a change that comes between is reported as well,
// and as what is reported goes behind the replies that are owed, the client has the value before it is told to drop it.

// maxTracked is the number of keys that are remembered: Redis's tracking-table-max-keys. One more makes another one, any,
// be forgotten, and the clients that have it are told to drop it.
const maxTracked = 1_000_000

// invalidateChannel is where a RESP2 client listens that another client redirects its invalidations to.
const invalidateChannel = "__redis__:invalidate"

// trackingMode is how a session tracks.
type trackingMode struct {
	broadcast, optIn, optOut, noLoop bool

	redirect uint64 // to which session; 0: to itself
	prefixes []string
	caching  bool // CLIENT CACHING was given for the command that follows
	broken   bool // the session that redirect names is gone
}

// maxGathered bounds the bytes of keys that a loop gathers.
const maxGathered = 16 << 10

// trackers know which session has read which key.
type trackers struct {
	count atomic.Int64 // sessions that track: most of the time there are none

	telling sync.Mutex // before all others: one at a time tells the backend
	told    bool       // what it was told; under telling

	charge func(int64) // constant; tells of bytes taken, or given back

	mu       sync.Mutex
	limit    int
	bytes    int64
	sessions map[uint64]*tracker
	wide     map[uint64]*tracker // those of them that hear of all keys with some prefixes
	keys     map[string][]uint64 // by whom each key was read; some of them may be gone
}

// tracker is what others need to know of a session that tracks.
type tracker struct {
	s        *session
	noLoop   bool
	prefixes []string // none: all
}

// tellBackend says whether anybody tracks, when that has changed.
func (srv *Server) tellBackend(l *netloop.Loop) {
	t := &srv.trackers
	t.telling.Lock()
	defer t.telling.Unlock()
	if on := t.count.Load() > 0; on != t.told {
		t.told = on
		srv.cfg.Backend.Track(l, on)
	}
}

func (t *trackers) add(s *session, m *trackingMode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions == nil {
		t.sessions, t.wide, t.keys = map[uint64]*tracker{}, map[uint64]*tracker{}, map[string][]uint64{}
	}
	tr := &tracker{s: s, noLoop: m.noLoop, prefixes: m.prefixes}
	t.sessions[s.id] = tr
	if m.broadcast {
		t.wide[s.id] = tr
	}
	t.count.Store(int64(len(t.sessions)))
}

// took notes that the keys take so many bytes more.
func (t *trackers) took(bytes int) {
	t.bytes += int64(bytes)
	t.charge(int64(bytes))
}

// forgetAll forgets all keys.
func (t *trackers) forgetAll() {
	t.keys = map[string][]uint64{}
	t.charge(-t.bytes)
	t.bytes = 0
}

func (t *trackers) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.keys)
}

func (t *trackers) maximum() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(t.limit)
}

// setMaximum changes the bound. Keys beyond it are returned, to be invalidated.
func (t *trackers) setMaximum(n int64) (victims []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = int(n)
	excess := len(t.keys) - t.limit
	for key := range t.keys {
		if len(victims) >= excess {
			break
		}
		victims = append(victims, key)
	}
	return victims
}

// limitTracked bounds the keys that are remembered. Clients are told to drop what is forgotten for it.
func (st *loopState) limitTracked(n int64) {
	t := &st.srv.trackers
	for _, victim := range t.setMaximum(n) {
		to, _ := t.take([]byte(victim), 0)
		st.invalidate(to, []byte(victim))
	}
}

func (t *trackers) remove(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, id)
	delete(t.wide, id)
	t.count.Store(int64(len(t.sessions)))
	if len(t.sessions) == 0 {
		t.forgetAll()
	}
}

// remember notes that a session reads a key. When there are too many, another key is returned, to be invalidated.
func (t *trackers) remember(id uint64, key []byte) (victim string, full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids, there := t.keys[string(key)]
	for _, other := range ids {
		if other == id {
			return "", false
		}
	}
	t.keys[string(key)] = append(ids, id)
	if there {
		t.took(8)
	} else {
		t.took(trackedBytes + len(key))
	}
	if there || len(t.keys) <= t.limit {
		return "", false
	}
	for victim = range t.keys {
		if victim != string(key) {
			return victim, true
		}
	}
	return "", false
}

// take forgets a key, and returns who has to hear of it: those who have read it, and those who hear of all.
func (t *trackers) take(key []byte, author uint64) (to, wide []*session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.keys[string(key)] {
		if tr := t.sessions[id]; tr != nil && t.wide[id] == nil && !(tr.noLoop && id == author) {
			to = append(to, tr.s)
		}
	}
	if ids := t.keys[string(key)]; ids != nil {
		delete(t.keys, string(key))
		t.took(-(trackedBytes + len(key) + 8*(len(ids)-1)))
	}
	for id, tr := range t.wide {
		if !(tr.noLoop && id == author) && tr.wants(key) {
			wide = append(wide, tr.s)
		}
	}
	return to, wide
}

func (tr *tracker) wants(key []byte) bool {
	if len(tr.prefixes) == 0 {
		return true
	}
	for _, p := range tr.prefixes {
		if strings.HasPrefix(string(key), p) {
			return true
		}
	}
	return false
}

// Changed tells the clients that cache a key, in stored form, to drop it; nil stands for all keys.
func (srv *Server) Changed(l *netloop.Loop, stored []byte, author uint64) {
	t := &srv.trackers
	if t.count.Load() == 0 {
		return
	}
	if stored == nil {
		t.mu.Lock()
		t.forgetAll()
		var all []*session
		for _, tr := range t.sessions {
			all = append(all, tr.s)
		}
		t.mu.Unlock()
		srv.byLoop[l].invalidate(all, nil)
		return
	}
	_, key := store.SplitKey(stored)
	to, wide := t.take(key, author)
	srv.byLoop[l].invalidate(to, key)
	srv.byLoop[l].gather(wide, key)
}

// invalidate tells sessions, on whichever loop, of a key; nil for all.
func (st *loopState) invalidate(to []*session, key []byte) {
	var kept []byte
	for _, s := range to {
		if s.st == st {
			s.invalidate(key)
			continue
		}
		if kept == nil && key != nil {
			kept = append(make([]byte, 0, len(key)+1), key...)
		}
		s.st.loop.Post(func() { s.invalidate(kept) })
	}
}

// invalidate tells the client, or who it has named, to drop a key, or all for nil.
func (s *session) invalidate(key []byte) {
	m := s.tracking
	if m == nil || s.closed {
		return
	}
	if key == nil {
		s.tellChanged(m, nil)
	} else {
		s.tellChanged(m, [][]byte{key})
	}
}

// gather keeps a key for sessions that hear of all, to be told with what else changes in this tick of the loop, as Redis does
// between two rounds of its own.
func (st *loopState) gather(to []*session, key []byte) {
	if len(to) == 0 {
		return
	}
	if st.gathered == nil {
		st.gathered = map[*session][][]byte{}
	}
	if len(st.gathered) == 0 {
		st.loop.Post(st.tellGathered)
	}
	key = bytes.Clone(key)
	for _, s := range to {
		st.gathered[s] = append(st.gathered[s], key)
	}
	if st.gatheredBytes += len(key) + 32; st.gatheredBytes > maxGathered {
		st.tellGathered()
	}
}

// tellGathered tells sessions of the keys that were gathered.
func (st *loopState) tellGathered() {
	for s, keys := range st.gathered {
		if s.st == st {
			s.tellBroadcast(keys)
		} else {
			s.st.loop.Post(func() { s.tellBroadcast(keys) })
		}
	}
	clear(st.gathered)
	st.gatheredBytes = 0
}

// tellBroadcast tells the client of keys in any order, in a message for each of its prefixes.
func (s *session) tellBroadcast(keys [][]byte) {
	m := s.tracking
	if m == nil || !m.broadcast || s.closed {
		return
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	for len(keys) > 0 {
		p, n := m.prefixOf(keys[0]), 1
		for n < len(keys) && m.prefixOf(keys[n]) == p {
			n++
		}
		s.tellChanged(m, keys[:n])
		keys = keys[n:]
	}
}

// prefixOf is the position of the prefix that a key has: there is no more than one.
func (m *trackingMode) prefixOf(key []byte) int {
	return slices.IndexFunc(m.prefixes, func(p string) bool { return strings.HasPrefix(string(key), p) })
}

// tellChanged tells the client, or who it has named, to drop keys, or all for nil.
func (s *session) tellChanged(m *trackingMode, keys [][]byte) {
	if m.redirect == 0 {
		if s.proto >= 3 {
			s.push(appendInvalidation(nil, keys, 3))
		}
		return
	}
	target := s.st.srv.byID(m.redirect)
	if target == nil {
		m.broken = true
		s.update(func(i *clientInfo) { i.tracking = *m })
		if s.proto >= 3 {
			b := resp.AppendPush(nil, 2, 3)
			b = resp.AppendBulkString(b, "tracking-redir-broken")
			s.push(resp.AppendInt(b, int64(m.redirect)))
		}
		return
	}
	if target.st == s.st {
		target.redirected(keys)
		return
	}
	keys = slices.Clone(keys)
	for i, key := range keys {
		keys[i] = bytes.Clone(key)
	}
	target.st.loop.Post(func() { target.redirected(keys) })
}

// redirected tells the client what another one has asked to be told here.
func (s *session) redirected(keys [][]byte) {
	switch {
	case s.closed:
	case s.proto >= 3:
		s.push(appendInvalidation(nil, keys, 3))
	case s.subscriptions() > 0:
		s.push(appendInvalidation(nil, keys, 2))
	}
}

func appendInvalidation(b []byte, keys [][]byte, proto int) []byte {
	if proto >= 3 {
		b = resp.AppendPush(b, 2, 3)
		b = resp.AppendBulkString(b, "invalidate")
	} else {
		b = resp.AppendArray(b, 3)
		b = resp.AppendBulkString(b, "message")
		b = resp.AppendBulkString(b, invalidateChannel)
	}
	if keys == nil {
		return resp.AppendNull(b, proto)
	}
	b = resp.AppendArray(b, len(keys))
	for _, key := range keys {
		b = resp.AppendBulk(b, key)
	}
	return b
}

// remember notes what a command reads.
func (s *session) remember(spec *command.Spec, args [][]byte) {
	m := s.tracking
	if m.broadcast || m.optIn && !m.caching || m.optOut && m.caching {
		return
	}
	if spec == s.st.srv.table.Watch || spec.Flags&command.ReadOnly == 0 && spec.Group != "scripting" || !spec.HasKeys() {
		return
	}
	t := &s.st.srv.trackers
	for _, i := range spec.KeysAt(args, nil) {
		if victim, full := t.remember(s.id, args[i]); full {
			to, _ := t.take([]byte(victim), 0)
			s.st.invalidate(to, []byte(victim))
		}
	}
}

// stopTracking is CLIENT TRACKING OFF, and the end of the session.
func (s *session) stopTracking() {
	if s.tracking == nil {
		return
	}
	s.tracking = nil
	srv := s.st.srv
	srv.trackers.remove(s.id)
	srv.tellBackend(s.st.loop)
	s.update(func(i *clientInfo) { i.tracking, i.tracks = trackingMode{}, false })
}

// trackingCommand is CLIENT TRACKING (clientCommand in Redis's networking.c).
func (s *session) trackingCommand(args [][]byte) {
	next := trackingMode{}
	for i := 1; i < len(args); i++ {
		more := i+1 < len(args)
		switch {
		case command.EqualFold(args[i], "redirect") && more:
			i++
			if next.redirect != 0 {
				s.fail("ERR A client can only redirect to a single other client")
				return
			}
			id, ok := resp.ParseInt(args[i])
			if !ok {
				s.fail("ERR value is not an integer or out of range")
				return
			}
			if s.st.srv.byID(uint64(id)) == nil {
				s.fail("ERR The client ID you want redirect to does not exist")
				return
			}
			next.redirect = uint64(id)
		case command.EqualFold(args[i], "bcast"):
			next.broadcast = true
		case command.EqualFold(args[i], "optin"):
			next.optIn = true
		case command.EqualFold(args[i], "optout"):
			next.optOut = true
		case command.EqualFold(args[i], "noloop"):
			next.noLoop = true
		case command.EqualFold(args[i], "prefix") && more:
			i++
			next.prefixes = append(next.prefixes, string(args[i]))
		default:
			s.fail("ERR syntax error")
			return
		}
	}
	switch {
	case command.EqualFold(args[0], "on"):
		if problem := s.checkTracking(&next); problem != "" {
			s.fail("ERR " + problem)
			return
		}
		s.track(&next)
	case command.EqualFold(args[0], "off"):
		s.stopTracking()
	default:
		s.fail("ERR syntax error")
		return
	}
	s.ok()
}

// checkTracking says what is wrong with a new mode.
func (s *session) checkTracking(next *trackingMode) string {
	now := s.tracking
	switch {
	case !next.broadcast && len(next.prefixes) > 0:
		return "PREFIX option requires BCAST mode to be enabled"
	case now != nil && now.broadcast != next.broadcast:
		return "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
	case next.broadcast && (next.optIn || next.optOut):
		return "OPTIN and OPTOUT are not compatible with BCAST"
	case next.optIn && next.optOut:
		return "You can't specify both OPTIN mode and OPTOUT mode"
	case now != nil && (next.optIn && now.optOut || next.optOut && now.optIn):
		return "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
	}
	for i, p := range next.prefixes {
		if now != nil {
			for _, q := range now.prefixes {
				if overlap(p, q) {
					return "Prefix '" + p + "' overlaps with an existing prefix '" + q + "'. Prefixes for a single client must not overlap."
				}
			}
		}
		for _, q := range next.prefixes[i+1:] {
			if overlap(p, q) {
				return "Prefix '" + p + "' overlaps with another provided prefix '" + q + "'. Prefixes for a single client must not overlap."
			}
		}
	}
	return ""
}

func overlap(p, q string) bool { return strings.HasPrefix(p, q) || strings.HasPrefix(q, p) }

func (s *session) track(next *trackingMode) {
	if next.broadcast {
		if len(next.prefixes) == 0 {
			next.prefixes = []string{""}
		}
		if s.tracking != nil {
			next.prefixes = append(next.prefixes, s.tracking.prefixes...)
		}
	}
	s.tracking = next
	srv := s.st.srv
	srv.trackers.add(s, next)
	srv.tellBackend(s.st.loop)
	s.update(func(i *clientInfo) { i.tracking, i.tracks = *next, true })
}

// cachingCommand is CLIENT CACHING.
func (s *session) cachingCommand(how []byte) {
	m := s.tracking
	switch {
	case m == nil:
		s.fail("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
		return
	case command.EqualFold(how, "yes"):
		if !m.optIn {
			s.fail("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
			return
		}
	case command.EqualFold(how, "no"):
		if !m.optOut {
			s.fail("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
			return
		}
	default:
		s.fail("ERR syntax error")
		return
	}
	m.caching = true
	s.ok()
}

// trackingInfo is CLIENT TRACKINGINFO.
func (s *session) trackingInfo() {
	m, flags := s.tracking, []string{"off"}
	redirect := int64(-1)
	var prefixes []string
	if m != nil {
		redirect, prefixes = int64(m.redirect), m.prefixes
		flags[0] = "on"
		for _, f := range []struct {
			on   bool
			name string
		}{
			{m.broadcast, "bcast"}, {m.optIn, "optin"}, {m.optIn && m.caching, "caching-yes"}, {m.optOut, "optout"},
			{m.optOut && m.caching, "caching-no"}, {m.noLoop, "noloop"}, {m.broken, "broken_redirect"},
		} {
			if f.on {
				flags = append(flags, f.name)
			}
		}
	}
	w := resp.AppendMap(s.st.w, 3, s.proto)
	w = resp.AppendBulkString(w, "flags")
	w = resp.AppendSet(w, len(flags), s.proto)
	for _, f := range flags {
		w = resp.AppendBulkString(w, f)
	}
	w = resp.AppendBulkString(w, "redirect")
	w = resp.AppendInt(w, redirect)
	w = resp.AppendBulkString(w, "prefixes")
	w = resp.AppendArray(w, len(prefixes))
	for _, p := range prefixes {
		w = resp.AppendBulk(w, bytes.Clone([]byte(p)))
	}
	s.st.w = w
}

// redirection is CLIENT GETREDIR.
func (s *session) redirection() int64 {
	if s.tracking == nil {
		return -1
	}
	return int64(s.tracking.redirect)
}
