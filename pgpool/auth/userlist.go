package auth

import (
	"bufio"
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

// ParseUsers reads PgBouncer's userlist.txt: on each line a user and a secret, both in double quotes, a quote inside
// doubled; what follows is ignored, and so are empty lines and lines that start with a semicolon. An empty secret means
// that nobody logs in as that user.
func ParseUsers(r io.Reader) (Users, error) {
	users := Users{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == ';' {
			continue
		}
		name, rest, ok := cutQuoted(line)
		if !ok || name == "" {
			return nil, fmt.Errorf("line %d: user name in double quotes expected", n)
		}
		text, _, ok := cutQuoted(strings.TrimLeft(rest, " \t"))
		if !ok {
			return nil, fmt.Errorf("line %d: secret of user %q in double quotes expected", n, name)
		}
		secret, err := ParseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: user %q: %w", n, name, err)
		}
		users[name] = secret
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return users, nil
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
