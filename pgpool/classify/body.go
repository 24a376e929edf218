// HOT PATH

package classify

// body walks to the end of a statement that is of the given class by its first words, and returns the class that its
// contents make it.
func (s *scanner) body(class Class) Class {
	b := bodyState{class: class, setConfig: -1}
	if s.tok.word == kwWith {
		b.prologue.add(0)
	}
	for ; s.tok.kind != kindEOF; s.advance() {
		if s.tok.kind == kindSemi {
			if b.depth == 0 {
				break
			}
			b.raise(Write) // inside parentheses: CREATE RULE
			s.odd = s.odd || class < Write
		}
		if s.tok.kind <= kindClose || s.naming && s.tok.kind != kindDot {
			s.look(&b)
		}
	}
	if s.naming {
		s.relation(&b)
	}
	s.odd = s.odd || b.depth != 0
	return b.class
}

// group walks over one pair of parentheses, from the opening one to the closing one.
func (s *scanner) group() Class {
	b := bodyState{class: Read, depth: 1, setConfig: -1}
	for s.advance(); s.tok.kind != kindEOF; s.advance() {
		s.look(&b)
		if s.tok.kind == kindClose && b.depth <= 0 {
			break
		}
	}
	return b.class
}

// bodyState is what body and group remember between tokens.
type bodyState struct {
	class     Class
	depth     int    // of parentheses
	setConfig int    // depth inside the call of set_config, -1 outside
	grouped   int    // behind GROUP BY: one more than its depth
	prologue  depths // between WITH and the query that follows its list
	distinct  depths // inside DISTINCT ON

	// For ClassifyNames:
	before token // what precedes the name that is being read
	from   clauses
}

// depths is a set of depths of parentheses. There is no room for those beyond 63.
type depths uint64

func (d *depths) add(depth int)     { *d |= 1 << uint(depth) }
func (d *depths) remove(depth int)  { *d &^= 1 << uint(depth) }
func (d depths) has(depth int) bool { return d>>uint(depth)&1 != 0 }

func (b *bodyState) raise(c Class) { b.class = max(b.class, c) }

// look judges the current token with those before it.
func (s *scanner) look(b *bodyState) {
	if s.naming && (s.p1.kind != kindDot || s.tok.kind > kindQuoted) {
		s.relation(b)
	}
	switch s.tok.kind {
	case kindWord:
		s.lookWord(b)
	case kindQuoted:
		name := s.src[s.tok.start+1 : max(s.tok.end-1, s.tok.start+1)]
		s.lookRelation(b, name)
		if s.p1.kind == kindDot {
			s.lookAttribute(b, name)
		}
	case kindOpen:
		if s.p1.word == kwOperator {
			s.operator()
			return
		}
		if s.p1.word == kwOn && s.p2.word == kwDistinct {
			b.distinct.add(b.depth)
			if b.depth > 63 {
				s.odd = true
			}
		}
		if (s.p1.kind == kindWord || s.p1.kind == kindQuoted) && !s.isName(b) {
			s.call(b)
		}
		if s.p1.kind == kindClose {
			b.prologue.remove(b.depth)
		}
		b.depth++
	case kindClose:
		b.depth--
		b.grouped = min(b.grouped, b.depth+1)
		b.prologue.remove(b.depth + 1)
		if b.distinct.has(b.depth) {
			b.distinct.remove(b.depth)
			s.tok.kind = kindOther // an expression follows, no alias
		}
		s.odd = s.odd || b.depth < 0
		if b.setConfig >= 0 && b.depth == b.setConfig {
			b.setConfig = -1
			if s.p1.word == kwTrue && s.p2.kind == kindComma {
				s.flag(SetLocal)
			} else {
				s.flag(StateSet)
			}
		}
	}
}

