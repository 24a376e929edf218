package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connect opens a connection through a sidecar.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// one returns the only value of a query.
func one[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// sqlState is the SQLSTATE of an error from the server, else its text.
func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return fmt.Sprint(err)
}

func TestPgx(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	conn := connect(t, shared.get("DATABASE_URL"))

	t.Run("transaction", func(t *testing.T) {
		mustExec(t, conn, "create table pgx_tx (id int primary key)")
		undo := errors.New("undo")
		for _, ending := range []error{nil, undo} {
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "insert into pgx_tx select coalesce(max(id), 0) + 1 from pgx_tx"); err != nil {
					return err
				}
				// A failure inside a savepoint leaves the transaction alive.
				err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, "insert into pgx_tx values (1), (1)")
					return err
				})
				if sqlState(err) != "23505" {
					return fmt.Errorf("inside a savepoint: %v, want 23505", err)
				}
				return ending
			})
			if !errors.Is(err, ending) {
				t.Fatal(err)
			}
		}
		if got := one[int](t, conn, "select count(*) from pgx_tx"); got != 1 {
			t.Errorf("%d rows, want the one that was committed", got)
		}
	})

	t.Run("prepared statement", func(t *testing.T) {
		for _, name := range []string{"first", "second"} {
			if _, err := conn.Prepare(ctx, name, "select '"+name+"' || $1::text"); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			for _, name := range []string{"first", "second"} {
				if got, want := one[string](t, conn, name, fmt.Sprint(i)), name+fmt.Sprint(i); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
		}
		if err := conn.Deallocate(ctx, "first"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Prepare(ctx, "first", "select 'again'"); err != nil {
			t.Fatal(err)
		}
		if got := one[string](t, conn, "first"); got != "again" {
			t.Errorf("got %q of a name prepared again", got)
		}
	})

	t.Run("copy", func(t *testing.T) {
		const rows = 50_000
		mustExec(t, conn, "create table pgx_copy (id int, v text)")
		n, err := conn.CopyFrom(ctx, pgx.Identifier{"pgx_copy"}, []string{"id", "v"},
			pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{i, strings.Repeat("x", i%100)}, nil }))
		if err != nil || n != rows {
			t.Fatalf("copied %d rows in: %v", n, err)
		}
		var out bytes.Buffer
		tag, err := conn.PgConn().CopyTo(ctx, &out, "copy (select id, v from pgx_copy order by id) to stdout")
		if err != nil || tag.RowsAffected() != rows {
			t.Fatalf("copied %v out: %v", tag, err)
		}
		line := 0
		for text := range strings.Lines(out.String()) {
			if want := fmt.Sprintf("%d\t%s\n", line, strings.Repeat("x", line%100)); text != want {
				t.Fatalf("line %d is %q, want %q", line, text, want)
			}
			line++
		}
		if line != rows {
			t.Errorf("%d lines, want %d", line, rows)
		}
		// A client that gives up in the middle leaves nothing, and a session that works.
		if _, err := conn.PgConn().CopyFrom(ctx, io.MultiReader(strings.NewReader("1\tx\n"), failing{}), "copy pgx_copy from stdin"); err == nil {
			t.Error("a copy that its client broke off came to an end")
		}
		if got := one[int](t, conn, "select count(*) from pgx_copy"); got != rows {
			t.Errorf("%d rows after a copy that failed, want %d", got, rows)
		}
	})

	t.Run("batch", func(t *testing.T) {
		mustExec(t, conn, "create table pgx_batch (id int)")
		var batch pgx.Batch
		for i := range 50 {
			batch.Queue("insert into pgx_batch values ($1)", i)
			batch.Queue("select count(*) from pgx_batch").QueryRow(func(row pgx.Row) error {
				var n int
				if err := row.Scan(&n); err != nil || n != i+1 {
					return fmt.Errorf("after %d inserts of the batch: %d, %v", i+1, n, err)
				}
				return nil
			})
		}
		if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
			t.Error(err)
		}
		// A batch is one transaction: its failure undoes all of it.
		batch = pgx.Batch{}
		batch.Queue("delete from pgx_batch")
		batch.Queue("select 1/0")
		if err := conn.SendBatch(ctx, &batch).Close(); sqlState(err) != "22012" {
			t.Errorf("a batch that divides by zero: %v", err)
		}
		if got := one[int](t, conn, "select count(*) from pgx_batch"); got != 50 {
			t.Errorf("%d rows, want 50", got)
		}
	})

	t.Run("cancel", func(t *testing.T) {
		other := connect(t, shared.get("DATABASE_URL"))
		untouched := make(chan error, 1)
		go func() {
			_, err := other.Exec(ctx, "select pg_sleep(2)")
			untouched <- err
		}()
		const sleep = "select pg_sleep(60) /* TestPgx */"
		cancelled := make(chan error, 1)
		go func() {
			_, err := conn.Exec(ctx, sleep, pgx.QueryExecModeSimpleProtocol)
			cancelled <- err
		}()
		eventually(t, "query runs", func() error {
			if active(t, sleep) != 1 {
				return errors.New("it does not")
			}
			return nil
		})
		if err := conn.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-cancelled:
			if sqlState(err) != "57014" {
				t.Errorf("the query ended with %v, want 57014", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the query was not cancelled")
		}
		if err := <-untouched; err != nil {
			t.Errorf("another client's query was cancelled: %v", err)
		}
		// A cancel that comes too late harms nobody.
		if err := conn.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, conn, "select 42"); got != 42 {
			t.Errorf("got %d after the cancel", got)
		}
	})
}

