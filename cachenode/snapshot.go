package cachenode

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// A snapshot is what a node holds when it stops, for the same node to begin with:
//
//	magic     16 bytes
//	version   4 bytes, least significant first, as are all numbers
//	frames    each 4 bytes of length, 4 bytes of CRC-32C, and as many bytes of entries as nodes exchange them
//	end       a frame of length 0xffffffff: its CRC, and what that is of, 8 bytes with the number of entries
//
// It is used once. Who comes up again after a crash begins with nothing, for what the last clean stop has left may be as
// old as the one before the crash, and would bring back what was deleted since.
const (
	snapshotMagic   = "outrigger cache\n"
	snapshotVersion = 1
	snapshotFrame   = 1 << 20 // bytes from which a frame is written
	snapshotLargest = 2 << 30 // of one frame: what does not fit into it is left out
	snapshotEnd     = 1<<32 - 1

	snapshotReport = 5 * time.Second // between two lines in the log
)

var snapshotTable = crc32.MakeTable(crc32.Castagnoli)

var (
	errSnapshotMagic   = errors.New("not a snapshot of a cache")
	errSnapshotVersion = errors.New("snapshot of another version")
	errSnapshotSum     = errors.New("wrong checksum")
	errSnapshotShort   = errors.New("incomplete")
)

// SaveSnapshot writes all this node holds to path, in place of what is there, and tells how many keys. It is called when
// nothing changes the store any more. Where there are peers, they have all but the keys that never leave the node.
func (n *Node) SaveSnapshot(path string) (keys int, err error) {
	first, total := 0, 0
	if len(n.placement.Load().peers) > 0 {
		first = ring.Partitions
	}
	for p := first; p < store.Partitions; p++ {
		total += n.store.CountPartition(p)
	}
	if total == 0 {
		if first > 0 {
			n.cfg.Logger.Info("no snapshot is written: other nodes have what this one had")
		}
		return 0, nil
	}
	begin := time.Now()
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write cache snapshot: %w", err)
	}
	w := &snapshotWriter{w: bufio.NewWriterSize(f, 256<<10), store: n.store, log: n.cfg.Logger.With("path", path)}
	err = w.write(n, first)
	if err == nil {
		err = w.w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
		return 0, fmt.Errorf("write cache snapshot: %w", err)
	}
	syncDir(filepath.Dir(path))
	w.log.Info("cache snapshot written", "keys", w.keys, "bytes", w.bytes, "left_out", w.leftOut, "took", time.Since(begin).Round(time.Millisecond))
	return w.keys, nil
}

// syncDir makes a rename last. Where the system does not do that for directories, the file may be the one of before
// after a power failure, which is whole too.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

type snapshotWriter struct {
	w   *bufio.Writer
	log *slog.Logger

	store    *store.Store
	others   bool // there are other nodes
	wire     wireEntry
	entry    store.Entry
	frame    []byte
	keys     int
	leftOut  int
	bytes    int64
	reported time.Time
}

