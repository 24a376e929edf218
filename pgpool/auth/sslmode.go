package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// SSLMode is libpq's sslmode.
type SSLMode uint8

// The modes. In Prefer and Require the server's certificate is not verified, unless Require comes with root
// certificates, which makes it VerifyCA as in libpq.
const (
	SSLDisable SSLMode = iota
	SSLPrefer
	SSLRequire
	SSLVerifyCA
	SSLVerifyFull
)

// ParseSSLMode reads a mode by the name that libpq gave it. "allow" is taken as "prefer", which serves the same servers.
func ParseSSLMode(s string) (SSLMode, error) {
	switch s {
	case "disable":
		return SSLDisable, nil
	case "prefer", "allow":
		return SSLPrefer, nil
	case "require":
		return SSLRequire, nil
	case "verify-ca":
		return SSLVerifyCA, nil
	case "verify-full":
		return SSLVerifyFull, nil
	}
	return 0, fmt.Errorf("unknown sslmode %q: use disable, prefer, require, verify-ca or verify-full", s)
}

// negotiateTLS asks the server for TLS as p wants it. Over a Unix socket there is none, as in libpq.
func negotiateTLS(ctx context.Context, conn net.Conn, p *LoginParams) (net.Conn, error) {
	if _, local := conn.(*net.UnixConn); local || p.SSLMode == SSLDisable {
		return conn, nil
	}
	if _, err := conn.Write(pgwire.AppendSSLRequest(nil)); err != nil {
		return nil, fmt.Errorf("request TLS: %w", err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, fmt.Errorf("request TLS: %w", err)
	}
	switch answer[0] {
	case 'S':
	case 'N':
		if p.SSLMode == SSLPrefer {
			return conn, nil
		}
		return nil, errors.New("request TLS: server does not offer it, and sslmode requires it")
	default:
		// Not even an error message is believed before the server has shown who it is.
		return nil, fmt.Errorf("request TLS: server answers %q, which is neither yes nor no", answer[0])
	}
	wrap := p.TLSClient
	if wrap == nil {
		wrap = tls.Client
	}
	secured := wrap(conn, tlsConfig(p))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secured, nil
}

// tlsConfig derives the configuration of one connection from the mode.
func tlsConfig(p *LoginParams) *tls.Config {
	cfg := &tls.Config{}
	if p.TLS != nil {
		cfg = p.TLS.Clone()
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cfg.ServerName == "" {
		cfg.ServerName = p.Host
	}
	mode := p.SSLMode
	if mode == SSLRequire && cfg.RootCAs != nil {
		mode = SSLVerifyCA
	}
	cfg.InsecureSkipVerify = mode != SSLVerifyFull
	if mode == SSLVerifyCA {
		roots := cfg.RootCAs
		cfg.VerifyConnection = func(cs tls.ConnectionState) error { return verifyChain(cs, roots) }
	}
	return cfg
}

// verifyChain is what crypto/tls does itself, without the host name.
func verifyChain(cs tls.ConnectionState, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("server sent no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := cs.PeerCertificates[0].Verify(opts)
	return err
}
