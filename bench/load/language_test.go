package load

import (
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func TestCommandsOfCaches(t *testing.T) {
	const key, tagged = "key:0000000000000042", "{b..b}:0000000000042"
	plain, k := CacheLoop{}.key(42), CacheLoop{Tags: []string{"a..a", "b..b", "c..c"}[:2]}.key(43)
	k[len(k)-1]-- // 42
	for got, want := range map[string]string{
		string(redis{}.appendGet(nil, k)):                  string(resp.AppendCommand(nil, [][]byte{[]byte("GET"), []byte(tagged)})),
		string(olric{}.appendGet(nil, plain)):              string(resp.AppendCommand(nil, [][]byte{[]byte("DM.GET"), []byte("bench"), []byte(key)})),
		string(olric{}.appendSet(nil, plain, []byte("v"))): string(resp.AppendCommand(nil, [][]byte{[]byte("DM.PUT"), []byte("bench"), []byte(key), []byte("v")})),
		string(redis{}.appendGet(nil, plain)):              string(resp.AppendCommand(nil, [][]byte{[]byte("GET"), []byte(key)})),
		string(redis{}.appendSet(nil, plain, []byte("v"))): string(resp.AppendCommand(nil, [][]byte{[]byte("SET"), []byte(key), []byte("v")})),
		string(ascii{}.appendGet(nil, plain)):              "get " + key + "\r\n",
		string(ascii{}.appendSet(nil, plain, []byte("v"))): "set " + key + " 0 0 1\r\nv\r\n",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Answers are counted by request, whole and byte by byte; a request is refused with any of its commands.
func TestAnswersOfCaches(t *testing.T) {
	long := "-ERR " + strings.Repeat("too long ", 100) + "\r\n"
	for _, tt := range []struct {
		name           string
		of             language
		commands       int
		in             string
		ready, refused int
		err            bool
	}{
		{"values", redis{}, 1, "$5\r\nva\r\nu\r\n$0\r\n\r\n+OK\r\n", 3, 0, false},
		{"pipelined", redis{}, 2, "$1\r\nv\r\n+OK\r\n+OK\r\n$1\r\nv\r\n+OK\r\n", 2, 0, false},
		{"a key is missing", redis{}, 2, "$-1\r\n$1\r\nv\r\n", 1, 1, false},
		{"an error", redis{}, 1, long + "+OK\r\n", 2, 1, false},
		{"values", ascii{}, 1, "VALUE k 0 5\r\nE\r\nND\r\nEND\r\nSTORED\r\n", 2, 0, false},
		{"pipelined", ascii{}, 2, "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\nSTORED\r\n", 1, 0, false},
		{"a key is missing", ascii{}, 1, "END\r\n", 1, 1, false},
		{"an error", ascii{}, 1, "SERVER_ERROR out of memory storing object\r\n", 1, 1, false},
		{"no line", redis{}, 1, "\r\n", 0, 0, true},
	} {
		for _, step := range []int{1, len(tt.in)} {
			l := tt.of.listener(tt.commands)
			ready, refused := 0, 0
			var err error
			for i := 0; i < len(tt.in) && err == nil; i += step {
				n, failed, e := l.feed([]byte(tt.in[i : i+step]))
				ready, err = ready+n, e
				if failed {
					refused++
				}
			}
			if ready != tt.ready || refused != tt.refused || (err != nil) != tt.err {
				t.Errorf("%s in %T, %d bytes at a time: %d answers, %d refused, %v", tt.name, tt.of, step, ready, refused, err)
			}
		}
	}
}

// However answers are cut up, they are as many.
func FuzzAnswersOfCaches(f *testing.F) {
	f.Add([]byte("$5\r\nvalue\r\n+OK\r\n$-1\r\n"), byte(1))
	f.Add([]byte("VALUE k 0 5\r\nvalue\r\nEND\r\nSTORED\r\nERROR\r\n"), byte(2))
	f.Fuzz(func(t *testing.T, in []byte, commands byte) {
		for _, lang := range []language{redis{}, ascii{}} {
			whole, pieces := lang.listener(1+int(commands)), lang.listener(1+int(commands))
			want, _, wantErr := whole.feed(in)
			got := 0
			var err error
			for i := 0; i < len(in) && err == nil; i++ {
				n, _, e := pieces.feed(in[i : i+1])
				got, err = got+n, e
			}
			if got != want || (err == nil) != (wantErr == nil) {
				t.Errorf("%T: %d answers, %v; byte by byte %d, %v", lang, want, wantErr, got, err)
			}
		}
	})
}

func TestCacheLoop(t *testing.T) {
	addr := redisServer(t)
	l := CacheLoop{Clients: 3, Pipeline: 4, Rate: 2000, Sets: 10, Keys: 1000, Size: 10, Vary: 10, Duration: 500 * time.Millisecond, Warm: 100 * time.Millisecond}
	o, err := l.Workload("some").Run(t.Context(), addr)
	if err != nil || o.Failed != 0 || o.Operations < 500 || o.Operations%4 != 0 || o.Rate <= 0 || o.P50 <= 0 || o.Connecting <= 0 {
		t.Errorf("%+v, %v", o, err)
	}
	l.Keys, l.Sets = 1_000_000, 0 // most of which were not filled in
	if got, err := l.Run(t.Context(), addr); err == nil && got.Failed == 0 {
		t.Errorf("keys that are missing: %+v", got)
	}
	if _, err := l.Run(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("nobody is there, and there is no error")
	}
	if _, err := (CacheLoop{Keys: 10, Size: 1}).Workload("some").Run(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("nobody is there to be filled, and there is no error")
	}
}

func TestLanguage(t *testing.T) {
	if lang, err := languageOf(t.Context(), redisServer(t)); err != nil || lang != (redis{}) {
		t.Errorf("%T, %v", lang, err)
	}
	for said, want := range map[string]language{"VERSION 1.6.18\r\n": ascii{}, "-ERR unknown command\r\n$-1\r\n": redis{}, "-ERR unknown command\r\n-ERR unknown command\r\n": olric{}, "HTTP/1.1 400 Bad Request\r\n": nil, "": nil} {
		lang, err := languageOf(t.Context(), sayServer(t, said))
		if lang != want || (err == nil) != (want != nil) {
			t.Errorf("%q: %T, %v", said, lang, err)
		}
	}
}
