package auth

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/xdg-go/scram"
)

// Bounds on what a server may ask of us in SCRAM. The iterations bound our work, which grows with them; PostgreSQL's
// default is 4096.
const (
	maxIterations = 100_000
	maxNonce      = 512
	maxSalt       = 1024
)

// Credentials log in to a server as one user. Keep them for as long as the user's password stays the same: they
// remember the keys that SCRAM derives from it, so that only the first login pays for them. Any goroutine may use them.
type Credentials struct {
	// Constant.
	user   string
	secret Secret

	mu        sync.Mutex
	client    *scram.Client // remembers derived keys for every salt that it has seen
	salts     string        // the salt and iterations that client has seen last
	clientKey []byte        // SecretSCRAM: nil until the user has logged in to us
}

// User is who logs in.
func (c *Credentials) User() string { return c.user }

// NewCredentials takes a password, or an MD5 hash in the form of pg_shadow, which can answer MD5 challenges only. The
// password may be empty for servers that ask for none.
func NewCredentials(user, password string) *Credentials {
	if isMD5(password) {
		return &Credentials{user: user, secret: Secret{Kind: SecretMD5, text: strings.ToLower(password)}}
	}
	return &Credentials{user: user, secret: Secret{Kind: SecretPassword, text: password}}
}

// Credentials returns what the secret of user is good for towards a server. A SCRAM verifier alone is good for nothing.
func (s Secret) Credentials(user string) *Credentials { return &Credentials{user: user, secret: s} }

// learn keeps the key that the user's own login has shown.
func (c *Credentials) learn(clientKey []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clientKey = clientKey
}

func (c *Credentials) password() (string, error) {
	switch {
	case c.secret.Kind != SecretPassword:
		return "", errors.New("server asks for a password, of which only a hash is configured")
	case c.secret.text == "":
		return "", errors.New("server asks for a password and none is configured")
	}
	return c.secret.text, nil
}

// md5Response answers an MD5 challenge: md5(md5(password + user) + salt).
func (c *Credentials) md5Response(salt []byte) (string, error) {
	inner := c.secret.text
	if c.secret.Kind != SecretMD5 {
		password, err := c.password()
		if err != nil {
			return "", err
		}
		inner = "md5" + md5Hex(password, c.user)
	}
	return "md5" + md5Hex(inner[len("md5"):], string(salt)), nil
}

// scramClient returns the client for a new conversation.
func (c *Credentials) scramClient() (*scram.Client, error) {
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := newSCRAMClient(password)
		if err != nil {
			return nil, err
		}
		// A server with a lower scram_iterations is its owner's choice, as it is for libpq.
		c.client = client.WithMinIterations(1)
	}
	return c.client, nil
}

// keepClient forgets the client once a server has used a second salt with it, so that a server with a new salt for every
// login does not fill the memory with derived keys.
func (c *Credentials) keepClient(salts string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.salts != "" && c.salts != salts {
		c.client = nil
	}
	c.salts = salts
}

// conversation is one side of an exchange: each step takes the other side's message and makes the next.
type conversation interface {
	Step(message string) (string, error)
}

// newConversation starts a login from what the secret is. flag is the gs2-cbind-flag (RFC 5802 section 6).
func (c *Credentials) newConversation(binding scram.ChannelBinding, flag string) (conversation, error) {
	if c.secret.Kind == SecretSCRAM {
		c.mu.Lock()
		key := c.clientKey
		c.mu.Unlock()
		if key == nil {
			return nil, errNoKey
		}
		return newKeyConversation(&c.secret.verifier, key, binding, flag), nil
	}
	client, err := c.scramClient()
	switch {
	case err != nil:
		return nil, err
	case binding.IsSupported():
		return client.NewConversationWithChannelBinding(binding), nil
	case flag == "y":
		return client.NewConversationAdvertisingChannelBinding(), nil
	}
	return client.NewConversation(), nil
}

// scramExchange is our side of one SCRAM-SHA-256 login.
type scramExchange struct {
	credentials *Credentials
	mechanism   string
	conv        conversation
	answered    bool
}

