package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lib/pq"
)

// pqScript is lib/pq behind database/sql.
type pqScript struct {
	to  target
	out io.Writer
}

func (s pqScript) run(ctx context.Context) error {
	for _, part := range []struct {
		name string
		run  func(context.Context, *sql.DB) error
	}{
		{"transactions", s.transactions}, {"prepared", s.prepared}, {"copy", s.copy}, {"notifications", s.notifications},
		{"cancel", s.cancel}, {"settings", s.settings}, {"large and binary", s.large}, {"errors", s.errors}, {"two clients", s.twoClients},
	} {
		fmt.Fprintln(s.out, "--", part.name)
		db, err := s.open("")
		if err != nil {
			return err
		}
		err = errors.Join(part.run(ctx, db), db.Close())
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// open is a pool of one connection, so that what a session keeps is seen.
func (s pqScript) open(options string) (*sql.DB, error) {
	db, err := sql.Open("postgres", s.to.database+options)
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// show prints the rows of a query, or its error.
func (s pqScript) show(ctx context.Context, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, query string, args ...any) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err == nil {
		defer rows.Close()
		columns, _ := rows.Columns()
		for rows.Next() && err == nil {
			row := make([]sql.NullString, len(columns))
			to := make([]any, len(row))
			for i := range row {
				to[i] = &row[i]
			}
			err = rows.Scan(to...)
			fmt.Fprintln(s.out, row)
		}
		err = errors.Join(err, rows.Err())
	}
	if err != nil {
		s.fail(err)
	}
}

func (s pqScript) fail(err error) {
	if pg, ok := errors.AsType[*pq.Error](err); ok {
		fmt.Fprintln(s.out, pg.Code, pg.Message, pg.Constraint)
		return
	}
	fmt.Fprintln(s.out, err)
}

// all runs statements one by one.
func all(ctx context.Context, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, statements ...string) error {
	for _, text := range statements {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

func (s pqScript) transactions(ctx context.Context, db *sql.DB) error {
	if err := all(ctx, db, "create table tx (id int primary key)"); err != nil {
		return err
	}
	for i, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback, (*sql.Tx).Commit} {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "insert into tx values ($1)", i); err != nil {
			return err
		}
		if i == 2 { // a failure: the commit rolls back
			_, err := tx.ExecContext(ctx, "insert into tx values (0)")
			s.fail(err)
			_, err = tx.ExecContext(ctx, "select 1")
			s.fail(err)
		}
		if err := end(tx); err != nil {
			s.fail(err)
		}
	}
	s.show(ctx, db, "select id from tx")
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	if err != nil {
		return err
	}
	s.show(ctx, tx, "select current_setting('transaction_isolation'), current_setting('transaction_read_only')")
	_, err = tx.ExecContext(ctx, "insert into tx values (9)")
	s.fail(err)
	return tx.Rollback()
}

func (s pqScript) prepared(ctx context.Context, db *sql.DB) error {
	var statements []*sql.Stmt
	for n := range 50 { // more than the pooler keeps on a server, when the test says so
		st, err := db.PrepareContext(ctx, fmt.Sprintf("select $1::int + %d", n))
		if err != nil {
			return err
		}
		statements = append(statements, st)
	}
	for turn := range 3 {
		for n, st := range statements {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			var got int
			if err := tx.StmtContext(ctx, st).QueryRowContext(ctx, turn).Scan(&got); err != nil || got != turn+n {
				return fmt.Errorf("got %d, want %d: %w", got, turn+n, err)
			}
			if err := tx.Commit(); err != nil {
				return err
			}
		}
	}
	for _, st := range statements {
		if err := st.Close(); err != nil {
			return err
		}
	}
	// The unnamed statement is described first and bound after that Sync.
	s.show(ctx, db, "select $1::int, $2::text, $3::bytea", 1, "x", []byte{0, 255})
	s.show(ctx, db, "select $1::int", "not a number")
	return nil
}

func (s pqScript) copy(ctx context.Context, db *sql.DB) error {
	if err := all(ctx, db, "create table copied (id int, v text)"); err != nil {
		return err
	}
	for _, last := range []string{"1", "bad"} {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		st, err := tx.PrepareContext(ctx, "copy copied (id, v) from stdin")
		if err != nil {
			return err
		}
		for i := range 5000 {
			if _, err := st.ExecContext(ctx, i, fmt.Sprint("value\t", i)); err != nil {
				return err
			}
		}
		_, err = st.ExecContext(ctx, last, nil)
		_, errFlush := st.ExecContext(ctx)
		errClose := st.Close()
		if err = errors.Join(err, errFlush, errClose); err != nil {
			s.fail(err)
			_ = tx.Rollback() // fails where the copy has
			continue
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	s.show(ctx, db, "select count(*), sum(id), count(v), max(v) from copied")
	return nil
}

func (s pqScript) notifications(ctx context.Context, _ *sql.DB) error {
	l := pq.NewListener(s.to.database, time.Second, time.Second, nil)
	defer l.Close()
	if err := l.Listen("news"); err != nil {
		return err
	}
	other, err := sql.Open("postgres", s.to.notify)
	if err != nil {
		return err
	}
	defer other.Close()
	if err := all(ctx, other, "notify news, 'from another'", "begin; select pg_notify('news', 'in a transaction'); commit"); err != nil {
		return err
	}
	for range 2 {
		select {
		case n := <-l.Notify:
			fmt.Fprintln(s.out, n.Channel, n.Extra)
		case <-time.After(20 * time.Second):
			return errors.New("no notification")
		}
	}
	return errors.Join(l.Ping(), l.UnlistenAll())
}

func (s pqScript) cancel(ctx context.Context, db *sql.DB) error {
	watcher, err := sql.Open("postgres", s.to.primary)
	if err != nil {
		return err
	}
	defer watcher.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := all(ctx, conn, "begin"); err != nil { // on the primary, where the watcher looks
		return err
	}
	sleeping, wake := context.WithCancel(ctx)
	slept := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(sleeping, "select pg_sleep(60)")
		slept <- err
	}()
	for n := 0; n == 0; {
		const running = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)' and datname = current_database()"
		if err := watcher.QueryRowContext(ctx, running).Scan(&n); err != nil {
			break
		}
	}
	wake()
	s.fail(<-slept)
	// The driver gives a connection up after a cancel.
	s.show(ctx, conn, "select 1")
	if err := all(ctx, db, "set statement_timeout to 50"); err != nil {
		return err
	}
	s.show(ctx, db, "select pg_sleep(60)")
	s.show(ctx, db, "show statement_timeout")
	return nil
}

func (s pqScript) settings(ctx context.Context, db *sql.DB) error {
	other, err := s.open("&application_name=another&search_path=nowhere&options=-c%20statement_timeout%3D90s")
	if err != nil {
		return err
	}
	defer other.Close()
	if err := all(ctx, db, "set timezone to 'Asia/Tokyo'"); err != nil {
		return err
	}
	for range 3 {
		for _, each := range []*sql.DB{db, other} {
			s.show(ctx, each, `select current_setting('timezone'), current_setting('application_name'), current_setting('search_path'),
				current_setting('statement_timeout'), current_setting('extra_float_digits'), '2001-02-03 04:05+00'::timestamptz::text`)
		}
	}
	return all(ctx, db, "set bytea_output to escape", "reset all")
}

func (s pqScript) large(ctx context.Context, db *sql.DB) error {
	for _, options := range []string{"", "&binary_parameters=yes"} {
		db, err := s.open(options)
		if err != nil {
			return err
		}
		defer db.Close()
		rows, err := db.QueryContext(ctx, "select n, repeat('x', n % 300) from generate_series(1, $1::int) n", 50_000)
		if err != nil {
			return err
		}
		total := 0
		for rows.Next() {
			var n int
			var v string
			if err := rows.Scan(&n, &v); err != nil {
				return err
			}
			total += n + len(v)
		}
		fmt.Fprintln(s.out, total, rows.Err())
		value := []byte(strings.Repeat("y", 5_000_000))
		var got []byte
		if err := db.QueryRowContext(ctx, "select $1::bytea", value).Scan(&got); err != nil || string(got) != string(value) {
			return fmt.Errorf("%d bytes came back: %w", len(got), err)
		}
		var numbers []sql.NullInt64
		err = db.QueryRowContext(ctx, "select $1::int[]", pq.Array([]sql.NullInt64{{Int64: 1, Valid: true}, {}, {Int64: 3, Valid: true}})).Scan(pq.Array(&numbers))
		fmt.Fprintln(s.out, numbers, err)
	}
	return nil
}

func (s pqScript) errors(ctx context.Context, db *sql.DB) error {
	if err := all(ctx, db, "create table strict (id int constraint positive check (id > 0))"); err != nil {
		return err
	}
	for _, text := range []string{"selec", "select nothing", "select 1/0", "insert into strict values (0)", "select * from missing", "select 'x'::int"} {
		s.show(ctx, db, text)
		s.show(ctx, db, "/* $1 */ "+text)
	}
	s.show(ctx, db, "select 1; select 2")
	return nil
}

func (s pqScript) twoClients(ctx context.Context, db *sql.DB) error {
	other, err := s.open("&application_name=other")
	if err != nil {
		return err
	}
	defer other.Close()
	if err := all(ctx, db, "create table shared (id int, v text)"); err != nil {
		return err
	}
	var inserts []*sql.Stmt // both are the first of their session, of the same name
	for i, each := range []*sql.DB{db, other} {
		st, err := each.PrepareContext(ctx, fmt.Sprintf("insert into shared values ($1, current_setting('application_name') || '%d')", i))
		if err != nil {
			return err
		}
		inserts = append(inserts, st)
	}
	for i := range 20 {
		if _, err := inserts[i%2].ExecContext(ctx, i); err != nil {
			return err
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	s.show(ctx, tx, "select v, count(*), sum(id) from shared group by v order by v")
	return tx.Rollback()
}
