package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"net"

	"github.com/xdg-go/scram"
)

// Method is how a client proves who it is.
type Method uint8

// The methods known here, with the meaning that pg_hba.conf gives them. The zero value stands for none of them, so that
// a setting that was forgotten lets nobody in.
const (
	unset       Method = iota
	Trust              // whoever gets here is who he says
	SCRAMSHA256        // RFC 5802 and 7677, with channel binding over TLS
	MD5                // the old hash, or SCRAM for users whose secret is a SCRAM verifier
	Cert               // a verified client certificate whose common name is the user's
	Peer               // the process at the other end of a Unix socket runs as the system user of that name; as LocalMethod for sockets only
)

// ParseMethod reads a method's name as pg_hba.conf writes it.
func ParseMethod(s string) (Method, error) {
	switch s {
	case "trust":
		return Trust, nil
	case "scram-sha-256":
		return SCRAMSHA256, nil
	case "md5":
		return MD5, nil
	case "cert":
		return Cert, nil
	case "peer":
		return Peer, nil
	}
	return unset, fmt.Errorf("unknown authentication method %q: use trust, scram-sha-256, md5, cert or peer", s)
}

// Config configures an Authenticator.
type Config struct {
	Method      Method       // default SCRAMSHA256
	LocalMethod Method       // for local clients; default Method
	Users       Users        // auth_file
	Query       *QueryConfig // auth_query: asked about users that are not in Users; nil for nobody

	// MockKey seeds the salts of users that do not exist and of users with a plain password. It defaults to a random
	// one; giving every sidecar the same makes their answers equal.
	MockKey []byte

	// Previous is the Authenticator that the new one takes the place of, or nil. Users whose secret has not changed keep
	// the verifier that was derived for them, and the credentials with what these have learnt.
	Previous *Authenticator
}

// Authenticator lets clients in. Any goroutine may use it.
type Authenticator struct {
	// Constant after New.
	method, localMethod Method
	users               map[string]*account
	mockKey             []byte
	mockMD5             bool   // what method md5 asks unknown users for
	query               *query // nil: no auth_query
}

// account is what is known of one user. It does not change, but for the key that its credentials may learn.
type account struct {
	secret      Secret
	verifier    *scram.StoredCredentials // nil: the secret is no good for SCRAM
	credentials *Credentials
}

// New returns an Authenticator. When clients will be asked for SCRAM it derives a verifier for each plain password, some
// milliseconds of work for each, so that a login costs the same whether or not the user exists.
func New(cfg Config) (*Authenticator, error) {
	a := &Authenticator{method: cfg.Method, localMethod: cfg.LocalMethod, mockKey: cfg.MockKey, users: map[string]*account{}}
	if a.method == unset {
		a.method = SCRAMSHA256
	}
	if a.localMethod == unset {
		a.localMethod = a.method
	}
	if len(a.mockKey) == 0 && cfg.Previous != nil {
		a.mockKey = cfg.Previous.mockKey
	}
	if len(a.mockKey) == 0 {
		a.mockKey = make([]byte, sha256.Size)
		rand.Read(a.mockKey)
	}
	hashes := 0
	for user, secret := range cfg.Users {
		acc := a.kept(cfg.Previous, user, secret)
		if acc == nil {
			var err error
			if acc, err = a.newAccount(user, secret); err != nil {
				return nil, err
			}
		}
		a.users[user] = acc
		if secret.Kind != SecretSCRAM {
			hashes++
		}
	}
	a.mockMD5 = 2*hashes > len(cfg.Users)
	if cfg.Query != nil {
		a.query = newQuery(*cfg.Query, a.newAccount)
	}
	return a, nil
}

// kept returns the account that previous has for the same secret, if it is good for the methods of now.
func (a *Authenticator) kept(previous *Authenticator, user string, secret Secret) *account {
	if previous == nil {
		return nil
	}
	acc := previous.users[user]
	if acc == nil || acc.secret.text != secret.text || a.asksSCRAM() != previous.asksSCRAM() || !bytes.Equal(a.mockKey, previous.mockKey) {
		return nil
	}
	return acc
}

// asksSCRAM tells whether plain passwords need a verifier.
func (a *Authenticator) asksSCRAM() bool {
	return a.method == SCRAMSHA256 || a.localMethod == SCRAMSHA256
}

