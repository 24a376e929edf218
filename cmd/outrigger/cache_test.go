package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// pair writes a certificate for 127.0.0.1 that signs itself, and its key, and returns the pool that trusts it.
func pair(t *testing.T, certFile, keyFile, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	cert, _ := x509.ParseCertificate(der)
	pool.AddCert(cert)
	return pool
}

// cli runs redis-cli and returns what it prints, errors included.
func cli(t *testing.T, password string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", args...)
	cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+password)
	out, _ := cmd.CombinedOutput()
	return strings.TrimSpace(string(out))
}

// A cache with a socket, TLS, a password: stock clients come in by each door, and a reload changes password and certificate
// under them.
func TestCacheDoors(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	trusted := pair(t, in("cert"), in("key"), "first")
	if err := os.WriteFile(in("password"), []byte("first secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	left, err := net.Listen("unix", in("redis.sock")) // by a process that was killed
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = left.Close()
	withTLS := "cache_tls_cert_file: " + in("cert") + "\ncache_tls_key_file: " + in("key") + "\n"
	if err := os.WriteFile(in("config"), []byte(withTLS), 0o600); err != nil {
		t.Fatal(err)
	}
	addrs := freeAddrs(t, 4)
	host, port, _ := net.SplitHostPort(addrs[0])
	r := begin(t, nil, "serve", "--cache-listen="+addrs[0], "--gossip-listen="+addrs[1], "--peer-listen="+addrs[2], "--http-listen="+addrs[3],
		"--cache-socket="+in("redis.sock"), "--cache-socket-mode=0700", "--config="+in("config"),
		"--cache-password-file="+in("password"), "--cache-users=app on nopass ~app:* +@all")
	eventually(t, "ready", func() error {
		code, body, err := get("http://" + addrs[3] + "/health/ready")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
	if err := logged(r, "primary_url is not set: serving the cache alone", "cache_password_file: every user of this machine may open "+in("password")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(in("redis.sock")); err != nil || info.Mode() != fs.ModeSocket|0o700 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	byTLS := []string{"-h", host, "-p", port, "--tls", "--cacert", in("cert")}
	bySocket := []string{"-s", in("redis.sock")}
	for _, tt := range []struct {
		how      []string
		password string
		want     string
	}{
		{byTLS, "first secret", "PONG"},
		{bySocket, "first secret", "PONG"},
		{byTLS, "", "NOAUTH Authentication required."},
		{bySocket, "second secret", "WRONGPASS"},
		{[]string{"-h", host, "-p", port}, "", "TLS only: connect with rediss://"},
		{[]string{"-h", host, "-p", port, "--tls"}, "", "certificate"},
	} {
		if got := cli(t, tt.password, append(tt.how, "ping")...); !strings.Contains(got, tt.want) {
			t.Errorf("redis-cli %q: %q, want %q", tt.how, got, tt.want)
		}
	}
	options := &redis.Options{Addr: addrs[0], Password: "first secret", TLSConfig: &tls.Config{RootCAs: trusted}, MaxRetries: -1, PoolSize: 1}
	secure := redis.NewClient(options)
	local := redis.NewClient(&redis.Options{Network: "unix", Addr: in("redis.sock"), Password: "first secret"})
	defer local.Close()
	defer secure.Close()
	if err := secure.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	if got, err := local.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	asApp := redis.NewClient(&redis.Options{Network: "unix", Addr: in("redis.sock"), Username: "app", Password: "any", MaxRetries: -1, PoolSize: 1})
	defer asApp.Close()
	if err := asApp.Set(t.Context(), "app:k", "v", 0).Err(); err != nil {
		t.Error(err)
	}

	// A reload of files that do not go together changes nothing.
	good, _ := os.ReadFile(in("key"))
	if err := os.WriteFile(in("key"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	eventually(t, "a refused reload", func() error { return logged(r, "reload refused", "cache_tls_cert_file: load certificate and key") })
	if got := cli(t, "first secret", append(byTLS, "ping")...); got != "PONG" {
		t.Errorf("after a reload that was refused: %q", got)
	}
	if err := os.WriteFile(in("key"), good, 0o600); err != nil {
		t.Fatal(err)
	}

	// Nor does one that would have passwords come in the clear.
	if err := os.WriteFile(in("config"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	eventually(t, "a refused reload", func() error { return logged(r, "reload refused", "TLS is not turned on or off while the cache runs") })
	if got := cli(t, "first secret", append(byTLS, "ping")...); got != "PONG" {
		t.Errorf("after a reload without TLS: %q", got)
	}
	if err := os.WriteFile(in("config"), []byte(withTLS), 0o600); err != nil {
		t.Fatal(err)
	}

	next := pair(t, in("cert"), in("key"), "second")
	if err := os.WriteFile(in("password"), []byte("second secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	eventually(t, "the second password", func() error {
		if got := cli(t, "second secret", append(byTLS, "ping")...); got != "PONG" {
			return errors.New(got)
		}
		return nil
	})
	if got := cli(t, "first secret", append(byTLS, "ping")...); !strings.Contains(got, "WRONGPASS") {
		t.Errorf("the first password: %q", got)
	}
	if got, err := secure.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Errorf("who was there: %q, %v", got, err)
	}
	if nc, err := tls.Dial("tcp", addrs[0], &tls.Config{RootCAs: trusted}); err == nil {
		_ = nc.Close()
		t.Error("a new client is shown the first certificate")
	}
	options.Password, options.TLSConfig = "second secret", &tls.Config{RootCAs: next}
	later := redis.NewClient(options)
	defer later.Close()
	if got, err := later.ConfigGet(t.Context(), "tls-port").Result(); err != nil || got["tls-port"] != port {
		t.Errorf("tls-port: %v, %v", got, err)
	}
	// How long a script may run is one for all loops, under both of Redis's names.
	if err := later.ConfigSet(t.Context(), "lua-time-limit", "50").Err(); err != nil {
		t.Error(err)
	}
	if got, err := later.ConfigGet(t.Context(), "busy-reply-threshold").Result(); err != nil || got["busy-reply-threshold"] != "50" {
		t.Errorf("busy-reply-threshold: %v, %v", got, err)
	}
	if err := later.ConfigSet(t.Context(), "lua-time-limit", "0").Err(); err == nil || !strings.Contains(err.Error(), "between 1 and") {
		t.Errorf("scripts without an end: %v", err)
	}
	if err := later.Eval(t.Context(), "while true do end", nil).Err(); err == nil || !strings.Contains(err.Error(), "time limit") {
		t.Errorf("an endless script: %v", err)
	}
	if err := asApp.Get(t.Context(), "app:k").Err(); err != nil {
		t.Errorf("a user that the reload has left alone: %v", err)
	}

	r.signals <- syscall.SIGTERM
	if code := r.end(t, 20*time.Second); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, r.stderr.String())
	}
	if _, err := os.Lstat(in("redis.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// What is wrong with the cache's settings is said before anything is started.
func TestCacheSettingsRefused(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	pair(t, in("cert"), in("key"), "a")
	pair(t, in("cert2"), in("key2"), "b")
	for _, name := range []string{"empty", "none"} {
		if err := os.WriteFile(in(name), []byte("\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"cache-listen=0.0.0.0:6379"}, []string{"--cache-listen: cache_listen: everybody who reaches 0.0.0.0:6379 could read and write the cache", "set cache_password_file"}},
		{[]string{"cache-listen=:6379", "cache-users=app on nopass ~* +@all"}, []string{"everybody who reaches :6379"}},
		{[]string{"cache-password-file=" + in("empty")}, []string{"cache_password_file: " + in("empty") + " is empty"}},
		{[]string{"cache-password-file=" + in("nowhere")}, []string{"cache_password_file: cannot read " + in("nowhere")}},
		{[]string{"cache-users=app on >secret"}, []string{"cache_users: user app: put the SHA-256"}},
		{[]string{"cache-tls-cert-file=" + in("cert"), "cache-tls-key-file=" + in("key2")}, []string{"cache_tls_cert_file: load certificate and key: ", "does not match"}},
		{[]string{"cache-tls-cert-file=" + in("cert"), "cache-tls-key-file=" + in("key"), "cache-tls-ca-file=" + in("none")}, []string{"no certificate in " + in("none")}},
		{[]string{"cache-output-buffer-limits=normal 1gb 256mb 60s"}, []string{"cache_output_buffer_limits: Error in hard, soft or soft_seconds", "such as normal 1gb 256mb 60"}},
		{[]string{"cache-output-buffer-limits=everybody 1gb 256mb 60"}, []string{"cache_output_buffer_limits: Invalid client class"}},
		{[]string{"max-memory=2 gigabytes"}, []string{"max_memory: \"2 gigabytes\" is not a size (such as 64MiB"}},
	} {
		var args []string
		for _, a := range tt.args {
			args = append(args, "--"+a)
		}
		got := command(t, nil, append([]string{"serve"}, args...)...)
		for _, want := range tt.want {
			if got.code != exitUsage || !strings.Contains(got.stderr, want) {
				t.Errorf("%q: %d, without %q:\n%s", tt.args, got.code, want, got.stderr)
			}
		}
	}
	for _, args := range [][]string{
		{"--cache-listen=0.0.0.0:6379", "--allow-insecure"},
		{"--cache-listen=0.0.0.0:6379", "--cache-users=default off"},
		{"--cache-listen=0.0.0.0:6379", fmt.Sprintf("--cache-users=default on resetpass #%064d", 1)},
	} {
		if got := command(t, nil, append([]string{"check"}, args...)...); got.code != exitOK {
			t.Errorf("%q: %d\n%s", args, got.code, got.stderr)
		}
	}
	// A socket that somebody answers at is left to whom it belongs.
	ln, err := net.Listen("unix", in("busy.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addrs := freeAddrs(t, 4)
	got := command(t, nil, "serve", "--cache-socket="+in("busy.sock"), "--cache-listen="+addrs[0], "--gossip-listen="+addrs[1], "--peer-listen="+addrs[2], "--http-listen="+addrs[3])
	if got.code != exitFailure || !strings.Contains(got.stderr, "cache_socket: "+in("busy.sock")+" is in use: another process listens there") {
		t.Errorf("%d:\n%s", got.code, got.stderr)
	}
}
