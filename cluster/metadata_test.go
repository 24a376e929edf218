package cluster

import (
	"bufio"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// recorded reads what members of an older version have said.
func recorded(t testing.TB, path string) (all [][]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
		}
	}
	return all
}

func TestMetadataOfVersion1IsUnderstood(t *testing.T) {
	for i, b := range recorded(t, "testdata/version1.txt") {
		m, err := decodeMetadata(b)
		if err != nil {
			t.Fatal(err)
		}
		want := metadata{basics: basics{1, 1, "outrigger", "10.1.2.3:7947", "eu-1b", State(i), 0x18ea47df5aa379a2, "consistent-1.0/xxhash64/1024/64/1.25"}}
		if m != want {
			t.Errorf("decoded %+v, want %+v", m, want)
		}
		if m.version() != 1 {
			t.Errorf("spoken to in version %d", m.version())
		}
	}
}

// Version 1 decodes into exactly this, as one value, and looks at nothing behind it.
func TestVersion1UnderstandsOurMetadata(t *testing.T) {
	var old struct {
		VersionMin, VersionMax  uint8
		Cluster, PeerAddr, Zone string
		State                   uint8
		Instance                uint64
		Ring                    string
	}
	c, err := New(Config{Name: "a", PeerAddr: "h:1", Zone: "z", Details: Details{RESPAddr: "h:2", Rules: 7}})
	if err != nil {
		t.Fatal(err)
	}
	if err := msgpack.Unmarshal(c.activeMeta, &old); err != nil {
		t.Fatal(err)
	}
	if old.VersionMin != 1 || old.PeerAddr != "h:1" || old.Zone != "z" || old.Ring != ring.Algorithm {
		t.Errorf("version 1 reads %+v", old)
	}
	m, err := decodeMetadata(c.activeMeta)
	if err != nil || m.Details != c.cfg.Details || m.version() != peer.VersionMax {
		t.Errorf("we read %+v, %v", m, err)
	}
}

func TestMetadataOfNewerVersionsIsUnderstood(t *testing.T) {
	ours := metadata{basics: basics{VersionMin: 1, VersionMax: 9, Cluster: "c"}, Details: Details{Rules: 3}}
	b, err := ours.encode()
	if err != nil {
		t.Fatal(err)
	}
	type newer struct {
		Later string   `msgpack:"later"`
		Rules uint64   `msgpack:"rules"`
		List  []string `msgpack:"list"`
	}
	basicsOnly := b[:len(b)-len(mustMarshal(t, ours.Details))]
	b = append(append(basicsOnly[:len(basicsOnly):len(basicsOnly)], mustMarshal(t, newer{"x", 3, []string{"y"}})...), 0xc1)
	m, err := decodeMetadata(b)
	if err != nil || m != ours || m.version() != peer.VersionMax {
		t.Errorf("decoded %+v as version %d, %v; want %+v", m, m.version(), err, ours)
	}
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzMetadata holds that nothing that gossip brings makes the decoder panic or take memory beyond what it was given, and
// that what was understood is understood again.
func FuzzMetadata(f *testing.F) {
	for _, b := range recorded(f, "testdata/version1.txt") {
		f.Add(b)
	}
	b, err := metadata{basics: basics{VersionMin: 1, VersionMax: 2, Cluster: "c", PeerAddr: "h:1"}, Details: Details{RESPAddr: "h:2", Rules: 1}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x98, 0xdb, 0xff, 0xff, 0xff, 0xff})
	f.Add(append(b[:len(b):len(b)], 0xdf, 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := decodeMetadata(in)
		if err != nil {
			return
		}
		_ = m.compatible("c")
		again, err := m.encode()
		if err != nil {
			return // longer than a member may tell
		}
		if got, err := decodeMetadata(again); err != nil || got != m {
			t.Errorf("%+v comes back as %+v, %v", m, got, err)
		}
	})
}
