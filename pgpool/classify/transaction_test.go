package classify

import "testing"

func TestBegins(t *testing.T) {
	for _, tc := range []struct {
		sql  string
		want Modes
		rest string
		ok   bool
	}{
		{sql: "begin", ok: true},
		{sql: " ; /* why */ BEGIN ; -- done", ok: true},
		{sql: "begin work", ok: true},
		{sql: "Begin Transaction;", ok: true},
		{sql: "start transaction", want: Modes{Start: true}, ok: true},
		{sql: "begin read only", want: Modes{Access: ReadOnly}, ok: true},
		{sql: "start transaction read write", want: Modes{Access: ReadWrite, Start: true}, ok: true},
		{sql: "begin isolation level serializable read only, deferrable", want: Modes{ReadOnly, Serializable, true, false}, ok: true},
		{sql: "begin isolation level repeatable read, not deferrable", want: Modes{Isolation: RepeatableRead}, ok: true},
		{sql: "begin isolation level read uncommitted", want: Modes{Isolation: ReadCommitted}, ok: true},
		{sql: "begin read only; select 1; commit", want: Modes{Access: ReadOnly}, rest: "select 1; commit", ok: true},
		{sql: "start"},
		{sql: "begin start"},
		{sql: "begin read"},
		{sql: "begin read only,"},
		{sql: "begin, read only"},
		{sql: "begin read only read write"},
		{sql: "begin read only; read write", want: Modes{Access: ReadOnly}, rest: "read write", ok: true},
		{sql: "begin deferrable not deferrable"},
		{sql: "begin isolation level read"},
		{sql: "begin isolation level repeatable"},
		{sql: "begin isolation level serializable isolation level serializable"},
		{sql: "begin 'read only'"},
		{sql: `begin "work"`},
		{sql: "begin atomic"},
		{sql: "begin /* no end"},
		{sql: "select 1"},
		{sql: ""},
	} {
		m, rest, ok := Begins([]byte(tc.sql))
		if ok != tc.ok || ok && (m != tc.want || string(rest) != tc.rest) {
			t.Errorf("%q: %+v, %q, %v", tc.sql, m, rest, ok)
		}
	}
}

func TestEnds(t *testing.T) {
	for _, tc := range []struct {
		sql  string
		want End
		ok   bool
	}{
		{"commit", End{Commit: true}, true},
		{";END transaction;;", End{Commit: true}, true},
		{"rollback work", End{}, true},
		{"abort and no chain", End{}, true},
		{"commit and chain", End{true, true}, true},
		{"rollback transaction and chain -- again", End{Chain: true}, true},
		{sql: "commit; select 1"},
		{sql: "commit prepared 'x'"},
		{sql: "rollback to s"},
		{sql: "commit nonsense"},
		{sql: "commit and"},
		{sql: "commit chain"},
		{sql: "select 1"},
		{sql: "commit /*"},
	} {
		if e, ok := Ends([]byte(tc.sql)); ok != tc.ok || ok && e != tc.want {
			t.Errorf("%q: %+v, %v", tc.sql, e, ok)
		}
	}
}

func TestShows(t *testing.T) {
	for sql, want := range map[string]string{
		"show TimeZone": "TimeZone", " SHOW server_version; ": "server_version", `show "DateStyle"`: "", "show time zone": "timezone",
		"show all": "", "show session authorization": "", "show transaction isolation level": "", "show": "", "show a.b": "", "show a b": "",
		"show time": "", `show "`: "", `show ""`: "", "show a; select 1": "", "select 1": "", "show 'a'": "", "show a /*": "",
	} {
		if name, ok := Shows([]byte(sql)); string(name) != want && ok || ok != (want != "") {
			t.Errorf("%q: %q, %v", sql, name, ok)
		}
	}
}

