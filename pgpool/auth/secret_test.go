package auth

import (
	"strings"
	"testing"
)

const verifierOfPencil = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

func TestParseSecret(t *testing.T) {
	tests := []struct {
		in   string
		kind SecretKind
		ok   bool
	}{
		{"", SecretPassword, true},
		{"plain", SecretPassword, true},
		{"md5", SecretPassword, true},
		{"md5" + strings.Repeat("g", 32), SecretPassword, true},
		{"md5" + strings.Repeat("0", 31), SecretPassword, true},
		{"md5" + strings.Repeat("A", 32), SecretMD5, true},
		{verifierOfPencil, SecretSCRAM, true},
		{"SCRAM-SHA-256", SecretPassword, true},
		{"SCRAM-SHA-256$", 0, false},
		{strings.Replace(verifierOfPencil, "4096", "0", 1), 0, false},
		{strings.Replace(verifierOfPencil, "4096", "-1", 1), 0, false},
		{strings.Replace(verifierOfPencil, "4096", "2147483648", 1), 0, false},
		{strings.Replace(verifierOfPencil, "W22ZaJ0SNY7soEsUEjb6gQ==", "", 1), 0, false},
		{strings.Replace(verifierOfPencil, "WG5d", "", 1), 0, false},
		{verifierOfPencil[:len(verifierOfPencil)-10], 0, false},
	}
	for _, tt := range tests {
		s, err := ParseSecret(tt.in)
		if (err == nil) != tt.ok || (tt.ok && s.Kind != tt.kind) {
			t.Errorf("%q: got kind %d, %v", tt.in, s.Kind, err)
		}
		if err != nil && strings.Contains(err.Error(), "W22Z") {
			t.Errorf("%q: the error quotes the secret", tt.in)
		}
	}
}

func TestParseUsers(t *testing.T) {
	users, err := ParseUsers(strings.NewReader(`; a comment
"ann" "secret"

  "bo""b"	"pass""word" trailing "words"
"carl" "md5` + strings.Repeat("0", 32) + `"
"dora" "` + verifierOfPencil + `"
"nobody" ""
"ann" "later"
  ; an indented one, and a line that ends as in a file from Windows
` + "\t\"eve\"\t\"x\"\r\n\r\n\"fay\" \"over\nlines\"\r\n;last"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		kind SecretKind
		text string
	}{
		"ann": {SecretPassword, "later"}, `bo"b`: {SecretPassword, `pass"word`},
		"carl": {SecretMD5, "md5" + strings.Repeat("0", 32)}, "dora": {SecretSCRAM, verifierOfPencil}, "nobody": {SecretPassword, ""},
		"eve": {SecretPassword, "x"}, "fay": {SecretPassword, "over\nlines"},
	}
	if len(users) != len(want) {
		t.Fatalf("got %d users, want %d", len(users), len(want))
	}
	for name, w := range want {
		if s := users[name]; s.Kind != w.kind || s.text != w.text {
			t.Errorf("%s: got %d %q", name, s.Kind, s.text)
		}
	}
	for in, line := range map[string]string{"\"a\" \"x\"\r\n\n;\nb": "line 4", "\"a\" \"x\ny\"\n\"b\"": "line 3"} {
		if _, err := ParseUsers(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), line+":") {
			t.Errorf("%q: got %v, want %s", in, err, line)
		}
	}
	for _, in := range []string{`ann "x"`, `"ann`, `"ann"`, `"ann" x`, `"ann" "x`, `"" "x"`, `"ann" "SCRAM-SHA-256$"`, `"a" "x"` + "\n" + `"`} {
		_, err := ParseUsers(strings.NewReader(in))
		if err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: got %v, want an error with its line", in, err)
		}
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add(`"ann" "secret"` + "\n" + `"bo""b" "` + verifierOfPencil + `"`)
	f.Fuzz(func(t *testing.T, s string) {
		users, err := ParseUsers(strings.NewReader(s))
		if err != nil {
			return
		}
		for name := range users {
			if name == "" {
				t.Fatal("user without a name")
			}
		}
	})
}
