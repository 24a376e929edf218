// HOT PATH

// Package classify tells from the text of a statement where it may run and what it does to the session: on a replica, on
// the primary only, within the bounds of a transaction or beyond them. It reads tokens, not grammar, and where it is not
// sure it says so: Unknown goes to the primary. It does not allocate.
//
// # Files
//
//	classify.go        what is returned; statements and their first words
//	body.go            the tokens of a statement: function calls, locks, writes inside
//	set.go             SET and RESET
//	transaction.go     BEGIN, COMMIT, and what may be between them on a replica
//	lexer.go           tokens
//	keyword.go         the words that matter
//	named.go           the functions and relations that a statement names
//	function.go        functions with an effect, and the few volatile ones without
//	effects.go         why functions are not called on a replica
//	builtin_table.go   functions of the catalogue that only read (generated)
//	names.go           what people are told
//
// Folder verify is a module of its own that compares it with PostgreSQL's parser.
package classify

// Class says what kind of statement it is. Of a string of several statements it is the one that binds most: the
// constants are in that order.
type Class uint8

// The classes.
const (
	Read Class = iota // may run on a replica
	CopyOut
	BeginReadOnly
	Savepoint // SAVEPOINT, RELEASE, ROLLBACK TO
	Commit
	Rollback
	Begin
	Listen // LISTEN, UNLISTEN
	Session
	CopyIn
	Lock // LOCK, SELECT … FOR UPDATE
	Write
	Unknown
)

// String returns the class's name for logs and SHOW.
func (c Class) String() string {
	return [...]string{"read", "copy out", "begin read only", "savepoint", "commit", "rollback", "begin", "listen",
		"session", "copy in", "lock", "write", "unknown"}[c]
}

// Flags say what a string of statements does besides.
type Flags uint32

// The flags. Those from StateSet on name session state that outlives the transaction; StateMask covers them.
const (
	OpensTx   Flags = 1 << iota // BEGIN, or AND CHAIN
	EndsTx                      // COMMIT, ROLLBACK, PREPARE TRANSACTION
	SetLocal                    // a setting until the end of the transaction
	Copy                        // COPY in either direction
	Executes                    // EXECUTE: it does what was prepared
	Pids                        // it may name sessions by process id
	Notifies                    // NOTIFY, or what it calls
	Defines                     // CREATE, ALTER, DROP and other commands that are no queries
	Sequence                    // it reads what nextval gave to the session: currval, lastval
	TellsRole                   // SHOW of what differs between the primary and replicas

	StateSet
	StateReset
	StateDiscard
	StatePrepare
	StateDeallocate
	StateListen
	StateUnlisten
	StateTemp         // a temporary object
	StateAdvisoryLock // taken or given back
	StateCursor       // WITH HOLD
	StateLoad
	StateRole  // SET ROLE, SET SESSION AUTHORIZATION
	StateSeed  // setseed
	StateOther // a connection or an origin that a function keeps open

	StateMask = StateSet | StateReset | StateDiscard | StatePrepare | StateDeallocate | StateListen | StateUnlisten |
		StateTemp | StateAdvisoryLock | StateCursor | StateLoad | StateRole | StateSeed | StateOther
)

// Has tells whether any of these flags is set.
func (f Flags) Has(any Flags) bool { return f&any != 0 }

// Hint is what a block comment anywhere in the text asks for: /* outrigger: primary */ or /* outrigger: replica */.
type Hint uint8

// The hints.
const (
	HintNone Hint = iota
	HintPrimary
	HintReplica
)

// and returns what two comments ask for together: the primary, if one of them does, where everything can run.
func (h Hint) and(o Hint) Hint {
	if h == HintPrimary || o == HintPrimary {
		return HintPrimary
	}
	return max(h, o)
}

// String returns the hint for SHOW.
func (h Hint) String() string { return [...]string{"none", "primary", "replica"}[h] }

// Span is a part of the classified text: sql[Start:End].
type Span struct{ Start, End int }

