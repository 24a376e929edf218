package load

import (
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

func message(kind byte, body string) string {
	return string(pgwire.AppendHeader(nil, kind, len(body))) + body
}

func TestReplies(t *testing.T) {
	row := message(pgwire.DataRow, "\x00\x01\x00\x00\x00\x01Z") // a Z that is no ReadyForQuery
	ready, wrong := message(pgwire.ReadyForQuery, "I"), message(pgwire.ErrorResponse, "SERROR\x00\x00")
	for _, tt := range []struct {
		name, in string
		ready    int
		failed   bool
		err      bool
	}{
		{"nothing", "", 0, false, false},
		{"an answer", row + message(pgwire.CommandComplete, "SELECT 1\x00") + ready, 1, false, false},
		{"not yet", row, 0, false, false},
		{"a body of nothing", message(pgwire.EmptyQuery, "") + ready, 1, false, false},
		{"refused", wrong + ready, 1, true, false},
		{"refused, then answered", wrong + ready + row + ready, 2, false, false},
		{"another protocol", "HTTP/1.1 400 Bad Request", 0, false, true},
	} {
		for size := 1; size <= max(1, len(tt.in)); size++ {
			var r replies
			var n int
			var failed bool
			var err error
			for b := []byte(tt.in); len(b) > 0 && err == nil; {
				piece := b[:min(size, len(b))]
				b = b[len(piece):]
				var ready int
				var wrong bool
				if ready, wrong, err = r.feed(piece); ready > 0 {
					n, failed = n+ready, wrong
				}
			}
			if n != tt.ready || failed != tt.failed || (err != nil) != tt.err {
				t.Errorf("%s, in pieces of %d: %d ready, failed %v, %v", tt.name, size, n, failed, err)
			}
		}
	}
}

// However it is cut, the same comes out.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(message(pgwire.DataRow, "Z")+message(pgwire.ReadyForQuery, "I")), 3)
	f.Add([]byte(message(pgwire.ErrorResponse, "")+message(pgwire.ReadyForQuery, "I")), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = min(max(cut, 0), len(b))
		var whole, parts replies
		n, failed, err := whole.feed(b)
		n1, failed1, err1 := parts.feed(b[:cut])
		n2, failed2, err2 := 0, failed1, err1
		if err1 == nil {
			var f bool
			if n2, f, err2 = parts.feed(b[cut:]); n2 > 0 {
				failed2 = f
			}
		}
		if n != n1+n2 || (err == nil) != (err2 == nil) || failed != failed2 {
			t.Errorf("whole: %d %v %v; cut at %d: %d %v %v", n, failed, err, cut, n1+n2, failed2, err2)
		}
		if err == nil && whole != parts {
			t.Errorf("whole %+v, parts %+v", whole, parts)
		}
	})
}

func TestQuestions(t *testing.T) {
	q := newQuestions(100_000)
	if testing.AllocsPerRun(100, func() { q.next() }) != 0 {
		t.Error("a question allocates")
	}
	seen := map[string]bool{}
	for range 100 {
		b := q.next()
		kind, size, ok := pgwire.Header(b)
		if kind != pgwire.Query || size != len(b) || !ok || b[len(b)-1] != 0 {
			t.Fatalf("%q", b)
		}
		seen[string(b)] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d of 100 questions differ", len(seen))
	}
}
