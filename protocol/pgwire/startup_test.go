package pgwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func startupPacket(code uint32, rest string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(rest)))
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, rest...)
}

func TestReadStartup(t *testing.T) {
	tests := []struct {
		name   string
		packet []byte
		want   Startup
	}{
		{"ssl", startupPacket(80877103, ""), Startup{Kind: KindSSLRequest}},
		{"gssenc", startupPacket(80877104, ""), Startup{Kind: KindGSSENCRequest}},
		{"cancel 3.0", startupPacket(80877102, "\x00\x00\x00\x07abcd"),
			Startup{Kind: KindCancelRequest, PID: 7, Key: []byte("abcd")}},
		{"cancel 3.2", startupPacket(80877102, "\x00\x00\x00\x07"+strings.Repeat("k", 256)),
			Startup{Kind: KindCancelRequest, PID: 7, Key: []byte(strings.Repeat("k", 256))}},
		{"startup", startupPacket(Version30, "user\x00ann\x00database\x00shop\x00\x00"),
			Startup{Version: Version30, Params: []Param{{"user", "ann"}, {"database", "shop"}}}},
		{"empty value", startupPacket(Version30, "user\x00ann\x00options\x00\x00\x00"),
			Startup{Version: Version30, Params: []Param{{"user", "ann"}, {"options", ""}}}},
		{"last duplicate wins", startupPacket(Version30, "user\x00ann\x00a\x001\x00user\x00bob\x00\x00"),
			Startup{Version: Version30, Params: []Param{{"user", "bob"}, {"a", "1"}}}},
		{"protocol options", startupPacket(3<<16|9999, "user\x00ann\x00_pq_.x\x001\x00_pq_.y\x002\x00\x00"),
			Startup{Version: 3<<16 | 9999, Params: []Param{{"user", "ann"}},
				ProtocolOptions: []Param{{"_pq_.x", "1"}, {"_pq_.y", "2"}}}},
		{"longest", startupPacket(Version30, "user\x00"+strings.Repeat("u", MaxStartupLen-8-7)+"\x00\x00"),
			Startup{Version: Version30, Params: []Param{{"user", strings.Repeat("u", MaxStartupLen-8-7)}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// What follows the packet must be left in the reader.
			r := bytes.NewReader(append(bytes.Clone(tt.packet), "rest"...))
			for _, in := range []io.Reader{r, iotest.OneByteReader(r)} {
				r.Seek(0, io.SeekStart)
				got, err := ReadStartup(in)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, tt.want) {
					t.Fatalf("got %+v, want %+v", got, tt.want)
				}
				if r.Len() != len("rest") {
					t.Fatalf("%d bytes left, want 4", r.Len())
				}
			}
		})
	}
}

func TestReadStartupRefuses(t *testing.T) {
	tests := []struct {
		name   string
		packet []byte
		code   string // SQLSTATE
	}{
		{"length 0", []byte{0, 0, 0, 0}, "08P01"},
		{"length 7", []byte{0, 0, 0, 7, 0, 0, 0}, "08P01"},
		{"length 10001", binary.BigEndian.AppendUint32(nil, 10001), "08P01"},
		{"length 2^31", []byte{0x80, 0, 0, 0}, "08P01"},
		{"length 2^32-1", []byte{0xff, 0xff, 0xff, 0xff}, "08P01"},
		{"http", []byte("GET / HTTP/1.1\r\n"), "08P01"},
		{"http/2", []byte("PRI * HTTP/2.0\r\n"), "08P01"},
		{"tls", []byte{0x16, 3, 1, 2, 0, 1}, "08P01"},
		{"version 2.0", startupPacket(2<<16, strings.Repeat("\x00", 288)), "0A000"},
		{"version 4.0", startupPacket(4<<16, "user\x00a\x00\x00"), "0A000"},
		{"version 0", startupPacket(0, ""), "0A000"},
		{"ssl with a body", startupPacket(80877103, "x"), "08P01"},
		{"gssenc with a body", startupPacket(80877104, "x"), "08P01"},
		{"cancel without a key", startupPacket(80877102, "\x00\x00\x00\x07"), "08P01"},
		{"cancel without anything", startupPacket(80877102, ""), "08P01"},
		{"cancel key 3", startupPacket(80877102, "\x00\x00\x00\x07abc"), "08P01"},
		{"cancel key 257", startupPacket(80877102, "\x00\x00\x00\x07"+strings.Repeat("k", 257)), "08P01"},
		{"no parameters", startupPacket(Version30, ""), "08P01"},
		{"no user", startupPacket(Version30, "\x00"), "28000"},
		{"empty user", startupPacket(Version30, "user\x00\x00\x00"), "28000"},
		{"name only", startupPacket(Version30, "user"), "08P01"},
		{"no value", startupPacket(Version30, "user\x00"), "08P01"},
		{"open value", startupPacket(Version30, "user\x00ann"), "08P01"},
		{"no terminator", startupPacket(Version30, "user\x00ann\x00"), "08P01"},
		{"bytes behind the terminator", startupPacket(Version30, "user\x00ann\x00\x00x"), "08P01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadStartup(bytes.NewReader(tt.packet))
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != tt.code || !e.Fatal() {
				t.Fatalf("got %v, want FATAL %s", err, tt.code)
			}
		})
	}
}

