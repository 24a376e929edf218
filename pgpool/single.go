// HOT PATH

package pgpool

import (
	"encoding/binary"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// single is a unit of one statement without parameters that can be answered here: a Query; or Parse, Bind, Describe,
// Execute and Sync, of which Parse and Describe may be missing.
type single struct {
	st     *statement
	size   int        // bytes
	simple bool       // it is a Query
	parsed *statement // what a Parse in it makes
	name   string     // and its name
	format byte       // of its result
}

// single reads the unit at b. ok is false if it is another one, or not all there.
func (c *client) single(b []byte) (u single, ok bool) {
	bound, executed := (*statement)(nil), false
	for {
		if len(b)-u.size < pgwire.HeaderLen {
			return u, false
		}
		typ, size, ok := pgwire.Header(b[u.size:])
		if !ok || len(b)-u.size < size {
			return u, false
		}
		first := u.size == 0
		body := b[u.size+pgwire.HeaderLen : u.size+size]
		u.size += size
		switch {
		case typ == pgwire.Query && first:
			if u.st, u.simple = c.unit, true; u.st == nil || u.st.body != string(body) {
				u.st = c.w.texts.query(body)
			}
			return u, true
		case typ == pgwire.Parse && first:
			name, text, ok := pgwire.CString(body)
			if !ok || len(name) > 0 && c.stmts[string(name)] != nil || len(text) < 3 || string(text[len(text)-3:]) != "\x00\x00\x00" {
				return u, false
			}
			scope := ""
			if u.name = string(name); u.name != "" {
				scope = c.set.searchPath()
			}
			u.parsed = c.w.texts.find(text, scope)
		case typ == pgwire.Describe && u.parsed != nil && isStatement(body, u.name):
		case typ == pgwire.Bind && bound == nil:
			portal, rest, _ := pgwire.CString(body)
			name, values, ok := pgwire.CString(rest)
			if !ok || len(portal) > 0 {
				return u, false
			}
			if u.format, ok = formatOf(values); !ok {
				return u, false
			}
			switch {
			case u.parsed != nil && string(name) == u.name:
				bound = u.parsed
			case len(name) == 0:
				bound = c.unnamed
			default:
				bound = c.stmts[string(name)]
			}
			if bound == nil {
				return u, false
			}
		case typ == pgwire.Describe && string(body) == "P\x00" && bound != nil:
		case typ == pgwire.Execute && bound != nil && !executed && string(body) == "\x00\x00\x00\x00\x00":
			executed = true
		case typ == pgwire.Sync && executed:
			u.st = bound
			return u, true
		default:
			return u, false
		}
	}
}

// isStatement tells whether the body of a Describe is of the statement called name.
func isStatement(body []byte, name string) bool {
	return len(body) == len(name)+2 && body[0] == 'S' && string(body[1:len(name)+1]) == name && body[len(name)+1] == 0
}

// column is the only one of an answer that is made here, of type text, and its value.
type column struct{ name, value string }

// answer answers the unit u at b in place of a server: with a row if there is one, the command tag, and status.
func (c *client) answer(b []byte, u *single, row *column, tag string, status byte) {
	out := c.conn.Buffer(256)
	for pos := 0; pos < u.size; {
		typ, size, _ := pgwire.Header(b[pos:])
		kind := b[pos+pgwire.HeaderLen:]
		pos += size
		format := u.format
		switch typ {
		case pgwire.Parse:
			out = append(out, parseComplete...)
			continue
		case pgwire.Bind:
			out = append(out, bindComplete...)
			continue
		case pgwire.Describe:
			if kind[0] == 'S' {
				format = 0 // it is not known yet
				out = append(out, noParameters...)
			}
			if row == nil {
				out = append(out, noData...)
				continue
			}
		}
		if row != nil && (typ == pgwire.Query || typ == pgwire.Describe) {
			out = row.describe(out, format)
		}
		if typ == pgwire.Query || typ == pgwire.Execute {
			if row != nil {
				out = row.append(out)
			}
			out = pgwire.AppendHeader(out, pgwire.CommandComplete, len(tag)+1)
			out = append(append(out, tag...), 0)
		}
	}
	if status == pgwire.Idle {
		out = append(out, c.readyIdle()...)
	} else {
		out = pgwire.AppendReadyForQuery(out, status)
	}
	c.conn.SetBuffer(out)
	c.status = status
	c.since = c.w.loop.Now()
	c.group.here.queries++
	switch {
	case u.simple:
		c.unnamed = nil // exec_simple_query in postgres.c drops it
	case u.parsed == nil:
	case u.name == "":
		c.unnamed = u.parsed
	default:
		if c.stmts == nil {
			c.stmts = make(map[string]*statement)
		}
		c.stmts[u.name] = u.parsed
	}
}

// formatOf reads what follows the names in a Bind. ok is false if it has parameters, or formats for more than one column.
func formatOf(b []byte) (format byte, ok bool) {
	if len(b) < 2 {
		return 0, false
	}
	n := binary.BigEndian.Uint16(b)
	if n > 1 || len(b) < 2+2*int(n)+4 {
		return 0, false
	}
	b = b[2+2*n:]
	if binary.BigEndian.Uint16(b) != 0 {
		return 0, false
	}
	switch binary.BigEndian.Uint16(b[2:]) {
	case 0:
		return 0, len(b) == 4
	case 1:
		return b[len(b)-1], len(b) == 6 && b[4] == 0 && b[5] <= 1
	}
	return 0, false
}

// typeText is the oid of text in pg_type.dat.
const typeText = 25

// describe appends the RowDescription of a column that belongs to no table.
func (o *column) describe(out []byte, format byte) []byte {
	out = pgwire.AppendHeader(out, pgwire.RowDescription, 2+len(o.name)+1+18)
	out = append(append(append(out, 0, 1), o.name...), 0)
	return append(out, 0, 0, 0, 0, 0, 0, 0, 0, 0, typeText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, format)
}

// append appends the DataRow.
func (o *column) append(out []byte) []byte {
	out = pgwire.AppendHeader(out, pgwire.DataRow, 2+4+len(o.value))
	out = binary.BigEndian.AppendUint32(append(out, 0, 1), uint32(len(o.value)))
	return append(out, o.value...)
}
