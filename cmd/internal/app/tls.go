package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
)

// clientTLS is what clients are offered: nil for none. required refuses those that do not ask for it.
func clientTLS(c config.TLS) (cfg *tls.Config, required bool, err error) {
	if c.SSLMode == "disable" {
		return nil, false, nil
	}
	cfg, err = baseTLS(c)
	if err != nil {
		return nil, false, fmt.Errorf("client_tls: %w", err)
	}
	cfg.ClientCAs, cfg.RootCAs = cfg.RootCAs, nil
	verify := strings.HasPrefix(c.SSLMode, "verify-")
	switch {
	case verify:
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	case cfg.ClientCAs != nil: // as PostgreSQL does, which client_auth: cert relies on
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, verify || c.SSLMode == "require", nil
}

// baseTLS reads the files that a side names.
func baseTLS(c config.TLS) (*tls.Config, error) {
	cfg := &tls.Config{}
	cfg.MinVersion, cfg.MaxVersion = c.Versions()
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load certificate and key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + c.CAFile)
		}
	}
	return cfg, nil
}
