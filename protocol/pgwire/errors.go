package pgwire

import "slices"

// reason is why a first packet is refused.
type reason uint8

const (
	startupLength reason = iota
	startupTLS
	spokeHTTP
	encryptionLength
	cancelLength
	versionUnsupported
	startupLayout
	noUser
	optionsValue
	optionsSwitch
	optionsAssignment
	optionsName
)

const (
	final       = "FATAL" // the connection ends with it
	badLength   = "invalid length of startup packet"
	allowed     = "The length is %[1]d; %[2]d to %[3]d are allowed."
	inOptions   = ` in startup parameter "options": %[1]q`
	writeOption = "Write -c name=value or --name=value."
)

// reasons holds what clients are told. docs/errors.md is written from it.
var reasons = [...]Kind{
	startupLength: {Code: "08P01", Severity: final, Message: badLength, Detail: allowed,
		When: "A first packet shorter or longer than any that the protocol knows: often another protocol."},
	startupTLS: {Code: "08P01", Severity: final, Message: badLength, Detail: allowed,
		Hint: "This looks like TLS inside of TLS, or without the SSLRequest that PostgreSQL clients send first.",
		When: "A TLS handshake where a first packet should be."},
	spokeHTTP: {Code: "08P01", Severity: final, Message: "this is HTTP, and a PostgreSQL port",
		When: "A request of HTTP. It is answered in HTTP, with status 400; this is what the log says."},
	encryptionLength: {Code: "08P01", Severity: final, Message: "invalid length of encryption request",
		When: "An SSLRequest or GSSENCRequest that is too long."},
	cancelLength: {Code: "08P01", Severity: final, Message: "invalid length of cancel request packet",
		When: "A CancelRequest whose key is shorter than 4 or longer than 256 bytes."},
	versionUnsupported: {Code: "0A000", Severity: final, Message: "unsupported frontend protocol %[1]d.%[2]d: server supports 3.0 to 3.2",
		When: "A start-up packet of another major version."},
	startupLayout: {Code: "08P01", Severity: final, Message: "invalid startup packet layout: expected terminator as last byte",
		When: "A start-up packet whose parameters are not pairs of strings."},
	noUser: {Code: "28000", Severity: final, Message: "no PostgreSQL user name specified in startup packet",
		When: "A start-up packet without `user`."},
	optionsValue: {Code: "42601", Severity: final, Message: "-c requires a value" + inOptions, Hint: writeOption,
		When: "`options` ends with -c."},
	optionsSwitch: {Code: "42601", Severity: final, Message: "unsupported command-line switch" + inOptions, Hint: writeOption,
		When: "`options` has another switch: it would configure a server process, which is not the client's here."},
	optionsAssignment: {Code: "42601", Severity: final, Message: "setting requires a value" + inOptions, Hint: writeOption,
		When: "`options` names a setting without = and a value."},
	optionsName: {Code: "42601", Severity: final, Message: "invalid setting name" + inOptions, Hint: writeOption,
		When: "`options` has something before = that cannot be a setting's name."},
}

// with returns the error that a client is told.
func (r reason) with(args ...any) *Error { return reasons[r].With(args...) }

// Errors lists what clients are told of a first packet that cannot be understood.
func Errors() []Kind { return slices.Clone(reasons[:]) }
