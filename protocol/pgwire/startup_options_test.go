package pgwire

import (
	"errors"
	"reflect"
	"testing"
)

func TestParseOptions(t *testing.T) {
	tests := []struct {
		in   string
		want []Param
	}{
		{"", nil},
		{"  \t\n ", nil},
		{"-c a=1", []Param{{"a", "1"}}},
		{"-ca=1", []Param{{"a", "1"}}},
		{"--a=1", []Param{{"a", "1"}}},
		{" -c  a=1   --b=2 -cc=3 ", []Param{{"a", "1"}, {"b", "2"}, {"c", "3"}}},
		{"-c search_path=a,b", []Param{{"search_path", "a,b"}}},
		{`-c search_path=a,\ b`, []Param{{"search_path", "a, b"}}},
		{`-c a=b\\c`, []Param{{"a", `b\c`}}},
		{`-c a=b\`, []Param{{"a", "b"}}},
		{"-c a=", []Param{{"a", ""}}},
		{"-c a=b=c", []Param{{"a", "b=c"}}},
		{"--statement-timeout=5s", []Param{{"statement_timeout", "5s"}}},
		{"-c my.thing=x", []Param{{"my.thing", "x"}}},
		{"-c a=1 -c a=2", []Param{{"a", "1"}, {"a", "2"}}},
	}
	for _, tt := range tests {
		got, err := ParseOptions(tt.in)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %v, %v, want %v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"-c", "-c ", "-c a", "-c =", "-c =1", "-c=", "-c=1", "--", "--=1", "--a", "-", "a=1", "-d 5", "-e", `\`,
		"-c 1a=1", "-c a;b=1", `-c a\ b=1`, "-c a'=1", "-c a.=1", "-c .a=1", "-c a..b=1",
	} {
		got, err := ParseOptions(in)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != "42601" {
			t.Errorf("%q: got %v, %v, want 42601", in, got, err)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	for _, s := range []string{"-c a=1", `-ca=\ x --b-c=2`, "-c=", "--", `\`, "-c a=\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseOptions(s)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		for _, p := range list {
			if !validSettingName(p.Name) {
				t.Fatalf("name %q", p.Name)
			}
		}
	})
}
