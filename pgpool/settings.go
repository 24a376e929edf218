package pgpool

import (
	"slices"
	"strings"
)

// setting is one run-time parameter of a session.
type setting struct {
	name string // lower case
	// value is what set_config takes; or, if sql is set, the right side of a SET as the client wrote it.
	value string
	sql   bool
}

// plain returns the value without the quotes that it may have around it in a SET. It is of use for words.
func (v *setting) plain() string {
	s := v.value
	if !v.sql {
		return s
	}
	if len(s) > 2 && s[0]|0x20 == 'e' && s[1] == '\'' {
		s = s[1:]
	}
	if n := len(s); n > 1 && (s[0] == '\'' || s[0] == '"') && s[n-1] == s[0] {
		return strings.ReplaceAll(s[1:n-1], s[:1]+s[:1], s[:1])
	}
	return s
}

// settings is what a session differs in from a fresh connection of its pool. It never changes: a change makes a new one.
// nil means no difference.
type settings struct {
	list []setting // sorted by name
	key  string    // equal keys mean equal settings
	path string    // search_path and role, which are part of what a statement means
	// isolation is default_transaction_isolation, if that is set.
	isolation string
	// level is client_min_messages, if that is set.
	level string
	// token is what outrigger.token says, or nil.
	token *Position
}

// newSettings sorts list and keeps the last of equal names.
func newSettings(list []setting) *settings {
	if len(list) == 0 {
		return nil
	}
	for i := range list {
		list[i].name = strings.ToLower(list[i].name)
	}
	kept := slices.Clone(list)
	slices.Reverse(kept)
	slices.SortStableFunc(kept, func(a, b setting) int { return strings.Compare(a.name, b.name) })
	kept = slices.CompactFunc(kept, func(a, b setting) bool { return a.name == b.name })
	var key strings.Builder
	for _, s := range kept {
		key.WriteString(s.name)
		key.WriteByte(0)
		if s.sql {
			key.WriteByte(1)
		}
		key.WriteString(s.value)
		key.WriteByte(0)
	}
	s := &settings{list: kept, key: key.String()}
	for _, v := range kept {
		if v.name == tokenSetting {
			s.token = tokenOf(&v)
		}
		if v.name == "search_path" || isIdentity(v.name) {
			s.path += v.value + "\x01"
		}
		if v.name == "default_transaction_isolation" {
			s.isolation = strings.ToLower(v.plain())
		}
		if v.name == "client_min_messages" {
			s.level = strings.ToLower(v.plain())
		}
	}
	return s
}

func (s *settings) searchPath() string {
	if s == nil {
		return ""
	}
	return s.path
}

// with returns s with one parameter set.
func (s *settings) with(v setting) *settings {
	return newSettings(append(slices.Clone(s.all()), v))
}

// without returns s with one parameter back at its default.
func (s *settings) without(name string) *settings {
	return newSettings(slices.DeleteFunc(slices.Clone(s.all()), func(v setting) bool { return strings.EqualFold(v.name, name) }))
}

func (s *settings) all() []setting {
	if s == nil {
		return nil
	}
	return s.list
}

// find returns the setting called name.
func (s *settings) find(name string) (setting, bool) {
	list, lower := s.all(), strings.ToLower(name)
	low, high := 0, len(list)
	for low < high { // not slices.BinarySearchFunc: name would escape, and SHOW allocate
		if middle := (low + high) / 2; list[middle].name < lower {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == len(list) || list[low].name != lower {
		return setting{}, false
	}
	return list[low], true
}

// equal tells whether two sessions have the same settings.
func (s *settings) equal(o *settings) bool {
	return s == o || s != nil && o != nil && s.key == o.key
}

// isIdentity tells whether a setting says who the session is. These decide what else may be set, and RESET ALL leaves them.
func isIdentity(name string) bool { return name == "role" || name == "session_authorization" }

// identity returns the settings that say who the session is, in the order in which they are set.
func (s *settings) identity() (list []setting) {
	for _, name := range []string{"session_authorization", "role"} {
		if v, ok := s.find(name); ok {
			list = append(list, v)
		}
	}
	return list
}

// change returns the SQL that turns a session with settings from into one with settings to. Whoever the session was, it
// is itself again while other settings change. If any of it fails, the open transaction makes the server refuse what is
// behind it: nothing runs as somebody else, or under another search_path.
func change(from, to *settings) string {
	var sql strings.Builder
	sql.WriteString("BEGIN;")
	if _, limited := from.find("statement_timeout"); limited {
		sql.WriteString("SET LOCAL statement_timeout=0;") // the last client's is not for this one's session
	}
	if len(from.identity()) > 0 {
		sql.WriteString("RESET SESSION AUTHORIZATION;RESET ROLE;")
	}
	for _, old := range from.all() {
		if _, kept := to.find(old.name); !kept && !isIdentity(old.name) {
			sql.WriteString("RESET " + quoteName(old.name) + ";")
		}
	}
	for _, v := range to.all() {
		if old, ok := from.find(v.name); ok && old == v || isIdentity(v.name) {
			continue
		}
		v.write(&sql)
	}
	for _, v := range to.identity() {
		v.write(&sql)
	}
	sql.WriteString("COMMIT")
	return sql.String()
}

// write appends the statement that sets v.
func (v *setting) write(sql *strings.Builder) {
	if v.sql {
		sql.WriteString("SET " + quoteName(v.name) + " TO " + v.value + ";")
		return
	}
	// Like a startup packet's values, set_config's are not parsed as SQL: a list stays a list.
	sql.WriteString("SELECT pg_catalog.set_config(" + quoteLiteral(v.name) + "," + quoteLiteral(v.value) + ",false);")
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// quoteLiteral quotes like the function of that name, whatever standard_conforming_strings is.
func quoteLiteral(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// setChange is a SET or RESET on its way: what it does to the session's settings if it succeeds.
type setChange struct {
	set      setting
	reset    bool // set.name back to what the session started with
	resetAll bool
}

// onClient returns a client's settings after the change; start are those that its session began with.
func (c *setChange) onClient(now, start *settings) *settings {
	switch {
	case c.resetAll:
		if who := now.identity(); who != nil {
			return newSettings(append(slices.Clone(start.all()), who...))
		}
		return start
	case !c.reset:
		return now.with(c.set)
	}
	if v, ok := start.find(c.set.name); ok {
		return now.with(v)
	}
	return now.without(c.set.name)
}

// onServer returns the settings of the server that ran the change. It knows nothing of what the client started with.
func (c *setChange) onServer(now *settings) *settings {
	switch {
	case c.resetAll:
		return newSettings(now.identity())
	case c.reset:
		return now.without(c.set.name)
	}
	return now.with(c.set)
}
