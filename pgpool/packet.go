package pgpool

import (
	"encoding/binary"
	"fmt"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// errPacket is what a client is told whose message has a length that is not taken. header holds its type and length.
func errPacket(header []byte, limit int64) *pgwire.Error {
	e := &pgwire.Error{Severity: "FATAL", Code: "08P01", Message: "protocol violation: message length out of bounds",
		Hint: "This port speaks PostgreSQL protocol version 3."}
	if n := int64(binary.BigEndian.Uint32(header[1:])) + 1; n > limit {
		e.Message = "message is larger than max_packet_size"
		e.Detail = fmt.Sprintf("It announces %d bytes; max_packet_size is %d.", n, limit)
		e.Hint = "Send the data in parts, as with COPY, or raise max_packet_size."
	}
	return e
}
