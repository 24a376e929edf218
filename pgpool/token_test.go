package pgpool

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

func FuzzToken(f *testing.F) {
	for _, s := range []string{"1.7312345678901234567.2.50331976", "1.-1.1.1", "1.1.1.18446744073709551615", "", "1", "1...", "2.1.1.1", "1.+1.1.1",
		"1.01.1.1", "1.1.0.1", "1.1.1.1.1", "1.1.1.99999999999999999999", "1.1.1.1 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := parseToken(s)
		switch {
		case ok && formatToken(at) != s:
			t.Fatalf("%q was taken for %q", s, formatToken(at))
		case !ok && at != Position{}:
			t.Fatalf("%q is no token, but %+v", s, at)
		}
	})
}

func TestTokensAreTakenAsTheyAreGiven(t *testing.T) {
	for s, want := range map[string]Position{
		"1.7312345678901234567.2.50331976": {System: 7312345678901234567, Timeline: 2, LSN: 50331976},
		"1.-1.1.18446744073709551615":      {System: 1<<64 - 1, Timeline: 1, LSN: 1<<64 - 1},
	} {
		if at, ok := parseToken(s); !ok || at != want {
			t.Errorf("%q: %+v, %v", s, at, ok)
		}
	}
	for _, s := range []string{"", "1", "1...", "0.1.1.1", "1.0.1.1", "1.1.0.1", "1.1.1.0", "1.1.1.1.", "1.+1.1.1", "1.1.01.1", "1.1.1.-1",
		" 1.1.1.1", "1.1.2147483648.1", "1.1.1." + strings.Repeat("1", maxToken)} {
		if at, ok := parseToken(s); ok {
			t.Errorf("%q was taken for %+v", s, at)
		}
	}
}

// askToken asks for the token.
func askToken(t testing.TB, c *pgx.Conn) (token string) {
	t.Helper()
	if err := c.QueryRow(context.Background(), "show outrigger.token").Scan(&token); err != nil {
		t.Fatal(err)
	}
	return token
}

