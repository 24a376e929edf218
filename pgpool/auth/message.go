package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxMessage bounds the body of one message before authentication is over (PG_MAX_AUTH_TOKEN_LENGTH in auth.c).
const maxMessage = 65535

// Codes of Authentication messages (AUTH_REQ_… in protocol.h).
const (
	authOK           = 0
	authCleartext    = 3
	authMD5          = 5
	authSASL         = 10
	authSASLContinue = 11
	authSASLFinal    = 12
)

const mechanismSCRAM = "SCRAM-SHA-256"

var errMessageLength = errors.New("invalid message length")

// readMessage reads one typed message and not a byte more.
func readMessage(r io.Reader) (kind byte, body []byte, err error) {
	kind, n, err := readHeader(r)
	if err != nil {
		return 0, nil, err
	}
	body, err = readBody(r, n)
	return kind, body, err
}

// readHeader reads a message's type and the length of its body.
func readHeader(r io.Reader) (kind byte, length int, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n < 4 || n > maxMessage+4 {
		return 0, 0, fmt.Errorf("%w: message %q announces %d bytes, %d are allowed", errMessageLength, head[0], n, maxMessage)
	}
	return head[0], int(n - 4), nil
}

func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

// appendAuth appends an Authentication message.
func appendAuth(dst []byte, code uint32, data string) []byte {
	return appendMessage(dst, 'R', binary.BigEndian.AppendUint32(nil, code), []byte(data))
}

func appendMessage(dst []byte, kind byte, parts ...[]byte) []byte {
	n := 4
	for _, p := range parts {
		n += len(p)
	}
	dst = binary.BigEndian.AppendUint32(append(dst, kind), uint32(n))
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}
