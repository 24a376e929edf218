package pgwire

import (
	"bytes"
	"testing"

	"github.com/jackc/pgproto3/v2"
)

func TestHeaderBounds(t *testing.T) {
	for _, tc := range []struct {
		length [4]byte
		size   int
		ok     bool
	}{
		{[4]byte{0, 0, 0, 4}, 5, true},
		{[4]byte{0, 0, 0, 3}, 0, false},
		{[4]byte{0, 0, 0, 0}, 0, false},
		{[4]byte{0x80, 0, 0, 0}, 0, false},
		{[4]byte{0xff, 0xff, 0xff, 0xff}, 0, false},
		{[4]byte{0x3f, 0xff, 0xff, 0xfe}, MaxFrame, true},
		{[4]byte{0x3f, 0xff, 0xff, 0xff}, 0, false},
	} {
		typ, size, ok := Header(append([]byte{'Q'}, tc.length[:]...))
		if typ != 'Q' || size != tc.size || ok != tc.ok {
			t.Errorf("Header(%x) = %c %d %v", tc.length, typ, size, ok)
		}
	}
}

// What we append must read back with an independent implementation.
func TestAppendedMessagesAreWhatOthersRead(t *testing.T) {
	fe := func(b []byte) pgproto3.BackendMessage {
		m, err := pgproto3.NewFrontend(pgproto3.NewChunkReader(bytes.NewReader(b)), nil).Receive()
		if err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		return m
	}
	be := func(b []byte) pgproto3.FrontendMessage {
		m, err := pgproto3.NewBackend(pgproto3.NewChunkReader(bytes.NewReader(b)), nil).Receive()
		if err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		return m
	}
	if m := be(AppendQuery(nil, "select 1")).(*pgproto3.Query); m.String != "select 1" {
		t.Errorf("query %q", m.String)
	}
	if m := be(AppendParse(nil, "s1", "select $1\x00\x00\x01\x00\x00\x00\x17")).(*pgproto3.Parse); m.Name != "s1" || m.Query != "select $1" || m.ParameterOIDs[0] != 23 {
		t.Errorf("parse %+v", m)
	}
	if m := be(AppendCloseStatement(nil, "s1")).(*pgproto3.Close); m.ObjectType != 'S' || m.Name != "s1" {
		t.Errorf("close %+v", m)
	}
	if m := fe(AppendParameterStatus(nil, "TimeZone", "UTC")).(*pgproto3.ParameterStatus); m.Name != "TimeZone" || m.Value != "UTC" {
		t.Errorf("parameter status %+v", m)
	}
	if m := fe(AppendBackendKeyData(nil, 7, []byte{0, 0, 0, 9})).(*pgproto3.BackendKeyData); m.ProcessID != 7 || m.SecretKey != 9 {
		t.Errorf("key %+v", m)
	}
	if _, ok := fe(AppendAuthenticationOk(nil)).(*pgproto3.AuthenticationOk); !ok {
		t.Error("authentication ok")
	}
}

// FuzzFrames cuts a stream into messages as a proxy does: whatever comes, it goes forward and stays within the bytes.
func FuzzFrames(f *testing.F) {
	f.Add(AppendReadyForQuery(AppendParameterStatus(AppendQuery(nil, "select 1"), "a", "b"), Idle))
	f.Add([]byte("Q\x00\x00\x00\x03Q\xff\xff\xff\xff"))
	f.Add([]byte("d\x3f\xff\xff\xfe"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) >= HeaderLen {
			_, size, ok := Header(b)
			if !ok || size > len(b) {
				return
			}
			if size < HeaderLen {
				t.Fatalf("message of %d bytes", size)
			}
			body := b[HeaderLen:size]
			for {
				s, rest, ok := CString(body)
				if !ok {
					break
				}
				if len(s)+1+len(rest) != len(body) {
					t.Fatalf("%q cut into %q and %q", body, s, rest)
				}
				body = rest
			}
			b = b[size:]
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x04"))
	f.Add([]byte("Z\x00\x00\x00\x05I"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderLen {
			return
		}
		typ, size, ok := Header(b)
		if ok && (size < HeaderLen || size > MaxFrame) || typ != b[0] {
			t.Fatalf("Header(%x) = %d %v", b, size, ok)
		}
	})
}
