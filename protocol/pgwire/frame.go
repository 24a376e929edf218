// HOT PATH

// Package pgwire reads and writes PostgreSQL's frontend/backend protocol, version 3, without deciding anything about it.
//
//	frame.go            typed messages: header, names and the few bodies that a proxy looks into
//	startup.go          the untyped first packet
//	startup_options.go  the "options" startup parameter
//	error.go            ErrorResponse and NoticeResponse
package pgwire

import (
	"bytes"
	"encoding/binary"
)

// HeaderLen is the size in bytes of a message's type and length.
const HeaderLen = 5

// Messages from a client (PostgreSQL documentation, "Message Formats").
const (
	Bind         = 'B'
	Close        = 'C'
	CopyData     = 'd' // both directions
	CopyDone     = 'c' // both directions
	CopyFail     = 'f'
	Describe     = 'D'
	Execute      = 'E'
	Flush        = 'H'
	FunctionCall = 'F'
	Parse        = 'P'
	Password     = 'p'
	Query        = 'Q'
	Sync         = 'S'
	Terminate    = 'X'
)

// Messages from a server.
const (
	Authentication       = 'R'
	BackendKeyData       = 'K'
	BindComplete         = '2'
	CloseComplete        = '3'
	CommandComplete      = 'C'
	CopyInResponse       = 'G'
	CopyOutResponse      = 'H'
	CopyBothResponse     = 'W'
	DataRow              = 'D'
	EmptyQuery           = 'I'
	ErrorResponse        = 'E'
	FunctionCallResponse = 'V'
	NoData               = 'n'
	NoticeResponse       = 'N'
	NotificationResponse = 'A'
	ParameterDescription = 't'
	ParameterStatus      = 'S'
	ParseComplete        = '1'
	PortalSuspended      = 's'
	ReadyForQuery        = 'Z'
	RowDescription       = 'T'
)

// Transaction states in ReadyForQuery.
const (
	Idle     = 'I'
	InBlock  = 'T'
	InFailed = 'E'
)

// MaxFrame is the largest message PostgreSQL allocates for (MaxAllocSize in memutils.h), its type byte included.
const MaxFrame = 1<<30 - 1

// Header reads the type and the whole size, header included, of the message at the start of b. It reports false for a
// length that no message can have. b must hold HeaderLen bytes.
func Header(b []byte) (typ byte, size int, ok bool) {
	n := binary.BigEndian.Uint32(b[1:])
	if n < 4 || n > MaxFrame-1 {
		return b[0], 0, false
	}
	return b[0], int(n) + 1, true
}

// CString reads a zero-terminated string at the start of b and returns it and what follows; ok is false when there is no
// terminator. Both point into b.
func CString(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// AppendHeader appends the header of a message whose body has n bytes.
func AppendHeader(dst []byte, typ byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, typ), uint32(n+4))
}

// AppendQuery appends a simple Query.
func AppendQuery(dst []byte, sql string) []byte {
	dst = AppendHeader(dst, Query, len(sql)+1)
	return append(append(dst, sql...), 0)
}

// AppendParse appends a Parse of the statement name; body is everything behind the name: text, zero byte, parameter types.
func AppendParse(dst []byte, name, body string) []byte {
	dst = AppendHeader(dst, Parse, len(name)+1+len(body))
	dst = append(append(dst, name...), 0)
	return append(dst, body...)
}

// AppendCloseStatement appends a Close of the statement name.
func AppendCloseStatement(dst []byte, name string) []byte {
	dst = AppendHeader(dst, Close, len(name)+2)
	dst = append(dst, 'S')
	return append(append(dst, name...), 0)
}

// AppendParameterStatus appends a ParameterStatus.
func AppendParameterStatus(dst []byte, name, value string) []byte {
	dst = AppendHeader(dst, ParameterStatus, len(name)+len(value)+2)
	dst = append(append(dst, name...), 0)
	return append(append(dst, value...), 0)
}

// AppendBackendKeyData appends the key that cancels this connection's queries.
func AppendBackendKeyData(dst []byte, pid uint32, key []byte) []byte {
	dst = AppendHeader(dst, BackendKeyData, 4+len(key))
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return append(dst, key...)
}

// AppendAuthenticationOk appends AuthenticationOk.
func AppendAuthenticationOk(dst []byte) []byte {
	return append(AppendHeader(dst, Authentication, 4), 0, 0, 0, 0)
}
