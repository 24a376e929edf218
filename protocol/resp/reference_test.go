package resp

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// reference reads one command as https://redis.io/docs/latest/develop/reference/protocol-spec/ describes them, in the plainest
// way. It returns what Parse does, but for what is needed: n is 0 where the command is incomplete.
func reference(in string, lim *Limits) (args []string, n int, err error) {
	if in == "" {
		return nil, 0, nil
	}
	if in[0] != '*' {
		return referenceInline(in, lim)
	}
	count, rest, complete, valid := referenceLength(in[1:])
	switch {
	case !complete && len(in) > lim.maxInline():
		return nil, 0, ErrMultibulkTooLong
	case !complete:
		return nil, 0, nil
	case !valid || count > int64(lim.maxArgs()):
		return nil, 0, ErrMultibulkLength
	case lim.Strict && count > 10:
		return nil, 0, ErrStrictMultibulk
	}
	for range count {
		if rest == "" {
			return nil, 0, nil
		}
		if rest[0] != '$' {
			got := strings.NewReplacer("\r", " ", "\n", " ").Replace(rest[:1])
			return nil, 0, errors.New("Protocol error: expected '$', got '" + got + "'")
		}
		size, data, complete, valid := referenceLength(rest[1:])
		switch {
		case !complete && len(rest) > lim.maxInline():
			return nil, 0, ErrBulkTooLong
		case !complete:
			return nil, 0, nil
		case !valid || size < 0 || size > int64(lim.maxBulk()):
			return nil, 0, ErrBulkLength
		case lim.Strict && size > 16<<10:
			return nil, 0, ErrStrictBulk
		case int64(len(data)) < size+2:
			return nil, 0, nil
		}
		args, rest = append(args, data[:size]), data[size+2:]
	}
	return args, len(in) - len(rest), nil
}

