package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
)

// asksMD5 tells what method md5 asks the owner of acc for. PostgreSQL, too, lets the secret decide (CheckPWChallengeAuth
// in auth.c); users that do not exist look like most of those that do,
// or like the last that auth_query has found.
func (a *Authenticator) asksMD5(acc *account) bool {
	switch {
	case acc != nil:
		return acc.secret.Kind != SecretSCRAM
	case a.query != nil:
		return a.query.hashes.Load()
	}
	return a.mockMD5
}

// askMD5 asks for the MD5 hash of password, user and a random salt. It returns the account that the answer fits, which is
// another than acc when the secret has changed.
func (a *Authenticator) askMD5(ctx context.Context, c Client, acc *account) (*account, error) {
	var salt [4]byte
	rand.Read(salt[:]) // never fails
	if _, err := c.Conn.Write(appendAuth(nil, authMD5, string(salt[:]))); err != nil {
		return nil, err
	}
	body, err := readPassword(c.Conn, "password")
	if err != nil {
		return nil, err
	}
	response, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) > 0 {
		return nil, passwordSize.with()
	}
	if a.matchesMD5(c.User, acc, salt[:], response) {
		return acc, nil
	}
	renewed, err := a.renew(ctx, c, acc)
	if err == nil && renewed != acc && a.matchesMD5(c.User, renewed, salt[:], response) {
		return renewed, nil
	}
	if renewed == nil {
		err = errors.Join(errors.New("no password or MD5 hash for this user"), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wrongPassword.with(c.User), err)
	}
	return nil, wrongPassword.with(c.User)
}

// matchesMD5 does the same work for a user that does not exist.
func (a *Authenticator) matchesMD5(user string, acc *account, salt, response []byte) bool {
	credentials := &Credentials{user: user, secret: Secret{Kind: SecretMD5, text: "md5" + hex.EncodeToString(a.mock("md5 ", user)[:16])}}
	known := acc != nil && acc.secret.Kind != SecretSCRAM && acc.secret.text != ""
	if known {
		credentials = acc.credentials
	}
	want, err := credentials.md5Response(salt)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), response) == 1 && known
}
