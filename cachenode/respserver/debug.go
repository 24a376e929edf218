package respserver

import (
	"bytes"
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const errNoDebug = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server."

// debugCommand is the part of DEBUG that test suites use. It reports false when the reply comes later.
func (s *session) debugCommand(args [][]byte) (done bool) {
	if !s.st.srv.cfg.Debug {
		s.fail(errNoDebug)
		return true
	}
	switch sub := args[1]; {
	case command.EqualFold(sub, "sleep") && len(args) == 3:
		seconds, err := strconv.ParseFloat(string(args[2]), 64)
		if err != nil || seconds < 0 || seconds > 3600 {
			s.fail("ERR value is not a valid float")
			return true
		}
		if s.st.busy {
			s.ok() // inside a transaction nobody sleeps
			return true
		}
		// Only this session sleeps: the others have a right to be served.
		sl := s.deferReply()
		s.blocked = sl
		pause := time.Duration(seconds * float64(time.Second))
		words := [][]byte{bytes.Clone(args[0]), bytes.Clone(sub), bytes.Clone(args[2])}
		s.st.loop.NewTimer(func() {
			s.ran(s.st.srv.table.Lookup(words[0]), words, pause)
			sl.Resolve([]byte("+OK\r\n"))
		}).Reset(pause)
		return false
	case command.EqualFold(sub, "object") && len(args) == 3:
		return s.debugObject(args[2])
	case command.EqualFold(sub, "set-active-expire"), command.EqualFold(sub, "quicklist-packed-threshold"),
		command.EqualFold(sub, "set-disable-deny-scripts"), command.EqualFold(sub, "jmap"), command.EqualFold(sub, "replicate"),
		command.EqualFold(sub, "listpack-entries"), command.EqualFold(sub, "dict-resizing"), command.EqualFold(sub, "pause-cron"),
		command.EqualFold(sub, "reload"), command.EqualFold(sub, "loadaof"):
		s.ok() // nothing here depends on it, and there is nothing to load from
	case command.EqualFold(sub, "stringmatch-len"):
		s.int(0)
	case command.EqualFold(sub, "error") && len(args) == 3:
		s.fail(string(args[2]))
	case command.EqualFold(sub, "protocol") && len(args) == 3:
		s.debugProtocol(args[2])
	default:
		s.st.w = command.AppendUnknownSubcommand(s.st.w, sub, "DEBUG")
	}
	return true
}

// debugObject is DEBUG OBJECT, as far as there is something to tell.
func (s *session) debugObject(key []byte) (done bool) {
	if s.st.busy {
		s.fail("ERR DEBUG OBJECT is not possible inside a transaction")
		return true
	}
	args := [][]byte{[]byte("object"), []byte("encoding"), key}
	return s.ask(s.st.srv.table.Lookup(args[0]), args, func(reply []byte) []byte {
		h, err := resp.ReadHeader(reply)
		if err != nil || h.Kind == '-' {
			return reply
		}
		if h.Kind != '$' || h.N < 0 {
			return resp.AppendError(nil, "ERR no such key")
		}
		return resp.AppendSimple(nil, "Value at:0x0 refcount:1 encoding:"+string(reply[h.Size:h.Size+int(h.N)])+" serializedlength:0 lru:0 lru_seconds_idle:0")
	})
}

// debugProtocol replies with a value of each type of RESP.
func (s *session) debugProtocol(kind []byte) {
	w := s.st.w
	switch {
	case command.EqualFold(kind, "string"):
		w = resp.AppendBulkString(w, "Hello World")
	case command.EqualFold(kind, "integer"):
		w = resp.AppendInt(w, 12345)
	case command.EqualFold(kind, "double"):
		w = resp.AppendDouble(w, 3.141, s.proto)
	case command.EqualFold(kind, "null"):
		w = resp.AppendNull(w, s.proto)
	case command.EqualFold(kind, "array"), command.EqualFold(kind, "set"):
		if command.EqualFold(kind, "set") {
			w = resp.AppendSet(w, 3, s.proto)
		} else {
			w = resp.AppendArray(w, 3)
		}
		for i := range int64(3) {
			w = resp.AppendInt(w, i)
		}
	case command.EqualFold(kind, "map"):
		w = resp.AppendMap(w, 3, s.proto)
		for i := range int64(3) {
			w = resp.AppendInt(w, i)
			w = resp.AppendBool(w, i == 1, s.proto)
		}
	case command.EqualFold(kind, "true"):
		w = resp.AppendBool(w, true, s.proto)
	case command.EqualFold(kind, "false"):
		w = resp.AppendBool(w, false, s.proto)
	case command.EqualFold(kind, "bignum"):
		if s.proto >= 3 {
			w = append(w, "(1234567999999999999999999999999999999\r\n"...)
		} else {
			w = resp.AppendBulkString(w, "1234567999999999999999999999999999999")
		}
	case command.EqualFold(kind, "attrib"):
		if s.proto >= 3 {
			w = append(w, "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n"...)
		}
		w = resp.AppendBulkString(w, "Some real reply following the attribute")
	case command.EqualFold(kind, "push"):
		if s.proto < 3 {
			w = resp.AppendError(w, "ERR RESP2 is not supported by this command")
			break
		}
		w = resp.AppendPush(w, 2, s.proto)
		w = resp.AppendBulkString(w, "server-cpu-usage")
		w = resp.AppendInt(w, 42)
		w = resp.AppendBulkString(w, "Some real reply following the push reply")
	case command.EqualFold(kind, "verbatim"):
		w = resp.AppendVerbatim(w, "txt", "This is a verbatim\nstring", s.proto)
	default:
		w = resp.AppendError(w, "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false")
	}
	s.st.w = w
}