// referenceLength reads a number and the two bytes behind it, the first of which is a carriage return.
func referenceLength(in string) (v int64, rest string, complete, valid bool) {
	digits, rest, found := strings.Cut(in, "\r")
	if !found || rest == "" {
		return 0, "", false, false
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	return v, rest[1:], true, err == nil && strconv.FormatInt(v, 10) == digits
}

const referenceSpaces = " \t\n\v\f\r"

func referenceInline(in string, lim *Limits) (args []string, n int, err error) {
	line, _, found := strings.Cut(in, "\n")
	if !found {
		if len(in) > lim.maxInline() {
			return nil, 0, ErrInlineTooLong
		}
		return nil, 0, nil
	}
	n = len(line) + 1
	line, _, _ = strings.Cut(line, "\x00") // where a string of C ends
	for {
		line = strings.TrimLeft(line, referenceSpaces)
		if line == "" {
			return args, n, nil
		}
		word, rest, ok := referenceWord(line)
		if !ok {
			return nil, 0, ErrUnbalancedQuotes
		}
		args, line = append(args, word), rest
	}
}

// referenceWord reads what is not quoted up to a space, and what is quoted up to the end of the quotes and a space.
func referenceWord(line string) (word, rest string, ok bool) {
	i := strings.IndexAny(line, referenceSpaces+`"'`)
	if i < 0 {
		return line, "", true
	}
	word, rest = line[:i], line[i:]
	var quoted string
	switch rest[0] {
	case '"':
		quoted, rest, ok = referenceQuoted(rest[1:], '"', doubleQuoted)
	case '\'':
		quoted, rest, ok = referenceQuoted(rest[1:], '\'', singleQuoted)
	default:
		return word, rest, true
	}
	return word + quoted, rest, ok && (rest == "" || strings.Contains(referenceSpaces, rest[:1]))
}

var (
	doubleQuoted = regexp.MustCompile(`(?s)^(\\x[0-9a-fA-F]{2}|\\.)`)
	singleQuoted = regexp.MustCompile(`^\\'`)
	unescaped    = map[string]string{`\n`: "\n", `\r`: "\r", `\t`: "\t", `\b`: "\b", `\a`: "\a"}
)

func referenceQuoted(in string, end byte, escape *regexp.Regexp) (text, rest string, ok bool) {
	for in != "" {
		if in[0] == end {
			return text, in[1:], true
		}
		one := in[:1]
		if found := escape.FindString(in); len(found) == 4 && found[1] == 'x' {
			code, _ := strconv.ParseUint(found[2:], 16, 8)
			text, one = text+string([]byte{byte(code)}), found
		} else if known, is := unescaped[found]; is {
			text, one = text+known, found
		} else if found != "" {
			one = in[:2] // the rune that was found may be of more bytes
			text += in[1:2]
		} else {
			text += one
		}
		in = in[len(one):]
	}
	return "", "", false
}

// limitsOf gives the limits that a fuzz input is read with: large ones, or such as most input passes.
func limitsOf(kind byte) *Limits {
	return []*Limits{
		{},
		{Strict: true},
		{MaxArgs: 3, MaxBulk: 8, MaxInline: 16},
		{MaxArgs: 20, MaxBulk: 20 << 10, MaxInline: 8, Strict: true},
	}[kind%4]
}

// FuzzParseAgainstReference holds the parser against the reference, for each of the commands of a stream: whole, and for what is
// there after each of its bytes. What the parser says it needs is never more than the command takes.
func FuzzParseAgainstReference(f *testing.F) {
	for _, s := range []string{
		"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n", "*0\r\n*-1\r\n*-9\r\n\r\n\n*1\r\n$1\r\nx\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$7\r\n\x00\r\n\xff*\r\n\r\n",
		"*+1\r\n", "*01\r\n", "*-0\r\n", "* 1\r\n", "*\r\n", "*1\rx$1\rxaxx", "*1\n\r\n", "*1\r\n$-1\r\n", "*1\r\n$00\r\n", "*1\r\n:1\r\n", "*1\r\n\r\n", "*1\r\n$1_0\r\n", "*1\r\n$0x1\r\n",
		"*4\r\n", "*11\r\n", "*1048577\r\n", "*9223372036854775807\r\n", "*9223372036854775808\r\n", "*-9223372036854775808\r\n", "*000000000000000000001\r\n",
		"*1\r\n$9\r\n", "*1\r\n$16385\r\n", "*1\r\n$536870913\r\n", "*1\r\n$18446744073709551615\r\n", "*1\r\n$9223372036854775807\r\n", "*2\r\n$3\r\nGET\r\n$1000\r\n",
		"*111111111111111111", "*1\r\n$111111111111111111", "*1\r\n$1111111111\r\n", "wordwordwordwordword", "wordwordwordwordword\r\nPING\r\n",
		"set k \"a\\x41\\x4\\xzz\\n\\r\\t\\b\\a\\\\\\\"\" 'it\\'s \\n'\r\n", "a\"b\" a'b'\n", "\"a\"b\n", "'a'b\n", "\"a\n", "'a\n", "\"a\\\"\n", "'a\\'\n", "\"\" ''\n", "\"\\\xc3\xa4\\\xff\"\n", "\ta\v\fb\r\r\n",
		"a \x00b\nc\n", "\"a\x00\"\n", "\"a\"\x00b\n", "\x00\n", "a\x00\n", "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		for kind := range byte(4) {
			f.Add([]byte(s), kind)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, kind byte) {
		if len(in) > 1<<10 {
			return // the reference is slow
		}
		lim := limitsOf(kind)
		var p Parser
		for len(in) > 0 {
			n, err := sameAsReference(t, &p, in, lim)
			most := 0
			end := n
			if n == 0 {
				end = len(in)
			}
			for have := range end {
				// An error may come earlier than from the whole: a line has become too long before its end was there.
				if m, err := sameAsReference(t, &p, in[:have], lim); err != nil {
					break
				} else if m != 0 {
					t.Fatalf("%q is complete with %d bytes of it", in[:end], have)
				}
				if _, _, need, _ := p.Parse(in[:have], lim); need <= have {
					t.Fatalf("%q: needs %d", in[:have], need)
				} else {
					most = max(most, need)
				}
			}
			if n == 0 || err != nil {
				return
			}
			if most > n {
				t.Fatalf("%q: needs %d", in[:n], most)
			}
			in = in[n:]
		}
	})
}

func sameAsReference(t *testing.T, p *Parser, in []byte, lim *Limits) (n int, err error) {
	t.Helper()
	want, wantN, wantErr := reference(string(in), lim)
	args, n, _, err := p.Parse(in, lim)
	got := make([]string, len(args))
	for i, a := range args {
		got[i] = string(a)
	}
	if n != wantN || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || !slices.Equal(got, want) {
		t.Fatalf("%q (%+v):\n parser    %q, %d, %v\n reference %q, %d, %v", in, *lim, got, n, err, want, wantN, wantErr)
	}
	return n, err
}
