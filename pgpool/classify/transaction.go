// HOT PATH

package classify

// Access is whether a transaction writes, as far as its BEGIN says.
type Access uint8

// The accesses.
const (
	AccessDefault Access = iota
	ReadOnly
	ReadWrite
)

// Isolation is a transaction's, as far as its BEGIN says.
type Isolation uint8

// The isolations.
const (
	IsolationDefault Isolation = iota
	ReadCommitted              // and READ UNCOMMITTED, which is the same
	RepeatableRead
	Serializable
)

// Modes are what a BEGIN or START TRANSACTION asks for.
type Modes struct {
	Access     Access
	Isolation  Isolation
	Deferrable bool
	Start      bool // it is a START TRANSACTION, which has a command tag of its own
}

// Begins reads a string that begins with BEGIN or START TRANSACTION. rest is what follows its semicolon, blanks and more
// semicolons skipped. ok is false for everything else, and for modes that are unknown or are given twice.
func Begins(sql []byte) (m Modes, rest []byte, ok bool) {
	p := phrase{lexer: lexer{src: sql}}
	p.start()
	switch {
	case p.accept("begin"):
		_ = p.accept("work") || p.accept("transaction")
	case p.accept("start"):
		if m.Start = true; !p.accept("transaction") {
			return m, nil, false
		}
	default:
		return m, nil, false
	}
	for deferrable := false; !p.ended(); {
		switch {
		case p.accept("isolation"):
			if m.Isolation != IsolationDefault || !p.accept("level") {
				return m, nil, false
			}
			switch {
			case p.accept("serializable"):
				m.Isolation = Serializable
			case p.accept("repeatable") && p.accept("read"):
				m.Isolation = RepeatableRead
			case p.accept("read") && (p.accept("committed") || p.accept("uncommitted")):
				m.Isolation = ReadCommitted
			default:
				return m, nil, false
			}
		case m.Access == AccessDefault && p.accept("read"):
			switch {
			case p.accept("only"):
				m.Access = ReadOnly
			case p.accept("write"):
				m.Access = ReadWrite
			default:
				return m, nil, false
			}
		case !deferrable && p.accept("not"):
			if deferrable = true; !p.accept("deferrable") {
				return m, nil, false
			}
		case !deferrable && p.accept("deferrable"):
			deferrable, m.Deferrable = true, true
		default:
			return m, nil, false
		}
		if p.tok.kind == kindComma {
			if p.tok = p.next(); p.ended() {
				return m, nil, false
			}
		}
	}
	return m, p.rest(), !p.odd
}

// End is how a transaction ends.
type End struct {
	Commit bool
	Chain  bool // another begins, with the same modes
}

// Ends reads a string that is one COMMIT, END, ROLLBACK or ABORT of a whole transaction. ok is false for everything else.
func Ends(sql []byte) (e End, ok bool) {
	p := phrase{lexer: lexer{src: sql}}
	p.start()
	switch {
	case p.accept("commit") || p.accept("end"):
		e.Commit = true
	case p.accept("rollback") || p.accept("abort"):
	default:
		return e, false
	}
	_ = p.accept("work") || p.accept("transaction")
	if p.accept("and") {
		e.Chain = !p.accept("no")
		if !p.accept("chain") {
			return e, false
		}
	}
	return e, p.ended() && len(p.rest()) == 0 && !p.odd
}

// Shows reads a string that is one SHOW of a setting, and returns its name as it was written. A name in quotes, or with a
// dot, is left to servers.
func Shows(sql []byte) (name []byte, ok bool) {
	p := phrase{lexer: lexer{src: sql}}
	p.start()
	if !p.accept("show") {
		return nil, false
	}
	if p.tok.kind != kindWord {
		return nil, false
	}
	name = sql[p.tok.start:p.tok.end]
	switch {
	case equalFold(name, "all") || equalFold(name, "session") || equalFold(name, "transaction"):
		return nil, false
	case p.accept("time"):
		if name = nil; equalFold(sql[p.tok.start:p.tok.end], "zone") {
			name = []byte("timezone")
		}
	}
	p.tok = p.next()
	return name, len(name) > 0 && p.ended() && len(p.rest()) == 0 && !p.odd
}

// Passing tells whether a string is one statement whose effect ends with its transaction and is no write: SET LOCAL, but of
// the transaction's own modes, set_config to the same effect, and the handling of cursors that are not held. r is what
// Classify found.
func Passing(sql []byte, r *Result) bool {
	if r.Statements != 1 {
		return false
	}
	p := phrase{lexer: lexer{src: sql}}
	p.start()
	switch {
	case r.Flags == SetLocal && p.accept("select"): // set_config(…, true), and no other function
		return r.Base == Read && p.callsOnly("set_config")
	case r.Flags == SetLocal && p.accept("set"):
		return p.accept("local") && !hasPrefixFold(sql[p.tok.start:p.tok.end], "transaction_") && p.tok.kind != kindQuoted
	case r.Flags&^Defines != 0:
		return false
	}
	return p.accept("declare") || p.accept("fetch") || p.accept("move") || p.accept("close")
}

// LocksTable tells whether a string begins with LOCK.
func LocksTable(sql []byte) bool {
	p := phrase{lexer: lexer{src: sql}}
	p.start()
	return p.accept("lock")
}

// Split cuts the first statement off a string, without its semicolon. It is empty when there is none.
func Split(sql []byte) (first, rest []byte) {
	l := lexer{src: sql}
	t := l.next()
	for t.kind == kindSemi {
		t = l.next()
	}
	start, end := t.start, t.start
	for t.kind != kindSemi && t.kind != kindEOF {
		end = t.end
		t = l.next()
	}
	return sql[start:end], sql[t.start:]
}

// CopiesQuery tells whether a string that is one COPY to the client has a query in parentheses, not a table. Whether the
// query only reads is up to what it calls (Result.Base).
func CopiesQuery(sql []byte, r *Result) bool {
	p := phrase{lexer: lexer{src: sql}}
	p.start()
	return r.Base == CopyOut && r.Statements == 1 && r.Flags&^Pids == Copy && p.accept("copy") && p.tok.kind == kindOpen
}

// phrase reads a statement whose words are all known.
type phrase struct {
	lexer
	tok token
}

// start goes to the first word.
func (p *phrase) start() {
	for p.tok = p.next(); p.tok.kind == kindSemi; {
		p.tok = p.next()
	}
}

// accept passes a word, given in lower case, if it is the next.
func (p *phrase) accept(word string) bool {
	if p.tok.kind != kindWord || !equalFold(p.src[p.tok.start:p.tok.end], word) {
		return false
	}
	p.tok = p.next()
	return true
}

// callsOnly tells whether nothing but this function stands in front of a parenthesis in what is left.
func (p *phrase) callsOnly(name string) bool {
	for known := true; p.tok.kind != kindEOF; p.tok = p.next() {
		if p.tok.kind == kindOpen && !known {
			return false
		}
		known = p.tok.kind == kindWord && equalFold(p.src[p.tok.start:p.tok.end], name)
	}
	return !p.odd
}

func (p *phrase) ended() bool { return p.tok.kind == kindSemi || p.tok.kind == kindEOF }

// rest is what comes behind the statement and its semicolons.
func (p *phrase) rest() []byte {
	for p.tok.kind == kindSemi {
		p.tok = p.next()
	}
	return p.src[p.tok.start:]
}

// hasPrefixFold tells whether b begins with a word in lower case, whatever its own case.
func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && equalFold(b[:len(prefix)], prefix)
}