func TestReadStartupCutOff(t *testing.T) {
	whole := startupPacket(Version30, "user\x00ann\x00\x00")
	if _, err := ReadStartup(bytes.NewReader(nil)); err != io.EOF {
		t.Fatalf("nothing sent: got %v, want io.EOF", err)
	}
	for n := 1; n < len(whole); n++ {
		if _, err := ReadStartup(bytes.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d bytes: got %v, want io.ErrUnexpectedEOF", n, err)
		}
	}
}

func TestDatabaseDefaultsToUser(t *testing.T) {
	s := Startup{Params: []Param{{"user", "ann"}}}
	if s.Database() != "ann" {
		t.Fatalf("got %q", s.Database())
	}
}

func TestAppendStartupPackets(t *testing.T) {
	params := []Param{{"user", "ann"}, {"application_name", "a b"}}
	s, err := ReadStartup(bytes.NewReader(AppendStartup(nil, Version30, params)))
	if err != nil || !reflect.DeepEqual(s.Params, params) {
		t.Fatalf("got %+v, %v", s, err)
	}
	if s, err = ReadStartup(bytes.NewReader(AppendSSLRequest(nil))); err != nil || s.Kind != KindSSLRequest {
		t.Fatalf("got %+v, %v", s, err)
	}
	s, err = ReadStartup(bytes.NewReader(AppendCancelRequest(nil, 9, []byte("secret"))))
	if err != nil || s.Kind != KindCancelRequest || s.PID != 9 || string(s.Key) != "secret" {
		t.Fatalf("got %+v, %v", s, err)
	}
	// A NUL in a value must not become a parameter of its own.
	s, err = ReadStartup(bytes.NewReader(AppendStartup(nil, Version30, []Param{{"user", "ann\x00database\x00other"}})))
	if err != nil || len(s.Params) != 1 || s.User() != "ann" {
		t.Fatalf("got %+v, %v", s, err)
	}
}

