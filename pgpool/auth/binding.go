package auth

import (
	"crypto/tls"
	"crypto/x509"
	"net"

	"github.com/xdg-go/scram"
)

// The name of SCRAM with channel binding (RFC 5802 section 4). PostgreSQL's one type of binding is
// tls-server-end-point, a hash of the certificate that the server has shown (RFC 5929 section 4).
const mechanismPlus = mechanismSCRAM + "-PLUS"

// ShownCertificate is the certificate that a TLS server with cfg shows, for Client.Certificate; nil when which one it is
// depends on the client.
func ShownCertificate(cfg *tls.Config) *x509.Certificate {
	if cfg == nil || len(cfg.Certificates) != 1 || cfg.GetCertificate != nil || cfg.GetConfigForClient != nil {
		return nil
	}
	one := &cfg.Certificates[0]
	if one.Leaf != nil || len(one.Certificate) == 0 {
		return one.Leaf
	}
	leaf, err := x509.ParseCertificate(one.Certificate[0])
	if err != nil {
		return nil // the handshake fails, too
	}
	return leaf
}

// clientBinding binds c's login to the certificate that we have shown. There is no binding without TLS, and none for
// signatures without a hash of their own, such as Ed25519: RFC 5929 leaves them undefined.
func clientBinding(c Client) (none scram.ChannelBinding) {
	if _, encrypted := c.Conn.(*tls.Conn); !encrypted || c.Certificate == nil {
		return none
	}
	return endpoint(c.Certificate)
}

// serverBinding binds our login to the certificate that the server has shown.
func serverBinding(conn net.Conn) (none scram.ChannelBinding) {
	session, encrypted := conn.(*tls.Conn)
	if !encrypted {
		return none
	}
	shown := session.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return none
	}
	return endpoint(shown[0])
}

func endpoint(cert *x509.Certificate) (none scram.ChannelBinding) {
	b, err := scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}})
	if err != nil {
		return none
	}
	return b
}
