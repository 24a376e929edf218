package cachenode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// lonelyNode is a node without others, whose loop does nothing.
func lonelyNode(t testing.TB, maxBytes int64, policy store.Policy) *Node {
	t.Helper()
	loop, err := netloop.New(netloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	n, err := New(Config{Loops: []*netloop.Loop{loop}, MaxBytes: maxBytes, Policy: policy, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// do runs a command on a node's store and returns its reply.
func (n *Node) do(db int, line string) string {
	var args [][]byte
	for _, a := range strings.Split(line, " ") {
		args = append(args, []byte(a))
	}
	c := command.Context{Store: n.store, Args: args, Proto: 2, DB: db, NowMilli: time.Now().UnixMilli()}
	n.table.Lookup(args[0]).Exec(&c)
	return string(c.Out)
}

// snapshotKeys are keys of every kind.
var snapshotKeys = []string{"s", "n", "timed", "edited", "hash", "fields", "set", "ints", "list", "zset", "stream", "\x01low"}

func fill(t testing.TB, n *Node) {
	t.Helper()
	for _, line := range []string{
		"set s value", "set n 12", "set timed v EX 1000", "append edited ab", "hset hash a 1 b 2", "hset fields a 1 b 2", "hexpire fields 1000 FIELDS 1 a", "sadd set x y", "sadd ints 1 2 3",
		"rpush list a b c", "zadd zset 1 a 2.5 b", "xadd stream 5-1 f v", "xgroup CREATE stream g 0", "xreadgroup GROUP g c COUNT 1 STREAMS stream >", "set \x01low v", "set gone v PX 1", "set deleted v", "del deleted",
	} {
		if got := n.do(0, line); got[0] == '-' {
			t.Fatalf("%s: %s", line, got)
		}
	}
	n.do(7, "set seven v")
	for i := range 3000 {
		n.do(0, fmt.Sprintf("set many:%d %s", i, strings.Repeat("v", i%2000)))
	}
	time.Sleep(5 * time.Millisecond) // gone is
}

func TestSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.snapshot")
	old := lonelyNode(t, 0, store.AllKeysS3FIFO)
	fill(t, old)
	keys, err := old.SaveSnapshot(path)
	if want := len(snapshotKeys) + 1 + 3000; err != nil || keys != want {
		t.Fatalf("%d keys saved, want %d: %v", keys, want, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	fresh := lonelyNode(t, 0, store.AllKeysS3FIFO)
	loaded, err := fresh.LoadSnapshot(path)
	if err != nil || loaded != keys || fresh.Stats().Keys != keys {
		t.Fatalf("%d keys loaded, %d there, want %d: %v", loaded, fresh.Stats().Keys, keys, err)
	}
	for _, key := range append(snapshotKeys, "many:1999") {
		for _, line := range []string{"dump ", "pexpiretime ", "type "} {
			if was, is := old.do(0, line+key), fresh.do(0, line+key); was != is {
				t.Errorf("%s%q: %q, was %q", line, key, is, was)
			}
		}
	}
	if got := fresh.do(7, "get seven"); got != "$1\r\nv\r\n" {
		t.Errorf("database 7: %q", got)
	}
	if old, is := old.do(0, "hpexpiretime fields FIELDS 2 a b"), fresh.do(0, "hpexpiretime fields FIELDS 2 a b"); old != is {
		t.Errorf("times of fields: %q, were %q", is, old)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot that was used is still there: %v", err)
	}
	if keys, err := fresh.LoadSnapshot(path); keys != 0 || err != nil {
		t.Errorf("without a file: %d, %v", keys, err)
	}
	if keys, err := lonelyNode(t, 0, store.NoEviction).SaveSnapshot(path); keys != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", keys, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a snapshot of nothing was written")
	}
	if _, err := old.SaveSnapshot(filepath.Join(path, "no", "such")); err == nil {
		t.Error("a snapshot was written to where none can be")
	}
}

// A snapshot that is larger than the budget of who reads it.
func TestSnapshotTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.snapshot")
	old := lonelyNode(t, 0, store.AllKeysS3FIFO)
	fill(t, old)
	for _, policy := range []store.Policy{store.AllKeysS3FIFO, store.NoEviction} {
		if _, err := old.SaveSnapshot(path); err != nil {
			t.Fatal(err)
		}
		small := lonelyNode(t, 1<<20, policy)
		if _, err := small.LoadSnapshot(path); err != nil {
			t.Fatal(err)
		}
		if s := small.Stats(); s.Bytes > 1<<20 || s.Keys < 100 {
			t.Errorf("%v: %d keys in %d bytes", policy, s.Keys, s.Bytes)
		}
	}
}

// TestSnapshotDamaged changes and cuts a snapshot everywhere. Nothing of it may be used.
func TestSnapshotDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.snapshot")
	old := lonelyNode(t, 0, store.AllKeysS3FIFO)
	for i := range 20 {
		old.do(0, fmt.Sprintf("set key:%d value", i))
	}
	if _, err := old.SaveSnapshot(path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := lonelyNode(t, 0, store.AllKeysS3FIFO)
	refused := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := n.LoadSnapshot(path)
		if err == nil || keys != 0 || n.Stats().Keys != 0 {
			t.Fatalf("%s: %d keys loaded, %d there, %v", what, keys, n.Stats().Keys, err)
		}
		if !strings.Contains(err.Error(), path+".bad") {
			t.Fatalf("%s: the error does not say where the file is: %v", what, err)
		}
		if kept, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(kept, b) {
			t.Fatalf("%s: the file was not kept: %v", what, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: the file is where it was: %v", what, err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("byte %d changed", i), b)
		refused(fmt.Sprintf("cut to %d", i), whole[:i])
	}
	refused("something behind", append(bytes.Clone(whole), 0))
	refused("empty", nil)
	// Right sums around what is no entry, and around too few.
	frame := func(content []byte) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(len(content)))
		return append(binary.LittleEndian.AppendUint32(b, crc32.Checksum(content, snapshotTable)), content...)
	}
	head, end := whole[:len(snapshotMagic)+4], whole[len(whole)-16:]
	body := whole[len(head)+8 : len(whole)-16]
	refused("no entry", slices.Concat(head, frame(body[:len(body)-3]), end))
	refused("no frame", slices.Concat(head, end))
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := n.LoadSnapshot(path); err != nil || keys != 20 {
		t.Errorf("the whole one: %d, %v", keys, err)
	}
}
