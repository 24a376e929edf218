package script

import (
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// translate puts a message of the interpreter in the words of Lua 5.1, with the name of the variable where it is known.
func (m *machine) translate(s string) string {
	s = strings.TrimPrefix(s, " ")
	switch s {
	case "lua callstack overflow":
		return chunkName + ":1: stack overflow"
	case "can not yield from outside of a coroutine":
		return "attempt to yield across metamethod/C-call boundary"
	}
	at, rest := "", s
	if i := strings.Index(s, ": "); i >= 0 {
		at, rest = s[:i+2], s[i+2:]
	}
	if t := m.words(rest, m.siteOf(at)); t != "" {
		return at + t
	}
	return s
}

// siteOf finds what is known of the line of a position, "user_script:3: ".
func (m *machine) siteOf(position string) *site {
	line, ok := strings.CutPrefix(position, chunkName+":")
	if !ok || m.names == nil {
		return &site{}
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(line, ": "))
	if s := m.names.sites[n]; s != nil {
		return s
	}
	return &site{}
}

// named is "a nil value", or "local 'x' (a nil value)" where what finds a name on the line of the caller.
func (m *machine) named(L *lua.LState, kind string, what func(*site) string) string {
	return nameOr(what(m.siteOf(position(L, 1))), kind)
}

func nameOr(name, kind string) string {
	if name == "" {
		return "a " + kind + " value"
	}
	return name + " (a " + kind + " value)"
}

// operandOr names what the interpreter does not tell the type of: the type of a constant, else nil, as it mostly is.
func operandOr(name string) string {
	if kind, ok := strings.CutPrefix(name, "="); ok {
		return nameOr("", kind)
	}
	return nameOr(name, "nil")
}

var operators = map[string]string{"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "pow": "^"}

func (m *machine) words(s string, at *site) string {
	switch {
	case strings.HasPrefix(s, "attempt to index a non-table object("):
		kind, key, ok := strings.Cut(s[len("attempt to index a non-table object("):], ") with key '")
		if !ok {
			return ""
		}
		name, found := at.index["="+strings.TrimSuffix(key, "'")]
		if !found {
			name = at.index["?"]
		}
		return "attempt to index " + nameOr(name, kind)
	case s == "attempt to call a non-function object":
		return "attempt to call " + nameOr(at.called(), "nil")
	case strings.HasPrefix(s, "cannot perform "):
		w := strings.Fields(s)
		if len(w) != 8 || operators[w[2]] == "" {
			return ""
		}
		kind, side := w[5], 0
		if kind == "number" || kind == "string" && w[7] != "string" && w[7] != "number" {
			kind, side = w[7], 1
		}
		name := ""
		if sides := at.arith[operators[w[2]]]; sides != nil {
			name = sides[side]
		}
		return "attempt to perform arithmetic on " + nameOr(name, kind)
	case s == "__unm undefined":
		return "attempt to perform arithmetic on " + operandOr(at.unary["-"])
	case s == "__len undefined":
		return "attempt to get length of " + operandOr(at.unary["#"])
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
	case s == "too many recursions in gettable":
		return "loop in gettable"
	case s == "too many recursions in settable":
		return "loop in settable"
	case s == "registry overflow":
		return "stack overflow"
	}
	return ""
}
