package classify

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What is called a read must run in a read-only transaction, and the statements of the corpus that are plain reads must
// be called so. testdata/corpus.sql has a statement a line; "w" in front of one says that it must not be a read.
func TestCorpusAgainstPostgres(t *testing.T) {
	schema, err := os.ReadFile("testdata/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	corpus, err := os.ReadFile("testdata/corpus.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), pg.PrimaryURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.PgConn().Exec(t.Context(), string(schema)).Close(); err != nil {
		t.Fatal(err)
	}
	statements := 0
	for line := range strings.Lines(string(corpus)) {
		kind, sql, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || (kind != "r" && kind != "w") {
			if kind != "" && kind != "--" {
				t.Fatalf("odd line %q", line)
			}
			continue
		}
		statements++
		class := Classify([]byte(sql)).Class
		if (class == Read) != (kind == "r") {
			t.Errorf("%q is called %v", sql, class)
		}
		begin := "begin"
		if class == Read {
			begin = "begin read only"
		}
		err := conn.PgConn().Exec(t.Context(), begin+"; "+sql).Close()
		if e, ok := errors.AsType[*pgconn.PgError](err); ok {
			if class == Read && e.Code == "25006" {
				t.Errorf("%q is called a read, and Postgres says %v", sql, e)
			} else if strings.HasPrefix(e.Code, "42") {
				t.Errorf("%q is no statement for Postgres: %v", sql, e)
			}
		} else if err != nil {
			t.Fatalf("%q: %v", sql, err)
		}
		if err := conn.PgConn().Exec(t.Context(), "rollback").Close(); err != nil {
			t.Fatal(err)
		}
	}
	if statements < 150 {
		t.Fatalf("only %d statements", statements)
	}
}
