//go:build !linux

package auth

import "github.com/outrigger-proxy/outrigger/protocol/pgwire"

// checkPeer lets nobody in: how the kernel tells who is at the other end differs from system to system.
func checkPeer(Client) error {
	return &pgwire.Error{Severity: "FATAL", Code: "28000", Message: "peer authentication works only on Linux",
		Hint: "Set client_auth to another method."}
}
