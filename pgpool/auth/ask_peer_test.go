//go:build linux

package auth

import (
	"context"
	"net"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPeers(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	a := mustNew(t, Config{Method: SCRAMSHA256, LocalMethod: Peer})
	d := openDoorAt(t, l, a, nil, true)
	if out, err := d.psql(t, "", "user="+me.Username); err != nil {
		t.Errorf("%s: %s", me.Username, out)
	}
	out, err := d.psql(t, "", "user=stranger")
	if err == nil || !strings.Contains(out, `peer authentication failed for user "stranger"`) || code(d.last(t).err) != "28000" {
		t.Errorf("stranger: %v: %s", err, out)
	}
	if strings.Contains(out, "system user") {
		t.Errorf("the client learns who it is: %s", out)
	}
	tcp := openDoor(t, a, nil, true) // by the other method
	if out, err := tcp.psql(t, "", "user="+me.Username); err == nil || !strings.Contains(out, "fe_sendauth: no password supplied") {
		t.Errorf("over TCP: %v: %s", err, out)
	}
	tcp = openDoor(t, mustNew(t, Config{Method: Peer}), nil, true)
	if out, err := tcp.psql(t, "", "user="+me.Username); err == nil || !strings.Contains(out, "needs a Unix socket") {
		t.Errorf("over TCP: %v: %s", err, out)
	}
}

// wrapped is what a listener may make of a connection.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestPeerBehindAWrapper(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	theirs.SetDeadline(time.Now().Add(10 * time.Second))
	a := mustNew(t, Config{Method: Peer})
	if _, err := a.Authenticate(context.Background(), Client{Conn: wrapped{theirs}, User: me.Username}); err != nil {
		t.Fatal(err)
	}
}
