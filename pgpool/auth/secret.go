package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// SecretKind tells what is known about a user.
type SecretKind uint8

// The three forms of a secret. With a password or a verifier a client can be asked for SCRAM, with a password or a hash
// for MD5; with a password or an MD5 hash we can log in to a server, with a verifier once the client has done so.
const (
	SecretPassword SecretKind = iota
	SecretMD5
	SecretSCRAM
)

// Secret is what userlist.txt, or pg_shadow, holds for a user.
type Secret struct {
	Kind SecretKind

	text     string                  // as it was written: the password, or "md5" and 32 hexadecimal digits, or the verifier
	verifier scram.StoredCredentials // SecretSCRAM
}

// ParseSecret recognises the form of s by its prefix, as PostgreSQL does. The error never quotes s.
func ParseSecret(s string) (Secret, error) {
	if isMD5(s) {
		return Secret{Kind: SecretMD5, text: strings.ToLower(s)}, nil
	}
	rest, ok := strings.CutPrefix(s, mechanismSCRAM+"$")
	if !ok {
		return Secret{Kind: SecretPassword, text: s}, nil
	}
	v, ok := parseVerifier(rest)
	if !ok {
		return Secret{}, errors.New("malformed SCRAM-SHA-256 verifier")
	}
	return Secret{Kind: SecretSCRAM, text: s, verifier: v}, nil
}

// parseVerifier parses iterations:salt$StoredKey:ServerKey.
func parseVerifier(s string) (v scram.StoredCredentials, ok bool) {
	factors, keys, ok := strings.Cut(s, "$")
	if !ok {
		return v, false
	}
	iterations, salt64, ok := strings.Cut(factors, ":")
	if !ok {
		return v, false
	}
	stored64, server64, ok := strings.Cut(keys, ":")
	if !ok {
		return v, false
	}
	n, err1 := strconv.ParseUint(iterations, 10, 31)
	salt, err2 := base64.StdEncoding.DecodeString(salt64)
	stored, err3 := base64.StdEncoding.DecodeString(stored64)
	server, err4 := base64.StdEncoding.DecodeString(server64)
	if errors.Join(err1, err2, err3, err4) != nil || n == 0 || len(salt) == 0 ||
		len(stored) != sha256.Size || len(server) != sha256.Size {
		return v, false
	}
	v.KeyFactors = scram.KeyFactors{Salt: string(salt), Iters: int(n)}
	v.StoredKey, v.ServerKey = stored, server
	return v, true
}

func isMD5(s string) bool {
	digits, ok := strings.CutPrefix(s, "md5")
	if !ok || len(digits) != 2*md5.Size {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

// md5Hex is the one step that MD5 authentication is made of.
func md5Hex(a, b string) string {
	sum := md5.Sum([]byte(a + b))
	return hex.EncodeToString(sum[:])
}

// defaultIterations is PostgreSQL's scram_iterations.
const defaultIterations = 4096

// newSCRAMClient prepares password for SCRAM. Like libpq it takes the password as it is when SASLprep refuses it, and
// leaves the user's name to the startup packet.
func newSCRAMClient(password string) (*scram.Client, error) {
	c, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		c, err = scram.SHA256.NewClientUnprepped("", password, "")
	}
	return c, err
}
