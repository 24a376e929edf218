package pgpool

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// What a client learned of its process id at login names it to others, in text and in values of both formats.
func TestProcessIDsNameSessions(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 3 })
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	holder, blocked, asks := p.connect(t, ""), p.connect(t, ""), p.connect(t, "")
	for _, sql := range []string{"begin", "select pg_advisory_xact_lock(77)"} {
		if _, err := holder.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := blocked.Exec(ctx, "select pg_advisory_xact_lock(77)")
		ended <- err
	}()
	pid := func(c *pgx.Conn) uint32 { return c.PgConn().PID() }
	waitFor(t, "the lock is waited for", func() bool {
		var waits bool
		sql := fmt.Sprintf("select pg_isolation_test_session_is_blocked(%d, '{%d}')", pid(blocked), pid(holder))
		if err := asks.QueryRow(ctx, sql, pgx.QueryExecModeSimpleProtocol).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
	for name, args := range map[string][]any{
		"binary":        {pid(blocked), []int32{int32(pid(holder))}},
		"text":          {pgx.QueryExecModeExec, pid(blocked), fmt.Sprintf("{%d}", pid(holder))},
		"named, binary": {pgx.QueryExecModeCacheStatement, pid(blocked), []int32{int32(pid(holder))}},
	} {
		var waits bool
		err := asks.QueryRow(ctx, "select pg_blocking_pids($1::int) = (select array_agg(a.pid) from pg_stat_activity a where a.pid = any ($2::int[]))", args...).Scan(&waits)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !waits {
			t.Errorf("%s: the blocked session is not found", name)
		}
		if err := asks.QueryRow(ctx, "select cardinality(pg_blocking_pids($1)) = 1", pid(blocked)).Scan(&waits); err != nil || !waits {
			t.Errorf("%s: blocked %v, %v", name, waits, err)
		}
	}
	var none bool
	if err := asks.QueryRow(ctx, fmt.Sprintf("select %d = $1", pid(holder)), pid(holder)).Scan(&none); err != nil || !none {
		t.Errorf("a statement that names no session was changed: %v, %v", none, err)
	}
	if err := asks.QueryRow(ctx, "select pg_terminate_backend($1)", pid(holder)).Scan(&none); err != nil || !none {
		t.Fatalf("terminate: %v, %v", none, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the blocked session: %v", err)
	}
	if err := holder.Ping(ctx); err == nil {
		t.Error("the session that was terminated goes on")
	}
}

func TestNotificationNamesTheSession(t *testing.T) {
	p := start(t, 1, nil)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	c := p.connect(t, "")
	if _, err := c.Exec(ctx, "listen pids; select pg_notify('pids', '')"); err != nil {
		t.Fatal(err)
	}
	n, err := c.WaitForNotification(ctx)
	if err != nil || n.PID != c.PgConn().PID() {
		t.Errorf("%+v, %v; this session is %d", n, err, c.PgConn().PID())
	}
}

func TestServerPIDs(t *testing.T) {
	p := &Pooler{keys: map[uint32]*cancelKey{}}
	for _, id := range []uint32{firstPID + 1, firstPID + 2} {
		p.keys[id] = &cancelKey{owner: &client{}}
	}
	p.keys[firstPID+1].owner.(*client).runsOn.Store(&process{"here", 321})
	for _, tc := range []struct{ in, want string }{
		{"select 1073741825", "select 321"},
		{"1073741825", "321"},
		{"'{1073741825,1073741825, 1073741826,1073741827}'", "'{321,321, 1073741826,1073741827}'"},
		{"x1073741825 $1073741825 .1073741825 _1073741825", "x1073741825 $1073741825 .1073741825 _1073741825"},
		{"10737418251 11073741825 0 4294967295 9999999999", "10737418251 11073741825 0 4294967295 9999999999"},
		{"", ""},
	} {
		got, changed := p.serverPIDs([]byte(tc.in), "here")
		if string(got) != tc.want || changed != (tc.in != tc.want) {
			t.Errorf("%q: got %q, %v, want %q", tc.in, got, changed, tc.want)
		}
	}
}

// Two servers may have processes with the same id: neither a statement nor a notification takes one for the other.
func TestProcessIDsOfTwoServers(t *testing.T) {
	here, there := process{"here", 321}, process{"there", 321}
	c := &client{}
	p := &Pooler{keys: map[uint32]*cancelKey{firstPID + 1: {owner: c}}, backends: make(map[process]*server)}
	c.runsOn.Store(&here)
	if got, changed := p.serverPIDs([]byte("1073741825"), "there"); changed {
		t.Errorf("the id becomes %s on a server where the client has no process", got)
	}
	for i, at := range []process{here, there} {
		s := &server{process: at}
		s.served.Store(firstPID + uint32(i))
		s.notifier.Store(firstPID + uint32(i))
		p.addBackend(s)
	}
	for i, at := range []process{here, there} {
		if got := p.clientPID(at); got != firstPID+uint32(i) {
			t.Errorf("%v served %d", at, got)
		}
		frame := append(pgwire.AppendHeader(nil, pgwire.NotificationResponse, 6), 0, 0, 1, 65, 'c', 0)
		p.nameNotifier(frame, at.addr)
		if got := binary.BigEndian.Uint32(frame[pgwire.HeaderLen:]); got != firstPID+uint32(i) {
			t.Errorf("%v has notified for %d", at, got)
		}
	}
}

func FuzzBoundPIDs(f *testing.F) {
	p := &Pooler{keys: map[uint32]*cancelKey{firstPID + 1: {owner: &client{}}}}
	p.keys[firstPID+1].owner.(*client).runsOn.Store(&process{"here", 321})
	id := binary.BigEndian.AppendUint32(nil, firstPID+1)
	f.Add([]byte{0, 1, 0, 1, 0, 1, 0, 0, 0, 4, id[0], id[1], id[2], id[3], 0, 0})
	f.Add(append([]byte{0, 0, 0, 1, 0, 0, 0, 10}, "1073741825\x00\x00"...))
	f.Add([]byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		out, changed := p.boundPIDs(b, "here")
		if string(b) != before {
			t.Error("the message itself was changed")
		}
		if !changed && string(out) != before {
			t.Errorf("changed without saying so: %q to %q", before, out)
		}
		if changed && !strings.Contains(before, "1073741825") && !strings.Contains(before, string(id)) {
			t.Errorf("changed without an id: %q to %q", before, out)
		}
	})
}