func TestPassing(t *testing.T) {
	for sql, want := range map[string]bool{
		"set local work_mem = '1MB'": true,
		"SET LOCAL ROLE somebody":    true,
		"select set_config('search_path', $1, true), set_config('role', $2, true)":  true,
		"select set_config('search_path', $1, false), set_config('role', $2, true)": false,
		"select set_config('search_path', $1, $2)":                                  false,
		"select set_config('role', $2, true), unknown_function(1)":                  false,
		"select set_config('role', $2, true) from t for update":                     false,
		"set local time zone 'UTC'":                                                 true,
		"declare c cursor for select 1":                                             true,
		"declare c binary insensitive no scroll cursor for table t":                 true,
		"fetch 5 from c":                                  true,
		"move all in c":                                   true,
		"close c":                                         true,
		"set work_mem = '1MB'":                            false,
		"set transaction read write":                      false,
		"set local transaction_read_only = off":           false,
		`set local "transaction_read_only" = off`:         false,
		"declare c cursor with hold for select 1":         false,
		"declare c cursor for select pg_advisory_lock(1)": false,
		"fetch 5 from c; close c":                         false,
		"set constraints all deferred":                    false,
		"insert into t values (1)":                        false,
	} {
		r := Classify([]byte(sql))
		if got := Passing([]byte(sql), &r); got != want {
			t.Errorf("%q: %v (%+v)", sql, got, r)
		}
	}
}

func TestCopiesQuery(t *testing.T) {
	for sql, want := range map[string]bool{
		"copy (select 1) to stdout":                            true,
		"COPY (table t) TO STDOUT (format csv)":                true,
		"copy t to stdout":                                     false,
		"copy (select 1) to '/tmp/x'":                          false,
		"copy (select nextval('s')) to stdout":                 true, // what it calls is looked at elsewhere
		"copy (delete from t returning *) to stdout":           false,
		"copy (select * from t for update) to stdout":          false,
		"copy (select pg_advisory_lock(1)) to stdout":          false,
		"copy (select 1) to stdout; copy (select 2) to stdout": false,
	} {
		r := Classify([]byte(sql))
		if got := CopiesQuery([]byte(sql), &r); got != want {
			t.Errorf("%q: %v (%+v)", sql, got, r)
		}
	}
}

func TestSplit(t *testing.T) {
	rest := []byte("; begin read only;; select ';' /* ; */ ; commit")
	for _, want := range []string{"begin read only", "select ';'", "commit", "", ""} {
		var first []byte
		if first, rest = Split(rest); string(first) != want {
			t.Fatalf("%q instead of %q", first, want)
		}
	}
}

// FuzzTransaction: whatever these read, they read the same of the text with blanks around it, and no class contradicts them.
func FuzzTransaction(f *testing.F) {
	for _, sql := range []string{"begin read only; select 1", "start transaction isolation level serializable, read only, deferrable", "commit and chain",
		"show \"TimeZone\"", "set local a = 'b'", "declare c cursor for select 1", "copy (select 1) to stdout", "begin work;;"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		b := []byte(sql)
		r := Classify(b)
		if _, rest, ok := Begins(b); ok && len(rest) == 0 && (r.Flags != OpensTx || r.Statements != 1) {
			t.Errorf("%q begins, and is %+v", sql, r)
		}
		if _, ok := Ends(b); ok && (r.Flags&^OpensTx != EndsTx || r.Statements != 1) {
			t.Errorf("%q ends, and is %+v", sql, r)
		}
		if name, ok := Shows(b); ok && (len(name) == 0 || r.Statements != 1 || r.Class != Read && r.Class != Write) {
			t.Errorf("%q shows %q, and is %+v", sql, name, r)
		}
		Passing(b, &r)
		CopiesQuery(b, &r)
		n := 0
		for rest := b; ; n++ {
			var first []byte
			if first, rest = Split(rest); len(first) == 0 {
				break
			}
		}
		if r.Class != Unknown && n != r.Statements {
			t.Errorf("%q is split into %d, and is %+v", sql, n, r)
		}
	})
}
