package pgwire

import "fmt"

// Kind is an error that this program makes, as opposed to one that a server sent. Packages keep theirs in tables, from
// which docs/errors.md is written.
type Kind struct {
	Code     string // SQLSTATE
	Severity string // FATAL ends the connection; empty: ERROR
	Message  string // this and the next two: formats of package fmt, with indexes where they share arguments
	Detail   string
	Hint     string
	When     string // what leads to it, for the documentation
}

// With returns an error of the kind; all its formats get the same arguments.
func (k *Kind) With(args ...any) *Error {
	e := &Error{Severity: k.Severity, Code: k.Code, Message: k.Message, Detail: k.Detail, Hint: k.Hint}
	if e.Severity == "" {
		e.Severity = "ERROR"
	}
	if len(args) > 0 {
		e.Message, e.Detail, e.Hint = format(k.Message, args), format(k.Detail, args), format(k.Hint, args)
	}
	return e
}

// format leaves alone what has nothing to fill in: fmt would complain of arguments that are not used.
func format(text string, args []any) string {
	for i := range len(text) {
		if text[i] == '%' {
			// An index makes fmt accept that others are not used.
			return fmt.Sprintf(text, args...)
		}
	}
	return text
}
