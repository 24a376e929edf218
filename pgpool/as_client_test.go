package pgpool

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
)

// Nothing but verifiers is configured: clients log in with channel binding, and the pooler to the server as they are, with
// channel binding and the keys that they have shown.
func TestClientsLogInAsThemselves(t *testing.T) {
	e := startEncrypted(t)
	ctx := context.Background()
	sql := `create role ann login password 'of ann'; create role bob login password 'of bob'; create role eve login password 'of eve'`
	if _, err := e.Psql(ctx, 0, sql); err != nil {
		t.Fatal(err)
	}
	users := auth.Users{}
	for _, user := range []string{"ann", "bob"} {
		stored, err := e.Psql(ctx, 0, "select rolpassword from pg_authid where rolname = '"+user+"'")
		if err != nil {
			t.Fatal(err)
		}
		if users[user], err = auth.ParseSecret(stored); err != nil || users[user].Kind != auth.SecretSCRAM {
			t.Fatal("no verifier", err)
		}
	}
	old := users["ann"]
	if _, err := e.Psql(ctx, 0, "alter role ann password 'of ann'"); err != nil { // the same, with another salt
		t.Fatal(err)
	}
	stored, err := e.Psql(ctx, 0, "select rolpassword from pg_authid where rolname = 'ann'")
	if err != nil {
		t.Fatal(err)
	}
	if users["ann"], err = auth.ParseSecret(stored); err != nil {
		t.Fatal(err)
	}
	run := func(users auth.Users) *testPooler {
		clients, err := auth.New(auth.Config{Users: users})
		if err != nil {
			t.Fatal(err)
		}
		return start(t, 1, func(c *Config) {
			c.Tuning.Databases = fallback(e.server(t, "verify-full", "localhost", serverPassword, e.roots))
			c.Tuning.AsClient = true
			c.Tuning.Clients = clients
			c.Tuning.ClientTLS = &tls.Config{Certificates: []tls.Certificate{e.cert}}
		})
	}
	p := run(users)
	psql := func(p *testPooler, user, password string) (string, error) {
		host, port, _ := net.SplitHostPort(p.addr)
		cmd := exec.Command(filepath.Join(e.BinDir(), "psql"), "-X", "-w", "-A", "-t", "-c", "select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()",
			fmt.Sprintf("host=%s port=%s user=%s dbname=postgres sslmode=require channel_binding=require gssencmode=disable", host, port, user))
		cmd.Env = []string{"PGPASSWORD=" + password, "LC_ALL=C", "HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	for _, tt := range []struct{ user, password, want string }{
		{"ann", "of ann", "ann|t"}, {"bob", "of bob", "bob|t"}, {"ann", "of bob", ""}, {"eve", "of eve", ""}, {"ann", "of ann", "ann|t"},
	} {
		out, err := psql(p, tt.user, tt.password)
		if tt.want != "" && (err != nil || out != tt.want) {
			t.Errorf("%s: %v: %s", tt.user, err, out)
		}
		if tt.want == "" && !strings.Contains(out, `password authentication failed for user "`+tt.user+`"`) {
			t.Errorf("%s with %q: %v: %s", tt.user, tt.password, err, out)
		}
	}
	// The pooler has a verifier of the same password, with another salt.
	out, err := psql(run(auth.Users{"ann": old}), "ann", "of ann")
	if err == nil || !strings.Contains(out, "another SCRAM verifier") || !strings.Contains(out, "auth_file") || strings.Contains(out, "primary_url") {
		t.Errorf("other verifier: %v: %s", err, out)
	}
}