// SHOW outrigger.token answers as SHOW does, with a point behind what was committed before.
func TestShowToken(t *testing.T) {
	p := startSplit(t, 2, nil)
	ctx := context.Background()
	for _, mode := range []string{"cache_statement", "describe_exec", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		primary := direct(t, 0)
		lsn := func() (n uint64) {
			if err := primary.QueryRow(ctx, "select "+health.InsertPosition+"::bigint").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, sql := range []string{"SHOW outrigger.token", "/* traced */ show Outrigger.Token ;", `show "outrigger.token"`, "show outrigger.token"} {
			before := lsn()
			rows, err := c.Query(ctx, sql)
			if err != nil {
				t.Fatalf("%s: %s: %v", mode, sql, err)
			}
			fields := append([]pgconn.FieldDescription(nil), rows.FieldDescriptions()...)
			var tokens []string
			for rows.Next() {
				var s string
				if err := rows.Scan(&s); err != nil {
					t.Fatal(err)
				}
				tokens = append(tokens, s)
			}
			rows.Close()
			if rows.Err() != nil || len(tokens) != 1 || len(fields) != 1 || fields[0].Name != tokenSetting || rows.CommandTag().String() != "SHOW" {
				t.Fatalf("%s: %s: %v, %v, %v, %q", mode, sql, rows.Err(), tokens, fields, rows.CommandTag())
			}
			at, ok := parseToken(tokens[0])
			if !ok || at.LSN < before || at.LSN > lsn() || at.Timeline != 1 {
				t.Errorf("%s: %q between %d and %d", mode, tokens[0], before, lsn())
			}
			mustExec(t, c, "create table if not exists moves_on(n int)")
			mustExec(t, c, "drop table moves_on")
		}
		// In a transaction too, and another SELECT keeps its tag.
		mustExec(t, c, "begin")
		if _, ok := parseToken(askToken(t, c)); !ok {
			t.Errorf("%s: no token in a transaction", mode)
		}
		if tag, err := c.Exec(ctx, "select 1"); err != nil || tag.String() != "SELECT 1" {
			t.Errorf("%s: %q, %v", mode, tag, err)
		}
		mustExec(t, c, "rollback")
	}
}

// A token carries what one session has written to another, behind another sidecar.
func TestATokenIsHonouredElsewhere(t *testing.T) {
	byToken := func(c *Config) { c.Tuning.Defaults.Consistency = ConsistencyToken }
	p, other := startSplit(t, 1, nil), startSplit(t, 2, byToken)
	writer := p.connect(t, "")
	mustExec(t, writer, "drop table if exists carried; create table carried(n int)")
	early := askToken(t, writer)
	pauseReplay(t)
	mustExec(t, writer, "insert into carried values (1)")
	late := askToken(t, writer)

	rows := func(c *pgx.Conn) int { return number(t, c, "select count(*) from carried") }
	set := func(how string, c *pgx.Conn) {
		t.Helper()
		mustExec(t, c, how)
	}
	for _, how := range []string{
		"set outrigger.token = '" + late + "'",
		"SET SESSION Outrigger.Token TO '" + late + "'",
		"select set_config('outrigger.token', '" + late + "', false)",
		"begin; set outrigger.token = '" + late + "'; commit",
	} {
		for _, mode := range []string{"&default_query_exec_mode=exec", simple} {
			if strings.HasPrefix(how, "begin") && mode != simple {
				continue
			}
			c := other.connect(t, mode)
			if n := rows(c); n != 0 {
				t.Fatalf("%d rows on a replica that stands still", n)
			}
			set(how, c)
			if n := rows(c); n != 1 {
				t.Errorf("%s: %d rows", how, n)
			}
			set("reset outrigger.token", c)
			if n := rows(c); n != 0 {
				t.Errorf("%d rows after RESET", n)
			}
			set("set outrigger.token = '"+early+"'", c)
			if n := rows(c); n != 0 {
				t.Errorf("%d rows for a token that the replica has reached", n)
			}
			set("begin", c)
			set("set local outrigger.token = '"+late+"'", c)
			set("commit", c)
			if n := rows(c); n != 0 {
				t.Errorf("%d rows after SET LOCAL in a transaction that is over", n)
			}
		}
	}
	for _, start := range []string{"&outrigger.token=" + late, "&options=" + strings.ReplaceAll(url.QueryEscape("-c outrigger.token="+late), "+", "%20")} {
		if n := rows(other.connect(t, start)); n != 1 {
			t.Errorf("%s: %d rows", start, n)
		}
	}
	// A session's own floor is not lowered by a token.
	set("set outrigger.token = '"+early+"'", writer)
	if n := rows(writer); n != 1 {
		t.Errorf("%d rows of its own, with an old token", n)
	}
	// And when the replica is there, it is read.
	mustExec(t, direct(t, 1), "select pg_wal_replay_resume()")
	c := other.connect(t, "&outrigger.token="+late)
	waitFor(t, "the replica to be read", func() bool { return where(t, c) == "replica" })
	if n := rows(c); n != 1 {
		t.Errorf("%d rows on the replica", n)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	p := startSplit(t, 1, nil)
	at, _ := parseToken(askToken(t, p.connect(t, "")))
	at.System++
	foreign := formatToken(at)
	for _, mode := range []string{"cache_statement", "describe_exec", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for bad, message := range map[string]string{"nonsense": "invalid value", foreign: "another database cluster"} {
			_, err := c.Exec(context.Background(), "set outrigger.token = '"+bad+"'")
			if !hasCode(err, "22023") || !strings.Contains(err.Error(), message) {
				t.Errorf("%s: %q: %v", mode, bad, err)
			}
			mustExec(t, c, "begin")
			if _, err := c.Exec(context.Background(), "set outrigger.token = '"+bad+"'"); !hasCode(err, "22023") {
				t.Errorf("%s: %q in a transaction: %v", mode, bad, err)
			}
			if _, err := c.Exec(context.Background(), "select 1"); !hasCode(err, "25P02") {
				t.Errorf("%s: the transaction goes on: %v", mode, err)
			}
			mustExec(t, c, "rollback")
			mustExec(t, c, "set outrigger.token = ''")
			if _, err := pgx.Connect(context.Background(), p.url("&outrigger.token="+bad)); !hasCode(err, "22023") {
				t.Errorf("%q at start-up: %v", bad, err)
			}
		}
		// What cannot be refused in its place is no token that is ever reached.
		mustExec(t, c, "select set_config('outrigger.token', 'nonsense', false)")
		if got := where(t, c); got != "primary" {
			t.Errorf("%s: reads go to the %s", mode, got)
		}
	}
}
