// HOT PATH

package classify

// Ident is a name in the text, sql[Start:End], with its quotes if it has any.
type Ident struct{ Start, End int32 }

// Name is a function that a text calls, or a relation that it may name.
type Name struct {
	Schema   Ident // empty if the text names none
	Name     Ident
	Function bool // or relation
	// Reads tells what Classify took it for: a built-in function that only reads, or no view of the server at hand.
	Reads bool
}

// ClassifyNames is Classify, and finds the functions that sql calls and the relations that it names, as far as there is
// room for them; all tells whether it was enough. A relation is whatever stands where one may stand: columns and aliases can be among them, as
// can be the names in a WITH list. What only SHOW, EXPLAIN without ANALYZE and utility commands name is not looked for.
func ClassifyNames(sql []byte, room []Name) (r Result, found []Name, all bool) {
	if len(sql) > 1<<30 {
		return Classify(sql), nil, false
	}
	s := scanner{lexer: lexer{src: sql}, naming: true, names: room[:0]}
	s.classify()
	return s.result, s.names, !s.odd && !s.unnamed
}

// Fold returns a name as servers know it: in lower case unless it is quoted, without its quotes, and cut to the length that
// names have. It is in sql or in buf, which holds MaxName bytes. ok is false if there are quotes in it.
func (n Ident) Fold(sql, buf []byte) (name []byte, ok bool) {
	name = sql[n.Start:n.End]
	quoted := len(name) > 1 && name[0] == '"'
	if quoted {
		name = name[1 : len(name)-1]
		for _, c := range name {
			if c == '"' {
				return nil, false
			}
		}
	}
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	if quoted {
		return name, true
	}
	return lower(buf, name), true
}

// name notes a function or relation.
func (s *scanner) name(name, dot, schema token, function, reads bool) {
	if len(s.names) == cap(s.names) {
		s.unnamed = true
		return
	}
	n := Name{Name: Ident{name.start, name.end}, Function: function, Reads: reads}
	if dot.kind == kindDot {
		n.Schema = Ident{schema.start, schema.end}
	}
	s.names = append(s.names, n)
}

// clauses tell for each depth of parentheses whether the FROM clause is being read, where a comma or a parenthesis
// precedes relations: the lowest bit is for the current one.
type clauses uint64

// relation follows the clauses, and notes the name that has ended in front of the current token if it stands where
// relations do.
func (s *scanner) relation(b *bodyState) {
	if (s.p1.kind == kindWord || s.p1.kind == kindQuoted) && s.tok.kind != kindDot && s.tok.kind != kindOpen {
		switch before := b.before; {
		case before.word == kwFrom, before.word == kwJoin, before.word == kwOnly, before.word == kwTable, before.word == kwCopy,
			(before.kind == kindComma || before.kind == kindOpen) && b.from&1 != 0:
			s.name(s.p1, s.p2, s.p3, false, true)
		}
	}
	switch s.tok.kind {
	case kindOpen:
		if s.p1.word == kwOperator { // it is passed in one go, with its closing one
			break
		}
		s.unnamed = s.unnamed || b.depth >= 63
		b.from = b.from<<1 | b.from&1
	case kindClose:
		b.from >>= 1
	case kindQuoted:
		if s.p1.kind != kindDot {
			b.before = s.p1
		}
	case kindWord:
		if s.p1.kind == kindDot {
			break
		}
		b.before = s.p1
		switch s.tok.word {
		case kwFrom:
			b.from |= 1
		case kwSelect, kwWhere, kwGroup, kwHaving, kwOrder, kwValues:
			b.from &^= 1
		}
	}
}

// copied notes the relation behind COPY, at the current token.
func (s *scanner) copied() {
	ahead, name := s.lexer, s.tok
	var dot, schema token
	for name.kind == kindWord || name.kind == kindQuoted {
		t := ahead.next()
		if t.kind != kindDot {
			s.name(name, dot, schema, false, true)
			return
		}
		schema, dot, name = name, t, ahead.next()
	}
}
