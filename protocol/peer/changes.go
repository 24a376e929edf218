package peer

import "encoding/binary"

// PollRequest is the body of Poll.
type PollRequest struct {
	Since uint64 // number of the last change heard of; 0 for none
	Hold  uint32 // milliseconds that the answer may wait for a change
	Set   uint64 // xxhash64 of the set of partitions last heard of, as Changes has it
}

const pollSize = 8 + 4 + 8

// AppendPoll appends the body of Poll.
func AppendPoll(b []byte, p PollRequest) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Since)
	b = binary.BigEndian.AppendUint32(b, p.Hold)
	return binary.BigEndian.AppendUint64(b, p.Set)
}

// ParsePoll reads the body of Poll.
func ParsePoll(body []byte) (p PollRequest, err error) {
	if len(body) != pollSize {
		return p, ErrBody
	}
	p.Since, p.Hold, p.Set = binary.BigEndian.Uint64(body), binary.BigEndian.Uint32(body[8:]), binary.BigEndian.Uint64(body[12:])
	return p, nil
}

// AppendChanges appends the body of Changes: the number of the last change, the hashes of the keys that have changed, and
// what set holds.
func AppendChanges(b []byte, last uint64, hashes []uint64, set []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(len(hashes)))
	for _, h := range hashes {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return append(b, set...)
}

// ParseChanges reads the body of Changes. It appends the hashes to dst; set is a slice of body.
func ParseChanges(dst []uint64, body []byte) (last uint64, hashes []uint64, set []byte, err error) {
	if len(body) < 12 {
		return 0, dst, nil, ErrBody
	}
	last = binary.BigEndian.Uint64(body)
	count := uint64(binary.BigEndian.Uint32(body[8:]))
	body = body[12:]
	if 8*count > uint64(len(body)) {
		return 0, dst, nil, ErrBody
	}
	for range count {
		dst = append(dst, binary.BigEndian.Uint64(body))
		body = body[8:]
	}
	return last, dst, body, nil
}

// AppendCopy appends what precedes a Reply that may be kept: for how many milliseconds, 0 for no end.
func AppendCopy(b []byte, milliseconds uint64) []byte {
	return binary.BigEndian.AppendUint64(b, milliseconds)
}

// CutCopy takes it off again.
func CutCopy(body []byte) (milliseconds uint64, reply []byte, err error) {
	if len(body) < 8 {
		return 0, nil, ErrBody
	}
	return binary.BigEndian.Uint64(body), body[8:], nil
}
