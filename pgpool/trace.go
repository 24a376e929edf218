package pgpool

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// traces is what a unit may have left in its session although its text does not settle whether, or what: it ran in a
// transaction that may have failed, or called a function. Before the server is given away, it is asked (check.go).
type traces struct {
	kinds  traceKinds
	names  []string // settings whose values are asked for
	resets bool     // some may be back at what the session started with
	// inValues: the name of a setting is among the values of the Bind.
	inValues bool
	// releases are the kinds that the unit may have taken away, as DROP TABLE does with a temporary table.
	releases traceKinds
}

type traceKinds uint16

const (
	traceSettings traceKinds = 1 << iota // those of names; and the role
	traceAnySetting
	traceTemp
	traceLock
	tracePrepared // by SQL
	traceCursor
	traceListen
	// traceHidden: a custom setting whose name nobody knows.
	traceHidden
	// traceCatalog: the database's functions have been changed.
	traceCatalog
	// traceLocal: settings until the end of the transaction. There is nothing to look for: it only keeps units out of batches.
	traceLocal
	// traceUnknown: code has run that is not known. It may leave also whatever any function is known to leave.
	traceUnknown

	traceObjects = tracePrepared | traceCursor | traceListen
	// traceAll is what code may leave that is not known.
	traceAll = traceSettings | traceAnySetting | traceTemp | traceLock | traceObjects | traceUnknown
)

// any tells whether there is something to look for.
func (t *traces) any() bool { return t.kinds&^traceLocal|t.releases != 0 }

// maxTraceNames bounds the settings that are asked for by name; with more, all are looked through, and custom ones keep the
// client where it is.
const maxTraceNames = 64

// maxTraceName bounds the length of such a name, in bytes.
const maxTraceName = 1024

// add adds what other may have left.
func (t *traces) add(other *traces) {
	t.kinds |= other.kinds
	t.releases |= other.releases
	t.resets = t.resets || other.resets
	t.inValues = t.inValues || other.inValues
	for _, name := range other.names {
		t.name(name)
	}
}

// clone returns a copy that shares nothing with t.
func (t *traces) clone() traces {
	c := *t
	c.names = slices.Clone(t.names)
	return c
}

// name adds a setting.
func (t *traces) name(name string) {
	t.kinds |= traceSettings
	switch {
	case len(name) > maxTraceName:
		t.kinds |= traceAnySetting | traceHidden
	case slices.Contains(t.names, name):
	case len(t.names) < maxTraceNames:
		t.names = append(t.names, name)
	case strings.Contains(name, "."):
		t.kinds |= traceHidden
	default:
		t.kinds |= traceAnySetting
	}
}

// catalog is what is known of a database's code. It never changes: a new look makes a new one.
type catalog struct {
	// defaults are all settings, with what they are in a fresh session of the group.
	defaults map[string]initial
	// hazards are the functions that may leave something in the session, and the tables and views that call them, by name
	// in lower case without schema.
	hazards map[string]*traces
	every   traces      // what any of them may leave
	expires time.Time   // then it is time for another look
	stale   bool        // code has been changed since
	partial bool        // there is more code than is taken in
	hidden  bool        // some of it runs without being named, as an operator or a cast
	print   string      // fingerprint of the code
	names   *knownNames // what functions and relations decide where a statement runs
	// serializable is the isolation of a fresh session.
	serializable bool
	// level is its client_min_messages.
	level string
}

// hasHazards tells whether any function may leave something.
func (k *catalog) hasHazards() bool { return k != nil && (len(k.hazards) > 0 || k.every.any()) }

// unsure tells whether there may be code that k does not know.
func (k *catalog) unsure() bool { return k == nil || k.stale || k.partial }

// outOfDate tells whether it is time for another look.
func (k *catalog) outOfDate(now time.Time) bool { return k == nil || k.stale || k.expires.Before(now) }

// initial is the value of a setting in a fresh session. It is not known of what the session that was asked had changed.
type initial struct {
	value string
	known bool
}

// isSetting tells whether a word after SET can be the name of a setting.
func (k *catalog) isSetting(name string) bool {
	if k == nil || k.defaults == nil || strings.Contains(name, ".") {
		return true
	}
	_, ok := k.defaults[name]
	return ok || name == "role" || name == "session_authorization"
}

