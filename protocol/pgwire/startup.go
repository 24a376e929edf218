package pgwire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Bounds of the first packet, its own length word included. They are checks on the declared length, made before any
// arithmetic with it and before anything is allocated for it.
const (
	MinStartupLen = 8
	MaxStartupLen = 10000
)

// Bounds of the secret in BackendKeyData and CancelRequest: 4 bytes up to protocol 3.0, up to 256 since 3.2.
const (
	MinCancelKeyLen = 4
	MaxCancelKeyLen = 256
)

// Protocol versions as they travel: major in the high half, minor in the low half (PG_PROTOCOL in pqcomm.h).
const (
	Version30 uint32 = 3 << 16
	Version32 uint32 = 3<<16 | 2
)

// Codes that stand in the place of a version in packets that are not a StartupMessage (pqcomm.h).
const (
	codeCancel uint32 = 1234<<16 | 5678 // 80877102
	codeSSL    uint32 = 1234<<16 | 5679 // 80877103
	codeGSSENC uint32 = 1234<<16 | 5680 // 80877104
)

// StartupKind tells what the untyped first packet of a connection asks for.
type StartupKind uint8

// The four packets that may come before a connection is authenticated.
const (
	KindStartup StartupKind = iota
	KindSSLRequest
	KindGSSENCRequest
	KindCancelRequest
)

// Param is a run-time setting as it was sent: the name's case is kept.
type Param struct {
	Name, Value string
}

// Startup is a parsed first packet. Its strings and bytes are copies.
type Startup struct {
	Kind StartupKind

	// Version, Params and ProtocolOptions belong to KindStartup. Params are in the order sent; a name sent twice keeps
	// its first place and its last value. ProtocolOptions are the ones named "_pq_.…", which a server that does not know
	// them must list in NegotiateProtocolVersion.
	Version         uint32
	Params          []Param
	ProtocolOptions []Param

	// PID and Key belong to KindCancelRequest.
	PID uint32
	Key []byte
}

// Get returns the value of a startup parameter, "" when it was not sent.
func (s *Startup) Get(name string) string {
	for _, p := range s.Params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// User returns the user who wants to log in. It is never empty for a parsed KindStartup.
func (s *Startup) User() string { return s.Get("user") }

// Database returns the database asked for, which defaults to the user's name.
func (s *Startup) Database() string {
	if db := s.Get("database"); db != "" {
		return db
	}
	return s.User()
}

// ReadStartup reads one first packet and not a byte more, so that the connection can be handed on. It returns io.EOF
// when the other side closed without a byte, and an *Error when what it sent cannot be answered otherwise.
func ReadStartup(r io.Reader) (Startup, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.EOF {
			return Startup{}, err
		}
		return Startup{}, fmt.Errorf("read startup packet: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < MinStartupLen || n > MaxStartupLen {
		return Startup{}, errStartupLength(head, n)
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Startup{}, fmt.Errorf("read startup packet: %w", err)
	}
	return ParseStartup(body)
}

// ParseStartup parses a first packet without its length word. The error, if any, is an *Error to be sent to the client.
func ParseStartup(body []byte) (Startup, error) {
	if len(body) < MinStartupLen-4 || len(body) > MaxStartupLen-4 {
		return Startup{}, startupLength.with(len(body)+4, MinStartupLen, MaxStartupLen)
	}
	code, rest := binary.BigEndian.Uint32(body), body[4:]
	switch code {
	case codeSSL, codeGSSENC:
		if len(rest) != 0 {
			return Startup{}, encryptionLength.with()
		}
		kind := KindSSLRequest
		if code == codeGSSENC {
			kind = KindGSSENCRequest
		}
		return Startup{Kind: kind}, nil
	case codeCancel:
		if len(rest) < 4+MinCancelKeyLen || len(rest) > 4+MaxCancelKeyLen {
			return Startup{}, cancelLength.with()
		}
		return Startup{
			Kind: KindCancelRequest,
			PID:  binary.BigEndian.Uint32(rest),
			Key:  bytes.Clone(rest[4:]),
		}, nil
	}
	if code>>16 != 3 {
		return Startup{}, versionUnsupported.with(code>>16, code&0xffff)
	}
	return parseStartupParams(code, rest)
}

// parseStartupParams follows ProcessStartupPacket (backend_startup.c): pairs of strings that end in NUL, then one NUL as
// the last byte of the packet.
func parseStartupParams(version uint32, b []byte) (Startup, error) {
	s := Startup{Kind: KindStartup, Version: version}
	at := make(map[string]int) // where a name is in its list
	for {
		name, rest, ok := cutString(b)
		if !ok {
			return Startup{}, startupLayout.with()
		}
		if name == "" {
			if len(rest) != 0 {
				return Startup{}, startupLayout.with()
			}
			break
		}
		value, rest, ok := cutString(rest)
		if !ok {
			return Startup{}, startupLayout.with()
		}
		b = rest
		if strings.HasPrefix(name, "_pq_.") {
			s.ProtocolOptions = setParam(s.ProtocolOptions, at, name, value)
		} else {
			s.Params = setParam(s.Params, at, name, value)
		}
	}
	if s.User() == "" {
		return Startup{}, noUser.with()
	}
	return s, nil
}

func setParam(list []Param, at map[string]int, name, value string) []Param {
	if i, twice := at[name]; twice {
		list[i].Value = value
		return list
	}
	at[name] = len(list)
	return append(list, Param{name, value})
}

// cutString splits b after its first NUL.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(b[:i]), b[i+1:], true
}

