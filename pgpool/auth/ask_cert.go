package auth

import (
	"crypto/tls"
	"encoding/asn1"
	"fmt"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// commonName is id-at-commonName (RFC 5280 appendix A.1).
var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// checkCertificate lets in who has shown a certificate that the TLS handshake has verified and whose one common name is
// the user's: PostgreSQL's rule (CheckCertAuth in auth.c). Alternative names are names of machines and do not count.
func checkCertificate(c Client) error {
	session, ok := c.Conn.(*tls.Conn)
	if !ok || len(session.ConnectionState().VerifiedChains) == 0 {
		return &pgwire.Error{Severity: "FATAL", Code: "28000", Message: "connection requires a valid client certificate",
			Hint: "Connect with sslmode=require or stronger, sslcert and sslkey; the certificate's common name has to be the user."}
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
	return fmt.Errorf("%w: %w", errMethod("certificate", c.User), cause)
}

func errMethod(method, user string) *pgwire.Error {
	return &pgwire.Error{Severity: "FATAL", Code: "28000", Message: fmt.Sprintf("%s authentication failed for user \"%s\"", method, user)}
}
