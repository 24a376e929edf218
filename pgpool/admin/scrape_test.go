package admin

import (
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

// The scrapers ask these questions. What they make of the answers is in the tests below: which columns they look for, and
// what they must be able to read from them.

// openConsole opens a console as a scraper does, through database/sql.
func openConsole(t *testing.T, driver, options string, f *fake) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, fmt.Sprintf("postgres://ops@%s/pgbouncer?sslmode=disable%s", listen(t, Stats, f), options))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

// drivers are what scrapers connect with, in the ways that they do.
var drivers = []struct{ name, driver, options string }{
	{"lib/pq", "postgres", ""}, // the exporter's
	{"lib/pq with extra_float_digits", "postgres", "&extra_float_digits=2"},
	{"pgx", "pgx", ""}, // telegraf's
	{"pgx simple", "pgx", "&default_query_exec_mode=simple_protocol"},
	{"pgx with extra_float_digits", "pgx", "&extra_float_digits=2&application_name=exporter"},
}

// table runs a query and returns its rows, each value as the driver gives it.
func table(t *testing.T, db *sql.DB, query string) []map[string]any {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	for rows.Next() {
		values := make([]any, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		row := make(map[string]any)
		for i, name := range names {
			row[name] = values[i]
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

// number reads a value as the exporter's dbToFloat64 and telegraf's plugin take it: integers, or text that is a number.
func number(v any) (float64, error) {
	switch v := v.(type) {
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	case []byte:
		return strconv.ParseFloat(string(v), 64)
	case string:
		return strconv.ParseFloat(v, 64)
	}
	return 0, fmt.Errorf("%T is not a number", v)
}

// TestPrometheusExporter does what prometheus-community/pgbouncer_exporter 0.11 does in a scrape.
func TestPrometheusExporter(t *testing.T) {
	metrics := []struct {
		show            string
		labels, numbers []string
		rows            int
	}{
		{"databases", []string{"name", "host", "port", "database", "force_user", "pool_mode"},
			[]string{"pool_size", "reserve_pool_size", "max_connections", "current_connections", "paused", "disabled"}, 2},
		{"stats_totals", []string{"database"}, []string{"query_count", "query_time", "bytes_received", "bytes_sent", "wait_time", "xact_count",
			"xact_time", "client_parse_count", "server_parse_count", "bind_count", "server_assignment_count"}, 2},
		{"pools", []string{"database", "user"}, []string{"cl_active", "cl_active_cancel_req", "cl_waiting", "cl_waiting_cancel_req", "sv_active",
			"sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait"}, 2},
	}
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			db := openConsole(t, d.driver, d.options, &fake{clients: 3})
			ping, err := db.Query("SHOW STATS")
			if err != nil {
				t.Fatal(err)
			}
			ping.Close()
			var version string
			if err := db.QueryRow("SHOW VERSION;").Scan(&version); err != nil || !strings.HasPrefix(version, "PgBouncer 1.25.2") {
				t.Errorf("version %q, error %v", version, err)
			}
			// Rows of names and values, which it scans as bytes.
			values := func(query string, width int) map[string]float64 {
				out := make(map[string]float64)
				rows, err := db.Query(query)
				if err != nil {
					t.Fatal(err)
				}
				defer rows.Close()
				for rows.Next() {
					var name, changeable string
					var value, preset sql.RawBytes
					if err := rows.Scan([]any{&name, &value, &preset, &changeable}[:width]...); err != nil {
						t.Fatal(err)
					}
					if f, err := strconv.ParseFloat(string(value), 64); err == nil {
						out[name] = f
					}
				}
				return out
			}
			lists := values("SHOW LISTS;", 2)
			for name, want := range map[string]float64{"databases": 2, "users": 2, "pools": 2, "free_clients": 0, "used_clients": 110, "login_clients": 0,
				"free_servers": 0, "used_servers": 156, "dns_names": 1, "dns_zones": 0, "dns_queries": 0} {
				if got, ok := lists[name]; !ok || got != want {
					t.Errorf("SHOW LISTS: %s is %v, %v", name, got, ok)
				}
			}
			config := values("SHOW CONFIG;", 4)
			if config["max_client_conn"] != 200 || len(config) < 2 {
				t.Errorf("SHOW CONFIG: %v", config)
			}
			states := make(map[string]int)
			for _, row := range table(t, db, "SHOW CLIENTS;") {
				states[fmt.Sprintf("%s/%s/%s/%s", row["database"], row["user"], row["application_name"], row["state"])]++
			}
			if states["shop/app/Grüße/active"] != 1 || states["shop/app//idle"] != 2 || len(states) != 2 {
				t.Errorf("SHOW CLIENTS: %v", states)
			}
			for _, m := range metrics {
				seen := make(map[string]bool)
				rows := table(t, db, "SHOW "+m.show+";")
				if len(rows) != m.rows {
					t.Errorf("%s: %d rows", m.show, len(rows))
				}
				for _, row := range rows {
					key := ""
					for _, name := range m.labels {
						switch v := row[name].(type) { // anything else becomes <invalid>
						case string, int64, nil:
							key += fmt.Sprintf("%v|", v)
						default:
							t.Errorf("%s: label %s is a %T", m.show, name, v)
						}
					}
					if seen[key] {
						t.Errorf("%s: %s comes twice, which fails the scrape", m.show, key)
					}
					seen[key] = true
					for _, name := range m.numbers {
						if _, err := number(row[name]); err != nil {
							t.Errorf("%s: %s: %v", m.show, name, err)
						}
					}
				}
			}
		})
	}
}

// TestTelegraf does what telegraf's inputs.pgbouncer does: every column but a few must be an integer, or text that is one.
func TestTelegraf(t *testing.T) {
	for _, d := range drivers {
		if d.driver != "pgx" {
			continue
		}
		db := openConsole(t, d.driver, d.options, &fake{})
		for _, row := range table(t, db, "SHOW STATS") {
			for name, v := range row {
				if name == "database" {
					continue
				}
				if s, ok := v.(string); ok {
					if _, err := strconv.ParseInt(s, 10, 64); err != nil {
						t.Errorf("%s: SHOW STATS: %s: %v", d.name, name, err)
					}
				} else if _, ok := v.(int64); !ok {
					t.Errorf("%s: SHOW STATS: %s is a %T", d.name, name, v)
				}
			}
		}
		for _, row := range table(t, db, "SHOW POOLS") {
			if row["user"] == "" || row["pool_mode"] == "" {
				t.Errorf("%s: SHOW POOLS: %v", d.name, row)
			}
			if _, ok := row["cl_active"].(int64); !ok {
				t.Errorf("%s: cl_active is a %T", d.name, row["cl_active"])
			}
		}
	}
}

// TestDatadog does what the agent's pgbouncer check does with times and the version; its numbers are among the above.
func TestDatadog(t *testing.T) {
	db := openConsole(t, "pgx", "&default_query_exec_mode=simple_protocol", &fake{})
	var version string
	if err := db.QueryRow("SHOW VERSION;").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if got := regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(version); got != consoleVersion {
		t.Errorf("it reads version %s", got)
	}
	date := regexp.MustCompile(`^[^ ]+ [^ ]+`)
	for _, query := range []string{"SHOW CLIENTS", "SHOW SERVERS"} {
		for _, row := range table(t, db, query) {
			for _, name := range []string{"connect_time", "request_time"} {
				s, _ := row[name].(string)
				if _, err := time.Parse(time.DateTime, date.FindString(s)); err != nil {
					t.Errorf("%s: %s %q: %v", query, name, s, err)
				}
			}
		}
	}
}
