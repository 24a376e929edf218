package admin

import (
	"encoding/binary"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

const (
	maxStatements = 1024
	maxName       = 256 // bytes in the name of a statement or portal
)

// Formats of a value (PostgreSQL documentation, "Bind").
const (
	formatText   = 0
	formatBinary = 1
)

// formats are those of a row's values: none for text, one for all, or one for each.
type formats []int16

func (f formats) of(i int) int16 {
	switch {
	case len(f) == 0:
		return formatText
	case len(f) == 1:
		return f[0]
	default:
		return f[i]
	}
}

func (f formats) check(fields []field) error {
	if len(fields) > 0 && len(f) > 1 && len(f) != len(fields) {
		return resultFormats.with(len(f), len(fields))
	}
	for _, code := range f {
		if code != formatText && code != formatBinary {
			return unknownFormat.with(code)
		}
	}
	return nil
}

// statement is a prepared statement: a request, whose command is nil for an empty query.
type statement struct{ request }

// portal is a statement that is about to run, runs, or is done.
type portal struct {
	*statement
	formats formats
	started bool
	rows    []row // not sent yet
}

// extended answers a message of the extended protocol. errMalformed ends the session, another error the batch.
func (s *session) extended(typ byte, body []byte) error {
	switch typ {
	case pgwire.Parse:
		if m, ok := decodeParse(body); ok {
			return s.parse(m)
		}
	case pgwire.Bind:
		if m, ok := decodeBind(body); ok {
			return s.bind(m)
		}
	case pgwire.Describe:
		if m, ok := decodeTarget(body); ok {
			return s.describe(m)
		}
	case pgwire.Execute:
		if m, ok := decodeExecute(body); ok {
			return s.runPortal(m)
		}
	case pgwire.Close:
		if m, ok := decodeTarget(body); ok {
			if m.kind == 'S' {
				delete(s.statements, m.name)
			} else {
				delete(s.portals, m.name)
			}
			s.out = pgwire.AppendHeader(s.out, pgwire.CloseComplete, 0)
			return nil
		}
	}
	return errMalformed
}

func (s *session) parse(m parse) error {
	if m.statement != "" && s.statements[m.statement] != nil {
		return statementExists.with(m.statement)
	}
	if err := checkName(m.statement, len(s.statements)); err != nil {
		return err
	}
	list, err := split(m.sql)
	if err != nil {
		return err
	}
	st := &statement{}
	switch len(list) {
	case 0:
	case 1:
		if st.request, err = find(s.table, m.sql, list[0]); err != nil {
			return err
		}
	default:
		return severalCommands.with()
	}
	s.statements[m.statement] = st
	s.out = pgwire.AppendHeader(s.out, pgwire.ParseComplete, 0)
	return nil
}

// checkName bounds what a session may keep.
func checkName(name string, n int) error {
	if len(name) > maxName {
		return nameTooLong.with(maxName)
	}
	if name != "" && n >= maxStatements {
		return tooManyStatements.with(maxStatements)
	}
	return nil
}

func (s *session) bind(m bind) error {
	st, err := s.statement(m.statement)
	if err != nil {
		return err
	}
	if m.params > 0 {
		return boundParameters.with(m.params)
	}
	if m.portal != "" && s.portals[m.portal] != nil {
		return portalExists.with(m.portal)
	}
	if err := checkName(m.portal, len(s.portals)); err != nil {
		return err
	}
	if err := m.results.check(st.columns()); err != nil {
		return err
	}
	s.portals[m.portal] = &portal{statement: st, formats: m.results}
	s.out = pgwire.AppendHeader(s.out, pgwire.BindComplete, 0)
	return nil
}

func (s *session) describe(m target) error {
	if m.kind == 'P' {
		p, err := s.portal(m.name)
		if err != nil {
			return err
		}
		s.describeRows(p.columns(), p.formats)
		return nil
	}
	st, err := s.statement(m.name)
	if err != nil {
		return err
	}
	s.out = pgwire.AppendHeader(s.out, pgwire.ParameterDescription, 2)
	s.out = binary.BigEndian.AppendUint16(s.out, 0)
	s.describeRows(st.columns(), nil)
	return nil
}

func (s *session) describeRows(fields []field, f formats) {
	if len(fields) == 0 {
		s.out = pgwire.AppendHeader(s.out, pgwire.NoData, 0)
		return
	}
	s.out = appendRowDescription(s.out, fields, f)
}

// runPortal answers Execute. Rows beyond the limit wait for the next Execute of the portal.
func (s *session) runPortal(m execute) error {
	p, err := s.portal(m.portal)
	if err != nil {
		return err
	}
	if p.command == nil {
		s.out = pgwire.AppendHeader(s.out, pgwire.EmptyQuery, 0)
		return nil
	}
	if !p.started {
		if p.rows, err = s.execute(p.request); err != nil {
			return err
		}
		p.started = true
	}
	n := len(p.rows)
	if m.maxRows > 0 {
		n = min(n, m.maxRows)
	}
	for _, r := range p.rows[:n] {
		s.row(r, p.formats)
	}
	p.rows = p.rows[n:]
	if m.maxRows > 0 && n == m.maxRows {
		s.out = pgwire.AppendHeader(s.out, pgwire.PortalSuspended, 0)
		return nil
	}
	s.complete(p.request)
	return nil
}

func (st *statement) columns() []field {
	if st.command == nil {
		return nil
	}
	return st.fields
}

func (s *session) statement(name string) (*statement, error) {
	if st := s.statements[name]; st != nil {
		return st, nil
	}
	return nil, noStatement.with(name)
}

func (s *session) portal(name string) (*portal, error) {
	if p := s.portals[name]; p != nil {
		return p, nil
	}
	return nil, noPortal.with(name)
}