// lookWord judges an unquoted word.
func (s *scanner) lookWord(b *bodyState) {
	switch s.tok.word {
	case kwNone:
		field := s.p1.kind == kindDot
		if !field && s.src[s.tok.start]|0x20 != 'p' {
			return
		}
		w := s.src[s.tok.start:s.tok.end]
		if len(w) > 3 && w[2] == '_' && w[0]|0x20 == 'p' && w[1]|0x20 == 'g' {
			s.lookRelation(b, w)
		}
		if field {
			s.lookAttribute(b, w)
		}
	case kwSelect, kwValues, kwTable:
		b.prologue.remove(b.depth)
		b.grouped = 0
	case kwBy:
		if b.grouped = 0; s.p1.word == kwGroup {
			b.grouped = b.depth + 1
		}
	case kwHaving:
		b.grouped = 0
	case kwWith:
		if s.p1.kind == kindOpen || s.p1.word == kwAs {
			b.prologue.add(b.depth)
		}
	case kwInto:
		b.raise(Write)
	case kwTemp:
		if s.p1.word == kwInto || s.p2.word == kwInto { // SELECT … INTO [LOCAL] TEMP
			s.flag(StateTemp)
		}
	case kwUpdate:
		if s.p1.word == kwFor || (s.p1.word == kwKey && s.p2.word == kwNo && s.p3.word == kwFor) {
			b.raise(Lock)
		} else if s.p1.kind != kindDot {
			b.raise(Write)
		}
	case kwShare:
		if s.p1.word == kwFor || (s.p1.word == kwKey && s.p2.word == kwFor) {
			b.raise(Lock)
		}
	case kwInsert, kwDelete, kwMerge:
		if s.p1.kind != kindDot {
			b.raise(Write)
		}
	case kwHold:
		if s.p1.word == kwWith {
			s.flag(StateCursor)
			b.raise(Session)
		}
	case kwSearch, kwCycle:
		if b.prologue.has(b.depth) {
			b.raise(Write) // the end of the list is hard to tell
		}
	case kwAtomic:
		if s.p1.word == kwBegin { // a function's body: its semicolons are its own
			s.odd = true
		}
	}
}

// lookRelation finds the views that tell of the server itself, and temporary schemas.
func (s *scanner) lookRelation(b *bodyState, name []byte) {
	if len(name) < 4 || len(name) > MaxName {
		return
	}
	var buf [MaxName]byte
	switch low := lower(buf[:], name); {
	case isTempSchema(low):
		b.raise(Write)
	case isServerRelation(low):
		if hasPrefix(low, "pg_stat_") || string(low) == "pg_locks" {
			s.flag(Pids)
		}
		s.writes = true
		if s.naming {
			s.name(s.tok, s.p1, s.p2, false, false)
		}
	}
}

// lookAttribute judges the name behind a dot, which may be a call without parentheses: (x).nextval is nextval(x).
func (s *scanner) lookAttribute(b *bodyState, name []byte) {
	if len(name) < 7 || len(name) > MaxName || (len(name) > 7 && len(name) < 22 && name[2] != '_') {
		return
	}
	var buf [MaxName]byte
	if low := lower(buf[:], name); isAttributeFunction(low) {
		s.flag(effectOf(low).flags)
		b.raise(Write)
	}
}

// isName tells whether the name in front of the current parenthesis is no call: a type, an alias with columns, a member
// of a WITH list. What precedes it decides.
func (s *scanner) isName(b *bodyState) bool {
	switch s.p2.kind {
	case kindCast, kindClose: // x::numeric(10,2); (SELECT …) alias(a, b), count(*) OVER (…)
		return true
	case kindComma:
		return b.prologue.has(b.depth) && s.p3.kind == kindClose
	}
	switch s.p2.word {
	case kwNone: // FROM t alias(a, b), FROM f() WITH ORDINALITY alias(a, b)
		return (s.p2.kind == kindWord || s.p2.kind == kindQuoted) && (s.p3.word == kwFrom || s.p3.word == kwJoin ||
			s.p3.word == kwWith && equalFold(s.src[s.p2.start:s.p2.end], "ordinality"))
	case kwAs, kwPrepare:
		return true
	case kwWith, kwRecursive:
		return b.prologue.has(b.depth)
	}
	return false
}

