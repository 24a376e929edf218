package app

import (
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
)

// TestSettingRows checks what SHOW CONFIG shows: every setting, numbers as numbers, no password.
func TestSettingRows(t *testing.T) {
	cfg, err := config.Load(config.Sources{Environ: []string{
		"OUTRIGGER_PRIMARY_URL=postgres://app:hush@db/shop", "OUTRIGGER_REPLICA_URLS=postgres://app:hush@r1/shop,postgres://app:hush@r2/shop",
		"OUTRIGGER_DATABASES={other: {primary_url: 'postgres://app:hush@db2/other'}}", "OUTRIGGER_MAX_CLIENT_CONN=200",
		"OUTRIGGER_QUERY_TIMEOUT=1m30s", "OUTRIGGER_SERVER_IDLE_TIMEOUT=0", "OUTRIGGER_AS_CLIENT=false"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"max_client_conn": "200 10000 yes", "query_timeout": "90 0 yes", "server_idle_timeout": "0 600 yes",
		"as_client": "0 0 yes", "pg_listen": "127.0.0.1:6432 127.0.0.1:6432 no"}
	rows := settingRows(cfg)
	if len(rows) != len(config.Settings()) {
		t.Errorf("%d rows for %d settings", len(rows), len(config.Settings()))
	}
	for _, r := range rows {
		if strings.Contains(r.Value+r.Default, "hush") {
			t.Errorf("%s shows a password: %s", r.Key, r.Value)
		}
		changeable := map[bool]string{true: "yes", false: "no"}[r.Changeable]
		if w, ok := want[r.Key]; ok && w != r.Value+" "+r.Default+" "+changeable {
			t.Errorf("%s: got %s %s %s, want %s", r.Key, r.Value, r.Default, changeable, w)
		}
		delete(want, r.Key)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
