package admin

import "net"

// Role is what a user may do on the console.
type Role uint8

// Each role may do what the one before may.
const (
	NoRole Role = iota
	Stats       // SHOW
	Admin       // everything
)

// Serve answers console commands on nc, to which AuthenticationOk was sent, until the client leaves or nc's deadline
// passes; then it returns nil. It does not close nc. An error that wraps a *pgwire.Error is for the caller to send.
func Serve(nc net.Conn, role Role, src Source) error {
	return nil
}
