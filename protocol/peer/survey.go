package peer

import "encoding/binary"

// Survey says which keys of a partition are compared: those whose hash (xxhash64, seed 0, of the stored key) is From to To, that
// were last written at the version Until or before, and that do not expire at Expiring (Unix milliseconds) or before.
type Survey struct {
	Until    uint64
	Expiring int64
	From, To uint64
}

// Sizes of what Digest and Versions are made of.
const (
	surveySize = 32
	digestSize = 10
	MarkSize   = 16 // of a hash and a version
)

// AppendSurvey appends what a Digest or Versions begins with.
func AppendSurvey(b []byte, s Survey) []byte {
	b = binary.BigEndian.AppendUint64(b, s.Until)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Expiring))
	b = binary.BigEndian.AppendUint64(b, s.From)
	return binary.BigEndian.AppendUint64(b, s.To)
}

// ParseSurvey reads it, and returns what follows.
func ParseSurvey(body []byte) (s Survey, rest []byte, err error) {
	if len(body) < surveySize {
		return s, nil, ErrBody
	}
	s.Until, s.Expiring = binary.BigEndian.Uint64(body), int64(binary.BigEndian.Uint64(body[8:]))
	s.From, s.To = binary.BigEndian.Uint64(body[16:]), binary.BigEndian.Uint64(body[24:])
	return s, body[surveySize:], nil
}

// AppendDigest appends a partition with a number: in Digest its digest, in Versions how many marks follow.
func AppendDigest(b []byte, partition int, number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint16(b, uint16(partition)), number)
}

// NextDigest reads what AppendDigest has appended. limit is the number of partitions there are.
func NextDigest(body []byte, limit int) (partition int, number uint64, rest []byte, err error) {
	if len(body) < digestSize || int(binary.BigEndian.Uint16(body)) >= limit {
		return 0, 0, nil, ErrBody
	}
	return int(binary.BigEndian.Uint16(body)), binary.BigEndian.Uint64(body[2:]), body[digestSize:], nil
}

// AppendMark appends a key's hash and version.
func AppendMark(b []byte, hash, version uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, hash), version)
}

// MarkAt reads the mark at the front of b, which has it.
func MarkAt(b []byte) (hash, version uint64) {
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
}

// AppendWants appends the front of the answer to Versions: the hashes that are wanted, behind their number. Entries follow.
func AppendWants(b []byte, hashes []uint64) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(hashes)))
	for _, hash := range hashes {
		b = binary.BigEndian.AppendUint64(b, hash)
	}
	return b
}

// ParseWants reads the answer to Versions. entries is a slice of body.
func ParseWants(body []byte) (hashes []uint64, entries []byte, err error) {
	if len(body) < 4 {
		return nil, nil, ErrBody
	}
	count := uint64(binary.BigEndian.Uint32(body))
	if body = body[4:]; 8*count > uint64(len(body)) {
		return nil, nil, ErrBody
	}
	for ; count > 0; count-- {
		hashes, body = append(hashes, binary.BigEndian.Uint64(body)), body[8:]
	}
	return hashes, body, nil
}
