// Package resp reads and writes the Redis serialisation protocol, versions 2 and 3.
//
//	parser.go  commands of clients: arrays of bulk strings and inline commands
//	inline.go  the words and quotes of an inline command
//	reply.go   where a reply ends, and its header: for replies that come from peers
//	writer.go  Append functions for every reply type; RESP3 types fall back to their RESP2 shape
//
// Everything works on slices of the caller and keeps none of them. Parsing is stateless: an incomplete command is
// parsed again from its start when more bytes are there, and the parser says how many bytes are missing at least, so
// that a reader gathers a big value in one go and does not come back for every packet of it.
//
// Specification: https://redis.io/docs/latest/develop/reference/protocol-spec/ and, for the wording of errors,
// processMultibulkBuffer and processInlineBuffer in Redis's networking.c.
package resp
