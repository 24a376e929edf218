package auth

import (
	"slices"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// reason is why somebody is not let in.
type reason uint8

const (
	wrongPassword reason = iota
	methodFailed
	noCertificate
	peerWithoutSocket
	peerUnsupported
	lookupFailed
	loginLength
	loginMessage
	passwordSize
	mechanismUnknown
	mechanismUnknownPlus
	malformedSCRAM
	bindingType
	bindingNegotiation
	bindingCheck
	otherVerifier
	noKey
)

const (
	final            = "FATAL" // the connection ends with it
	unknownMechanism = "client selected an invalid SASL authentication mechanism"
)

// reasons holds what clients are told. docs/errors.md is written from it.
var reasons = [...]pgwire.Kind{
	wrongPassword: {Code: "28P01", Severity: final, Message: `password authentication failed for user "%[1]s"`,
		When: "A wrong password, or a user that does not exist, has no password, or whose password is no longer valid: nobody is told which. The log says it."},
	methodFailed: {Code: "28000", Severity: final, Message: `%[1]s authentication failed for user "%[2]s"`,
		When: "`client_auth` is cert or peer, and the certificate's common name or the system user is another."},
	noCertificate: {Code: "28000", Severity: final, Message: "connection requires a valid client certificate",
		Hint: "Connect with sslmode=require or stronger, sslcert and sslkey; the certificate's common name has to be the user.",
		When: "`client_auth` is cert, and the client has shown no certificate."},
	peerWithoutSocket: {Code: "28000", Severity: final, Message: "peer authentication needs a Unix socket",
		Hint: "Connect to the directory in pg_socket_dir, or set client_auth to another method.",
		When: "`client_auth` is peer, and the kernel does not say who is at the other end."},
	peerUnsupported: {Code: "28000", Severity: final, Message: "peer authentication works only on Linux",
		Hint: "Set client_auth to another method.", When: "`client_auth` is peer on another system."},
	lookupFailed: {Code: "08006", Severity: final, Message: "cannot look up users: the database server gives no answer",
		Hint: "Try again later; the pooler's log tells its operator what is wrong with auth_query.",
		When: "`auth_query` failed: nobody knows yet whether the user exists."},
	loginLength: {Code: "08P01", Severity: final, Message: "invalid message length",
		When: "A message of the login that announces too few or too many bytes."},
	loginMessage: {Code: "08P01", Severity: final, Message: "expected %[1]s response, got message type %[2]d",
		When: "Another message where a password or a step of SCRAM is due."},
	passwordSize: {Code: "08P01", Severity: final, Message: "invalid password packet size",
		When: "The answer to method md5 is not one string."},
	mechanismUnknown: {Code: "08P01", Severity: final, Message: unknownMechanism, Hint: "Offered was " + mechanismSCRAM + ".",
		When: "A client chose a SASL mechanism that was not offered."},
	mechanismUnknownPlus: {Code: "08P01", Severity: final, Message: unknownMechanism,
		Hint: "Offered were " + mechanismPlus + " and " + mechanismSCRAM + ".", When: "The same, over TLS."},
	malformedSCRAM: {Code: "08P01", Severity: final, Message: "malformed SCRAM message",
		When: "A step of SCRAM that does not parse or breaks its rules. The log says what is wrong."},
	bindingType: {Code: "08P01", Severity: final, Message: "unsupported SCRAM channel-binding type", Hint: "Use %[1]s.",
		When: "A client binds its login to the TLS connection in another way."},
	bindingNegotiation: {Code: "28000", Severity: final, Message: "SCRAM channel binding negotiation error",
		Detail: "The client supports SCRAM channel binding but thinks the server does not. However, this server does support channel binding.",
		When:   "Something between client and pooler took the stronger mechanism off the list."},
	bindingCheck: {Code: "28000", Severity: final, Message: "SCRAM channel binding check failed",
		Hint: "The client has not seen this pooler's certificate: something between them ends TLS.",
		When: "A login that is bound to another TLS connection."},
	otherVerifier: {Code: "28000", Severity: final, Message: "the server has another SCRAM verifier for this user than the pooler",
		Detail: "Its salt or iterations differ, so that the client's key is no good there.",
		Hint:   "Copy rolpassword from the server's pg_authid to auth_file, or put the password itself there.",
		When:   "`as_client` is on, and auth_file or auth_query has a verifier that is not the server's: one of an older password, or from another server."},
	noKey: {Code: "28000", Severity: final, Message: "the server asks for SCRAM, and only a verifier is known of this user",
		Hint: "Let the client log in with scram-sha-256, or put the password into auth_file.",
		When: "`as_client` is on, and the client has logged in to the pooler by another method."},
}

// with returns the error that a client is told.
func (r reason) with(args ...any) *pgwire.Error { return reasons[r].With(args...) }

// Errors lists what clients are told who are not let in.
func Errors() []pgwire.Kind { return slices.Clone(reasons[:]) }
