package auth

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// Method md5 takes what is stored: the hash or the password by MD5, the verifier by SCRAM.
func TestMD5Clients(t *testing.T) {
	users := mustUsers(t, `"plain" "opensesame"
"hashed" "md5`+md5Hex("opensesame", "hashed")+`"
"dora" "`+verifierOfPencil+`"
"empty" ""`)
	d := openDoor(t, mustNew(t, Config{Method: MD5, Users: users}), nil)
	for _, tt := range []struct {
		user, password string
		method         string // what the client insists on
		ok             bool
	}{
		{"plain", "opensesame", "md5", true},
		{"hashed", "opensesame", "md5", true},
		{"dora", "pencil", "scram-sha-256", true},
		{"plain", "wrong", "md5", false},
		{"hashed", "wrong", "md5", false},
		{"dora", "wrong", "scram-sha-256", false},
		{"empty", "x", "md5", false},
		{"stranger", "x", "md5", false},
	} {
		out, err := d.psql(t, tt.password, "user="+tt.user)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %s", tt.user, out)
		}
		last := d.last(t)
		if !tt.ok {
			if code(last.err) != "28P01" || !strings.Contains(out, `password authentication failed for user "`+tt.user+`"`) {
				t.Errorf("%s: %v: %s", tt.user, last.err, out)
			}
			continue
		}
		if last.credentials == nil || last.credentials.User() != tt.user {
			t.Errorf("%s: credentials %+v", tt.user, last.credentials)
		}
		if bySCRAM := last.credentials.clientKey != nil; bySCRAM != (tt.method == "scram-sha-256") {
			t.Errorf("%s: logged in by SCRAM: %v", tt.user, bySCRAM)
		}
	}
}

func TestOddMD5Clients(t *testing.T) {
	hash := md5Hex("opensesame", "ann")
	a := mustNew(t, Config{Method: MD5, Users: mustUsers(t, `"ann" "opensesame"`)})
	for _, tt := range []struct {
		name string
		send []byte
		code string
	}{
		{"empty message", appendMessage(nil, 'p'), "08P01"},
		{"no NUL", appendMessage(nil, 'p', []byte("md5")), "08P01"},
		{"two NULs", appendMessage(nil, 'p', []byte("md5\x00x\x00")), "08P01"},
		{"empty password", appendMessage(nil, 'p', []byte{0}), "28P01"},
		{"the hash itself", appendMessage(nil, 'p', []byte("md5"+hash+"\x00")), "28P01"},
		{"the password itself", appendMessage(nil, 'p', []byte("opensesame\x00")), "28P01"},
		{"a query", appendMessage(nil, 'Q', []byte("select 1\x00")), "08P01"},
		{"length 65540", []byte{'p', 0, 1, 0, 4}, "08P01"},
		{"length 2^31", []byte{'p', 0x80, 0, 0, 0}, "08P01"},
	} {
		for _, user := range []string{"ann", "stranger"} {
			_, err := a.Authenticate(t.Context(), Client{Conn: cannedConn{Reader: strings.NewReader(string(tt.send))}, User: user})
			if code(err) != tt.code {
				t.Errorf("%s: %s: got %v, want %s", tt.name, user, err, tt.code)
			}
		}
	}
}

// A salt is never the same twice, or an answer could be replayed.
func TestMD5SaltsDiffer(t *testing.T) {
	a := mustNew(t, Config{Method: MD5, Users: mustUsers(t, `"ann" "opensesame"`)})
	seen := map[string]bool{}
	for range 20 {
		ours, theirs := net.Pipe()
		ours.SetDeadline(time.Now().Add(10 * time.Second))
		done := make(chan error, 1)
		go func() {
			_, err := a.Authenticate(context.Background(), Client{Conn: theirs, User: "ann"})
			done <- err
		}()
		_, body, err := readMessage(ours)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(body)] = true
		ours.Close()
		<-done
		theirs.Close()
	}
	if len(seen) != 20 {
		t.Fatalf("%d salts in 20 logins", len(seen))
	}
}