// newExchange chooses channel binding where both sides can do it, as libpq does with channel_binding=prefer.
func (c *Credentials) newExchange(offered []byte, binding scram.ChannelBinding) (*scramExchange, error) {
	plain, plus := offersSCRAM(offered)
	x := &scramExchange{credentials: c, mechanism: mechanismSCRAM}
	flag := "n"
	switch {
	case plus && binding.IsSupported():
		x.mechanism = mechanismPlus
		flag = "p=" + string(binding.Type)
	case !plain:
		return nil, fmt.Errorf("server offers only SASL mechanisms %q; %s is supported", mechanismList(offered), mechanismSCRAM)
	case binding.IsSupported():
		binding = scram.ChannelBinding{}
		flag = "y" // a server that did offer it then knows that somebody took it off the list
	}
	var err error
	x.conv, err = c.newConversation(binding, flag)
	return x, err
}

// initialResponse returns the body of the SASLInitialResponse.
func (x *scramExchange) initialResponse() ([]byte, error) {
	first, err := x.conv.Step("")
	if err != nil {
		return nil, err
	}
	b := append([]byte(x.mechanism), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(first)))
	return append(b, first...), nil
}

// answer turns the server's challenge into our proof. This is where the work is.
func (x *scramExchange) answer(ctx context.Context, challenge []byte) (proof string, err error) {
	if x.answered {
		return "", errors.New("second SCRAM challenge")
	}
	salts, err := checkChallenge(string(challenge))
	if err != nil {
		return "", err
	}
	if waited := compute(ctx, func() { proof, err = x.conv.Step(string(challenge)) }); waited != nil {
		return "", waited
	}
	if err != nil {
		return "", fmt.Errorf("SCRAM challenge: %w", err)
	}
	x.answered = true
	x.credentials.keepClient(salts)
	return proof, nil
}

// finish verifies that the server, too, knows the password.
func (x *scramExchange) finish(final []byte) error {
	if !x.answered {
		return errors.New("SCRAM outcome before the challenge")
	}
	if _, err := x.conv.Step(string(final)); err != nil {
		return fmt.Errorf("SCRAM server signature: %w", err)
	}
	return nil
}

// checkChallenge bounds a server-first-message (r=nonce,s=salt,i=iterations) before any work is done for it. It returns
// what the derived keys depend on.
func checkChallenge(m string) (salts string, err error) {
	fields := strings.Split(m, ",")
	if len(fields) < 3 || !strings.HasPrefix(fields[0], "r=") || !strings.HasPrefix(fields[1], "s=") ||
		!strings.HasPrefix(fields[2], "i=") {
		return "", errors.New("malformed SCRAM challenge")
	}
	if len(fields[0]) > len("r=")+maxNonce {
		return "", fmt.Errorf("SCRAM nonce of %d bytes; at most %d are accepted", len(fields[0])-len("r="), maxNonce)
	}
	if len(fields[1]) == len("s=") || len(fields[1]) > len("s=")+maxSalt {
		return "", fmt.Errorf("SCRAM salt of %d characters; 1 to %d are accepted", len(fields[1])-len("s="), maxSalt)
	}
	n, err := strconv.ParseUint(fields[2][len("i="):], 10, 64)
	if err != nil || n < 1 || n > maxIterations {
		return "", fmt.Errorf("SCRAM with %q iterations; 1 to %d are accepted", fields[2][len("i="):], maxIterations)
	}
	return fields[1] + "," + fields[2], nil
}

// offersSCRAM reads which mechanisms an AuthenticationSASL message offers.
func offersSCRAM(list []byte) (plain, plus bool) {
	names := mechanismList(list)
	return slices.Contains(names, mechanismSCRAM), slices.Contains(names, mechanismPlus)
}

// mechanismList takes the list apart: strings that end in NUL, the last one empty.
func mechanismList(list []byte) (names []string) {
	for len(list) > 0 && list[0] != 0 {
		name, rest, _ := bytes.Cut(list, []byte{0})
		names = append(names, string(name))
		list = rest
	}
	return names
}
