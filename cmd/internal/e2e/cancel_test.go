package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// service stands for a Kubernetes service: each connection goes to the next sidecar, so that the one after a client's own,
// which carries its cancel request, never reaches the sidecar of the client.
type service struct {
	addr  string
	turns atomic.Int64
}

func newService(t *testing.T, targets []string) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{addr: l.Addr().String()}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			target := targets[int(s.turns.Add(1)-1)%len(targets)]
			running.Go(func() { relay(ctx, client, target) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		running.Wait()
	})
	return s
}

// relay connects a client with a target until one of them hangs up.
func relay(ctx context.Context, client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	defer stop()
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	_, _ = io.Copy(server, client)
	if tcp, ok := server.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	<-answers
}

// behindService returns the URL of a service in front of the shared sidecars.
func behindService(t *testing.T) string {
	t.Helper()
	var targets []string
	var shown *url.URL
	for _, text := range shared.each("OUTRIGGER_NODES_DATABASE_URLS") {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		targets, shown = append(targets, u.Host), u
	}
	shown.Host = newService(t, targets).addr
	return shown.String()
}

// asleep waits until a query with this mark runs on the primary.
func asleep(t *testing.T, mark string) {
	t.Helper()
	direct := connect(t, shared.get("PRIMARY_URL"))
	eventually(t, "the query runs", func() error {
		if one[int](t, direct, "select count(*)::int from pg_stat_activity where state = 'active' and query like '%'||$1||'%' and pid <> pg_backend_pid()", mark) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
}

// Each driver in its own way, in protocol 3.0 and 3.2: psql and its libpq, pgx, and a request made by hand.
func TestCancelThroughAnotherSidecar(t *testing.T) {
	t.Parallel()
	service := behindService(t)

	t.Run("pgx", func(t *testing.T) {
		cfg, err := pgx.ParseConfig(service)
		if err != nil {
			t.Fatal(err)
		}
		cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: 20 * time.Second}
		}
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(ctx, "select pg_sleep(60) /* pgx cancels */ for update")
			done <- err
		}()
		asleep(t, "pgx cancels")
		cancel()
		if err := <-done; sqlState(err) != "57014" {
			t.Fatalf("the query ended with %v, want SQLSTATE 57014", err)
		}
		if got := one[int](t, conn, "select 7"); got != 7 {
			t.Errorf("the connection is of no use afterwards: %d", got)
		}
	})

	t.Run("psql", func(t *testing.T) {
		cmd := exec.Command("psql", "-X", "-v", "ON_ERROR_STOP=0", service, "-c", "begin", "-c", "select pg_sleep(60) /* psql cancels */", "-c", "rollback")
		cmd.Env = environIn(t.TempDir())
		var said output
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		asleep(t, "psql cancels")
		if err := cmd.Process.Signal(os.Signal(syscall.SIGINT)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if !strings.Contains(said.String(), "canceling statement due to user request") {
			t.Errorf("psql said:\n%s", said.String())
		}
	})

	// A request ends when its query has been cancelled, wherever it arrives; one with a wrong secret, or for nobody, too.
	t.Run("by hand", func(t *testing.T) {
		urls := shared.each("OUTRIGGER_NODES_DATABASE_URLS")
		for i, to := range urls[1:] {
			conn := connect(t, urls[0])
			mark := fmt.Sprintf("by hand %d", i)
			done := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "select pg_sleep(60) /* "+mark+" */ for update")
				done <- err
			}()
			asleep(t, mark)
			wrong := append([]byte(nil), conn.PgConn().SecretKey()...)
			wrong[0] ^= 1
			sendCancel(t, to, conn.PgConn().PID(), wrong)
			sendCancel(t, to, conn.PgConn().PID()^1<<20, conn.PgConn().SecretKey()) // of a node that does not exist
			select {
			case err := <-done:
				t.Fatalf("a wrong key has ended the query: %v", err)
			default:
			}
			sendCancel(t, to, conn.PgConn().PID(), conn.PgConn().SecretKey())
			select {
			case err := <-done:
				if sqlState(err) != "57014" {
					t.Errorf("the query ended with %v, want SQLSTATE 57014", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the query was not cancelled")
			}
		}
	})
}

// sendCancel sends a CancelRequest to a sidecar and waits for the end of the connection.
func sendCancel(t *testing.T, to string, pid uint32, secret []byte) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(secret)))
	b = binary.BigEndian.AppendUint32(b, 80877102)
	b = append(binary.BigEndian.AppendUint32(b, pid), secret...)
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := nc.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a cancel request was answered with %d bytes, %v", n, err)
	}
}
