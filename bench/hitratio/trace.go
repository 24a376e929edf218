package hitratio

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxAccesses bounds the memory that a trace takes.
const maxAccesses = 64 << 20

var errTooMany = fmt.Errorf("more than %d accesses", maxAccesses)

// formats read one kind of file each, and call add for every access, until it refuses one.
var formats = map[string]func(r io.Reader, add func(uint64) error) error{
	"arc":          readARC,
	"lirs":         readLIRS,
	"cache2k":      func(r io.Reader, add func(uint64) error) error { return readInts(r, binary.BigEndian, add) },
	"cloudphysics": func(r io.Reader, add func(uint64) error) error { return readInts(r, binary.LittleEndian, add) },
}

// ErrFormat says that a file's name ends in no format that is known.
var ErrFormat = errors.New("not a name of a trace: NAME.arc, NAME.lirs, NAME.cache2k or NAME.cloudphysics, and .gz or .xz behind it")

// Files finds the traces at path: a directory of them, in which other files are passed over, or one file.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("find traces: %w", err)
	}
	if !info.IsDir() {
		if _, _, err := split(path); err != nil {
			return nil, err
		}
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("find traces: %w", err)
	}
	var all []string
	for _, e := range entries {
		if _, _, err := split(e.Name()); err == nil && !e.IsDir() {
			all = append(all, filepath.Join(path, e.Name()))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("find traces: none in %s: %w", path, ErrFormat)
	}
	return all, nil
}

// split takes a file's name apart.
func split(path string) (name, format string, err error) {
	base := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".xz")
	name, format, ok := strings.Cut(base, ".")
	if !ok || formats[format] == nil {
		return "", "", fmt.Errorf("%s: %w", path, ErrFormat)
	}
	return name, format, nil
}

// Read reads a trace whole.
func Read(ctx context.Context, path string) (Trace, error) {
	name, format, err := split(path)
	if err != nil {
		return Trace{}, err
	}
	r, finish, err := open(ctx, path)
	if err != nil {
		return Trace{}, err
	}
	t := Trace{Name: name, Lookups: format == "cache2k"}
	err = formats[format](r, func(key uint64) error {
		if len(t.Keys) == maxAccesses {
			return errTooMany
		}
		t.Keys = append(t.Keys, key)
		return nil
	})
	if err = errors.Join(err, finish()); err != nil {
		return Trace{}, fmt.Errorf("read trace %s: %w", path, err)
	}
	if len(t.Keys) == 0 {
		return Trace{}, fmt.Errorf("read trace %s: it is empty", path)
	}
	t.Sizes = sizes(t)
	return t, nil
}

// open decompresses. finish must be called at the end and tells what went wrong; of xz there is a program on every machine,
// and nothing in the standard library.
func open(ctx context.Context, path string) (r io.Reader, finish func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read trace: %w", err)
	}
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("read trace %s: %w", path, err), f.Close())
		}
		return z, f.Close, nil
	case ".xz":
		defer f.Close() // xz has its own descriptor
		ctx, cancel := context.WithCancel(ctx)
		xz := exec.CommandContext(ctx, "xz", "-dc")
		var said bytes.Buffer
		xz.Stdin, xz.Stderr = f, &said
		out, err := xz.StdoutPipe()
		if err == nil {
			err = xz.Start()
		}
		if err != nil {
			cancel()
			return nil, nil, fmt.Errorf("read trace %s: %w (apt-get install xz-utils)", path, err)
		}
		return out, func() error {
			defer cancel()
			if n, _ := out.Read(make([]byte, 1)); n > 0 { // the reader has given up, and xz waits for it
				cancel()
			}
			if err := xz.Wait(); err != nil {
				return fmt.Errorf("xz: %w: %s", err, strings.TrimSpace(said.String()))
			}
			return nil
		}, nil
	}
	return f, f.Close, nil
}

// readARC reads lines of "start count ignored sequence": as many blocks, one after the other.
func readARC(r io.Reader, add func(uint64) error) error {
	return lines(r, func(line string) error {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return errors.New("not a start and a count")
		}
		start, err := strconv.ParseUint(fields[0], 10, 63)
		if err != nil {
			return err
		}
		count, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil {
			return err
		}
		if count > maxAccesses {
			return errTooMany
		}
		for i := range count {
			if err := add(start + i); err != nil {
				return err
			}
		}
		return nil
	})
}

// readLIRS reads a number a line.
func readLIRS(r io.Reader, add func(uint64) error) error {
	return lines(r, func(line string) error {
		line = strings.TrimSpace(line)
		if line == "" || line == "*" { // which parts phases
			return nil
		}
		key, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			return err
		}
		return add(key)
	})
}

func lines(r io.Reader, each func(line string) error) error {
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		if err := each(s.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}

// readInts reads 32 bits an access.
func readInts(r io.Reader, order binary.ByteOrder, add func(uint64) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var word [4]byte
	for {
		if _, err := io.ReadFull(b, word[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("a number is cut off: %w", err)
		}
		if err := add(uint64(order.Uint32(word[:]))); err != nil {
			return err
		}
	}
}

// sizes of the caches: those for which others have published numbers, else shares of the keys that there are.
func sizes(t Trace) []int {
	var all []int
	for _, p := range published {
		if p.trace == t.Name {
			all = append(all, p.size)
		}
	}
	different := map[uint64]struct{}{}
	for _, k := range t.Keys {
		different[k] = struct{}{}
	}
	all = append(all, shares(len(different), 100, 20, 10, 5)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// leastSize is as small a cache as says anything: one of a few entries is all overhead.
const leastSize = 100

// round keeps the first two digits.
func round(n int) int {
	unit := 1
	for n/unit >= 100 {
		unit *= 10
	}
	return n / unit * unit
}