// write writes the partitions from first on.
func (w *snapshotWriter) write(n *Node, first int) error {
	w.others = first > 0
	w.w.WriteString(snapshotMagic)
	w.put(snapshotVersion)
	w.reported = time.Now()
	now := w.reported.UnixMilli()
	for p := first; p < store.Partitions; p++ {
		for cursor := uint64(0); ; {
			cursor = n.store.ScanPartition(p, cursor, handoffItems, now, w.add)
			if len(w.frame) >= snapshotFrame {
				if err := w.flush(); err != nil {
					return err
				}
			}
			if cursor == 0 {
				break
			}
		}
		if time.Since(w.reported) >= snapshotReport {
			w.reported = time.Now()
			w.log.Info("writing cache snapshot", "keys", w.keys, "bytes", w.bytes, "percent", 100*p/store.Partitions)
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.put(snapshotEnd)
	count := binary.LittleEndian.AppendUint64(nil, uint64(w.keys))
	w.put(crc32.Checksum(count, snapshotTable))
	_, err := w.w.Write(count)
	return err
}

func (w *snapshotWriter) add(it *store.Item) {
	if it.Deleted() || w.others && w.store.Bound(it) {
		return // of what is bound to tags, others may invalidate some before this node is back among them
	}
	w.entry.Fill(w.store, it)
	before := len(w.frame)
	if w.frame = w.wire.append(w.frame, &w.entry); len(w.frame) > snapshotLargest {
		w.frame = w.frame[:before]
		w.leftOut++
		return
	}
	w.keys++
}

func (w *snapshotWriter) flush() error {
	if len(w.frame) == 0 {
		return nil
	}
	w.put(uint32(len(w.frame)))
	w.put(crc32.Checksum(w.frame, snapshotTable))
	_, err := w.w.Write(w.frame)
	w.bytes += int64(len(w.frame))
	if w.frame = w.frame[:0]; cap(w.frame) > 16*snapshotFrame {
		w.frame = nil
	}
	return err
}

func (w *snapshotWriter) put(v uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	w.w.Write(b[:]) // an error stays with the bufio.Writer
}

// LoadSnapshot takes over what SaveSnapshot has written, removes the file, and tells how many keys there were. It is called
// before anybody asks this node for anything. A file that is not whole is not used at all: it is renamed, with .bad behind
// its name, and the error says why. Where there is no file there is nothing to do.
func (n *Node) LoadSnapshot(path string) (keys int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read cache snapshot: %w", err)
	}
	defer f.Close()
	r := &snapshotReader{log: n.cfg.Logger.With("path", path), n: n}
	keys, err = r.load(f)
	if err != nil {
		for p := range store.Partitions {
			n.store.DropPartition(p)
		}
		err = fmt.Errorf("read cache snapshot %s: %w", path, err)
		if renaming := os.Rename(path, path+".bad"); renaming != nil {
			return 0, errors.Join(err, renaming)
		}
		return 0, fmt.Errorf("%w; it was renamed to %s", err, path+".bad")
	}
	n.mu.Lock()
	n.restored = keys > 0
	n.mu.Unlock()
	if err := os.Remove(path); err != nil {
		return keys, fmt.Errorf("remove cache snapshot that was read: %w", err)
	}
	return keys, nil
}

type snapshotReader struct {
	n   *Node
	log *slog.Logger

	wire     wireEntry
	entry    store.Entry
	frame    []byte
	size     int64 // of the file
	at       int64
	reported time.Time

	keys, refused int
	checked       bool // this is the second time
}

// load reads the file twice: a first time to see that it is whole, a second time to use it.
func (r *snapshotReader) load(f *os.File) (keys int, err error) {
	begin := time.Now()
	r.reported = begin
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r.size = info.Size()
	if err := r.frames(f, "checking cache snapshot", func([]byte) error { return nil }); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	r.checked = true
	now := begin.UnixMilli()
	err = r.frames(f, "reading cache snapshot", func(b []byte) error {
		for len(b) > 0 {
			rest, err := r.wire.next(b, &r.entry)
			if err != nil {
				return err
			}
			b = rest
			r.keys++
			switch _, err := r.n.store.Apply(&r.entry, now); {
			case errors.Is(err, store.ErrNoRoom):
				r.refused++
			case err != nil:
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	r.log.Info("cache snapshot read", "keys", r.keys, "no_room_for", r.refused, "bytes", r.size, "took", time.Since(begin).Round(time.Millisecond))
	return r.keys, nil
}

// frames gives the content of each frame to use.
func (r *snapshotReader) frames(f io.Reader, doing string, use func([]byte) error) error {
	in := bufio.NewReaderSize(f, 256<<10)
	r.at = 0
	head := make([]byte, len(snapshotMagic)+4)
	if err := r.read(in, head); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte(snapshotMagic)) {
		return errSnapshotMagic
	}
	if v := binary.LittleEndian.Uint32(head[len(snapshotMagic):]); v != snapshotVersion {
		return fmt.Errorf("%w: %d, this program reads %d", errSnapshotVersion, v, snapshotVersion)
	}
	for {
		if err := r.read(in, head[:8]); err != nil {
			return err
		}
		length, sum := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		last := length == snapshotEnd
		if last {
			length = 8
		}
		// No more is made room for than the file can have.
		if int64(length) > r.size-r.at {
			return errSnapshotShort
		}
		if cap(r.frame) < int(length) {
			r.frame = make([]byte, length)
		}
		r.frame = r.frame[:length]
		if err := r.read(in, r.frame); err != nil {
			return err
		}
		if crc32.Checksum(r.frame, snapshotTable) != sum {
			return errSnapshotSum
		}
		if last {
			if _, err := in.ReadByte(); err != io.EOF {
				return fmt.Errorf("%w: something is behind its end", errSnapshotSum)
			}
			if want := binary.LittleEndian.Uint64(r.frame); r.checked && want != uint64(r.keys) {
				return fmt.Errorf("%w: it has %d keys and should have %d", errSnapshotShort, r.keys, want)
			}
			return nil
		}
		if err := use(r.frame); err != nil {
			return err
		}
		if time.Since(r.reported) >= snapshotReport {
			r.reported = time.Now()
			r.log.Info(doing, "keys", r.keys, "percent", 100*r.at/max(1, r.size))
		}
	}
}

func (r *snapshotReader) read(in io.Reader, b []byte) error {
	n, err := io.ReadFull(in, b)
	r.at += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errSnapshotShort
	}
	return err
}