// tracesOf looks for words, in a statement or in the source of a function, whatever the language: what dynamic SQL is
// put together from stands in its strings. Too much found costs a question; too little would leak.
func tracesOf(text string, known *catalog) traces {
	var t traces
	left := 4*len(text) + 64<<10
	for w := (words{text: text, left: &left}); w.next(); {
		switch w.word {
		case "set_config":
			w.setConfig(&t)
		case "set":
			w.set(&t, known)
		case "reset":
			t.resets = true
			w.reset(&t, known)
		case "default":
			t.resets = true
		case "temp", "temporary", "pg_temp":
			t.kinds |= traceTemp
		case "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared",
			"pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all":
			t.kinds |= traceLock
		case "prepare":
			t.kinds |= tracePrepared
		case "hold":
			t.kinds |= traceCursor
		case "listen":
			t.kinds |= traceListen
		case "drop":
			t.releases |= traceTemp
		case "close":
			t.releases |= traceCursor
		case "deallocate":
			t.releases |= tracePrepared
		case "unlisten":
			t.releases |= traceListen
		case "discard":
			t.releases |= traceAll
		case "execute":
			if w.dynamic() {
				t.kinds |= traceAll
			}
		case "function", "procedure", "trigger", "extension", "routine", "view", "rule", "rename", "aggregate", "policy",
			"unlogged", "logged", "foreign", "sequence", "schema", "inherit", "attach":
			if w.defines {
				t.kinds |= traceCatalog
			}
		}
		if known != nil {
			if h := known.hazards[w.word]; h != nil {
				t.add(h)
			}
		}
	}
	if left < 0 {
		t.kinds |= traceSettings | traceAnySetting | traceHidden
	}
	return t
}

// words walks over the words of a text: in code, comments and strings alike.
type words struct {
	text  string
	start int    // of the word
	pos   int    // behind the word
	word  string // in lower case
	first string // the first of the text
	// defines: a statement in the text begins with a word that changes the catalog, or may run one that does.
	defines bool
	// left is how many bytes may still be looked at ahead of the word, so that the time for a text grows with its length and
	// no faster; nil is no limit.
	left *int
}

// spend takes n bytes off what may be looked at ahead, and tells whether that is allowed.
func (w *words) spend(n int) bool {
	if w.left == nil {
		return true
	}
	*w.left -= n
	return *w.left >= 0
}

// dotted returns the name that begins with the word, with what follows behind dots, and goes there.
func (w *words) dotted() string {
	if w.pos >= len(w.text) || w.text[w.pos] != '.' {
		return w.word
	}
	var name strings.Builder
	name.WriteString(w.word)
	for w.pos < len(w.text) && w.text[w.pos] == '.' {
		from := w.pos
		if w.next(); !w.spend(w.pos - from) {
			break
		}
		name.WriteByte('.')
		name.WriteString(w.word)
	}
	return name.String()
}

func (w *words) next() bool {
	start := w.pos
	for start < len(w.text) && !startsWord(w.text[start]) {
		start++
	}
	end := start
	for end < len(w.text) && (startsWord(w.text[end]) || isDigit(w.text[end]) || w.text[end] == '$') {
		end++
	}
	begins := w.first == "" || strings.IndexByte(w.text[w.pos:start], ';') >= 0
	w.start, w.pos, w.word = start, end, strings.ToLower(w.text[start:end])
	if w.first == "" {
		w.first = w.word
	}
	if begins {
		switch w.word {
		case "create", "alter", "drop", "import", "do", "call":
			w.defines = true
		}
	}
	return end > start
}

