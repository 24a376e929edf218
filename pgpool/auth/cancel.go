package auth

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Cancel asks the server at the other end of conn to cancel what its process pid does. It encrypts as Login does with the
// same p, of which Credentials, Database and Settings are not used: the key is as good as a password for its query. It returns when
// the server has closed the connection: by then the signal is sent (processCancelRequest in postmaster.c). ctx bounds
// the whole of it. Cancel owns conn and closes it.
func Cancel(ctx context.Context, conn net.Conn, p LoginParams, pid uint32, key []byte) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	secured, err := negotiateTLS(ctx, conn, &p)
	if err == nil {
		_, err = secured.Write(pgwire.AppendCancelRequest(nil, pid, key))
	}
	if err == nil {
		_, err = secured.Read(make([]byte, 1))
		switch {
		case err == nil:
			err = fmt.Errorf("server answers a cancel request, which it must not")
		case !os.IsTimeout(err):
			return nil // closed, in whatever way
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("send cancel request: %w: %w", cause, err)
	}
	return fmt.Errorf("send cancel request: %w", err)
}
