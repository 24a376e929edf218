package classify

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/functions.md has the table of functions that are not called on replicas.
func TestEffectsAreDocumented(t *testing.T) {
	const path, begin = "../../docs/functions.md", "| functions | why |\n|---|---|\n"
	is, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := bytes.Cut(is, []byte(begin))
	if !ok {
		t.Fatalf("%s has no table", path)
	}
	want := bytes.NewBuffer(bytes.Clone(before))
	want.WriteString(begin)
	for _, e := range Effects() {
		names := strings.Fields(e.Functions)
		for i := range names {
			names[i] = "`" + names[i] + "`"
		}
		fmt.Fprintf(want, "| %s | %s |\n", strings.Join(names, ", "), e.Why)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(is, want.Bytes()) {
		t.Errorf("%s is not what the table says: run go test ./pgpool/classify -run Documented -update", path)
	}
}

func TestWhyPrimary(t *testing.T) {
	for name, want := range map[string]bool{
		"pg_advisory_lock": true, "pg_try_advisory_xact_lock_shared": true, "lo_put": true, "dblink": true, "dblink_exec": true,
		"pg_create_physical_replication_slot": true, "pg_create_restore_point": true, "pg_stat_reset": true, "nextval": true,
		"lower": false, "my_function": false, "lo": false, "": false, "bthandler": true, "my_handler": false, "pg_create_": false,
		"pg_create_replication_slot": false,
	} {
		if got := WhyPrimary([]byte(name)); (got != "") != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	for _, e := range Effects() {
		for name := range strings.FieldsSeq(e.Functions) {
			if name = strings.TrimSuffix(name, "*"); OnlyReads([]byte(name)) && name != "current_setting" {
				t.Errorf("%s only reads, and yet: %s", name, e.Why)
			}
		}
	}
}
