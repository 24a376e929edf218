package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Users maps user names to their secrets. It is not changed once it is in use.
type Users map[string]Secret

// LoadUsers reads a userlist file.
func LoadUsers(path string) (Users, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read user list: %w", err)
	}
	defer f.Close()
	users, err := ParseUsers(f)
	if err != nil {
		return nil, fmt.Errorf("read user list %s: %w", path, err)
	}
	return users, nil
}

// maxUserList bounds the file, in bytes.
const maxUserList = 64 << 20

// ParseUsers reads PgBouncer's userlist.txt: on each line a user and a secret, both in double quotes, a quote inside
// doubled; what follows is ignored, and so are empty lines and lines that start with a semicolon. The last of several
// entries for a user counts. An empty secret means that nobody logs in with that user's password. Errors name the line,
// and never quote a secret.
func ParseUsers(r io.Reader) (Users, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxUserList+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxUserList {
		return nil, fmt.Errorf("over %d bytes", maxUserList)
	}
	users, text := Users{}, string(b)
	for {
		rest := strings.TrimLeft(text, " \t\r\n\v\f")
		if rest == "" {
			return users, nil
		}
		if rest[0] != ';' {
			name, secret, after, err := parseEntry(rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", 1+bytes.Count(b[:len(b)-len(rest)], []byte("\n")), err)
			}
			users[name], rest = secret, after
		}
		_, text, _ = strings.Cut(rest, "\n")
	}
}

// parseEntry takes a user and a secret off the front of s. Quoted strings may go over several lines.
func parseEntry(s string) (name string, secret Secret, rest string, err error) {
	name, rest, ok := cutQuoted(s)
	if !ok || name == "" {
		return "", secret, "", errors.New("user name in double quotes expected")
	}
	text, rest, ok := cutQuoted(strings.TrimLeft(rest, " \t"))
	if !ok {
		return "", secret, "", fmt.Errorf("secret of user %q in double quotes expected", name)
	}
	if secret, err = ParseSecret(text); err != nil {
		return "", secret, "", fmt.Errorf("user %q: %w", name, err)
	}
	return name, secret, rest, nil
}

// cutQuoted takes a quoted string off the front of s.
func cutQuoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] == '"' {
			if i+1 == len(s) || s[i+1] != '"' {
				return b.String(), s[i+1:], true
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