// Result is what Classify found.
type Result struct {
	Class Class
	// Base is what Class would be if all functions that are called only read, and all relations could be read on a replica.
	// Whoever knows better than their names tell may take it for Class (ClassifyNames).
	Base       Class
	Hint       Hint
	Flags      Flags
	Statements int // that are not empty

	// Name and Value are set for one simple SET [SESSION|LOCAL] name = value, with the value as it was written, list and
	// quotes included; for SHOW name, RESET name and SET name TO DEFAULT only Name is. They are empty for RESET ALL and for the SET
	// forms with words of their own.
	Name, Value Span
}

// Classify looks at one string of statements. It takes time in proportion to its length and never fails: text that is no
// SQL is Unknown. A string without any statement is a Read.
func Classify(sql []byte) Result {
	if len(sql) > 1<<30 {
		return Result{Class: Unknown, Base: Unknown, Statements: 1}
	}
	s := scanner{lexer: lexer{src: sql}}
	s.classify()
	return s.result
}

// classify fills the result.
func (s *scanner) classify() {
	s.advance()
	for s.tok.kind != kindEOF {
		if s.tok.kind == kindSemi {
			s.advance()
			continue
		}
		s.result.Statements++
		s.p1, s.p2, s.p3 = token{}, token{}, token{} // nothing of the statement before
		s.raise(s.statement())
		if s.odd {
			s.raise(Unknown)
			break
		}
	}
	if s.odd {
		s.raise(Unknown)
	}
	s.result.Base = s.result.Class
	if s.writes {
		s.raise(Write)
	}
	s.result.Hint = s.hint
	if s.result.Statements != 1 {
		s.result.Name, s.result.Value = Span{}, Span{}
	}
}

// scanner walks over the tokens.
type scanner struct {
	lexer
	tok        token // the current one
	p1, p2, p3 token // those before it, the nearest first
	result     Result
	writes     bool // by what is called or named, as far as the name tells

	naming  bool // for ClassifyNames
	names   []Name
	unnamed bool // not all are among names
}

func (s *scanner) advance() {
	s.p3, s.p2, s.p1 = s.p2, s.p1, s.tok
	s.tok = s.next()
}

// raise lets the worst class win.
func (s *scanner) raise(c Class) {
	s.result.Class = max(s.result.Class, c)
}

func (s *scanner) flag(f Flags) { s.result.Flags |= f }

// accept passes the word w if it is the current one.
func (s *scanner) accept(w keyword) bool {
	if s.tok.word != w {
		return false
	}
	s.advance()
	return true
}

// statement classifies from the first token of a statement and stops at its semicolon or at the end.
func (s *scanner) statement() Class {
	switch s.tok.word {
	case kwSelect, kwValues, kwTable, kwWith:
		return s.body(Read)
	case kwShow:
		return s.show()
	case kwExplain:
		return s.explain()
	case kwNotify:
		s.flag(Notifies)
		return s.skip(Write)
	case kwWriteVerb:
		s.flag(Defines)
		return s.body(Write)
	case kwInsert, kwUpdate, kwDelete, kwMerge:
		return s.body(Write)
	case kwCreate:
		s.flag(Defines)
		return s.create()
	case kwBegin:
		s.advance()
		return s.begin()
	case kwStart:
		s.advance()
		if !s.accept(kwTransaction) {
			return s.body(Unknown)
		}
		return s.begin()
	case kwCommit, kwEnd, kwRollback, kwAbort:
		return s.endTransaction()
	case kwSavepoint, kwRelease:
		return s.skip(Savepoint)
	case kwSet:
		return s.set()
	case kwReset:
		return s.reset()
	case kwDiscard:
		s.flag(StateDiscard)
		return s.skip(Session)
	case kwPrepare:
		s.advance()
		if s.accept(kwTransaction) && s.tok.kind == kindString {
			s.flag(EndsTx)
			return s.skip(Write)
		}
		s.flag(StatePrepare)
		return s.body(Session)
	case kwDeallocate:
		s.flag(StateDeallocate)
		return s.skip(Session)
	case kwExecute:
		s.flag(Executes)
		return s.body(Unknown)
	case kwListen:
		s.flag(StateListen)
		return s.skip(Listen)
	case kwUnlisten:
		s.flag(StateUnlisten)
		return s.skip(Listen)
	case kwLoad:
		s.flag(StateLoad)
		return s.skip(Session)
	case kwLock:
		return s.skip(Lock)
	case kwCopy:
		return s.copy()
	}
	if s.tok.kind == kindOpen {
		return s.body(Read)
	}
	return s.body(Unknown) // CALL and DO among them: they can do anything
}

