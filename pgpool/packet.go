package pgpool

import (
	"encoding/binary"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// errPacket is what a client is told whose message has a length that is not taken. header holds its type and length.
func errPacket(header []byte, limit int64) *pgwire.Error {
	if n := int64(binary.BigEndian.Uint32(header[1:])) + 1; n > limit {
		return packetTooLarge.with(n, limit)
	}
	return violation.with("message length out of bounds")
}