// failing is a reader that has nothing and says so.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the client has changed its mind") }

// What a connection has written its next read sees, through whichever node, while other reads are on the replica.
func TestReadAfterWrite(t *testing.T) {
	t.Parallel()
	setup := connect(t, shared.get("DATABASE_URL"))
	mustExec(t, setup, "create table raw (id int primary key, n int not null)")
	mustExec(t, setup, "insert into raw select i, 0 from generate_series(0, 7) i")
	nodes := shared.each("OUTRIGGER_NODES_DATABASE_URLS")
	if len(nodes) != 3 {
		t.Fatalf("%d nodes, want 3", len(nodes))
	}
	var writers sync.WaitGroup
	for id := range 8 {
		conn := connect(t, nodes[id%len(nodes)])
		writers.Go(func() {
			for n := 1; n <= 150; n++ {
				if err := writeAndRead(t.Context(), conn, id, n); err != nil {
					t.Errorf("connection %d: %v", id, err)
					return
				}
			}
		})
	}
	writers.Wait()
	// Without a write of its own, a session reads from the replica; after one, from there again when it has caught up.
	for _, conn := range []*pgx.Conn{connect(t, nodes[0]), setup} {
		eventually(t, "reads reach the replica", func() error {
			if !one[bool](t, conn, "select current_setting('cluster_name') <> 'node0'") {
				return errors.New("they go to the primary")
			}
			return nil
		})
	}
}

// writeAndRead sets a row to n in one of several ways and reads it back at once.
func writeAndRead(ctx context.Context, conn *pgx.Conn, id, n int) error {
	const update = "update raw set n = $2 where id = $1"
	var err error
	switch n % 4 {
	case 0: // a prepared statement of its own
		_, err = conn.Exec(ctx, update, id, n)
	case 1: // the simple protocol
		_, err = conn.Exec(ctx, update, pgx.QueryExecModeSimpleProtocol, id, n)
	case 2: // a transaction
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, update, id, n)
			return err
		})
	case 3: // a write that looks like a read
		err = conn.QueryRow(ctx, "with w as (update raw set n = $2 where id = $1 returning n) select n from w", id, n).Scan(new(int))
	}
	if err != nil {
		return fmt.Errorf("write %d: %w", n, err)
	}
	mode := pgx.QueryExecModeCacheStatement
	if n%3 == 0 {
		mode = pgx.QueryExecModeSimpleProtocol
	}
	var got int
	if err := conn.QueryRow(ctx, "select n from raw where id = $1", mode, id).Scan(&got); err != nil {
		return fmt.Errorf("read %d: %w", n, err)
	}
	if got != n {
		return fmt.Errorf("wrote %d, read %d", n, got)
	}
	return nil
}
