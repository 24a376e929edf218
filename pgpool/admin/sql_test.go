package admin

import (
	"errors"
	"reflect"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		sql  string
		want [][]string
	}{
		{"", nil},
		{" \n;;\t;", nil},
		{"-- ping", nil},
		{"/* a */ /* ; */", nil},
		{"SHOW Pools", [][]string{{"show", "pools"}}},
		{"show pools;show stats", [][]string{{"show", "pools"}, {"show", "stats"}}},
		{"show -- x\npools", [][]string{{"show", "pools"}}},
		{"show/**/pools", [][]string{{"show", "pools"}}},
		{"set a='B;''c'", [][]string{{"set", "a", "=", "B;''c"}}},
		{`set "A""b" = ''`, [][]string{{"set", `A""b`, "=", ""}}},
		{"a.b-1", [][]string{{"a", ".", "b", "-", "1"}}},
		{"größe", [][]string{{"größe"}}},
	}
	for _, tt := range tests {
		if got, err := split(tt.sql); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %q, error %v, want %q", tt.sql, got, err, tt.want)
		}
	}
	for _, sql := range []string{"'", "set a = 'b", `"`, "'''", "/*", "show /* pools", "show /*/"} {
		_, err := split(sql)
		if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "42601" {
			t.Errorf("%q: error %v", sql, err)
		}
	}
}
