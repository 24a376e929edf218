// HOT PATH

package classify

// set reads SET. The forms that are words instead of a name are told apart: each has another reach.
func (s *scanner) set() Class {
	s.advance()
	local := false
	switch s.form() {
	case kwTransaction, kwConstraints:
		s.flag(SetLocal)
		return s.skip(Session)
	case kwRole:
		return s.role(false)
	case kwLocal:
		local = true
		s.advance()
	case kwSession:
		s.advance()
		switch s.form() {
		case kwAuthorization:
			return s.role(false)
		case kwCharacteristics:
			s.flag(StateSet)
			return s.skip(Session)
		}
	}
	switch s.form() {
	case kwRole, kwAuthorization:
		return s.role(local)
	case kwSession: // SET LOCAL SESSION AUTHORIZATION
		if local {
			return s.role(local)
		}
	}
	state := StateSet
	if local {
		state = SetLocal
	}
	name, ok := s.settingName()
	if ok && s.namesRole(name) {
		return s.role(local)
	}
	s.flag(state)
	if !ok {
		return s.skip(Session)
	}
	s.advance()
	if s.tok.word == kwDefault {
		s.result.Name = name
		if !local {
			s.result.Flags = s.result.Flags&^StateSet | StateReset
		}
		return s.skip(Session)
	}
	value := Span{int(s.tok.start), int(s.tok.start)}
	for s.tok.kind != kindSemi && s.tok.kind != kindEOF {
		value.End = int(s.tok.end)
		s.advance()
	}
	if value.End > value.Start {
		s.result.Name, s.result.Value = name, value
	}
	return Session
}

// form returns the word that makes a form of SET or RESET, unless it begins the name of a setting: local.id = 1.
func (s *scanner) form() keyword {
	behind := s.lexer
	if t := behind.next(); t.kind == kindDot || t.kind == kindEquals || t.word == kwTo {
		return kwNone
	}
	return s.tok.word
}

func (s *scanner) role(local bool) Class {
	if local {
		s.flag(SetLocal)
	} else {
		s.flag(StateRole)
	}
	return s.skip(Session)
}

// settingName passes name or prefix.name and stops at the = or TO behind it. ok is false when something else comes.
func (s *scanner) settingName() (name Span, ok bool) {
	name = Span{int(s.tok.start), int(s.tok.end)}
	for {
		if s.tok.kind != kindWord && s.tok.kind != kindQuoted {
			return name, false
		}
		name.End = int(s.tok.end)
		s.advance()
		if s.tok.kind != kindDot || s.tok.start != s.p1.end {
			break
		}
		s.advance()
		if s.tok.start != s.p1.end {
			return name, false
		}
	}
	return name, s.tok.kind == kindEquals || s.tok.word == kwTo
}

// reset reads RESET name and RESET ALL.
func (s *scanner) reset() Class {
	s.advance()
	if s.form() == kwAll {
		s.flag(StateReset)
		return s.skip(Session)
	}
	if s.tok.kind == kindWord || s.tok.kind == kindQuoted {
		if name, _ := s.settingName(); s.tok.kind == kindSemi || s.tok.kind == kindEOF {
			if s.namesRole(name) {
				return s.role(false)
			}
			s.result.Name = name
		} else if s.p1.word == kwSession && s.tok.word == kwAuthorization {
			return s.role(false)
		}
	}
	s.flag(StateReset)
	return s.skip(Session)
}

// namesRole tells whether a setting is the session's user, under the name that it has as a setting or in quotes.
func (s *scanner) namesRole(name Span) bool {
	n := s.src[name.Start:name.End]
	if len(n) > 2 && n[0] == '"' {
		n = n[1 : len(n)-1]
	}
	return equalFold(n, "role") || equalFold(n, "session_authorization")
}
