package health

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// The questions. Positions come as bytes since 0/0. The timeline of a primary is in the name of the file it writes: the
// control file learns of a promotion only with the next checkpoint. A replica's is what its receiver asked for; those who
// may not see that (pg_read_all_stats) get what the control file says. The primary's position is what it has flushed: no
// replica gets more, and what is inserted may be the end of a page header that nothing follows (GetXLogInsertRecPtr).
const (
	probeSQL = `select pg_is_in_recovery(),
	case when pg_is_in_recovery()
		then coalesce((select received_tli from pg_stat_wal_receiver),
			greatest((select timeline_id from pg_control_checkpoint()), (select min_recovery_end_timeline from pg_control_recovery())))
		else ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int end,
	(select system_identifier from pg_control_system()),
	current_setting('server_version_num'),
	coalesce(case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_flush_lsn() end
		- '0/0'::pg_lsn, 0),
	coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0),
	case when pg_is_in_recovery() then coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), -1)
		else 0 end`
	insertSQL = `select ` + InsertPosition
	replaySQL = `select coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)`
)

// InsertPosition is an SQL expression: where the primary's log ends, in bytes since 0/0. The function tells where the next
// record's bytes will be, which at the start of a page is behind a header: 24 bytes, or 40 in the first page of a file
// (SizeOfXLogShortPHD and SizeOfXLogLongPHD in xlog_internal.h). A replica that has replayed everything is in front of
// that header, and stays there until something else is written.
const InsertPosition = `(select case when mod(lsn, segment) = 40 then lsn - 40 when mod(lsn, block) = 24 then lsn - 24 else lsn end
	from (select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') as lsn,
		pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) as segment,
		pg_catalog.current_setting('wal_block_size')::int as block) as the_log)`

// link is the connection to one server.
type link struct {
	conn net.Conn
	in   *bufio.Reader
}

func newLink(conn net.Conn) *link { return &link{conn: conn, in: bufio.NewReader(conn)} }

// maxAnswer bounds all that a server says to one question, in bytes.
const maxAnswer = 64 << 10

// row asks for one row of columns values, none of them NULL, within timeout. Nothing that a server says is trusted: pgproto3
// panics on some of what is malformed.
func (l *link) row(sql string, columns int, timeout time.Duration) (values []string, err error) {
	if err := l.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	if _, err := l.conn.Write(pgwire.AppendQuery(nil, sql)); err != nil {
		return nil, err
	}
	var failure error
	for room := maxAnswer; ; {
		typ, body, err := l.message(&room)
		if err != nil {
			return nil, err
		}
		switch typ {
		case pgwire.DataRow:
			if values, err = parseRow(body); err != nil {
				return nil, err
			}
		case pgwire.ErrorResponse:
			failure = pgwire.ParseError(body)
		case pgwire.ReadyForQuery:
			if failure == nil && len(values) != columns {
				failure = fmt.Errorf("%d columns instead of %d", len(values), columns)
			}
			return values, failure
		}
	}
}

// message reads one message, for which there must be room.
func (l *link) message(room *int) (typ byte, body []byte, err error) {
	var head [pgwire.HeaderLen]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return 0, nil, err
	}
	typ, size, ok := pgwire.Header(head[:])
	if *room -= size; !ok || *room < 0 {
		return 0, nil, fmt.Errorf("the answer is malformed, or has over %d bytes", maxAnswer)
	}
	body = make([]byte, size-pgwire.HeaderLen)
	_, err = io.ReadFull(l.in, body)
	return typ, body, err
}

// parseRow takes a DataRow apart; NULL is an empty string.
func parseRow(b []byte) (values []string, err error) {
	malformed := errors.New("malformed DataRow")
	if len(b) < 2 {
		return nil, malformed
	}
	columns := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range columns {
		if len(b) < 4 {
			return nil, malformed
		}
		n := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if n == -1 {
			n = 0
		}
		if n < 0 || n > len(b) {
			return nil, malformed
		}
		values, b = append(values, string(b[:n])), b[n:]
	}
	return values, nil
}

// position asks for one position in the WAL.
func (l *link) position(sql string, timeout time.Duration) (uint64, error) {
	v, err := l.row(sql, 1, timeout)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(v[0], 10, 64)
}

// probe asks everything that a Server tells, but for its address.
func (l *link) probe(timeout time.Duration) (Server, error) {
	v, err := l.row(probeSQL, 7, timeout)
	if err != nil {
		return Server{}, err
	}
	timeline, err1 := strconv.ParseUint(v[1], 10, 32)
	system, err2 := strconv.ParseInt(v[2], 10, 64)
	version, err3 := strconv.Atoi(v[3])
	lsn, err4 := strconv.ParseUint(v[4], 10, 64)
	replay, err5 := strconv.ParseUint(v[5], 10, 64)
	age, err6 := strconv.ParseFloat(v[6], 64)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return Server{}, fmt.Errorf("odd answer: %w", err)
	}
	role := RolePrimary
	if v[0] == "t" {
		role = RoleReplica
	}
	replayAge := UnknownLag
	if age != -1 {
		replayAge = time.Duration(max(0, age) * float64(time.Second)) // it compares two clocks
	}
	return Server{
		Up: true, Role: role, Timeline: uint32(timeline), SystemID: uint64(system), Version: version,
		LSN: lsn, ReplayLSN: replay, replayAge: replayAge,
	}, nil
}
