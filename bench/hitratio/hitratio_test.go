package hitratio

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gz(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func xz(t *testing.T, content string) string {
	t.Helper()
	cmd := exec.Command("xz", "-c")
	cmd.Stdin = strings.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v (apt-get install xz-utils)", err)
	}
	return string(out)
}

func TestFormats(t *testing.T) {
	ints := func(order binary.AppendByteOrder, keys ...uint32) string {
		var b []byte
		for _, k := range keys {
			b = order.AppendUint32(b, k)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name, content string
		want          []uint64
		err           string
	}{
		{"p9.arc", "10 3 0 0\n7 1 0 1\n", []uint64{10, 11, 12, 7}, ""},
		{"p9.arc.gz", gz(t, "10 3 0 0\n7 1 0 1\n"), []uint64{10, 11, 12, 7}, ""},
		{"multi9.lirs", "5\n*\n\n6\n5\n", []uint64{5, 6, 5}, ""},
		{"web9.cache2k.xz", xz(t, ints(binary.BigEndian, 1, 2, 1<<31)), []uint64{1, 2, 1 << 31}, ""},
		{"w9.cloudphysics", ints(binary.LittleEndian, 1, 2, 1<<31), []uint64{1, 2, 1 << 31}, ""},
		{"empty.lirs", "", nil, "it is empty"},
		{"x.arc", "10\n", nil, "line 1: not a start and a count"},
		{"x.arc", "1 x\n", nil, "line 1"},
		{"x.arc", "1 99999999\n", nil, "more than"},
		{"x.lirs", "1\ntwo\n", nil, "line 2"},
		{"x.cache2k", "12345", nil, "cut off"},
		{"x.lirs.gz", "this is no gzip", nil, "gzip"},
		{"x.lirs.xz", "no xz", nil, "xz: "},
		{"x.lirs.xz", xz(t, strings.Repeat("1\n", 1000)+"two\n"+strings.Repeat("1\n", 1_000_000)), nil, "line 1001"}, // xz has more to say
		{"x.zip", "", nil, ErrFormat.Error()},
	} {
		got, err := Read(t.Context(), write(t, tt.name, tt.content))
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.err)
			}
		case err != nil || !slices.Equal(got.Keys, tt.want):
			t.Errorf("%s: %v, %v, want %v", tt.name, got.Keys, err, tt.want)
		case got.Lookups != strings.HasPrefix(tt.name, "web"):
			t.Errorf("%s: lookups %v", tt.name, got.Lookups)
		}
	}
	if _, err := Read(t.Context(), filepath.Join(t.TempDir(), "gone.lirs")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestFiles(t *testing.T) {
	path := write(t, "web9.cache2k.xz", "")
	dir := filepath.Dir(path)
	if err := os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []string{dir, path} {
		if got, err := Files(asked); err != nil || !slices.Equal(got, []string{path}) {
			t.Errorf("%s: %v, %v", asked, got, err)
		}
	}
	if _, err := Files(t.TempDir()); !errors.Is(err, ErrFormat) {
		t.Errorf("a directory without traces: %v", err)
	}
	if _, err := Files(filepath.Join(dir, "README.md")); !errors.Is(err, ErrFormat) {
		t.Errorf("a file that is none: %v", err)
	}
	if _, err := Files(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

// A trace has the sizes that others have published numbers for, and shares of its keys.
func TestSizes(t *testing.T) {
	loop := Trace{Name: "loop", Keys: around(20_000, 30_000)}
	loop.Cut(25_000)
	if want := []int{200, 500, 1000, 2000, 4000}; !slices.Equal(loop.Sizes, want) || len(loop.Keys) != 25_000 {
		t.Errorf("%d accesses, sizes %v, want %v", len(loop.Keys), loop.Sizes, want)
	}
	if best, _, _, ok := Published("loop", 500); !ok || best < 40 {
		t.Errorf("published: %v, %v", best, ok)
	}
	if _, _, _, ok := Published("loop", 501); ok {
		t.Error("of that size nothing was published")
	}
}

func TestLRU(t *testing.T) {
	c, err := openLRU(3)
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for _, k := range []uint64{1, 2, 3, 1, 4, 1, 2, 3, 3} { // 4 takes the place of 2, 2 that of 3, 3 that of 4
		got = append(got, c.access(k))
	}
	if want := []bool{false, false, false, true, false, true, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What fits is kept by all, and of what does not fit LRU keeps nothing in a loop.
func TestPlay(t *testing.T) {
	const size = 1000
	results, err := Play(t.Context(), Trace{Name: "small", Sizes: []int{size}, Keys: around(size/2, 10*size)})
	if err != nil {
		t.Fatal(err)
	}
	const all = 100 * (1 - 1./20) // the first time is no hit
	for i, r := range results {
		if r.Policy != Policies()[i] || r.Size != size || r.Ratio > all || r.Ratio < all-5 {
			t.Errorf("%+v, want about %.2f", r, all)
		}
	}
	for _, trace := range Generated(12_000) {
		results, err := Play(t.Context(), trace)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if loop := trace.Name == "a loop"; r.Policy == LRU && (r.Ratio == 0) != loop || r.Policy == Otter && r.Ratio < 5 || r.Policy == Ours && !loop && r.Ratio < 20 {
				t.Errorf("%+v", r)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Play(ctx, Trace{Sizes: []int{size}, Keys: around(10, 10)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The store gets what so many entries take, and holds about as many.
func TestStoreHoldsWhatItIsAsked(t *testing.T) {
	for _, size := range []int{500, 5000} {
		c, err := openStore(size)
		if err != nil {
			t.Fatal(err)
		}
		for k := range 5 * size {
			c.access(uint64(k))
		}
		held := c.(*stored).store.Stats().Keys[0]
		if held < size*96/100 || held > size*104/100 {
			t.Errorf("%d entries where %d were asked for", held, size)
		}
	}
}

func TestZipf(t *testing.T) {
	const keys, accesses = 1000, 100_000
	count := make([]int, keys)
	for _, k := range zipf(1, keys, accesses) {
		count[k]++
	}
	first := float64(count[0]) / float64(count[9]) // as 10 to 1
	if first < 9 || first > 11 {
		t.Errorf("the first key comes %.1f times as often as the tenth", first)
	}
}
