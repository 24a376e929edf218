package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Client is a connection that speaks just enough of the protocol to be one of ten thousand in this process. It belongs to
// one goroutine.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
}

const (
	clientBuffer = 2 << 10  // small: thousands of clients are held at a time
	streamBuffer = 64 << 10 // of a client that reads much
)

// Connect logs in to the benchmark's database. Clients that share credentials derive SCRAM's keys once, so that a storm of
// logins burns the server's time and not the generator's.
func Connect(ctx context.Context, addr string, credentials *auth.Credentials) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, r: bufio.NewReaderSize(conn, clientBuffer)}
	if _, err := auth.Login(ctx, bufferedConn{conn, c.r}, auth.LoginParams{Credentials: credentials, Database: devpg.Database}); err != nil {
		return nil, err // Login has closed the connection
	}
	return c, nil
}

// bufferedConn saves the login its many short reads.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// Close ends the session as a driver does.
func (c *Client) Close() {
	_, _ = c.conn.Write(pgwire.AppendHeader(nil, pgwire.Terminate, 0)) // the other side may be gone
	_ = c.conn.Close()
}

// Interrupt ends the session at once, from any goroutine: what reads or writes fails.
func (c *Client) Interrupt() { _ = c.conn.Close() }

// Query runs sql and reads its answers to the end, at most limit.
func (c *Client) Query(sql string, limit time.Duration) error {
	if err := c.send(pgwire.AppendQuery(nil, sql), limit); err != nil {
		return err
	}
	_, err := c.answers(nil)
	return err
}

// Value runs a query and gives the first column of its first row; it fails when there is none.
func (c *Client) Value(sql string, limit time.Duration) (string, error) {
	if err := c.send(pgwire.AppendQuery(nil, sql), limit); err != nil {
		return "", err
	}
	var row []byte
	_, err := c.read(&row, nil)
	if err != nil {
		return "", err
	}
	const count, length = 2, 4 // DataRow: number of columns, then each with its length
	if len(row) < count+length {
		return "", errors.New("no row")
	}
	n := int32(binary.BigEndian.Uint32(row[count:]))
	value := row[count+length:]
	if n < 0 || int(n) > len(value) {
		return "", errors.New("no value")
	}
	return string(value[:n]), nil
}

// send sets the limit of all that follows and writes b.
func (c *Client) send(b []byte, limit time.Duration) error {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// answers reads up to ReadyForQuery and counts the bytes of the rows; the error is the server's first, if it sent one.
// slow, when set, is told of each piece that was read and may take its time.
func (c *Client) answers(slow func(n int)) (rowBytes int64, err error) { return c.read(nil, slow) }

// read does as answers says. row, when set, gets the first row.
func (c *Client) read(row *[]byte, slow func(n int)) (rowBytes int64, err error) {
	for {
		kind, body, readErr := c.header()
		if readErr != nil {
			return rowBytes, errors.Join(err, readErr)
		}
		switch kind {
		case pgwire.DataRow:
			rowBytes += int64(body)
			if row != nil && *row == nil {
				*row = make([]byte, body)
				_, readErr = io.ReadFull(c.r, *row)
			} else {
				readErr = c.skip(body, slow)
			}
		case pgwire.ErrorResponse:
			text := make([]byte, body)
			if _, readErr = io.ReadFull(c.r, text); err == nil && readErr == nil {
				err = pgwire.ParseError(text)
			}
		default:
			readErr = c.skip(body, nil)
		}
		if readErr != nil {
			return rowBytes, errors.Join(err, readErr)
		}
		if kind == pgwire.ReadyForQuery {
			return rowBytes, err
		}
	}
}

// header reads a message's type and the length of its body.
func (c *Client) header() (kind byte, body int, err error) {
	var head [pgwire.HeaderLen]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, 0, err
	}
	kind, size, ok := pgwire.Header(head[:])
	if !ok {
		return 0, 0, fmt.Errorf("message %q of %d bytes", kind, binary.BigEndian.Uint32(head[1:]))
	}
	return kind, size - pgwire.HeaderLen, nil
}

func (c *Client) skip(n int, slow func(int)) error {
	for n > 0 {
		piece := n
		if slow != nil {
			piece = min(n, clientBuffer)
		}
		done, err := c.r.Discard(piece)
		if err != nil {
			return err
		}
		if slow != nil {
			slow(done)
		}
		n -= done
	}
	return nil
}
