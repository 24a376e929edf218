package script

import (
	"strings"
)

// translate puts a message of the interpreter in the words of Lua 5.1. What Lua says of the variable's name is not known
// here.
func translate(s string) string {
	s = strings.TrimPrefix(s, " ")
	switch s {
	case "lua callstack overflow":
		return chunkName + ":1: stack overflow"
	case "can not yield from outside of a coroutine":
		return "attempt to yield across metamethod/C-call boundary"
	}
	at := ""
	rest := s
	if i := strings.Index(s, ": "); i >= 0 {
		at, rest = s[:i+2], s[i+2:]
	}
	if t := words(rest); t != "" {
		return at + t
	}
	return s
}

var operations = map[string]bool{"add": true, "sub": true, "mul": true, "div": true, "mod": true, "pow": true}

func words(s string) string {
	switch {
	case strings.HasPrefix(s, "attempt to index a non-table object("):
		if kind, _, ok := strings.Cut(s[len("attempt to index a non-table object("):], ")"); ok {
			return "attempt to index a " + kind + " value"
		}
	case s == "attempt to call a non-function object":
		return "attempt to call a nil value"
	case strings.HasPrefix(s, "cannot perform "):
		w := strings.Fields(s)
		if len(w) == 7 && operations[w[2]] {
			kind := w[4]
			if kind == "number" || kind == "string" && w[6] != "string" && w[6] != "number" {
				kind = w[6]
			}
			return "attempt to perform arithmetic on a " + kind + " value"
		}
	case s == "__unm undefined":
		return "attempt to perform arithmetic on a nil value"
	case s == "__len undefined":
		return "attempt to get length of a nil value"
	case strings.HasPrefix(s, "attempt to compare "):
		w := strings.Fields(s)
		if len(w) == 6 && w[3] == w[5] {
			return "attempt to compare two " + w[3] + " values"
		}
	case s == "for statement init must be a number":
		return "'for' initial value must be a number"
	case s == "for statement limit must be a number":
		return "'for' limit must be a number"
	case s == "for statement step must be a number":
		return "'for' step must be a number"
	case s == "registry overflow":
		return "stack overflow"
	}
	return ""
}