// ErrHTTP is returned by ReadStartup for what begins like a request of HTTP. Its sender reads no ErrorResponse.
var ErrHTTP = spokeHTTP.with()

// errStartupLength names the usual strangers that knock on a Postgres port.
func errStartupLength(head [4]byte, n uint32) *Error {
	switch string(head[:]) {
	case "GET ", "POST", "HEAD", "PUT ", "PATC", "DELE", "OPTI", "CONN", "PRI ":
		return ErrHTTP
	}
	why := startupLength
	if head[0] == 0x16 && head[1] == 3 {
		why = startupTLS
	}
	return why.with(n, MinStartupLen, MaxStartupLen)
}

// AppendStartup appends a StartupMessage with the parameters in the given order.
func AppendStartup(dst []byte, version uint32, params []Param) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, version)
	for _, p := range params {
		dst = appendString(dst, p.Name)
		dst = appendString(dst, p.Value)
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

// AppendSSLRequest appends the packet that asks a server for TLS.
func AppendSSLRequest(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 8)
	return binary.BigEndian.AppendUint32(dst, codeSSL)
}

// AppendCancelRequest appends the packet that cancels the query of the server process pid. It goes over a connection of
// its own.
func AppendCancelRequest(dst []byte, pid uint32, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(12+len(key)))
	dst = binary.BigEndian.AppendUint32(dst, codeCancel)
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return append(dst, key...)
}

// Negotiate settles the protocol version with a client that has sent s: what it asks for, but nothing newer than 3.2.
// answer is the one NegotiateProtocolVersion that is due before authentication, or nil. It lists every protocol option
// that was sent, since none is known here (ProcessStartupPacket in backend_startup.c).
func Negotiate(s *Startup) (version uint32, answer []byte) {
	version = min(s.Version, Version32)
	if version < s.Version || len(s.ProtocolOptions) > 0 {
		answer = AppendNegotiateProtocolVersion(nil, version, s.ProtocolOptions)
	}
	return version, answer
}

// AppendNegotiateProtocolVersion appends the answer to a client that asked for a newer minor version than newest, or for
// protocol options that are unknown here. PostgreSQL sends the whole version where its documentation says "minor", and
// libpq expects it so.
func AppendNegotiateProtocolVersion(dst []byte, newest uint32, unknown []Param) []byte {
	start := len(dst)
	dst = append(dst, 'v', 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, newest)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, p := range unknown {
		dst = appendString(dst, p.Name)
	}
	return endMessage(dst, start)
}

// appendString appends s up to its first NUL, and a NUL: no string of ours can smuggle a second field into a message.
func appendString(dst []byte, s string) []byte {
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	dst = append(dst, s...)
	return append(dst, 0)
}

// endMessage writes the length of the typed message that begins at start.
func endMessage(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}
