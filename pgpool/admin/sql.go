package admin

import "strings"

// token is a word, a quoted word, a string, or one other character.
type token struct {
	text       string // without quotes; its case is kept, as database names have one
	quote      byte   // ", ' or 0
	start, end int    // where it is in the statement, with its quotes
}

// is tells whether the token is the keyword. Like PgBouncer, the console takes "show" in double quotes for SHOW.
func (t token) is(keyword string) bool { return t.quote != '\'' && strings.EqualFold(t.text, keyword) }

// name tells whether the token can be the name of something.
func (t token) name() bool { return t.quote != 0 || isWord(t.text[0]) }

// split cuts what a client sent into statements, each a list of tokens. Comments are gone. Statements without a token are
// left out, so that an empty query, or a driver's "-- ping", has none. All that follows EXPLAIN ROUTE is one token, comments
// and semicolons included: it is not the console's SQL.
func split(sql string) ([][]token, error) {
	var statements [][]token
	var tokens []token
	for i := 0; i < len(sql); {
		c := sql[i]
		if len(tokens) == 2 && tokens[0].is("explain") && tokens[1].is("route") {
			if text := strings.Trim(sql[i:], blanks); text != "" {
				start := i + strings.Index(sql[i:], text)
				tokens = append(tokens, token{text, 0, start, start + len(text)})
			}
			break
		}
		switch {
		case isBlank(c):
			i++
		case strings.HasPrefix(sql[i:], "--"):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				n = len(sql) - i
			}
			i += n
		case strings.HasPrefix(sql[i:], "/*"):
			n := strings.Index(sql[i+2:], "*/")
			if n < 0 {
				return nil, unterminatedComment.with()
			}
			i += n + len("/**/")
		case c == ';':
			if len(tokens) > 0 {
				statements = append(statements, tokens)
			}
			tokens = nil
			i++
		case c == '\'' || c == '"':
			n := quotedLen(sql[i:])
			if n == 0 {
				return nil, unterminatedString.with()
			}
			q := string(c)
			text := strings.ReplaceAll(sql[i+1:i+n-1], q+q, q)
			tokens = append(tokens, token{text, c, i, i + n})
			i += n
		default:
			n := 0
			for i+n < len(sql) && isWord(sql[i+n]) {
				n++
			}
			n = max(n, 1)
			tokens = append(tokens, token{sql[i : i+n], 0, i, i + n})
			i += n
		}
	}
	if len(tokens) > 0 {
		statements = append(statements, tokens)
	}
	return statements, nil
}

// quotedLen returns the length of the quoted string at the start of sql, with its quotes, or 0 if it does not end.
func quotedLen(sql string) int {
	for i := 1; i < len(sql); i++ {
		if sql[i] != sql[0] {
			continue
		}
		if i+1 == len(sql) || sql[i+1] != sql[0] {
			return i + 1
		}
		i++ // a doubled quote stands for itself
	}
	return 0
}

const blanks = " \t\n\r\f\v"

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
