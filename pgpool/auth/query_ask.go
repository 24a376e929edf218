package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// row is what auth_query says of a user: no secret means that nobody logs in as that user.
type row struct {
	secret string
	valid  time.Duration
}

const forEver = time.Duration(math.MaxInt64)

// fixPath runs before auth_query, in the same transaction: no setting of the role or the database, and nothing that a
// client has sent, decides what the names in auth_query mean.
const fixPath = `SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)`

// ask runs sql with user as $1, and closes conn. The name travels as a parameter, never as SQL.
func ask(ctx context.Context, conn net.Conn, sql, user string) (found row, err error) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var b []byte
	b = appendExtended(b, fixPath, nil)
	b = appendExtended(b, sql, &user)
	b = appendMessage(b, 'S')
	b = appendMessage(b, 'X') // Terminate: this is all
	if _, err := conn.Write(b); err != nil {
		return row{}, err
	}
	answer := queryAnswer{user: user}
	for received := 0; ; {
		kind, body, err := readMessage(conn)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			return row{}, err
		}
		if received += 5 + len(body); received > maxLogin {
			return row{}, fmt.Errorf("the answer has over %d bytes", maxLogin)
		}
		if ready, err := answer.message(kind, body); ready || err != nil {
			return answer.found, err
		}
	}
}

// appendExtended appends Parse, Bind and Execute of a statement with at most one parameter, all as text. Two rows are as
// bad as more.
func appendExtended(b []byte, sql string, param *string) []byte {
	b = appendMessage(b, 'P', []byte{0}, []byte(sql), []byte{0, 0, 0})
	bind := []byte{0, 0, 0, 0, 0, 0}
	if param != nil {
		bind[5] = 1
		bind = binary.BigEndian.AppendUint32(bind, uint32(len(*param)))
		bind = append(bind, *param...)
	}
	b = appendMessage(b, 'B', bind, []byte{0, 0})
	return appendMessage(b, 'E', []byte{0, 0, 0, 0, 2})
}

// queryAnswer gathers the row from what the server sends.
type queryAnswer struct {
	user  string
	bound int // statements that run, or have run
	rows  int
	found row
}

func (a *queryAnswer) message(kind byte, body []byte) (ready bool, err error) {
	switch kind {
	case '2': // BindComplete
		a.bound++
	case 'D':
		if a.bound < 2 {
			return false, nil // of fixPath
		}
		if a.rows++; a.rows > 1 {
			return false, errors.New("the query returns more than one row for a user")
		}
		a.found, err = parseRow(body, a.user)
		return false, err
	case 'E':
		e := pgwire.ParseError(body)
		if e.Code == "22021" { // a name that is not in the database's encoding is nobody's
			a.found = row{}
			return true, nil
		}
		return false, e
	case 'Z':
		return true, nil
	case '1', 'C', 's', 'I', 'n', 'N', 'S': // progress, notices, parameters
	default:
		return false, fmt.Errorf("unexpected message type %q", kind)
	}
	return false, nil
}

// parseRow reads a DataRow: user name, secret, and perhaps the seconds for which the secret is valid.
func parseRow(body []byte, user string) (found row, err error) {
	columns, err := parseColumns(body)
	if err != nil {
		return row{}, err
	}
	if len(columns) < 2 {
		return row{}, fmt.Errorf("the query returns %d columns: want the user's name and its secret", len(columns))
	}
	// PostgreSQL cuts names at 63 bytes; a longer one is not the user that was found.
	if columns[0] == nil || *columns[0] != user || columns[1] == nil {
		return row{}, nil
	}
	found = row{secret: *columns[1], valid: forEver}
	if len(columns) > 2 && columns[2] != nil {
		seconds, err := strconv.ParseFloat(*columns[2], 64)
		switch {
		case err != nil || math.IsNaN(seconds):
			return row{}, errors.New("the query's third column is no number of seconds")
		case seconds <= 0:
			return row{}, nil
		case seconds < forEver.Seconds():
			found.valid = time.Duration(seconds * float64(time.Second))
		}
	}
	return found, nil
}

// parseColumns takes a DataRow apart; nil is NULL.
func parseColumns(body []byte) ([]*string, error) {
	malformed := errors.New("malformed DataRow")
	if len(body) < 2 {
		return nil, malformed
	}
	columns := make([]*string, binary.BigEndian.Uint16(body))
	body = body[2:]
	for i := range columns {
		if len(body) < 4 {
			return nil, malformed
		}
		n := int32(binary.BigEndian.Uint32(body))
		body = body[4:]
		if n == -1 {
			continue
		}
		if n < 0 || int(n) > len(body) {
			return nil, malformed
		}
		text := string(body[:n])
		columns[i], body = &text, body[n:]
	}
	if len(body) > 0 {
		return nil, malformed
	}
	return columns, nil
}
