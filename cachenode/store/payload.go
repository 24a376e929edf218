package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc64"
)

// A payload is what a key holds, without its name and its expiry: what DUMP replies, and what a snapshot is made of.
//
//	kind      1 byte, the upper bits flags
//	items     as a varint, their number
//	each      its length as a varint, and its bytes; of a string the only item is the value
//	version   2 bytes, least significant first
//	checksum  8 bytes, least significant first: CRC-64 (ECMA) of all before
const (
	payloadVersion = 1
	payloadFooter  = 2 + 8
	payloadRaw     = 1 << 7 // a string that was edited in place
)

var payloadTable = crc64.MakeTable(crc64.ECMA)

// AppendPayload appends what e holds.
func AppendPayload(b []byte, e *Entry) []byte {
	start := len(b)
	kind := byte(e.Kind)
	if e.Raw {
		kind |= payloadRaw
	}
	b = append(b, kind)
	if e.Kind == KindString {
		b = binary.AppendUvarint(b, 1)
		b = append(binary.AppendUvarint(b, uint64(len(e.Value))), e.Value...)
	} else {
		b = binary.AppendUvarint(b, uint64(len(e.Items)))
		for _, item := range e.Items {
			b = append(binary.AppendUvarint(b, uint64(len(item))), item...)
		}
	}
	b = append(b, byte(payloadVersion), byte(payloadVersion>>8))
	return binary.LittleEndian.AppendUint64(b, crc64.Checksum(b[start:], payloadTable))
}

// SealPayload makes a payload of any content: for tests of who reads it.
func SealPayload(content []byte) []byte {
	b := append(append([]byte(nil), content...), byte(payloadVersion), byte(payloadVersion>>8))
	return binary.LittleEndian.AppendUint64(b, crc64.Checksum(b, payloadTable))
}

// CheckPayload tells whether b has a version that we read and its checksum.
func CheckPayload(b []byte) bool {
	if len(b) < payloadFooter {
		return false
	}
	body, sum := b[:len(b)-8], b[len(b)-8:]
	return binary.LittleEndian.Uint16(body[len(body)-2:]) == payloadVersion &&
		binary.LittleEndian.Uint64(sum) == crc64.Checksum(body, payloadTable)
}

// ParsePayload reads what a checked payload holds into e, whose other fields it leaves. e points into b. It reports false
// for what AppendPayload never writes.
func ParsePayload(b []byte, e *Entry) bool {
	b = b[:len(b)-payloadFooter]
	if len(b) == 0 {
		return false
	}
	e.Kind, e.Raw = Kind(b[0]&^payloadRaw), b[0]&payloadRaw != 0
	e.Value, e.Items, e.Tags = nil, e.Items[:0], nil
	if e.Kind == kindFree || e.Kind == kindTombstone || e.Kind >= kinds {
		return false
	}
	n, size := binary.Uvarint(b[1:])
	if size <= 0 || n > uint64(len(b)) {
		return false
	}
	b = b[1+size:]
	for range n {
		length, size := binary.Uvarint(b)
		if size <= 0 || length > uint64(len(b)-size) {
			return false
		}
		item := b[size : size+int(length) : size+int(length)]
		b = b[size+int(length):]
		if e.Kind == KindString {
			if n != 1 {
				return false
			}
			e.Value = item
		} else {
			e.Items = append(e.Items, item)
		}
	}
	return len(b) == 0 && (n == 1 || e.Kind != KindString)
}

// Put stores a copy of what e holds under k, whatever was there, to expire at expireAt (0 = never). It reports false, and
// changes nothing, where e is malformed.
func (tx *Tx) Put(k *Key, e *Entry, expireAt int64) bool {
	if e.Kind == KindString {
		it := tx.SetString(k, e.Value, expireAt)
		it.setRaw(e.Raw)
		tx.shard(k).bind(it, bytes.Clone(e.Tags))
		return true
	}
	fresh := newCollection(e.Kind, tx.store.seed)
	if !fresh.restore(e.Items) || fresh.Len() == 0 && e.Kind != KindStream {
		return false
	}
	it := tx.Create(k, e.Kind)
	it.object().Collection = fresh
	tx.shard(k).setExpiry(it, expireAt, tx.now)
	tx.shard(k).bind(it, bytes.Clone(e.Tags))
	tx.Update(k, it)
	return true
}
