package auth

import (
	"crypto/tls"
	"encoding/asn1"
	"fmt"
)

// commonName is id-at-commonName (RFC 5280 appendix A.1).
var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// checkCertificate lets in who has shown a certificate that the TLS handshake has verified and whose one common name is
// the user's: PostgreSQL's rule (CheckCertAuth in auth.c). Alternative names are names of machines and do not count.
func checkCertificate(c Client) error {
	session, ok := c.Conn.(*tls.Conn)
	if !ok || len(session.ConnectionState().VerifiedChains) == 0 {
		return noCertificate.with()
	}
	var names []string
	for _, part := range session.ConnectionState().VerifiedChains[0][0].Subject.Names {
		if name, ok := part.Value.(string); ok && part.Type.Equal(commonName) {
			names = append(names, name)
		}
	}
	var cause error
	switch {
	case len(names) != 1: // which of two would be the one that the authority has checked?
		cause = fmt.Errorf("certificate has %d common names", len(names))
	case names[0] == "" || names[0] != c.User:
		cause = fmt.Errorf("certificate is of %q", names[0])
	default:
		return nil
	}
	return fmt.Errorf("%w: %w", methodFailed.with("certificate", c.User), cause)
}
