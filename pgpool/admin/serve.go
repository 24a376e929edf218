package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Role is what a user may do on the console.
type Role uint8

// Each role may do what the one before may.
const (
	NoRole Role = iota
	Stats       // SHOW
	Admin       // everything
)

// maxPending is how many bytes of answers wait for a Sync before they are sent anyway.
const maxPending = 64 << 10

// Serve answers console commands on nc, to which AuthenticationOk was sent, until the client leaves or nc's deadline
// passes; then it returns nil. It does not close nc. An error that wraps a *pgwire.Error is for the caller to send.
func Serve(nc net.Conn, role Role, src Source) error {
	s := newSession(nc, role, src)
	for _, p := range parameters() {
		s.out = pgwire.AppendParameterStatus(s.out, p.Name, p.Value)
	}
	s.out = pgwire.AppendBackendKeyData(s.out, 0, make([]byte, pgwire.MinCancelKeyLen))
	s.ready()
	err := s.run()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// session is one client's console.
type session struct {
	nc   net.Conn
	in   *bufio.Reader
	out  []byte // answers that were not sent yet
	gone bool   // the client takes no more answers

	role  Role
	src   Source
	table []command

	statements map[string]*statement // at most maxStatements, and the unnamed one
	portals    map[string]*portal    // likewise; they end with the Sync
	failed     bool                  // skip everything up to the next Sync
}

func newSession(nc net.Conn, role Role, src Source) *session {
	return &session{
		nc: nc, in: bufio.NewReader(nc),
		role: role, src: src, table: commands(),
		statements: make(map[string]*statement), portals: make(map[string]*portal),
	}
}

func (s *session) run() error {
	for !s.gone {
		typ, body, err := readMessage(s.in)
		if err != nil {
			s.flush() // what is pending may explain it
			return fmt.Errorf("read from the console: %w", err)
		}
		if typ == pgwire.Terminate {
			return nil
		}
		if err := s.handle(typ, body); err != nil {
			s.flush()
			return err
		}
	}
	return nil
}

// handle answers one message. An error ends the session.
func (s *session) handle(typ byte, body []byte) error {
	switch typ {
	case pgwire.Query:
		sql, ok := decodeQuery(body)
		if !ok {
			return errMalformed
		}
		s.failed = false
		s.query(sql)
		s.ready()
		return nil
	case pgwire.Sync:
		s.failed = false
		clear(s.portals)
		s.ready()
		return nil
	case pgwire.Flush:
		s.flush()
		return nil
	case pgwire.CopyData, pgwire.CopyDone, pgwire.CopyFail:
		return nil // a server, too, ignores what is left of a copy that failed
	case pgwire.FunctionCall:
		s.fail(&pgwire.Error{Code: "0A000", Message: "the console has no functions to call"})
		s.failed = false
		s.ready()
		return nil
	case pgwire.Parse, pgwire.Bind, pgwire.Describe, pgwire.Execute, pgwire.Close:
		if s.failed {
			return nil
		}
		err := s.extended(typ, body)
		if errors.Is(err, errMalformed) {
			return err
		}
		if err != nil {
			s.fail(err)
			s.failed = true
		}
		return nil
	default:
		return &pgwire.Error{Code: "08P01", Message: fmt.Sprintf("invalid message type %d on the console", typ)}
	}
}

// query answers the simple protocol.
func (s *session) query(sql string) {
	delete(s.statements, "")
	clear(s.portals)
	statements, err := split(sql)
	if err != nil {
		s.fail(err)
		return
	}
	if len(statements) == 0 {
		s.out = pgwire.AppendHeader(s.out, pgwire.EmptyQuery, 0)
	}
	for _, words := range statements {
		c, err := find(s.table, words)
		if err == nil {
			err = s.simple(c)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *session) simple(c *command) error {
	rows, err := s.execute(c)
	if err != nil {
		return err
	}
	if len(c.fields) > 0 {
		s.out = appendRowDescription(s.out, c.fields, nil)
	}
	for _, r := range rows {
		s.row(r, nil)
	}
	s.complete(c)
	return nil
}

// execute runs a command, if the user may.
func (s *session) execute(c *command) ([]row, error) {
	if err := c.authorise(s.role); err != nil {
		return nil, err
	}
	rows, err := c.run(s.src)
	if err == nil && c.notice != nil {
		s.out = pgwire.AppendNotice(s.out, c.notice)
	}
	return rows, err
}

func (s *session) row(r row, f formats) {
	s.out = appendRow(s.out, r, f)
	if len(s.out) >= maxPending {
		s.flush()
	}
}

func (s *session) complete(c *command) {
	s.out = pgwire.AppendHeader(s.out, pgwire.CommandComplete, len(c.tag)+1)
	s.out = append(append(s.out, c.tag...), 0)
}

func (s *session) fail(err error) {
	e, ok := errors.AsType[*pgwire.Error](err)
	if !ok {
		e = &pgwire.Error{Message: err.Error()}
	}
	s.out = pgwire.AppendErrorResponse(s.out, e)
}

func (s *session) ready() {
	s.out = pgwire.AppendReadyForQuery(s.out, pgwire.Idle)
	s.flush()
}

func (s *session) flush() {
	if !s.gone && len(s.out) > 0 {
		_, err := s.nc.Write(s.out)
		s.gone = err != nil
	}
	s.out = s.out[:0]
}