func startsWord(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' || b == '_' || b >= 0x80 }

// peek returns the next word, and what stands between.
func (w *words) peek() (between, word string) {
	ahead := *w
	ahead.next()
	return w.text[w.pos:ahead.start], ahead.word
}

// nextCode goes to the next word that is not in a comment, and returns what stands before it.
func (w *words) nextCode() (between string) {
	for w.spend(0) {
		rest := strings.TrimLeft(w.text[w.pos:], " \t\r\n")
		start := len(w.text) - len(rest)
		w.spend(start - w.pos)
		end := ""
		switch {
		case strings.HasPrefix(rest, "--"):
			end = "\n"
		case strings.HasPrefix(rest, "/*"):
			end = "*/"
		}
		if end != "" {
			if n := strings.Index(rest, end); n >= 0 {
				w.pos = start + n + len(end)
				w.spend(n + 16)
				continue
			}
			w.spend(len(rest))
		}
		w.next()
		w.spend(w.pos - start)
		return w.text[start:w.start]
	}
	return ""
}

// set looks at what follows SET: a name and = or TO. UPDATE … SET looks the same, but its columns are no settings.
func (w *words) set(t *traces, known *catalog) {
	ahead := *w
	between := ahead.nextCode()
	if ahead.word == "session" || ahead.word == "local" {
		local := ahead.word == "local"
		between = ahead.nextCode()
		switch {
		case ahead.word == "characteristics":
			for _, name := range []string{"default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable"} {
				t.name(name)
			}
			return
		case local:
			t.kinds |= traceLocal
			return
		}
	}
	if strings.Contains(between, "||") || strings.HasSuffix(strings.TrimRight(between, "0123456789$"), "%") { // 'SET ' || name, format('SET %I = …')
		t.kinds |= traceSettings | traceAnySetting
		return
	}
	switch ahead.word {
	case "role", "authorization":
		t.kinds |= traceSettings
		return
	case "time":
		t.name("timezone")
		return
	case "names":
		t.name("client_encoding")
		return
	case "schema":
		t.name("search_path")
		return
	case "xml":
		t.name("xmloption")
		return
	}
	name := ahead.dotted()
	_, quoted := strings.CutPrefix(ahead.text[ahead.pos:], `"`)
	if quoted {
		ahead.pos++
	}
	between = ahead.nextCode()
	if (strings.HasPrefix(between, "=") || between == "" && ahead.word == "to" || strings.HasPrefix(between, "'")) && known.isSetting(name) {
		t.name(name)
	}
}

func (w *words) reset(t *traces, known *catalog) {
	ahead := *w
	ahead.next()
	name := ahead.dotted()
	switch {
	case name == "all":
		t.kinds |= traceSettings | traceAnySetting
	case name == "role", name == "session":
		t.kinds |= traceSettings
	case name == "time":
		t.name("timezone")
	case known.isSetting(name):
		t.name(name)
	}
}

// setConfig looks at the arguments of set_config: a literal name is asked for, any other means all settings.
func (w *words) setConfig(t *traces) {
	rest := strings.TrimLeft(w.text[w.pos:], " \t\r\n")
	if rest == "" || !strings.ContainsRune("(/-\"", rune(rest[0])) {
		return // no call: the name of a column, say
	}
	var args []string
	if w.spend(0) {
		var seen int
		args, seen = callArguments(rest)
		w.spend(seen)
	}
	if len(args) < 3 {
		t.kinds |= traceSettings | traceAnySetting | traceHidden
		return
	}
	for i := range args {
		args[i] = strings.TrimSuffix(args[i], "::text") // as pg_get_functiondef has it
	}
	switch strings.ToLower(strings.Trim(args[2], "' ")) {
	case "true", "t", "yes", "on", "1":
		t.kinds |= traceLocal
		return
	}
	name := args[0]
	switch {
	case isLiteral(name):
		t.name(strings.ToLower(strings.Trim(name, "'")))
	case strings.HasPrefix(name, "$"):
		t.inValues = true
		t.kinds |= traceSettings | traceAnySetting
	default:
		t.kinds |= traceSettings | traceAnySetting | traceHidden
	}
}

// isLiteral tells whether s is a string and nothing else. Inside of a string its quotes are doubled.
func isLiteral(s string) bool {
	inner := strings.Trim(s, "'")
	return strings.HasPrefix(s, "'") && strings.HasSuffix(s, "'") && inner != "" && !strings.Contains(inner, "'")
}

// values adds what may be the name of a setting that pg_settings does not list (custom ones, a.b) among the values of a
// Bind; b is the message from the formats on.
func (t *traces) values(b []byte) {
	for _, f := range bytes.FieldsFunc(b, func(r rune) bool { return r < ' ' }) {
		name := strings.ToLower(string(f))
		if len(name) <= 2*64 && strings.Contains(name, ".") && strings.IndexFunc(name, func(r rune) bool {
			return !(r == '.' || r == '_' || r == '$' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 0x80)
		}) < 0 {
			t.name(name)
		}
	}
}

// dynamic tells whether an EXECUTE runs what is not in the text. GRANT EXECUTE and EXECUTE FUNCTION run nothing; SQL's
// own EXECUTE runs what a PREPARE has in its text.
func (w *words) dynamic() bool {
	if w.first == "execute" {
		return false
	}
	between, word := w.peek()
	switch word {
	case "function", "procedure", "on", "immediate":
		return false
	case "format": // its words are known if it begins with one
		args := *w
		args.next()
		text := strings.TrimLeft(args.text[args.pos:], " \t\r\n(E")
		return len(text) < 2 || text[0] != '\'' || !startsWord(text[1])
	}
	return !strings.Contains(between, "'")
}

// callArguments splits the arguments of a call, which begin at the parenthesis. It returns nothing for what is cut off, and
// how much it has looked at.
func callArguments(s string) (args []string, seen int) {
	open := strings.IndexByte(s, '(')
	if open < 0 || strings.TrimSpace(s[:open]) != "" {
		return nil, len(s)
	}
	depth, quoted, from := 0, false, open+1
	for i := open; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return append(args, strings.TrimSpace(s[from:i])), i
			}
		case c == ',' && depth == 1:
			args = append(args, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	return nil, len(s)
}
