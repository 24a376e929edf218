package admin

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// split cuts what a client sent into statements, each a list of words. Words outside quotes are in lower case; other
// characters stand alone; comments are gone. Statements without a word are left out, so that an empty query, or a
// driver's "-- ping", has none.
func split(sql string) ([][]string, error) {
	var statements [][]string
	var words []string
	for len(sql) > 0 {
		c := sql[0]
		switch {
		case strings.IndexByte(" \t\n\r\f\v", c) >= 0:
			sql = sql[1:]
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			_, after, ok := strings.Cut(sql[2:], "*/")
			if !ok {
				return nil, syntaxError("unterminated comment")
			}
			sql = after
		case c == ';':
			if len(words) > 0 {
				statements = append(statements, words)
			}
			words, sql = nil, sql[1:]
		case c == '\'' || c == '"':
			end := quotedLen(sql)
			if end == 0 {
				return nil, syntaxError("unterminated quoted string")
			}
			words, sql = append(words, sql[1:end-1]), sql[end:]
		default:
			n := 0
			for n < len(sql) && isWord(sql[n]) {
				n++
			}
			n = max(n, 1)
			words, sql = append(words, strings.ToLower(sql[:n])), sql[n:]
		}
	}
	if len(words) > 0 {
		statements = append(statements, words)
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

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func syntaxError(message string) *pgwire.Error {
	return &pgwire.Error{Code: "42601", Message: message, Hint: "SHOW HELP lists the commands."}
}
