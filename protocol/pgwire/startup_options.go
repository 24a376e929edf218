package pgwire

import "strings"

// ParseOptions parses the value of the startup parameter "options", a command line for the server: `-c name=value`,
// `-cname=value` and `--name=value`, separated by white space, with a backslash in front of a character that is meant
// literally (pg_split_opts in postinit.c). Dashes in names mean underscores. Other switches are refused: they
// configure a server process, which is not the client's here. Errors are *Error.
func ParseOptions(s string) ([]Param, error) {
	var list []Param
	for {
		word, rest, ok := cutWord(s)
		if !ok {
			return list, nil
		}
		s = rest
		var setting string
		switch {
		case word == "-c":
			if setting, s, ok = cutWord(s); !ok {
				return nil, optionsValue.with(word)
			}
		case strings.HasPrefix(word, "-c"):
			setting = word[2:]
		case strings.HasPrefix(word, "--") && len(word) > 2:
			setting = word[2:]
		default:
			return nil, optionsSwitch.with(word)
		}
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			return nil, optionsAssignment.with(setting)
		}
		name = strings.ReplaceAll(name, "-", "_")
		if !validSettingName(name) {
			return nil, optionsName.with(setting)
		}
		list = append(list, Param{name, value})
	}
}

// cutWord takes the first word off s with its backslashes resolved. ok is false when only white space is left.
func cutWord(s string) (word, rest string, ok bool) {
	i := 0
	for i < len(s) && isOptionSpace(s[i]) {
		i++
	}
	if i == len(s) {
		return "", "", false
	}
	var b strings.Builder
	for i < len(s) && !isOptionSpace(s[i]) {
		if s[i] == '\\' {
			i++
			if i == len(s) {
				break
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String(), s[i:], true
}

// isOptionSpace is isspace in the C locale.
func isOptionSpace(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }

// validSettingName accepts what PostgreSQL accepts as the name of a setting: identifiers joined by dots.
func validSettingName(s string) bool {
	start := true
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '_' || c >= 0x80 || (c|0x20 >= 'a' && c|0x20 <= 'z'):
			start = false
		case !start && (c == '$' || (c >= '0' && c <= '9')):
		case !start && c == '.':
			start = true
		default:
			return false
		}
	}
	return !start
}
