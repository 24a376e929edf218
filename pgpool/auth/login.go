package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// maxLogin bounds all that a server may send before it is ready, in bytes.
const maxLogin = 1 << 20

// LoginParams say how to log in to a server.
type LoginParams struct {
	Credentials *Credentials
	Database    string         // defaults to the user's name
	Settings    []pgwire.Param // further startup parameters

	SSLMode SSLMode
	TLS     *tls.Config // root and client certificates; nil means the system's roots
	Host    string      // the name that the certificate must carry

	// TLSClient starts TLS on the connection; nil means tls.Client. The event loop takes over only connections that were
	// made by its own.
	TLSClient func(net.Conn, *tls.Config) *tls.Conn

	// AllowCleartext lets the password go over a connection without TLS. A Unix socket counts as private.
	AllowCleartext bool
}

// Session is a connection that a server has declared ready for queries.
type Session struct {
	Conn   net.Conn          // the connection given to Login, or the *tls.Conn around it
	Params map[string]string // what the server reported (ParameterStatus)
	PID    uint32            // of the server process, for a cancel request
	Key    []byte            // its secret; empty when the server has none
}

// Login logs in over conn and returns when the server is ready for queries; nothing behind its ReadyForQuery has been
// read. An error that holds a *pgwire.Error (errors.AsType) is the server's own. ctx bounds the whole of it. Login owns
// conn until it returns: after an error conn is closed, otherwise it has no deadline.
func Login(ctx context.Context, conn net.Conn, p LoginParams) (Session, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	s, err := login(ctx, conn, &p)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return Session{}, fmt.Errorf("log in as user %q: %w", p.Credentials.user, err)
	}
	conn.SetDeadline(time.Time{})
	return s, nil
}

func login(ctx context.Context, conn net.Conn, p *LoginParams) (Session, error) {
	conn, err := negotiateTLS(ctx, conn, p)
	if err != nil {
		return Session{}, err
	}
	database := p.Database
	if database == "" {
		database = p.Credentials.user
	}
	params := slices.Concat([]pgwire.Param{{Name: "user", Value: p.Credentials.user}, {Name: "database", Value: database}},
		p.Settings)
	if _, err := conn.Write(pgwire.AppendStartup(nil, pgwire.Version30, params)); err != nil {
		return Session{}, fmt.Errorf("send startup packet: %w", err)
	}
	d := dialogue{conn: conn, p: p, session: Session{Conn: conn, Params: map[string]string{}}}
	for received := 0; ; {
		kind, body, err := readMessage(conn)
		if err != nil {
			return Session{}, err
		}
		if received += 5 + len(body); received > maxLogin {
			return Session{}, fmt.Errorf("server sent over %d bytes and is not ready", maxLogin)
		}
		ready, err := d.message(ctx, kind, body)
		if err != nil {
			return Session{}, err
		}
		if ready {
			return d.session, nil
		}
	}
}

// dialogue is a login between two messages of the server.
type dialogue struct {
	conn          net.Conn
	p             *LoginParams
	session       Session
	authenticated bool
	scram         *scramExchange // once the server has asked for SCRAM
	verified      bool           // the server has proven that it knows the password
}

// message takes one message of the server. ready means it was ReadyForQuery.
func (d *dialogue) message(ctx context.Context, kind byte, body []byte) (ready bool, err error) {
	switch kind {
	case 'E':
		return false, pgwire.ParseError(body)
	case 'N', 'v': // a notice; a protocol version, which cannot be lower than the one we asked for
		return false, nil
	case 'R':
		if d.authenticated {
			return false, errors.New("server asks for authentication after it was complete")
		}
		return false, d.authentication(ctx, body)
	}
	if !d.authenticated {
		return false, fmt.Errorf("message type %q before authentication", kind)
	}
	switch kind {
	case 'S':
		name, rest, ok1 := bytes.Cut(body, []byte{0})
		value, _, ok2 := bytes.Cut(rest, []byte{0})
		if !ok1 || !ok2 {
			return false, errors.New("malformed ParameterStatus")
		}
		d.session.Params[string(name)] = string(value)
	case 'K':
		if len(body) < 4+pgwire.MinCancelKeyLen || len(body) > 4+pgwire.MaxCancelKeyLen {
			return false, fmt.Errorf("BackendKeyData of %d bytes", len(body))
		}
		d.session.PID, d.session.Key = binary.BigEndian.Uint32(body), body[4:]
	case 'Z':
		if string(body) != "I" {
			return false, fmt.Errorf("server is ready with status %q", body)
		}
		return true, nil
	default:
		return false, fmt.Errorf("unexpected message type %q during login", kind)
	}
	return false, nil
}

// authentication takes an Authentication message and sends what answers it.
func (d *dialogue) authentication(ctx context.Context, body []byte) error {
	if len(body) < 4 {
		return errors.New("malformed authentication message")
	}
	code, data := binary.BigEndian.Uint32(body), body[4:]
	if d.scram != nil && code != authOK && code != authSASLContinue && code != authSASLFinal {
		return fmt.Errorf("server asks for %s in the middle of SCRAM", methodName(code))
	}
	switch code {
	case authOK:
		if d.scram != nil && !d.verified {
			return errors.New("server ends SCRAM without proving that it knows the password")
		}
		d.authenticated = true
		return nil
	case authCleartext:
		if !d.private() {
			return errors.New("server asks for the password in clear text over a connection without TLS")
		}
		password, err := d.p.Credentials.password()
		if err != nil {
			return err
		}
		return d.send(append([]byte(password), 0))
	case authMD5:
		if len(data) != 4 {
			return errors.New("malformed MD5 challenge")
		}
		response, err := d.p.Credentials.md5Response(data)
		if err != nil {
			return err
		}
		return d.send(append([]byte(response), 0))
	case authSASL:
		x, err := d.p.Credentials.newExchange(data, serverBinding(d.conn))
		if err != nil {
			return err
		}
		d.scram = x
		first, err := x.initialResponse()
		if err != nil {
			return err
		}
		return d.send(first)
	case authSASLContinue, authSASLFinal:
		if d.scram == nil {
			return errors.New("SASL message without a SASL request")
		}
		if code == authSASLFinal {
			err := d.scram.finish(data)
			d.verified = err == nil
			return err
		}
		proof, err := d.scram.answer(ctx, data)
		if err != nil {
			return err
		}
		return d.send([]byte(proof))
	}
	return fmt.Errorf("server asks for %s, which is not supported", methodName(code))
}

func (d *dialogue) send(body []byte) error {
	if _, err := d.conn.Write(appendMessage(nil, 'p', body)); err != nil {
		return fmt.Errorf("send authentication: %w", err)
	}
	return nil
}

// private tells whether nobody between us and the server can read along.
func (d *dialogue) private() bool {
	switch d.conn.(type) {
	case *tls.Conn, *net.UnixConn:
		return true
	}
	return d.p.AllowCleartext
}

// methodName names an authentication method (AUTH_REQ_… in protocol.h).
func methodName(code uint32) string {
	switch code {
	case 1, 2:
		return "Kerberos authentication"
	case authCleartext:
		return "a clear-text password"
	case 4:
		return "crypt authentication"
	case authMD5:
		return "MD5 authentication"
	case 6:
		return "SCM credentials"
	case 7, 8:
		return "GSSAPI authentication"
	case 9:
		return "SSPI authentication"
	case authSASL:
		return "SASL authentication"
	}
	return fmt.Sprintf("authentication method %d", code)
}
