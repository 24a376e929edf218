package respserver

import (
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// command is COMMAND: clients and redis-cli ask what there is.
func (s *session) command(args [][]byte) {
	table := s.st.srv.table
	if len(args) == 1 {
		s.st.w = resp.AppendArray(s.st.w, len(table.All()))
		for _, spec := range table.All() {
			s.commandInfo(spec)
		}
		return
	}
	names := args[2:]
	switch sub := strings.ToLower(string(args[1])); sub {
	case "count":
		s.int(int64(len(table.All())))
	case "list":
		s.st.w = resp.AppendArray(s.st.w, len(table.All()))
		for _, spec := range table.All() {
			s.text(spec.Name)
		}
	case "info":
		specs := s.named(names)
		s.st.w = resp.AppendArray(s.st.w, len(specs))
		for _, spec := range specs {
			if spec == nil {
				s.st.w = resp.AppendNullArray(s.st.w, s.proto)
			} else {
				s.commandInfo(spec)
			}
		}
	case "docs":
		found := s.named(names)[:0:0]
		for _, spec := range s.named(names) {
			if spec != nil {
				found = append(found, spec)
			}
		}
		s.st.w = resp.AppendMap(s.st.w, len(found), s.proto)
		for _, spec := range found {
			s.text(spec.Name)
			s.st.w = resp.AppendMap(s.st.w, 3, s.proto)
			for _, pair := range [][2]string{{"summary", spec.Help}, {"since", spec.Since}, {"group", spec.Group}} {
				s.text(pair[0])
				s.text(pair[1])
			}
		}
	case "getkeys":
		s.getKeys(names)
	default:
		s.st.w = command.AppendUnknownSubcommand(s.st.w, args[1], "COMMAND")
	}
}

// named looks names up; without names it gives all. Unknown ones are nil.
func (s *session) named(names [][]byte) []*command.Spec {
	if len(names) == 0 {
		return s.st.srv.table.All()
	}
	specs := make([]*command.Spec, len(names))
	for i, name := range names {
		specs[i] = s.st.srv.table.Lookup(name)
	}
	return specs
}

// commandInfo is one element of COMMAND's reply, in the shape of Redis 7.
func (s *session) commandInfo(spec *command.Spec) {
	var flags []string
	for _, f := range []struct {
		flag command.Flag
		name string
	}{
		{command.Write, "write"}, {command.ReadOnly, "readonly"}, {command.DenyOOM, "denyoom"}, {command.Admin, "admin"},
		{command.PubSub, "pubsub"}, {command.NoAuth, "no_auth"}, {command.Fast, "fast"},
		{command.Blocking, "blocking"}, {command.NoScript, "noscript"},
	} {
		if spec.Flags&f.flag != 0 {
			flags = append(flags, f.name)
		}
	}
	w := resp.AppendArray(s.st.w, 10)
	w = resp.AppendBulkString(w, spec.Name)
	w = resp.AppendInt(w, int64(spec.Arity))
	w = resp.AppendSet(w, len(flags), s.proto)
	for _, f := range flags {
		w = resp.AppendSimple(w, f)
	}
	w = resp.AppendInt(w, int64(spec.FirstKey))
	w = resp.AppendInt(w, int64(spec.LastKey))
	w = resp.AppendInt(w, int64(spec.KeyStep))
	w = resp.AppendSet(w, 0, s.proto) // ACL categories
	w = resp.AppendArray(w, 0)        // tips
	w = resp.AppendArray(w, 0)        // key specifications
	s.st.w = resp.AppendArray(w, 0)   // subcommands
}

func (s *session) getKeys(args [][]byte) {
	if len(args) == 0 {
		s.st.w = command.AppendWrongArity(s.st.w, "command|getkeys")
		return
	}
	spec := s.st.srv.table.Lookup(args[0])
	switch {
	case spec == nil:
		s.fail("ERR Invalid command specified")
	case !spec.ArityOK(len(args)):
		s.fail("ERR Invalid number of arguments specified for command")
	case !spec.HasKeys():
		s.fail("ERR The command has no key arguments")
	default:
		var keys [][]byte
		for _, i := range spec.KeysAt(args, nil) {
			keys = append(keys, args[i])
		}
		s.st.w = resp.AppendCommand(s.st.w, keys)
	}
}

// parameters are the settings that clients and tools ask for, with the answers that are true here.
func (srv *Server) parameters() [][2]string {
	return [][2]string{
		{"appendonly", "no"},
		{"databases", "16"},
		{"maxclients", strconv.Itoa(srv.cfg.MaxClients)},
		{"maxmemory", strconv.FormatInt(srv.cfg.Store.MaxBytes(), 10)},
		{"maxmemory-policy", srv.cfg.Store.Policy().String()},
		{"notify-keyspace-events", srv.cfg.Backend.Notifies().String()},
		{"proto-max-bulk-len", "536870912"},
		{"replica-read-only", "yes"},
		{"save", ""},
		{"slave-read-only", "yes"},
		{"timeout", "0"},
	}
}

func (s *session) config(args [][]byte) {
	srv := s.st.srv
	switch sub := strings.ToLower(string(args[1])); {
	case sub == "get" && len(args) >= 3:
		var found [][2]string
		for _, p := range srv.parameters() {
			for _, pattern := range args[2:] {
				if command.Match([]byte(strings.ToLower(string(pattern))), []byte(p[0])) {
					found = append(found, p)
					break
				}
			}
		}
		s.st.w = resp.AppendMap(s.st.w, len(found), s.proto)
		for _, p := range found {
			s.text(p[0])
			s.text(p[1])
		}
	case sub == "set" && len(args) >= 4 && len(args)%2 == 0:
		s.configSet(args[2:])
	case sub == "resetstat" && len(args) == 2:
		s.ok()
	case sub == "rewrite" && len(args) == 2:
		s.fail("ERR The server is running without a config file")
	case sub == "get" || sub == "set" || sub == "resetstat" || sub == "rewrite":
		s.st.w = command.AppendWrongArity(s.st.w, "config|"+sub)
	default:
		s.st.w = command.AppendUnknownSubcommand(s.st.w, args[1], "CONFIG")
	}
}

// configSet changes maxmemory; of the rest it accepts what is so already.
func (s *session) configSet(pairs [][]byte) {
	srv := s.st.srv
	current := map[string]string{}
	for _, p := range srv.parameters() {
		current[p[0]] = p[1]
	}
	maxBytes := int64(-1)
	var notify *command.Event
	for i := 0; i < len(pairs); i += 2 {
		name, value := strings.ToLower(string(pairs[i])), string(pairs[i+1])
		was, known := current[name]
		switch {
		case name == "maxmemory":
			n, ok := parseMemory(value)
			if !ok {
				s.fail("ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value")
				return
			}
			maxBytes = n
		case name == "notify-keyspace-events":
			classes, ok := command.ParseEvents(value)
			if !ok {
				s.fail("ERR CONFIG SET failed (possibly related to argument '" + name + "') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
				return
			}
			notify = &classes
		case !known:
			s.fail("ERR Unknown option or number of arguments for CONFIG SET - '" + string(pairs[i]) + "'")
			return
		case was != value:
			s.fail("ERR CONFIG SET failed (possibly related to argument '" + name + "') - can't set immutable config")
			return
		}
	}
	if maxBytes >= 0 {
		srv.cfg.Store.SetMaxBytes(maxBytes)
	}
	if notify != nil {
		srv.cfg.Backend.Notify(s.st.loop, *notify)
	}
	s.ok()
}

// parseMemory reads sizes as redis.conf does: 1k is 1000 bytes, 1kb 1024.
func parseMemory(v string) (int64, bool) {
	v = strings.ToLower(v)
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}} {
		if rest, ok := strings.CutSuffix(v, u.suffix); ok {
			v, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, false
	}
	return n * unit, true
}
