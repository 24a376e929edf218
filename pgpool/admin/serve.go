package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

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

const (
	// maxPending is how many bytes of answers wait for a Sync before they are sent anyway.
	maxPending = 64 << 10
	// readAhead is how many messages may wait while a command runs. A client that sends more is not read from, so that its
	// leaving is noticed late.
	readAhead = 8
)

// past is a deadline that ends what is under way.
var past = time.Unix(1, 0)

// Serve answers console commands on nc, to which AuthenticationOk was sent, until the client leaves, nc's deadline passes
// or ctx ends; then it returns nil. It does not close nc, but its read deadline has passed when Serve returns. An error
// that wraps a *pgwire.Error is for the caller to send.
func Serve(ctx context.Context, nc net.Conn, role Role, src Source, ctl Control) error {
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(past) })
	defer stop()
	ctx, leave := context.WithCancel(ctx)
	s := newSession(ctx, nc, role, src, ctl)
	for _, p := range parameters() {
		s.out = pgwire.AppendParameterStatus(s.out, p.Name, p.Value)
	}
	s.out = pgwire.AppendBackendKeyData(s.out, 0, make([]byte, pgwire.MinCancelKeyLen)) // no request for it finds anything
	s.ready()

	messages := make(chan message, readAhead)
	var reading error
	go func() {
		reading = read(ctx, nc, messages)
		leave() // ends the command that is under way
		close(messages)
	}()
	err := s.run(messages)
	leave()
	nc.SetReadDeadline(past)
	for range messages { // until the reader has ended
	}
	if s.suspended && s.src.State().Suspended {
		s.ctl.Resume("") // PgBouncer, too: nobody is left who would
	}
	if err == nil {
		err = reading
	}
	if err == nil || ended(err) {
		return nil
	}
	return fmt.Errorf("console: %w", err)
}

// read passes on what the client sends until it leaves, or until ctx ends.
func read(ctx context.Context, nc net.Conn, to chan<- message) error {
	in := bufio.NewReader(nc)
	for {
		typ, body, err := readMessage(in)
		if err != nil || typ == pgwire.Terminate {
			return err
		}
		select {
		case to <- message{typ, body}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended tells whether the error is one of the ways in which every session ends.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled)
}

// session is one client's console.
type session struct {
	nc     net.Conn
	out    []byte // answers that were not sent yet
	gone   bool   // the client takes no more answers
	status byte   // transaction status: there are no transactions, but drivers wait for the answer to their BEGIN

	env
	role      Role
	table     []command
	suspended bool // by this session

	statements map[string]*statement // at most maxStatements, and the unnamed one
	portals    map[string]*portal    // likewise; they end with the Sync
	failed     bool                  // skip everything up to the next Sync
}

func newSession(ctx context.Context, nc net.Conn, role Role, src Source, ctl Control) *session {
	return &session{
		nc: nc, status: pgwire.Idle,
		env: env{ctx, src, ctl}, role: role, table: commands(),
		statements: make(map[string]*statement), portals: make(map[string]*portal),
	}
}

func (s *session) run(messages <-chan message) error {
	for m := range messages {
		err := s.handle(m.typ, m.body)
		if err != nil || s.gone {
			s.flush()
			return err
		}
	}
	s.flush() // what is pending may explain why there is no more
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
		if err := s.query(sql); err != nil {
			return err
		}
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
		s.fail(noFunctions.with())
		s.failed = false
		s.ready()
		return nil
	case pgwire.Parse, pgwire.Bind, pgwire.Describe, pgwire.Execute, pgwire.Close:
		if s.failed {
			return nil
		}
		err := s.extended(typ, body)
		if errors.Is(err, errMalformed) || s.left(err) {
			return err
		}
		if err != nil {
			s.fail(err)
			s.failed = true
		}
		return nil
	default:
		return unknownMessage.with(typ)
	}
}

// query answers the simple protocol. An error ends the session.
func (s *session) query(sql string) error {
	delete(s.statements, "")
	clear(s.portals)
	statements, err := split(sql)
	if err != nil {
		s.fail(err)
		return nil
	}
	if len(statements) == 0 {
		s.out = pgwire.AppendHeader(s.out, pgwire.EmptyQuery, 0)
	}
	for _, tokens := range statements {
		r, err := find(s.table, sql, tokens)
		if err == nil {
			err = s.simple(r)
		}
		if s.left(err) {
			return err
		}
		if err != nil {
			s.fail(err)
			return nil
		}
	}
	return nil
}

func (s *session) simple(r request) error {
	rows, err := s.execute(r)
	if err != nil {
		return err
	}
	if len(r.fields) > 0 {
		s.out = appendRowDescription(s.out, r.fields, nil)
	}
	for _, row := range rows {
		s.row(row, nil)
	}
	s.complete(r)
	return nil
}

// execute runs a command, if the user may.
func (s *session) execute(r request) ([]row, error) {
	if err := r.authorise(s.role); err != nil {
		return nil, err
	}
	if r.name == "suspend" {
		s.suspended = true
	}
	rows, err := r.run(s.env, r)
	if err != nil {
		return nil, err
	}
	if r.notice != nil {
		s.out = pgwire.AppendNotice(s.out, r.notice)
	}
	if r.status != 0 {
		s.status = r.status
	}
	return rows, nil
}

// left tells whether a command failed because the client has left or the console ends.
func (s *session) left(err error) bool {
	return err != nil && s.ctx.Err() != nil && errors.Is(err, s.ctx.Err())
}

func (s *session) row(r row, f formats) {
	s.out = appendRow(s.out, r, f)
	if len(s.out) >= maxPending {
		s.flush()
	}
}

func (s *session) complete(r request) {
	tag := r.completion()
	s.out = pgwire.AppendHeader(s.out, pgwire.CommandComplete, len(tag)+1)
	s.out = append(append(s.out, tag...), 0)
}

func (s *session) fail(err error) {
	e, ok := errors.AsType[*pgwire.Error](err)
	if !ok {
		e = commandFailed.with(err)
	}
	s.out = pgwire.AppendErrorResponse(s.out, e)
}

func (s *session) ready() {
	s.out = pgwire.AppendReadyForQuery(s.out, s.status)
	s.flush()
}

func (s *session) flush() {
	if !s.gone && len(s.out) > 0 {
		_, err := s.nc.Write(s.out)
		s.gone = err != nil
	}
	s.out = s.out[:0]
}
