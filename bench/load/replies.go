package load

import (
	"fmt"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// replies follows the messages that a server sends to a client, in whatever pieces they come, and keeps none of them.
type replies struct {
	head   [pgwire.HeaderLen]byte
	have   int  // bytes of head
	skip   int  // bytes of the body that are still to come
	failed bool // an ErrorResponse came since the last ReadyForQuery
}

// feed takes a piece. It tells how many ReadyForQuery it completes, and whether an error came before the last of them.
func (r *replies) feed(b []byte) (ready int, failed bool, err error) {
	for {
		n := min(r.skip, len(b))
		r.skip, b = r.skip-n, b[n:]
		if r.skip > 0 {
			return ready, failed, nil
		}
		if r.have == len(r.head) { // a message has ended
			r.have = 0
			switch r.head[0] {
			case pgwire.ErrorResponse:
				r.failed = true
			case pgwire.ReadyForQuery:
				ready, failed, r.failed = ready+1, r.failed, false
			}
		}
		if len(b) == 0 {
			return ready, failed, nil
		}
		n = copy(r.head[r.have:], b)
		r.have, b = r.have+n, b[n:]
		if r.have < len(r.head) {
			return ready, failed, nil
		}
		_, size, ok := pgwire.Header(r.head[:])
		if !ok {
			return ready, failed, fmt.Errorf("message %q of no possible length", r.head[0])
		}
		r.skip = size - pgwire.HeaderLen
	}
}
