package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// rowSize is the payload of a row of the large results and of a CopyData message, in bytes.
const rowSize = 64 << 10

// Phases of a large result; the caller measures each for itself.
type Phases struct {
	Slow time.Duration // how long the client reads slowly; then it reads as fast as it can
	Rate int           // bytes per second meanwhile

	// SlowDone is called between the two.
	SlowDone func()
}

// ReadSlowly asks for a result of so many bytes and reads it in two phases. ctx is checked while it reads slowly; limit
// ends the whole of it. It fails when fewer bytes come than were asked for.
func (c *Client) ReadSlowly(ctx context.Context, bytes int64, p Phases, limit time.Duration) error {
	rows := bytes / rowSize
	sql := fmt.Sprintf("select repeat('x', %d) from generate_series(1, %d)", rowSize, rows)
	if err := c.send(pgwire.AppendQuery(nil, sql), limit); err != nil {
		return err
	}
	c.r = bufio.NewReaderSize(c.conn, streamBuffer) // the smaller one is empty: nothing was owed
	begin, read, slow := time.Now(), 0, true
	got, err := c.answers(func(n int) {
		if !slow {
			return
		}
		read += n
		due := time.Duration(float64(read) / float64(p.Rate) * float64(time.Second))
		select {
		case <-time.After(due - time.Since(begin)):
		case <-ctx.Done():
		}
		if time.Since(begin) >= p.Slow || ctx.Err() != nil {
			slow = false
			p.SlowDone()
		}
	})
	if err == nil && slow {
		err = errors.New("the result ended before the slow phase did")
	}
	if want := rows * rowSize; err == nil && got < want {
		err = fmt.Errorf("%d bytes of rows, want at least %d", got, want)
	}
	return errors.Join(err, context.Cause(ctx))
}

// CopyIn sends so many bytes as fast as the server takes them, which is slower than the client: every line is parsed and
// then filtered out, so that no disk is measured. The table `sink (line text)` must be there.
func (c *Client) CopyIn(bytes int64, limit time.Duration) error {
	if err := c.send(pgwire.AppendQuery(nil, "copy sink from stdin where length(line) = 0"), limit); err != nil {
		return err
	}
	kind, body, err := c.header()
	if err != nil {
		return err
	}
	if kind != pgwire.CopyInResponse {
		text := make([]byte, body)
		if _, err := io.ReadFull(c.r, text); err == nil && kind == pgwire.ErrorResponse {
			return pgwire.ParseError(text)
		}
		return fmt.Errorf("message %q instead of CopyInResponse", kind)
	}
	if err := c.skip(body, nil); err != nil {
		return err
	}
	message := pgwire.AppendHeader(nil, pgwire.CopyData, rowSize)
	for i := range rowSize {
		const line = 128
		char := byte('x')
		if i%line == line-1 {
			char = '\n'
		}
		message = append(message, char)
	}
	for sent := int64(0); sent < bytes; sent += rowSize {
		if _, err := c.conn.Write(message); err != nil {
			return fmt.Errorf("after %d bytes: %w", sent, err)
		}
	}
	if _, err := c.conn.Write(pgwire.AppendHeader(nil, pgwire.CopyDone, 0)); err != nil {
		return err
	}
	_, err = c.answers(nil)
	return err
}