// skip passes a statement that its first words have classified.
func (s *scanner) skip(class Class) Class {
	for s.tok.kind != kindSemi && s.tok.kind != kindEOF {
		s.advance()
	}
	return class
}

// show is a read, unless it asks this server for its role.
func (s *scanner) show() Class {
	s.advance()
	class := Read
	if s.tok.word == kwServerSetting || s.tok.kind == kindQuoted {
		s.flag(TellsRole)
		class = Write
	}
	if s.tok.kind == kindWord || s.tok.kind == kindQuoted {
		if name, _ := s.settingName(); s.tok.kind == kindSemi || s.tok.kind == kindEOF {
			s.result.Name = name
		}
	}
	return s.skip(class)
}

// explain finds the statement inside, which runs if ANALYZE is among the options.
func (s *scanner) explain() Class {
	s.advance()
	analyze := false
	if s.tok.kind == kindOpen {
		for s.tok.kind != kindClose && s.tok.kind != kindSemi && s.tok.kind != kindEOF {
			s.advance()
			analyze = analyze || s.tok.word == kwAnalyze || s.tok.kind == kindQuoted // "analyze"
		}
		if s.tok.kind == kindClose {
			// A query in parentheses looks like options: EXPLAIN (SELECT …).
			s.advance()
			if s.tok.kind == kindSemi || s.tok.kind == kindEOF {
				return Unknown
			}
		}
	} else {
		for s.tok.word == kwAnalyze || s.tok.word == kwVerbose {
			analyze = analyze || s.tok.word == kwAnalyze
			s.advance()
		}
	}
	if !analyze && s.tok.word != kwExecute { // EXECUTE needs what the session has prepared
		return s.skip(Read)
	}
	if s.tok.word == kwExplain { // no SQL, and no recursion for it
		return s.skip(Unknown)
	}
	return s.statement()
}

// create looks for TEMP in front of what is created.
func (s *scanner) create() Class {
	for s.advance(); ; s.advance() {
		switch s.tok.word {
		case kwOr, kwReplace, kwLocal:
			continue
		case kwTemp:
			s.flag(StateTemp)
		}
		return s.body(Write)
	}
}

// begin reads the modes of a new transaction.
func (s *scanner) begin() Class {
	s.flag(OpensTx)
	class := Begin
	for s.tok.kind != kindSemi && s.tok.kind != kindEOF {
		if s.p1.word == kwRead {
			switch s.tok.word {
			case kwOnly:
				class = BeginReadOnly
			case kwWriteMode:
				class = Begin
			}
		}
		s.advance()
	}
	return class
}

// endTransaction tells COMMIT and ROLLBACK from their other forms.
func (s *scanner) endTransaction() Class {
	class := Commit
	if s.tok.word == kwRollback || s.tok.word == kwAbort {
		class = Rollback
	}
	s.advance()
	flags := EndsTx
	for s.tok.kind != kindSemi && s.tok.kind != kindEOF {
		switch s.tok.word {
		case kwPrepared:
			class, flags = Write, 0
		case kwTo:
			class, flags = Savepoint, 0
		case kwChain:
			if s.p1.word == kwAnd {
				flags |= OpensTx
			}
		}
		s.advance()
	}
	s.flag(flags)
	return class
}

// copy finds the direction, which is the first FROM or TO outside parentheses.
func (s *scanner) copy() Class {
	s.flag(Copy)
	s.advance()
	if s.naming && s.tok.kind != kindOpen {
		s.copied()
	}
	for depth := 0; s.tok.kind != kindEOF && s.tok.kind != kindSemi; s.advance() {
		switch {
		case s.tok.kind == kindOpen:
			if depth == 0 && s.p1.word == kwCopy {
				s.raise(s.group())
				continue
			}
			depth++
		case s.tok.kind == kindClose:
			depth--
		case depth == 0 && s.tok.word == kwFrom:
			return s.skip(CopyIn)
		case depth == 0 && s.tok.word == kwTo:
			s.advance()
			if s.tok.word == kwStdout {
				return s.skip(CopyOut)
			}
			return s.skip(Write) // to a file or program of the server
		}
	}
	return Unknown
}