func TestAppendNegotiateProtocolVersion(t *testing.T) {
	got := AppendNegotiateProtocolVersion([]byte("x"), Version30, []Param{{"_pq_.a", "1"}, {"_pq_.b", ""}})
	want := "xv\x00\x00\x00\x1a\x00\x03\x00\x00\x00\x00\x00\x02_pq_.a\x00_pq_.b\x00"
	if string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestNegotiate(t *testing.T) {
	x, y := Param{"_pq_.x", "1"}, Param{"_pq_.y", "2"}
	for _, tt := range []struct {
		asked   uint32
		options []Param
		want    uint32
		answer  []byte
	}{
		{Version30, nil, Version30, nil},
		{3<<16 | 1, nil, 3<<16 | 1, nil}, // never released; PostgreSQL takes it for 3.0 without a word
		{Version32, nil, Version32, nil},
		{Version30, []Param{x, y}, Version30, AppendNegotiateProtocolVersion(nil, Version30, []Param{x, y})},
		{Version32, []Param{x}, Version32, AppendNegotiateProtocolVersion(nil, Version32, []Param{x})},
		{3<<16 | 3, nil, Version32, AppendNegotiateProtocolVersion(nil, Version32, nil)},
		{3<<16 | 9999, []Param{x, y}, Version32, AppendNegotiateProtocolVersion(nil, Version32, []Param{x, y})},
	} {
		version, answer := Negotiate(&Startup{Version: tt.asked, ProtocolOptions: tt.options})
		if version != tt.want || !bytes.Equal(answer, tt.answer) {
			t.Errorf("%x with %v: %x, %q", tt.asked, tt.options, version, answer)
		}
	}
}

// What a client asks for is settled in at most one message that libpq accepts: not newer than what it asked for, with a
// reason, and with the name of each option.
func FuzzNegotiate(f *testing.F) {
	f.Add(uint16(0), []byte("_pq_.x\x001\x00_pq_.y\x002\x00"))
	f.Add(uint16(2), []byte("_pq_.x\x001\x00_pq_.x\x002\x00"))
	f.Add(uint16(9999), []byte("_pq_.\x00\x00a\x00b\x00"))
	f.Fuzz(func(t *testing.T, minor uint16, params []byte) {
		s, err := ParseStartup(startupPacket(3<<16|uint32(minor), "user\x00ann\x00"+string(params)+"\x00")[4:])
		if err != nil {
			return
		}
		version, answer := Negotiate(&s)
		if version > s.Version || version > Version32 || version < Version30 {
			t.Fatalf("%x was asked for and is %x", s.Version, version)
		}
		if answer == nil {
			if version != s.Version || len(s.ProtocolOptions) > 0 {
				t.Fatal("nothing is said of a refusal")
			}
			return
		}
		typ, size, ok := Header(answer)
		if typ != 'v' || !ok || size != len(answer) || binary.BigEndian.Uint32(answer[5:]) != version {
			t.Fatalf("answer %q", answer)
		}
		n, rest := int(binary.BigEndian.Uint32(answer[9:])), answer[13:]
		if n != len(s.ProtocolOptions) || n == 0 && version == s.Version {
			t.Fatalf("%d options are refused of %v", n, s.ProtocolOptions)
		}
		for _, o := range s.ProtocolOptions {
			var name []byte
			if name, rest, ok = CString(rest); !ok || string(name) != o.Name {
				t.Fatalf("option %q is listed as %q", o.Name, name)
			}
		}
		if len(rest) > 0 {
			t.Fatalf("answer ends with %q", rest)
		}
	})
}

func FuzzCancelRequest(f *testing.F) {
	f.Add(uint32(7), []byte("abcd"))
	f.Add(uint32(1<<31-1), bytes.Repeat([]byte("k"), 256))
	f.Add(uint32(0), []byte("abc"))
	f.Fuzz(func(t *testing.T, pid uint32, key []byte) {
		s, err := ReadStartup(bytes.NewReader(AppendCancelRequest(nil, pid, key)))
		if (err == nil) != (len(key) >= MinCancelKeyLen && len(key) <= MaxCancelKeyLen) {
			t.Fatalf("key of %d bytes: %v", len(key), err)
		}
		if err == nil && (s.Kind != KindCancelRequest || s.PID != pid || !bytes.Equal(s.Key, key)) {
			t.Fatalf("%d %x came back as %+v", pid, key, s)
		}
	})
}

func FuzzParseStartup(f *testing.F) {
	f.Add(startupPacket(Version30, "user\x00ann\x00database\x00shop\x00\x00")[4:])
	f.Add(startupPacket(80877102, "\x00\x00\x00\x07abcd")[4:])
	f.Add(startupPacket(80877103, "")[4:])
	f.Add(startupPacket(3<<16|9999, "user\x00ann\x00_pq_.x\x001\x00\x00")[4:])
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := ParseStartup(body)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || len(e.Code) != 5 || e.Message == "" {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if s.Kind != KindStartup {
			return
		}
		again, err := ParseStartup(AppendStartup(nil, s.Version, append(s.Params, s.ProtocolOptions...))[4:])
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v came back as %+v, %v", s, again, err)
		}
	})
}

// Who has not logged in yet makes nobody wait with many parameters. The last of equal ones counts.
func TestManyStartupParametersTakeLinearTime(t *testing.T) {
	const n = 100_000
	body := []byte("user\x00u\x00")
	for range 2 {
		for i := range n {
			body = fmt.Appendf(body, "a%d\x00%d\x00", i, len(body))
		}
	}
	body = append(body, "a7\x00last\x00\x00"...)
	begin := time.Now()
	s, err := parseStartupParams(Version30, body)
	if err != nil || len(s.Params) != n+1 || s.Get("a7") != "last" {
		t.Errorf("%d parameters, %v", len(s.Params), err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("%d parameters took %v", n, took)
	}
}
