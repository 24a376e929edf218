package pgwire

import (
	"reflect"
	"testing"
)

func TestErrorRoundTrip(t *testing.T) {
	e := &Error{Severity: "FATAL", Code: "28P01", Message: "no", Detail: "d", Hint: "h", Where: "w"}
	b := AppendErrorResponse([]byte("x"), e)
	if b[1] != 'E' || int(b[4])<<8|int(b[5]) != len(b)-2 {
		t.Fatalf("frame %q", b)
	}
	if got := ParseError(b[6:]); !reflect.DeepEqual(got, e) {
		t.Fatalf("got %+v", got)
	}
	if got := e.Error(); got != "FATAL: no (SQLSTATE 28P01)" {
		t.Fatalf("got %q", got)
	}
}

func TestErrorDefaults(t *testing.T) {
	if got := ParseError(AppendErrorResponse(nil, &Error{Message: "m"})[5:]); got.Severity != "ERROR" || got.Code != "XX000" {
		t.Fatalf("got %+v", got)
	}
	b := AppendNotice(nil, &Error{Message: "m"})
	if got := ParseError(b[5:]); b[0] != 'N' || got.Severity != "NOTICE" || got.Code != "00000" {
		t.Fatalf("got %+v", got)
	}
}

func TestParseErrorTakesWhatIsThere(t *testing.T) {
	tests := []struct {
		body string
		want Error
	}{
		{"", Error{}},
		{"\x00", Error{}},
		{"M", Error{}},
		{"Mopen", Error{Message: "open"}},
		{"SFEHLER\x00Mm\x00\x00", Error{Severity: "FEHLER", Message: "m"}},
		{"SFEHLER\x00VERROR\x00\x00", Error{Severity: "ERROR"}},
		{"zjunk\x00C42601\x00\x00Mignored\x00", Error{Code: "42601"}},
	}
	for _, tt := range tests {
		if got := ParseError([]byte(tt.body)); *got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.body, got, tt.want)
		}
	}
	if got := ParseError(nil).Error(); got != "error without a message" {
		t.Errorf("got %q", got)
	}
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte("SERROR\x00VERROR\x00C42601\x00Mm\x00Dd\x00\x00"))
	f.Add([]byte("M"))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := ParseError(body)
		back := ParseError(AppendErrorResponse(nil, e)[5:])
		if back.Message != e.Message || back.Detail != e.Detail || (e.Code != "" && back.Code != e.Code) {
			t.Fatalf("%+v came back as %+v", e, back)
		}
	})
}

func TestAppendReadyForQuery(t *testing.T) {
	if got := string(AppendReadyForQuery(nil, 'T')); got != "Z\x00\x00\x00\x05T" {
		t.Fatalf("got %q", got)
	}
}
