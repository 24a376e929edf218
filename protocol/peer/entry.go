// HOT PATH

package peer

import (
	"encoding/binary"
	"errors"
)

// Entry is a key and everything a store knows of it, on the wire a msgpack array of six:
// key bin, kind uint, version uint, expire_at int, deleted bool, items array of bin.
//
// Only one msgpack format of each kind is written and read (bin32, uint64, int64, array32 …), which any msgpack library
// understands, and which can be read in place.
type Entry struct {
	Key      []byte
	Kind     uint8 // the store's type tag, below 128
	Deleted  bool  // a tombstone: has a version and no items
	Version  uint64
	ExpireAt int64    // Unix milliseconds, 0 for never
	Items    [][]byte // a string has one; collections as the store flattens them
}

// msgpack formats (msgpack spec, "Formats").
const (
	formatArray6  = 0x96
	formatFalse   = 0xc2
	formatTrue    = 0xc3
	formatBin32   = 0xc6
	formatUint64  = 0xcf
	formatInt64   = 0xd3
	formatArray32 = 0xdd

	// minEntry is an entry with an empty key and no items.
	minEntry = 1 + 5 + 1 + 9 + 9 + 1 + 5
	minItem  = 5
)

// ErrEntry means that a body of entries is malformed.
var ErrEntry = errors.New("malformed entry in peer frame")

// AppendEntry appends e.
func AppendEntry(b []byte, e *Entry) []byte {
	b = append(b, formatArray6)
	b = appendBin(b, e.Key)
	b = append(b, e.Kind&0x7f, formatUint64)
	b = binary.BigEndian.AppendUint64(b, e.Version)
	b = append(b, formatInt64)
	b = binary.BigEndian.AppendUint64(b, uint64(e.ExpireAt))
	if e.Deleted {
		b = append(b, formatTrue)
	} else {
		b = append(b, formatFalse)
	}
	b = append(b, formatArray32)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Items)))
	for _, item := range e.Items {
		b = appendBin(b, item)
	}
	return b
}

// EntrySize is the number of bytes that AppendEntry appends.
func EntrySize(e *Entry) int {
	n := minEntry + len(e.Key)
	for _, item := range e.Items {
		n += minItem + len(item)
	}
	return n
}

// NextEntry reads the entry at the front of b into e, whose Items it reuses, and returns what follows it. Key and Items
// point into b.
func NextEntry(b []byte, e *Entry) (rest []byte, err error) {
	if len(b) < minEntry || b[0] != formatArray6 {
		return nil, ErrEntry
	}
	var ok bool
	if e.Key, b, ok = bin(b[1:]); !ok {
		return nil, ErrEntry
	}
	const fixed = 1 + 9 + 9 + 1 + 5 // from kind to the header of items
	if len(b) < fixed || b[0] > 0x7f || b[1] != formatUint64 || b[10] != formatInt64 || b[20] != formatArray32 ||
		b[19] != formatTrue && b[19] != formatFalse {
		return nil, ErrEntry
	}
	e.Kind = b[0]
	e.Version = binary.BigEndian.Uint64(b[2:])
	e.ExpireAt = int64(binary.BigEndian.Uint64(b[11:]))
	e.Deleted = b[19] == formatTrue
	items := binary.BigEndian.Uint32(b[21:])
	b = b[fixed:]
	if uint64(items)*minItem > uint64(len(b)) {
		return nil, ErrEntry
	}
	e.Items = e.Items[:0]
	for range items {
		var item []byte
		if item, b, ok = bin(b); !ok {
			return nil, ErrEntry
		}
		e.Items = append(e.Items, item)
	}
	return b, nil
}

func appendBin(b, v []byte) []byte {
	b = append(b, formatBin32)
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func bin(b []byte) (v, rest []byte, ok bool) {
	if len(b) < minItem || b[0] != formatBin32 {
		return nil, nil, false
	}
	size := binary.BigEndian.Uint32(b[1:])
	b = b[minItem:]
	if uint64(size) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:size:size], b[size:], true
}
