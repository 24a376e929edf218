package pgwire

import (
	"bytes"
	"strings"
)

// Error is an ErrorResponse or a NoticeResponse: one that a server sent, or one that this program is about to send. Any
// field may be empty in what a server sent.
type Error struct {
	Severity string // ERROR, FATAL, PANIC; WARNING, NOTICE, … in a notice; never translated if the server sent field V
	Code     string // SQLSTATE, five characters
	Message  string
	Detail   string
	Hint     string
	Where    string // the call stack of the server's functions
}

// Error returns one line for logs: severity, message and SQLSTATE.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Severity != "" {
		b.WriteString(e.Severity)
		b.WriteString(": ")
	}
	if e.Message == "" {
		b.WriteString("error without a message")
	}
	b.WriteString(e.Message)
	if e.Code != "" {
		b.WriteString(" (SQLSTATE ")
		b.WriteString(e.Code)
		b.WriteByte(')')
	}
	return b.String()
}

// Fatal tells whether the side that sent e closes the connection after it.
func (e *Error) Fatal() bool { return e.Severity == "FATAL" || e.Severity == "PANIC" }

// AppendErrorResponse appends e as an ErrorResponse. Severity and Code, which drivers rely on, default to ERROR and
// XX000.
func AppendErrorResponse(dst []byte, e *Error) []byte {
	return appendFields(dst, 'E', "ERROR", "XX000", e)
}

// AppendNotice appends e as a NoticeResponse. Severity and Code default to NOTICE and 00000.
func AppendNotice(dst []byte, e *Error) []byte { return appendFields(dst, 'N', "NOTICE", "00000", e) }

func appendFields(dst []byte, kind byte, severity, code string, e *Error) []byte {
	if e.Severity != "" {
		severity = e.Severity
	}
	if e.Code != "" {
		code = e.Code
	}
	start := len(dst)
	dst = append(dst, kind, 0, 0, 0, 0)
	dst = appendString(append(dst, 'S'), severity)
	dst = appendString(append(dst, 'V'), severity)
	dst = appendString(append(dst, 'C'), code)
	dst = appendString(append(dst, 'M'), e.Message)
	dst = appendOptional(dst, 'D', e.Detail)
	dst = appendOptional(dst, 'H', e.Hint)
	dst = appendOptional(dst, 'W', e.Where)
	return endMessage(append(dst, 0), start)
}

func appendOptional(dst []byte, field byte, value string) []byte {
	if value == "" {
		return dst
	}
	return appendString(append(dst, field), value)
}

// ParseError reads the body of an ErrorResponse or NoticeResponse. It takes what it understands: a missing field stays
// empty, an unknown one is skipped, and a body that ends too early ends the list. The strings are copies.
func ParseError(body []byte) *Error {
	e := &Error{}
	var localised string
	for len(body) > 1 && body[0] != 0 {
		field := body[0]
		value, rest := body[1:], []byte(nil)
		if i := bytes.IndexByte(value, 0); i >= 0 {
			value, rest = value[:i], value[i+1:]
		}
		body = rest
		switch field {
		case 'S':
			localised = string(value)
		case 'V':
			e.Severity = string(value)
		case 'C':
			e.Code = string(value)
		case 'M':
			e.Message = string(value)
		case 'D':
			e.Detail = string(value)
		case 'H':
			e.Hint = string(value)
		case 'W':
			e.Where = string(value)
		}
	}
	if e.Severity == "" {
		e.Severity = localised
	}
	return e
}

// AppendReadyForQuery appends a ReadyForQuery with the transaction state: I (idle), T (in a transaction) or E (in a failed
// one).
func AppendReadyForQuery(dst []byte, status byte) []byte {
	return append(dst, 'Z', 0, 0, 0, 5, status)
}