// call judges the function whose opening parenthesis is the current token.
func (s *scanner) call(b *bodyState) {
	name := s.src[s.p1.start:s.p1.end]
	if s.p1.kind == kindQuoted {
		name = name[1 : len(name)-1]
	} else if s.p2.kind != kindDot && s.isSyntax(b) {
		return
	}
	if len(name) > MaxName {
		b.raise(Write)
		return
	}
	var buf [MaxName]byte
	low := name
	if s.p1.kind == kindWord {
		low = lower(buf[:], name)
	}
	e := effectOf(low)
	if e.flags != 0 {
		s.flag(e.flags)
	}
	if e.setConfig {
		if b.setConfig >= 0 {
			s.flag(StateSet)
		}
		b.setConfig = b.depth
	}
	reads := e.reads && (s.p2.kind != kindDot || s.isCatalog(s.p3)) && (!e.ofSetting || s.namesSetting())
	s.writes = s.writes || !reads
	if s.naming {
		s.name(s.p1, s.p2, s.p3, true, reads)
	}
}

// namesSetting tells whether the argument that the current parenthesis opens is the name of a setting, as a literal, that
// does not tell of the server's role.
func (s *scanner) namesSetting() bool {
	after := lexer{src: s.src, pos: int(s.tok.end)}
	t := after.next()
	if t.kind != kindString || s.src[t.start] != '\'' {
		return false
	}
	return lookupKeyword(s.src[t.start+1:max(t.end-1, t.start+1)]) != kwServerSetting
}

// isSyntax tells whether the word in front of the current parenthesis is none of a function.
func (s *scanner) isSyntax(b *bodyState) bool {
	switch s.p1.word {
	case kwJoin:
		return s.endsOperand(s.p2)
	case kwIlike:
		return s.endsOperand(s.p2) || s.p2.word == kwNot && s.endsOperand(s.p3)
	case kwCube:
		switch {
		case s.p2.kind == kindComma:
			return b.grouped == b.depth+1
		case s.p2.kind == kindOpen:
			return s.p3.word == kwSets
		case s.p2.word == kwAll || s.p2.word == kwDistinct:
			return s.p3.word == kwBy && b.grouped == b.depth+1
		}
		return s.p2.word == kwBy && b.grouped == b.depth+1
	}
	return s.p1.word.precedesParenthesis(s.p2.word)
}

// endsOperand tells whether an operand may end with t, so that an operator or a join can follow.
func (s *scanner) endsOperand(t token) bool {
	switch t.kind {
	case kindQuoted, kindString, kindNumber, kindParam, kindClose:
		return true
	case kindOther:
		return s.src[t.start] == ']'
	}
	return t.kind == kindWord && t.word == kwNone
}

// operator passes the rest of OPERATOR(schema.name) from its parenthesis on, as if it were an operator of one character.
func (s *scanner) operator() {
	for s.advance(); ; s.advance() {
		switch s.tok.kind {
		case kindWord, kindQuoted, kindDot, kindOther, kindEquals:
			continue
		case kindClose:
			if s.p1.kind == kindOther || s.p1.kind == kindEquals {
				s.tok.kind = kindOther
				return
			}
		}
		s.odd = true // a function of that name, or garbage
		return
	}
}

// isCatalog tells whether t is the schema of the built-in functions.
func (s *scanner) isCatalog(t token) bool {
	name := s.src[t.start:t.end]
	switch t.kind {
	case kindQuoted:
		return string(name) == `"pg_catalog"`
	case kindWord:
		var buf [MaxName]byte
		return len(name) <= MaxName && string(lower(buf[:], name)) == "pg_catalog"
	}
	return false
}

// MaxName is NAMEDATALEN - 1: the server cuts longer names.
const MaxName = 63

// lower folds ASCII letters of name, which is no longer than dst, into dst.
func lower(dst, name []byte) []byte {
	dst = dst[:len(name)]
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst[i] = c
	}
	return dst
}
