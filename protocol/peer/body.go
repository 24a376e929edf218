package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrBody means that a body is malformed.
var ErrBody = errors.New("malformed body of peer frame")

// Greeting is the body of Hello, a msgpack map so that fields can be added.
type Greeting struct {
	Version    int    `msgpack:"version"` // all that version 1 looks at: it must be 1 for that
	VersionMin int    `msgpack:"version_min,omitempty"`
	VersionMax int    `msgpack:"version_max,omitempty"`
	Cluster    string `msgpack:"cluster"`
	Node       string `msgpack:"node"`
	Instance   uint64 `msgpack:"instance"` // tells restarts of a node apart
}

// Agree returns the version that a node of this build and the one that greets with g use.
func (g *Greeting) Agree() (version int, err error) {
	low, high := g.VersionMin, g.VersionMax
	if high == 0 { // version 1 says only this
		low, high = g.Version, g.Version
	}
	if version = min(high, VersionMax); version < max(low, VersionMin) {
		return 0, fmt.Errorf("speaks versions %d to %d of the peer protocol, not %d to %d: upgrade one release at a time", low, high, VersionMin, VersionMax)
	}
	return version, nil
}

// AppendGreeting appends g.
func AppendGreeting(b []byte, g Greeting) ([]byte, error) {
	body, err := msgpack.Marshal(&g)
	if err != nil {
		return b, fmt.Errorf("encode greeting: %w", err)
	}
	return append(b, body...), nil
}

// ParseGreeting reads the body of Hello.
func ParseGreeting(body []byte) (Greeting, error) {
	var g Greeting
	if err := msgpack.Unmarshal(body, &g); err != nil {
		return g, fmt.Errorf("decode greeting: %w", err)
	}
	return g, nil
}

// AppendPartitions appends the body of Offer, Accept and Done: partition numbers of two bytes.
func AppendPartitions(b []byte, partitions []int) []byte {
	for _, p := range partitions {
		b = binary.BigEndian.AppendUint16(b, uint16(p))
	}
	return b
}

// ParsePartitions appends the partitions of body to list. limit is the number of partitions there are.
func ParsePartitions(list []int, body []byte, limit int) ([]int, error) {
	if len(body)%2 != 0 || len(body)/2 > limit {
		return list, ErrBody
	}
	for ; len(body) > 0; body = body[2:] {
		p := int(binary.BigEndian.Uint16(body))
		if p >= limit {
			return list, ErrBody
		}
		list = append(list, p)
	}
	return list, nil
}

// AppendWait appends the body of Wait and Waiting: milliseconds, then a command.
func AppendWait(b []byte, ms int64, command []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(ms)), command...)
}

// ParseWait reads the body of Wait and Waiting.
func ParseWait(body []byte) (ms int64, command []byte, err error) {
	if len(body) < 8 {
		return 0, nil, ErrBody
	}
	if ms = int64(binary.BigEndian.Uint64(body)); ms < 0 {
		return 0, nil, ErrBody
	}
	return ms, body[8:], nil
}

// AppendDuration appends the body of Away: milliseconds.
func AppendDuration(b []byte, d time.Duration) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(max(0, d.Milliseconds())))
}

// ParseDuration reads the body of Away.
func ParseDuration(body []byte) (time.Duration, error) {
	const longest = uint64(1<<63-1) / uint64(time.Millisecond)
	if len(body) != 8 {
		return 0, ErrBody
	}
	milli := binary.BigEndian.Uint64(body)
	if milli > longest {
		return 0, ErrBody
	}
	return time.Duration(milli) * time.Millisecond, nil
}

// Topics are what a node's clients listen to, as a msgpack map so that fields can be added.
type Topics struct {
	Serial     uint64   `msgpack:"serial"` // counts what the node has told
	Channels   []string `msgpack:"channels,omitempty"`
	Patterns   []string `msgpack:"patterns,omitempty"`
	Shards     []string `msgpack:"shards,omitempty"`
	Everything bool     `msgpack:"everything,omitempty"` // they are too many to be named
}

// AppendTopics appends t.
func AppendTopics(b []byte, t *Topics) []byte {
	body, err := msgpack.Marshal(t)
	if err != nil {
		panic("peer: " + err.Error()) // nothing in it can fail
	}
	return append(b, body...)
}

// ParseTopics reads what AppendTopics has written.
func ParseTopics(body []byte) (t Topics, err error) {
	if err = msgpack.Unmarshal(body, &t); err != nil {
		return t, fmt.Errorf("decode topics: %w", err)
	}
	return t, nil
}

// AppendMessage appends the body of Publish: the channel behind its length, then the payload.
func AppendMessage(b, channel, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(channel)))
	b = append(b, channel...)
	return append(b, payload...)
}

// ParseMessage reads the body of Publish.
func ParseMessage(body []byte) (channel, payload []byte, err error) {
	if len(body) < 4 {
		return nil, nil, ErrBody
	}
	size := binary.BigEndian.Uint32(body)
	body = body[4:]
	if uint64(size) > uint64(len(body)) {
		return nil, nil, ErrBody
	}
	return body[:size:size], body[size:], nil
}
