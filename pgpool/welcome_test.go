package pgpool

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// shown logs in with startup parameters and returns what the session then has for name.
func (p *testPooler) shown(t *testing.T, name string, more ...string) string {
	t.Helper()
	nc, all := p.loginMessages(t, startupPacket(more...))
	defer nc.Close()
	if last := all[len(all)-1]; last.typ != 'Z' {
		t.Fatalf("login with %q: %v", more, last)
	}
	w := &wire{nc: nc, params: map[string]string{}, me: -1, patience: patience}
	for _, m := range w.play(step{query("show " + name)}, whole) {
		if m.typ == 'D' {
			return string(m.body[6:])
		}
	}
	t.Fatalf("show %s has no answer", name)
	return ""
}

func TestStartupParameters(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize = 1
		c.Tuning.IgnoreStartup = []string{"statement_timeout", "Extra_Float_Digits"}
	})
	for _, tc := range []struct {
		name, want string
		params     []string
	}{
		{"work_mem", "9MB", []string{"work_mem", "9MB"}},
		{"work_mem", "9MB", []string{"options", "-c work_mem=9MB"}},
		{"work_mem", "9MB", []string{"options", "-cwork_mem=9MB"}},
		{"work_mem", "9MB", []string{"options", "--work-mem=9MB"}},
		{"search_path", `"a b", c\d`, []string{"options", `-c search_path=\"a\ b\",\ c\\d`}},
		{"work_mem", "8MB", []string{"options", " -c  work_mem=9MB --work_mem=8MB "}},
		{"work_mem", "4MB", []string{"options", ""}},
		{"default_transaction_isolation", "serializable", []string{"default_transaction_isolation", "serializable"}},
		// What is to be ignored is ignored wherever it is.
		{"statement_timeout", "0", []string{"statement_timeout", "5s"}},
		{"statement_timeout", "0", []string{"options", "-c Statement_Timeout=5s -c work_mem=9MB"}},
		{"work_mem", "9MB", []string{"options", "-c statement_timeout=5s -c work_mem=9MB"}},
		{"extra_float_digits", "1", []string{"extra_float_digits", "3"}},
	} {
		if got := p.shown(t, tc.name, tc.params...); got != tc.want {
			t.Errorf("%q: %s is %q, want %q", tc.params, tc.name, got, tc.want)
		}
		if got := p.shown(t, "work_mem"); got != "4MB" {
			t.Fatalf("%q leaked: another client has work_mem %s", tc.params, got)
		}
	}
	all := start(t, 1, func(c *Config) { c.Tuning.IgnoreStartup = []string{"options"} })
	if got := all.shown(t, "work_mem", "options", "-X nonsense"); got != "4MB" {
		t.Errorf("options were not ignored: work_mem is %s", got)
	}
}

func TestApplicationNameWithHost(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.AddHost = true; c.Tuning.Defaults.PoolSize = 1 })
	for name, want := range map[string]string{"": "app - 127.0.0.1:", "&application_name=shop": "shop - 127.0.0.1:"} {
		ctx := context.Background()
		c, err := pgconn.Connect(ctx, p.url(name))
		if err != nil {
			t.Fatal(err)
		}
		want += strings.TrimPrefix(c.Conn().LocalAddr().String(), "127.0.0.1:")
		res, err := c.Exec(ctx, "show application_name").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if got, told := string(res[0].Rows[0][0]), c.ParameterStatus("application_name"); got != want || told != want {
			t.Errorf("%q, told %q; want %q", got, told, want)
		}
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.interned); n != 0 {
		t.Errorf("%d settings are remembered of which no two are equal", n)
	}
}
