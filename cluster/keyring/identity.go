package keyring

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Each key is also an authority for certificates: everyone who has it can derive the authority's private key, so nothing needs
// to be handed out. A member makes a certificate for itself at its start, signed by the authority of the first key, and takes
// those of others that any of its authorities has signed. The certificate says no more than that its holder has the key.

// protocol is what TLS between members carries (ALPN): nobody is led to speak it by a server for something else.
const protocol = "outrigger-peer"

// authorityInfo is the info that HKDF derives an authority from a key with, and the name of the cluster behind it. The gossip
// is encrypted by the key itself.
const authorityInfo = "outrigger peer authority 1 "

// notBefore and notAfter are the life of all certificates: that of the key. Members need not agree about the time.
var (
	notBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280 section 4.1.2.5: never
)

// identity is what a member shows, and what it accepts.
type identity struct{ tls *tls.Config }

// TLS is the configuration of both sides of a connection between members: TLS 1.3, and each proves that it has a key. It is for
// one connection, as the keys may change, and not to be changed.
func (r *Keyring) TLS() *tls.Config { return r.current.Load().tls }

func newIdentity(cluster, member string, keys [][]byte) (identity, error) {
	authorities := x509.NewCertPool()
	var own tls.Certificate
	for i, key := range keys {
		seed, err := hkdf.Key(sha256.New, key, nil, authorityInfo+cluster, ed25519.SeedSize)
		if err != nil {
			return identity{}, fmt.Errorf("derive authority: %w", err)
		}
		private := ed25519.NewKeyFromSeed(seed)
		authority, err := selfSigned(private)
		if err != nil {
			return identity{}, err
		}
		authorities.AddCert(authority)
		if i == 0 {
			if own, err = issue(authority, private, member); err != nil {
				return identity{}, err
			}
		}
	}
	return identity{&tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{own},
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequireAnyClientCert,
		// Members have no host names. VerifyConnection does what this leaves out, for both sides.
		InsecureSkipVerify: true,
		VerifyConnection:   func(c tls.ConnectionState) error { return verify(c, authorities) },
	}}, nil
}

// errStranger is for certificates that none of our authorities has signed.
var errStranger = errors.New("the other side does not have our key (cluster_key_file)")

// verify accepts the other side if it has shown a certificate of one of the authorities. That it has the certificate's private
// key was seen before.
func verify(c tls.ConnectionState, authorities *x509.CertPool) error {
	if len(c.PeerCertificates) == 0 || c.NegotiatedProtocol != protocol {
		return errStranger
	}
	_, err := c.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots:       authorities,
		CurrentTime: notBefore.AddDate(1, 0, 0),
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errStranger, err)
	}
	return nil
}

// selfSigned is the certificate of an authority. All members make one alike.
func selfSigned(private ed25519.PrivateKey) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "outrigger cluster"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	return sign(template, template, private.Public(), private)
}

// issue makes a certificate, and a key of its own, for a member.
func issue(authority *x509.Certificate, signer ed25519.PrivateKey, member string) (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key of member: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate of member: %w", err)
	}
	leaf, err := sign(&x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: member},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, authority, public, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: private, Leaf: leaf}, nil
}

func sign(template, parent *x509.Certificate, public any, signer ed25519.PrivateKey) (*x509.Certificate, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("read own certificate: %w", err)
	}
	return c, nil
}