func (a *Authenticator) newAccount(user string, secret Secret) (*account, error) {
	acc := &account{secret: secret, credentials: secret.Credentials(user)}
	switch {
	case secret.Kind == SecretSCRAM:
		acc.verifier = &secret.verifier
	case secret.Kind == SecretPassword && secret.text != "" && a.asksSCRAM():
		c, err := newSCRAMClient(secret.text)
		if err != nil {
			return nil, fmt.Errorf("derive verifier of user %q: %w", user, err)
		}
		v, err := c.GetStoredCredentialsWithError(a.mockVerifier(user).KeyFactors)
		if err != nil {
			return nil, fmt.Errorf("derive verifier of user %q: %w", user, err)
		}
		acc.verifier = &v
	}
	return acc, nil
}

// mockVerifier makes up a verifier that no password matches. It depends on the user alone: a salt that changed from one
// attempt to the next would tell that the user does not exist.
func (a *Authenticator) mockVerifier(user string) *scram.StoredCredentials {
	return &scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(a.mock("salt ", user)[:16]), Iters: defaultIterations},
		StoredKey:  a.mock("stored key ", user),
		ServerKey:  a.mock("server key ", user),
	}
}

// mock makes up 32 bytes that look random and always are the same.
func (a *Authenticator) mock(purpose, user string) []byte {
	mac := hmac.New(sha256.New, a.mockKey)
	io.WriteString(mac, purpose)
	io.WriteString(mac, user)
	return mac.Sum(nil)
}

// Client is who asks to be let in, before anything of it is proven.
type Client struct {
	// Conn is a *tls.Conn when encrypted. For Peer it is a *net.UnixConn, or has a method NetConn() net.Conn that leads to
	// one.
	Conn           net.Conn
	User, Database string
	Local          bool // it came in by a listener on loopback or on a Unix socket

	// Certificate is what we have shown to the client in the TLS handshake (ShownCertificate). Without it there is no
	// channel binding.
	Certificate *x509.Certificate
}

// Authenticate asks c to prove that it is c.User, and ends with AuthenticationOk. It returns the credentials to log in to
// a server as that user, nil when there are none: the secret of auth_file or auth_query, or the key that a SCRAM exchange
// has shown (RFC 5802 section 3). While a secret stays the same, so do its credentials.
//
// An error that holds a *pgwire.Error (errors.AsType) is to be sent to the client, which is told no more than that; the
// rest of its text is for the log. ctx bounds the waiting for others and for auth_query; the caller bounds the client's
// time with a deadline on the connection and closes it after an error.
func (a *Authenticator) Authenticate(ctx context.Context, c Client) (*Credentials, error) {
	credentials, last, err := a.prove(ctx, c)
	if err == nil {
		_, err = c.Conn.Write(appendAuth(last, authOK, ""))
	}
	if err != nil {
		return nil, fmt.Errorf("authenticate user %q: %w", c.User, err)
	}
	return credentials, nil
}

// prove returns the message that goes out together with AuthenticationOk, if there is one.
func (a *Authenticator) prove(ctx context.Context, c Client) (credentials *Credentials, last []byte, err error) {
	method := a.method
	if c.Local && (a.localMethod != Peer || c.Conn.LocalAddr().Network() == "unix") {
		method = a.localMethod
	}
	var acc *account
	switch method {
	case SCRAMSHA256, MD5:
		if acc, err = a.find(ctx, c); err != nil {
			return nil, nil, err
		}
		if method == MD5 && a.asksMD5(acc) {
			acc, err = a.askMD5(ctx, c, acc)
		} else {
			last, err = a.askSCRAM(ctx, c, acc)
		}
		if err != nil {
			return nil, nil, err
		}
	default: // who has no password to show may have one to log in with
		switch method {
		case Cert:
			err = checkCertificate(c)
		case Peer:
			err = checkPeer(c)
		}
		if err != nil {
			return nil, nil, err
		}
		if acc = a.users[c.User]; acc == nil {
			return nil, nil, nil
		}
	}
	return acc.credentials, last, nil
}

// find looks a user up. There is no account for one that does not exist.
func (a *Authenticator) find(ctx context.Context, c Client) (*account, error) {
	if acc := a.users[c.User]; acc != nil || a.query == nil {
		return acc, nil
	}
	return a.query.find(ctx, lookup{c.Database, c.User}, false)
}

// renew looks a user up whose proof was wrong: its secret may have changed since it was last asked for.
func (a *Authenticator) renew(ctx context.Context, c Client, acc *account) (*account, error) {
	if a.query == nil || a.users[c.User] != nil {
		return acc, nil
	}
	return a.query.find(ctx, lookup{c.Database, c.User}, true)
}
