package verify

import (
	"regexp"
	"strings"
)

// Statement is a piece of a script that psql would send at once.
type Statement struct {
	File string
	Line int
	SQL  string
}

var (
	variable  = regexp.MustCompile(`^:(?:'(\w+)'|"(\w+)"|([A-Za-z_]\w*))`)
	setLine   = regexp.MustCompile(`(?m)^\\(?:set|getenv)\s+(\w+)`)
	copyStdin = regexp.MustCompile(`(?is)^\s*(?:--[^\n]*\n\s*)*copy\s.*\sfrom\s+stdin\b`)
	routine   = regexp.MustCompile(`(?is)^\s*(?:--[^\n]*\n\s*)*create\s+(?:or\s+replace\s+)?(?:function|procedure)\b`)
	tag       = regexp.MustCompile(`^\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$`)
	word      = regexp.MustCompile(`^[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*`)
)

// script is a psql script being read (psqlscan.l). Backslash commands are passed over, both branches of \if are taken,
// and a variable becomes its name in quotes, or 1.
type script struct {
	file, text string
	known      map[string]bool // variables
	guess      bool            // \gset may set any
	pos, line  int
	depth      int // of parentheses
	atomic     int // of BEGIN ATOMIC … END and of CASE … END inside
	buf        strings.Builder
	startLine  int
	all        []Statement
}

// Script returns the statements of a script.
func Script(file, text string) []Statement {
	s := script{file: file, text: text, known: map[string]bool{}, guess: strings.Contains(text, `\gset`), line: 1}
	for _, m := range setLine.FindAllStringSubmatch(text, -1) {
		s.known[m[1]] = true
	}
	for s.pos < len(s.text) {
		s.step()
	}
	s.end()
	return s.all
}

// take moves n bytes to the statement.
func (s *script) take(n int) {
	piece := s.text[s.pos : s.pos+n]
	if s.buf.Len() == 0 {
		trimmed := strings.TrimLeft(piece, " \t\r\n")
		s.skip(len(piece) - len(trimmed))
		if piece = trimmed; piece == "" {
			return
		}
		s.startLine = s.line
	}
	s.buf.WriteString(piece)
	s.skip(len(piece))
}

func (s *script) skip(n int) {
	s.line += strings.Count(s.text[s.pos:s.pos+n], "\n")
	s.pos += n
}

// end sends what has been read.
func (s *script) end() {
	if sql := s.buf.String(); strings.TrimSpace(sql) != "" {
		s.all = append(s.all, Statement{s.file, s.startLine, sql})
		if copyStdin.MatchString(sql) {
			s.skipData()
		}
	}
	s.buf.Reset()
	s.depth, s.atomic = 0, 0
}

// skipData passes over the rows behind COPY FROM STDIN.
func (s *script) skipData() {
	rest := s.text[s.pos:]
	if i := strings.Index(rest, "\n\\.\n"); i >= 0 {
		s.skip(i + len("\n\\.\n"))
	}
}

// step reads one token.
func (s *script) step() {
	rest := s.text[s.pos:]
	c := rest[0]
	switch {
	case strings.HasPrefix(rest, "--"):
		s.take(untilLine(rest))
	case strings.HasPrefix(rest, "/*"):
		s.take(blockComment(rest))
	case c == '\'':
		s.take(quoted(rest, false))
	case (c == 'E' || c == 'e') && len(rest) > 1 && rest[1] == '\'':
		s.take(1 + quoted(rest[1:], true))
	case c == '"':
		s.take(quoted(rest, false))
	case c == '$':
		n := 1
		if t := tag.FindString(rest); t != "" {
			if i := strings.Index(rest[len(t):], t); i >= 0 {
				n = i + 2*len(t)
			}
		}
		s.take(n)
	case c == '\\':
		s.command(rest)
	case c == ':':
		s.colon(rest)
	case c == ';' && s.depth <= 0 && s.atomic == 0:
		s.take(1)
		s.end()
	case c == '(':
		s.depth++
		s.take(1)
	case c == ')':
		s.depth--
		s.take(1)
	default:
		if w := word.FindString(rest); w != "" {
			s.word(w)
			return
		}
		s.take(1)
	}
}

func (s *script) word(w string) {
	switch strings.ToLower(w) {
	case "begin":
		if s.atomic > 0 || routine.MatchString(s.buf.String()) {
			s.atomic++
		}
	case "case":
		if s.atomic > 0 {
			s.atomic++
		}
	case "end":
		s.atomic = max(s.atomic-1, 0)
	}
	s.take(len(w))
}

func (s *script) colon(rest string) {
	if strings.HasPrefix(rest, "::") || strings.HasPrefix(rest, ":=") {
		s.take(2)
		return
	}
	m := variable.FindStringSubmatch(rest)
	if m == nil || !(m[3] == "" || s.known[m[3]] || s.guess) {
		s.take(1)
		return
	}
	if s.buf.Len() == 0 {
		s.startLine = s.line
	}
	switch {
	case m[1] != "":
		s.buf.WriteString("'" + m[1] + "'")
	case m[2] != "":
		s.buf.WriteString(`"` + m[2] + `"`)
	default:
		s.buf.WriteString("1")
	}
	s.skip(len(m[0]))
}

// command passes over a backslash command. Those with \g send what has been read, and \; keeps on collecting.
func (s *script) command(rest string) {
	if strings.HasPrefix(rest, `\;`) {
		s.skip(1)
		s.take(1)
		return
	}
	line := rest[:untilLine(rest)]
	s.skip(len(line))
	if strings.HasPrefix(line, `\g`) && !strings.HasPrefix(line, `\getenv`) || strings.HasPrefix(line, `\crosstabview`) ||
		strings.HasPrefix(line, `\watch`) {
		s.end()
	} else if strings.HasPrefix(line, `\r`) {
		s.buf.Reset()
	}
}

func untilLine(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i
	}
	return len(s)
}

func blockComment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

func quoted(s string, escapes bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && escapes:
			i++
		case s[i] == s[0]:
			if i+1 == len(s) || s[i+1] != s[0] {
				return i + 1
			}
			i++
		}
	}
	return len(s)
}
