// HOT PATH

package pgpool

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// changes are the flags of statements behind which the books must be up to date before anything else is sent.
const changes = classify.StateSet | classify.StateReset | classify.StateRole | classify.StateDiscard | classify.StateDeallocate

// effect notes what running st does beyond its answer: that it may write, and what it leaves in the session. A simple SET
// outside a transaction comes back as the change it makes to the settings, which follow the client from server to
// server. What else may be left is looked for before the server is given away.
func (c *client) effect(st *statement) *setChange {
	s := c.server
	if s.later.any() {
		s.due.add(&s.later)
		s.later = traces{}
	}
	if st.class.Flags.Has(classify.OpensTx | classify.EndsTx) {
		s.tx |= txOf(st)
	}
	writes, leaves := c.writes(st)
	if s.readOnly && !leaves {
		return nil
	}
	flags := st.class.Flags
	if writes && !s.readOnly {
		c.wrote = true
		if st.class.Class == classify.Read || st.class.Class >= classify.CopyIn || flags.Has(classify.Executes) {
			s.sequencesOf = c
		}
	}
	if flags.Has(classify.Notifies) {
		c.notifying()
	}
	if st.class.Class < classify.Session && !flags.Has(classify.StateMask) {
		if known := c.group.shared.catalog.Load(); (st.class.Class == classify.Read || st.class.Class == classify.CopyOut) && known.hasHazards() {
			c.mayLeave(st) // it may read a view
		}
		return nil
	}
	c.changing = c.changing || flags.Has(changes)
	if flags.Has(classify.StateSet|classify.StateReset) && c.status == pgwire.Idle && c.inFlight == 0 {
		if set := st.settingChange(); set != nil && !partial(set) {
			return set
		}
	}
	if flags.Has(classify.StateUnlisten) {
		c.unlistenHere(st)
	}
	for _, p := range pins {
		if flags.Has(p.flag) {
			c.keep(p.why)
		}
	}
	c.mayLeave(st)
	return nil
}

// mayLeave notes what st may leave that its text alone does not settle.
func (c *client) mayLeave(st *statement) {
	s, known := c.server, c.group.shared.catalog.Load()
	unsure := known.unsure()
	if unsure {
		s.due.kinds |= traceAll
		s.leaves = true
	}
	if known.outOfDate(c.w.loop.Now()) {
		s.curious = true
	}
	if !unsure && c.held == 0 && len(known.hazards) == 0 && st.class.Class >= classify.CopyIn && st.class.Class <= classify.Write &&
		!st.class.Flags.Has(classify.StateMask|classify.Defines) {
		return // rows, and code that is known to leave nothing
	}
	t := st.traced(known)
	t.kinds &^= traceLocal
	if st.class.Flags.Has(classify.StatePrepare) {
		if c.prepares == nil {
			c.prepares = &traces{}
		}
		c.prepares.add(&t)
	}
	if st.class.Flags.Has(classify.Executes) {
		c.runsPrepared(s)
	}
	if st.class.Flags.Has(classify.StateRole) {
		t.kinds |= traceSettings
	}
	if t.any() {
		c.suspect = st
		s.leaves = true
	}
	s.due.add(&t)
}

// traced returns what st may leave by what is known.
func (s *statement) traced(known *catalog) traces {
	if s.judged == nil || s.judged != known {
		s.judged, s.traces = known, tracesOf(string(textOf([]byte(s.body))), known)
	}
	return s.traces
}

// setConfig is the function set_config in pg_proc.dat.
const setConfig = 2078

// callsFunction notes what a FunctionCall may leave: nothing if it is of a large object, as it mostly is (be_lo_open and
// others in pg_proc.dat), and anything if not.
func (c *client) callsFunction(frame []byte) {
	switch binary.BigEndian.Uint32(frame[pgwire.HeaderLen:]) {
	case 715, 764, 765, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460:
		return
	case setConfig:
		c.server.due.kinds |= traceHidden
	}
	c.server.due.kinds |= traceAll
	c.server.leaves = true
	c.changing = true
}

// runsPrepared notes that one of the client's SQL PREPAREs runs.
func (c *client) runsPrepared(s *server) {
	if c.prepares != nil {
		s.due.add(c.prepares)
	}
}

// doubt has the outcome of a SET looked at that is not the only thing in its unit.
func (c *client) doubt(set *setChange) {
	c.server.leaves, c.server.leftInTx = true, true
	if set.resetAll {
		c.server.due.kinds |= traceSettings | traceAnySetting
		return
	}
	c.server.due.name(set.set.name)
}

// partial tells whether the text of a SET depends on the value before it: DateStyle is a style and an order of day, month
// and year in one, and a SET of one leaves the other.
func partial(change *setChange) bool {
	return !change.reset && !change.resetAll && change.set.name == "datestyle" && !strings.Contains(change.set.value, ",")
}

// settingChange returns the change that a single SET or RESET makes, or nil if st is not just that.
func (s *statement) settingChange() *setChange {
	r := &s.class
	if r.Statements != 1 || r.Class != classify.Session {
		return nil
	}
	name := s.settingName()
	switch r.Flags & classify.StateMask {
	case classify.StateSet:
		// A backslash means what standard_conforming_strings says, which may differ when the text is used again.
		if value := s.body[r.Value.Start:r.Value.End]; name != "" && value != "" && !strings.Contains(value, `\`) {
			return &setChange{set: setting{name: name, value: value, sql: true}}
		}
	case classify.StateReset:
		if name != "" {
			return &setChange{set: setting{name: name}, reset: true}
		}
		if text := textOf([]byte(s.body)); len(bytes.Fields(bytes.Trim(text, "; \t\r\n"))) == 2 {
			// RESET with one word that is no name: ALL. The forms of more words are other settings.
			return &setChange{resetAll: true}
		}
	}
	return nil
}

// settingName returns the name in a SET or RESET of one setting, as servers know it, or "".
func (s *statement) settingName() string {
	name := strings.ToLower(s.body[s.class.Name.Start:s.class.Name.End])
	if !strings.Contains(name, `"`) {
		return name
	}
	if whole := strings.Trim(name, `"`); !strings.Contains(whole, `"`) {
		return whole // "a.b" is a.b
	}
	var parts []string
	for part := range strings.SplitSeq(name, ".") {
		if n := len(part); n > 1 && part[0] == '"' && part[n-1] == '"' {
			part = strings.ReplaceAll(part[1:n-1], `""`, `"`)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ".")
}

// deallocated returns the name in a DEALLOCATE of one statement, or "".
func (s *statement) deallocated() string {
	if s.class.Flags&classify.StateMask != classify.StateDeallocate || s.class.Statements != 1 {
		return ""
	}
	words := strings.Fields(strings.TrimRight(string(textOf([]byte(s.body))), "; \t\r\n"))
	if len(words) == 3 && strings.EqualFold(words[1], "prepare") {
		words = words[1:]
	}
	if len(words) != 2 || strings.EqualFold(words[1], "all") {
		return ""
	}
	if name := words[1]; strings.HasPrefix(name, `"`) {
		return strings.ReplaceAll(strings.Trim(name, `"`), `""`, `"`)
	}
	return strings.ToLower(words[1])
}

// textOf returns the SQL at the start of a Query's or Parse's body.
func textOf(body []byte) []byte {
	if i := bytes.IndexByte(body, 0); i >= 0 {
		return body[:i]
	}
	return body
}
