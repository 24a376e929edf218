package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// SCRAM pass-through. A client's proof is ClientKey XOR HMAC(StoredKey, AuthMessage). Who has the verifier, and so the
// StoredKey, learns the ClientKey from a good proof, and with it can log in wherever the verifier is the same: same salt,
// same iterations, same password. No password is stored. The library does not give the key away, nor take it (RFC 5802
// section 3).

// clientKey takes the ClientKey out of an exchange that the library has found good.
func clientKey(storedKey []byte, clientFirst, challenge, clientFinal string) []byte {
	_, rest, _ := strings.Cut(clientFirst, ",") // the flag and the authorization identity are not in the AuthMessage
	_, bare, _ := strings.Cut(rest, ",")
	end := strings.LastIndex(clientFinal, ",p=")
	if end < 0 {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(clientFinal[end+len(",p="):])
	if err != nil || len(key) != sha256.Size {
		return nil
	}
	subtle.XORBytes(key, key, sign(storedKey, bare+","+challenge+","+clientFinal[:end]))
	return key
}

// keyConversation is our side of a login with a ClientKey in place of the password. Its Step is that of the library's
// conversation.
type keyConversation struct {
	verifier  *scram.StoredCredentials
	clientKey []byte
	binding   scram.ChannelBinding
	gs2       string // gs2-header

	bare      string // client-first-message-bare
	nonce     string
	step      int
	signature []byte // what the server has to send
}

func newKeyConversation(verifier *scram.StoredCredentials, key []byte, binding scram.ChannelBinding, flag string) *keyConversation {
	nonce := rand.Text()
	return &keyConversation{verifier: verifier, clientKey: key, binding: binding, gs2: flag + ",,", nonce: nonce,
		bare: "n=,r=" + nonce}
}

func (k *keyConversation) Step(message string) (string, error) {
	k.step++
	switch k.step {
	case 1:
		return k.gs2 + k.bare, nil
	case 2:
		return k.prove(message)
	}
	got, ok := strings.CutPrefix(message, "v=")
	signature, err := base64.StdEncoding.DecodeString(got)
	if !ok || err != nil || !hmac.Equal(signature, k.signature) {
		return "", errors.New("server validation failed")
	}
	return "", nil
}

// prove answers a challenge, which checkChallenge has looked at.
func (k *keyConversation) prove(challenge string) (string, error) {
	fields := strings.Split(challenge, ",")
	nonce := strings.TrimPrefix(fields[0], "r=")
	if !strings.HasPrefix(nonce, k.nonce) || len(nonce) == len(k.nonce) {
		return "", errors.New("server nonce did not extend client nonce")
	}
	factors := "s=" + base64.StdEncoding.EncodeToString([]byte(k.verifier.Salt)) + ",i=" + strconv.Itoa(k.verifier.Iters)
	if fields[1]+","+fields[2] != factors {
		return "", errOtherVerifier
	}
	c := base64.StdEncoding.EncodeToString(append([]byte(k.gs2), k.binding.Data...))
	withoutProof := "c=" + c + ",r=" + nonce
	authMessage := k.bare + "," + challenge + "," + withoutProof
	k.signature = sign(k.verifier.ServerKey, authMessage)
	proof := sign(k.verifier.StoredKey, authMessage)
	subtle.XORBytes(proof, proof, k.clientKey)
	return withoutProof + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

var (
	errOtherVerifier = otherVerifier.with()
	errNoKey         = noKey.with()
)

func sign(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}
