package auth

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/xdg-go/scram"
)

// askSCRAM runs the exchange of RFC 5802 and returns the server's final message, which is not sent yet. A user without a
// verifier gets the same exchange with a made-up one.
func (a *Authenticator) askSCRAM(ctx context.Context, c Client, acc *account) (last []byte, err error) {
	known := acc != nil && acc.verifier != nil
	verifier := a.mockVerifier(c.User)
	if known {
		verifier = acc.verifier
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return *verifier, nil })
	if err != nil {
		return nil, err
	}

	binding := clientBinding(c)
	offer := mechanismSCRAM + "\x00\x00"
	if binding.IsSupported() {
		offer = mechanismPlus + "\x00" + offer
	}
	if _, err := c.Conn.Write(appendAuth(nil, authSASL, offer)); err != nil {
		return nil, err
	}
	body, err := readPassword(c.Conn, "SASL")
	if err != nil {
		return nil, err
	}
	bound, clientFirst, err := parseInitialResponse(body, binding.IsSupported())
	if err != nil {
		return nil, err
	}
	if err := checkFlag(clientFirst, bound, binding.IsSupported()); err != nil {
		return nil, err
	}
	conv := server.NewConversationWithChannelBinding(binding)
	challenge, err := conv.Step(clientFirst)
	switch {
	case err != nil:
		return nil, errMalformedSCRAM(err)
	case conv.AuthzID() != "":
		return nil, errMalformedSCRAM(errors.New("authorization identity is not supported"))
	case !hasClientNonce(clientFirst):
		return nil, errMalformedSCRAM(errors.New("empty nonce"))
	}

	if _, err := c.Conn.Write(appendAuth(nil, authSASLContinue, challenge)); err != nil {
		return nil, err
	}
	if body, err = readPassword(c.Conn, "SASL"); err != nil {
		return nil, err
	}
	var final string
	if waited := compute(ctx, func() { final, err = conv.Step(string(body)) }); waited != nil {
		return nil, waited
	}
	switch {
	case err != nil && final == "": // the library answers a complete message with a SCRAM error, others with nothing
		return nil, errMalformedSCRAM(err)
	case final == scram.ErrChannelBindingsDontMatch:
		return nil, errBindingCheck(bound, err)
	case err != nil || !known || !conv.Valid():
		return nil, a.refused(ctx, c, acc, err)
	}
	if acc.secret.Kind == SecretSCRAM {
		acc.credentials.learn(clientKey(verifier.StoredKey, clientFirst, challenge, string(body)))
	}
	return appendAuth(nil, authSASLFinal, final), nil
}

// refused says why a proof is wrong. The salt is part of the proof, so a secret that has changed helps only the next
// attempt: it is looked up now.
func (a *Authenticator) refused(ctx context.Context, c Client, acc *account, cause error) error {
	if acc == nil || acc.verifier == nil {
		cause = errors.New("no password or SCRAM verifier for this user")
	}
	renewed, err := a.renew(ctx, c, acc)
	switch {
	case err != nil:
		cause = errors.Join(cause, err)
	case renewed != acc:
		cause = errors.Join(cause, errors.New("its secret has changed: the next attempt meets the new one"))
	}
	return fmt.Errorf("%w: %w", wrongPassword.with(c.User), cause)
}

// readPassword reads a message of type p, what it is expected to be. It does not wait for the body of another: the length
// may be a fiction.
func readPassword(r io.Reader, expected string) ([]byte, error) {
	kind, n, err := readHeader(r)
	if errors.Is(err, errMessageLength) {
		return nil, fmt.Errorf("%w: %w", loginLength.with(), err)
	}
	if err != nil {
		return nil, err
	}
	if kind != 'p' {
		return nil, loginMessage.with(expected, kind)
	}
	return readBody(r, n)
}

// parseInitialResponse reads a SASLInitialResponse: mechanism, NUL, length, data. bound tells that the client has chosen
// the mechanism with channel binding, which is there if plus was offered.
func parseInitialResponse(body []byte, plus bool) (bound bool, data string, err error) {
	mechanism, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) != uint64(len(rest)-4) {
		return false, "", errMalformedSCRAM(errors.New("initial response has no data or the wrong length"))
	}
	bound = plus && string(mechanism) == mechanismPlus
	if !bound && string(mechanism) != mechanismSCRAM {
		if plus {
			return false, "", mechanismUnknownPlus.with()
		}
		return false, "", mechanismUnknown.with()
	}
	return bound, string(rest[4:]), nil
}

// checkFlag holds the client's gs2-cbind-flag (RFC 5802 section 6) against the mechanism it has chosen and what was
// offered, as read_client_first_message in auth-scram.c does.
func checkFlag(clientFirst string, bound, offered bool) error {
	flag, _, _ := strings.Cut(clientFirst, ",")
	switch {
	case strings.HasPrefix(flag, "p="):
		if !bound {
			return errMalformedSCRAM(errors.New("channel binding data with a mechanism that has none"))
		}
		if flag != "p="+string(scram.ChannelBindingTLSServerEndpoint) {
			return bindingType.with(scram.ChannelBindingTLSServerEndpoint)
		}
	case bound:
		return errMalformedSCRAM(errors.New("no channel binding data with a mechanism that needs it"))
	case flag == "y" && offered: // somebody between us took the stronger mechanism off the list
		return bindingNegotiation.with()
	}
	return nil
}

func errBindingCheck(bound bool, cause error) error {
	if !bound {
		return errMalformedSCRAM(cause)
	}
	return fmt.Errorf("%w: %w", bindingCheck.with(), cause)
}

// hasClientNonce tells whether a client-first-message that the library has accepted brings a nonce.
func hasClientNonce(m string) bool {
	fields := strings.Split(m, ",")
	return len(fields) >= 4 && len(fields[3]) > len("r=")
}

func errMalformedSCRAM(cause error) error {
	return fmt.Errorf("%w: %w", malformedSCRAM.with(), cause)
}
