package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Method is how a client proves who it is.
type Method uint8

// The methods known here.
const (
	Trust Method = iota
	SCRAMSHA256
)

// ParseMethod reads a method's name as pg_hba.conf writes it.
func ParseMethod(s string) (Method, error) {
	switch s {
	case "trust":
		return Trust, nil
	case "scram-sha-256":
		return SCRAMSHA256, nil
	}
	return 0, fmt.Errorf("unknown authentication method %q: use trust or scram-sha-256", s)
}

// defaultIterations is PostgreSQL's scram_iterations.
const defaultIterations = 4096

// Config configures an Authenticator.
type Config struct {
	Method Method
	Users  Users // for SCRAMSHA256

	// MockKey seeds the salts of users that do not exist and of users with a plain password. It defaults to a random
	// one; giving every sidecar the same makes their answers equal.
	MockKey []byte
}

// Authenticator lets clients in. It does not change after New, so any goroutine may use it.
type Authenticator struct {
	method    Method
	verifiers map[string]scram.StoredCredentials
	mockKey   []byte
}

// New returns an Authenticator. It derives a verifier for each plain password, about a millisecond of work for each, so
// that a login costs the same whether or not the user exists.
func New(cfg Config) (*Authenticator, error) {
	a := &Authenticator{method: cfg.Method, mockKey: cfg.MockKey, verifiers: map[string]scram.StoredCredentials{}}
	if len(a.mockKey) == 0 {
		a.mockKey = make([]byte, sha256.Size)
		rand.Read(a.mockKey)
	}
	if a.method != SCRAMSHA256 {
		return a, nil
	}
	for user, secret := range cfg.Users {
		switch {
		case secret.Kind == SecretSCRAM:
			a.verifiers[user] = secret.verifier
		case secret.Kind == SecretPassword && secret.text != "":
			c, err := newSCRAMClient(secret.text)
			if err != nil {
				return nil, fmt.Errorf("derive verifier of user %q: %w", user, err)
			}
			a.verifiers[user], err = c.GetStoredCredentialsWithError(a.mockVerifier(user).KeyFactors)
			if err != nil {
				return nil, fmt.Errorf("derive verifier of user %q: %w", user, err)
			}
		}
	}
	return a, nil
}

// mockVerifier makes up a verifier that no password matches. It depends on the user alone: a salt that changed from one
// attempt to the next would tell that the user does not exist.
func (a *Authenticator) mockVerifier(user string) scram.StoredCredentials {
	derive := func(purpose string) []byte {
		mac := hmac.New(sha256.New, a.mockKey)
		io.WriteString(mac, purpose)
		io.WriteString(mac, user)
		return mac.Sum(nil)
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(derive("salt ")[:16]), Iters: defaultIterations},
		StoredKey:  derive("stored key "),
		ServerKey:  derive("server key "),
	}
}

// Authenticate asks the client behind rw to prove that it is user and ends with AuthenticationOk. An error that holds a
// *pgwire.Error (errors.AsType) is to be sent to the client, which is told no more than that; the rest of its text is for
// the log. The caller bounds the time with a deadline on the connection and closes it after an error.
func (a *Authenticator) Authenticate(rw io.ReadWriter, user string) error {
	out := appendAuth(nil, authOK, "")
	if a.method == SCRAMSHA256 {
		final, err := a.scram(rw, user)
		if err != nil {
			return fmt.Errorf("authenticate user %q: %w", user, err)
		}
		out = append(appendAuth(nil, authSASLFinal, final), out...)
	}
	if _, err := rw.Write(out); err != nil {
		return fmt.Errorf("authenticate user %q: %w", user, err)
	}
	return nil
}

// scram runs the exchange of RFC 5802 and returns the server's final message. A user without a verifier gets the same
// exchange with a made-up one.
func (a *Authenticator) scram(rw io.ReadWriter, user string) (final string, err error) {
	verifier, known := a.verifiers[user]
	if !known {
		verifier = a.mockVerifier(user)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return verifier, nil })
	if err != nil {
		return "", err
	}
	conv := server.NewConversation()

	if _, err := rw.Write(appendAuth(nil, authSASL, mechanismSCRAM+"\x00\x00")); err != nil {
		return "", err
	}
	body, err := readSASLMessage(rw)
	if err != nil {
		return "", err
	}
	clientFirst, err := parseInitialResponse(body)
	if err != nil {
		return "", err
	}
	challenge, err := conv.Step(clientFirst)
	if err != nil {
		return "", errMalformedSCRAM(err)
	}
	if conv.AuthzID() != "" {
		return "", errMalformedSCRAM(errors.New("authorization identity is not supported"))
	}
	if !hasClientNonce(clientFirst) {
		return "", errMalformedSCRAM(errors.New("empty nonce"))
	}
	if _, err := rw.Write(appendAuth(nil, authSASLContinue, challenge)); err != nil {
		return "", err
	}
	if body, err = readSASLMessage(rw); err != nil {
		return "", err
	}
	final, err = conv.Step(string(body))
	switch {
	case err != nil && final == "": // the library answers a complete message with a SCRAM error, others with nothing
		return "", errMalformedSCRAM(err)
	case !known:
		return "", fmt.Errorf("%w: no password or SCRAM verifier for this user", errPassword(user))
	case err != nil:
		return "", fmt.Errorf("%w: %w", errPassword(user), err)
	case !conv.Valid():
		return "", errPassword(user)
	}
	return final, nil
}

// readSASLMessage reads a message of type p. It does not wait for the body of another: the length may be a fiction.
func readSASLMessage(r io.Reader) ([]byte, error) {
	kind, n, err := readHeader(r)
	if errors.Is(err, errMessageLength) {
		return nil, fmt.Errorf("%w: %w", &pgwire.Error{Severity: "FATAL", Code: "08P01", Message: errMessageLength.Error()}, err)
	}
	if err != nil {
		return nil, err
	}
	if kind != 'p' {
		return nil, &pgwire.Error{
			Severity: "FATAL", Code: "08P01",
			Message: fmt.Sprintf("expected SASL response, got message type %d", kind),
		}
	}
	return readBody(r, n)
}

// parseInitialResponse reads a SASLInitialResponse: mechanism, NUL, length, data.
func parseInitialResponse(body []byte) (string, error) {
	mechanism, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) != uint64(len(rest)-4) {
		return "", errMalformedSCRAM(errors.New("initial response has no data or the wrong length"))
	}
	if string(mechanism) != mechanismSCRAM {
		return "", &pgwire.Error{
			Severity: "FATAL", Code: "08P01",
			Message: "client selected an invalid SASL authentication mechanism",
			Hint:    "Offered was " + mechanismSCRAM + ".",
		}
	}
	return string(rest[4:]), nil
}

// hasClientNonce tells whether a client-first-message that the library has accepted brings a nonce.
func hasClientNonce(m string) bool {
	fields := strings.Split(m, ",")
	return len(fields) >= 4 && len(fields[3]) > len("r=")
}

func errMalformedSCRAM(cause error) error {
	e := &pgwire.Error{Severity: "FATAL", Code: "08P01", Message: "malformed SCRAM message"}
	return fmt.Errorf("%w: %w", e, cause)
}

func errPassword(user string) *pgwire.Error {
	return &pgwire.Error{
		Severity: "FATAL", Code: "28P01",
		Message: fmt.Sprintf("password authentication failed for user \"%s\"", user),
	}
}
