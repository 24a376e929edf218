package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Sources{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestReadKey(t *testing.T) {
	raw := strings.Repeat("k", 32)
	for _, tt := range []struct{ name, content, want string }{
		{"as it is", raw, raw},
		{"line end", raw[:16] + "\n", raw[:16]},
		{"base64", base64.StdEncoding.EncodeToString([]byte(raw)) + "\n", raw},
		{"could be base64 too", raw[:24], raw[:24]},
		{"two", raw + "\n# the old one\n" + raw[:16] + "\n", raw + " " + raw[:16]},
		{"short", "abc", ""},
		{"empty", "", ""},
		{"long", raw + "x", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := readKeys(write(t, "key", tt.content))
			if got := string(bytes.Join(keys, []byte(" "))); got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestSSLModeOfTheURLComesFirst(t *testing.T) {
	cfg := load(t, "PRIMARY_DB_URL=postgres://a@p/d", "READ_REPLICA_URL=postgres://a@r/d?sslmode=disable", "OUTRIGGER_SERVER_TLS_SSLMODE=verify-full")
	plan, problems := planPostgres(cfg, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := plan.Databases["*"].Servers[0].SSLMode; got != auth.SSLVerifyFull {
		t.Errorf("primary: sslmode %v, want the setting's", got)
	}
	if got := plan.Databases["*"].Servers[1].SSLMode; got != auth.SSLDisable {
		t.Errorf("replica: sslmode %v, want the URL's", got)
	}
}

func TestPasswordFromTheUserList(t *testing.T) {
	cfg := load(t, "OUTRIGGER_AUTH_FILE="+write(t, "userlist.txt", `"app" "secret"`), "PRIMARY_DB_URL=postgres://app@p/d", "READ_REPLICA_URL=postgres://app:own@r/d,postgres://app@r2/d?password=own")
	plan, problems := planPostgres(cfg, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	servers := plan.Databases["*"].Servers
	listed := auth.Users{}
	listed["app"], _ = auth.ParseSecret("secret")
	if got, want := servers[0].Credentials, listed["app"].Credentials("app"); !reflect.DeepEqual(got, want) {
		t.Errorf("the URL without a password has %+v, want %+v", got, want)
	}
	for _, s := range servers[1:] {
		if got, want := s.Credentials, auth.NewCredentials("app", "own"); !reflect.DeepEqual(got, want) {
			t.Errorf("the URL with one has %+v, want %+v", got, want)
		}
	}
}

func TestTLSProtocols(t *testing.T) {
	cfg, err := baseTLS(load(t, "OUTRIGGER_SERVER_TLS_PROTOCOLS=tlsv1.3").ServerTLS)
	if err != nil || cfg.MinVersion != tls.VersionTLS13 || cfg.MaxVersion != tls.VersionTLS13 {
		t.Errorf("versions %x to %x, %v", cfg.MinVersion, cfg.MaxVersion, err)
	}
}

func TestClientTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	server.Close()
	authority := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	for _, tt := range []struct {
		mode     string
		offered  bool
		required bool
		verify   tls.ClientAuthType
	}{
		{"disable", false, false, 0},
		{"allow", true, false, tls.NoClientCert},
		{"prefer", true, false, tls.NoClientCert},
		{"require", true, true, tls.NoClientCert},
		{"verify-ca", true, true, tls.RequireAndVerifyClientCert},
		{"verify-full", true, true, tls.RequireAndVerifyClientCert},
	} {
		cfg, required, err := clientTLS(config.TLS{SSLMode: tt.mode})
		if err != nil {
			t.Fatal(err)
		}
		if cfg != nil && tt.verify == tls.NoClientCert {
			authorities, _, err := clientTLS(config.TLS{SSLMode: tt.mode, CAFile: authority})
			if err != nil || authorities.ClientAuth != tls.VerifyClientCertIfGiven || authorities.ClientCAs == nil {
				t.Errorf("%s: a certificate is not verified although its authority is known: %v", tt.mode, err)
			}
		}
		if (cfg != nil) != tt.offered || required != tt.required || cfg != nil && cfg.ClientAuth != tt.verify {
			t.Errorf("%s: offered %v, required %v", tt.mode, cfg != nil, required)
		}
	}
	notPEM := write(t, "x.pem", "nothing")
	for _, bad := range []config.TLS{{SSLMode: "require", CertFile: notPEM, KeyFile: notPEM}, {SSLMode: "require", CAFile: notPEM}} {
		if _, _, err := clientTLS(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestCheckFindsWhatOnlyThePartsKnow(t *testing.T) {
	cfg := load(t, "PRIMARY_DB_URL=postgres://a@p/d", "OUTRIGGER_CLIENT_AUTH=scram-sha-256", "OUTRIGGER_AUTH_FILE="+write(t, "userlist.txt", "nonsense"),
		"OUTRIGGER_CLUSTER_KEY_FILE="+write(t, "key", "short"), "OUTRIGGER_CACHE_PASSWORD_FILE="+write(t, "password", "\n"))
	err := Check(cfg)
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) != 3 {
		t.Fatalf("got %v, want one problem for each file", err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Where, "OUTRIGGER_") {
			t.Errorf("%v does not say where it comes from", p)
		}
	}
}

func TestParts(t *testing.T) {
	boom := errors.New("boom")
	until := func(ctx context.Context) error { <-ctx.Done(); return nil }
	ended := make(chan error, 1)

	failing := &part{name: "p", run: func(context.Context) error { return boom }}
	failing.start(ended)
	if err := <-ended; !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "p: ") {
		t.Errorf("a part that failed gives %v", err)
	}
	quitting := &part{name: "p", run: func(context.Context) error { return nil }}
	quitting.start(ended)
	if err := <-ended; !errors.Is(err, errEnded) {
		t.Errorf("a part that ended by itself gives %v", err)
	}

	closed := 0
	good := &part{name: "p", run: until, close: func() error { closed++; return boom }}
	good.start(ended)
	good.halt()
	if err := good.stop(false); !errors.Is(err, boom) || closed != 1 {
		t.Errorf("stop gives %v after %d calls of close", err, closed)
	}
	never := &part{name: "p", run: until, close: func() error { closed++; return nil }}
	if err := never.stop(true); err != nil || closed != 2 {
		t.Errorf("stop of a part that never ran gives %v, %d calls of close", err, closed)
	}

	aborted := make(chan struct{})
	abrupt := &part{name: "p", run: func(context.Context) error { <-aborted; return nil }, abort: func() { close(aborted) }}
	abrupt.start(ended)
	if err := abrupt.stop(true); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("a part that was stopped reports %v", err)
	default:
	}
}

// A part that fails ends the others and the whole.
func TestFailureEndsTheRun(t *testing.T) {
	taken := load(t, "OUTRIGGER_CACHE=off", "PRIMARY_DB_URL=postgres://a@127.0.0.1:1/d", "OUTRIGGER_PG_LISTEN=127.0.0.1:0", "OUTRIGGER_HTTP_LISTEN=203.0.113.1:1")
	a, err := New(Options{Config: taken, LogTo: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen for http") {
		t.Errorf("got %v", err)
	}
	if err := a.askReload(); !errors.Is(err, errStopping) {
		t.Errorf("a reload after the end gives %v", err)
	}
}

// A console that asks for something while the sidecar stops does not keep it from stopping.
func TestStopIsNotHeldUpByAConsole(t *testing.T) {
	cfg := load(t, "OUTRIGGER_CACHE=off", "PRIMARY_DB_URL=postgres://a@127.0.0.1:1/d", "OUTRIGGER_PG_LISTEN=127.0.0.1:0", "OUTRIGGER_HTTP_LISTEN=off")
	a, err := New(Options{Config: cfg, LogTo: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	a.parts = append(a.parts, &part{name: "console", run: func(ctx context.Context) error {
		<-ctx.Done()
		asked <- a.askReload()
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := <-asked; !errors.Is(err, errStopping) {
		t.Errorf("a reload during the stop gives %v", err)
	}
}

// A drain gives up on clients that stay after drain_timeout; the console's RELOAD meets a sidecar that is stopping.
func TestDrainTimesOut(t *testing.T) {
	cfg := load(t, "OUTRIGGER_CACHE=off", "PRIMARY_DB_URL=postgres://a@127.0.0.1:1/d", "OUTRIGGER_PG_LISTEN=127.0.0.1:0", "OUTRIGGER_HTTP_LISTEN=off",
		"OUTRIGGER_DRAIN_TIMEOUT=100ms")
	signals := make(chan os.Signal, 1)
	var log bytes.Buffer
	a, err := New(Options{Config: cfg, Signals: signals, LogTo: &log, Load: func(...config.Given) (*config.Config, error) { return cfg, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.build(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	a.parts = append(a.parts, &part{
		name: "stubborn",
		run:  func(ctx context.Context) error { <-ctx.Done(); return nil },
		drain: func(ctx context.Context) error {
			go func() { asked <- a.askReload() }()
			<-ctx.Done()
			return context.Cause(ctx)
		},
	})
	ended := make(chan error, len(a.parts))
	for _, p := range a.parts {
		p.start(ended)
	}
	if err := a.askReloadDuring(t, ended); err != nil {
		t.Errorf("reload: %v", err)
	}
	signals <- syscall.SIGTERM
	begin := time.Now()
	if err := a.wait(t.Context(), ended); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("drained in %v, before the timeout", took)
	}
	if err := errors.Join(a.stop()); err != nil {
		t.Error(err)
	}
	close(a.over)
	if err := <-asked; !errors.Is(err, errStopping) {
		t.Errorf("a reload during the drain gives %v", err)
	}
	if !strings.Contains(log.String(), "drain cut short") {
		t.Errorf("the log does not tell:\n%s", log.String())
	}
}

// askReloadDuring reloads as a console does while wait runs.
func (a *App) askReloadDuring(t *testing.T, ended <-chan error) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() { waited <- a.wait(ctx, ended) }()
	err := a.askReload()
	cancel()
	return errors.Join(err, <-waited)
}

// startedWriter is a log that tells when the sidecar has started.
type startedWriter struct {
	mu      sync.Mutex
	text    bytes.Buffer
	started chan struct{}
	once    sync.Once
}

func (w *startedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if bytes.Contains(b, []byte("started")) {
		w.once.Do(func() { close(w.started) })
	}
	return w.text.Write(b)
}

// A cache with a snapshot has after a clean stop what it had before; one that was stopped at once begins empty.
func TestWarmRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	cfg := load(t, "OUTRIGGER_CACHE_LISTEN=127.0.0.1:0", "OUTRIGGER_GOSSIP_LISTEN=127.0.0.1:0", "OUTRIGGER_PEER_LISTEN=127.0.0.1:0", "OUTRIGGER_HTTP_LISTEN=off",
		"OUTRIGGER_CACHE_SNAPSHOT="+path)
	run := func(sig os.Signal, while func(*cachenode.Node)) string {
		t.Helper()
		log := &startedWriter{started: make(chan struct{})}
		signals := make(chan os.Signal, 1)
		a, err := New(Options{Config: cfg, Signals: signals, LogTo: log})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- a.Run(t.Context()) }()
		select {
		case <-log.started:
		case err := <-done:
			t.Fatalf("ended: %v", err)
		}
		while(a.node)
		signals <- sig
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return log.text.String()
	}
	e := store.Entry{Key: []byte("k"), Kind: store.KindString, Version: 1 << 40, Value: []byte("v")}
	run(syscall.SIGTERM, func(n *cachenode.Node) {
		if _, err := n.Store().Apply(&e, time.Now().UnixMilli()); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	log := run(syscall.SIGTERM, func(n *cachenode.Node) {
		if got := n.Stats().Keys; got != 1 {
			t.Errorf("%d keys after the restart", got)
		}
	})
	if !strings.Contains(log, "cache snapshot read") || !strings.Contains(log, "cache snapshot written") {
		t.Errorf("the log does not tell of it:\n%s", log)
	}
	run(os.Interrupt, func(n *cachenode.Node) {
		if got := n.Stats().Keys; got != 1 {
			t.Errorf("%d keys after the second restart", got)
		}
	})
	run(syscall.SIGTERM, func(n *cachenode.Node) {
		if got := n.Stats().Keys; got != 0 {
			t.Errorf("%d keys after a stop at once: they may be old", got)
		}
	})
	if err := os.WriteFile(path, []byte("not a snapshot"), 0o600); err != nil {
		t.Fatal(err)
	}
	if log := run(syscall.SIGTERM, func(*cachenode.Node) {}); !strings.Contains(log, "cache snapshot not used") {
		t.Errorf("a damaged file goes unnoticed:\n%s", log)
	}
}
