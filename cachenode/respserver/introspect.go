package respserver

import (
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// commandCommand is COMMAND: clients and redis-cli ask what there is.
func (s *session) commandCommand(sub string, args [][]byte) {
	all := s.st.srv.table.All()
	switch sub {
	case "", "info":
		specs := all
		if len(args) > 2 {
			specs = s.named(args[2:])
		}
		s.st.w = resp.AppendArray(s.st.w, len(specs))
		for _, spec := range specs {
			if spec == nil {
				s.st.w = resp.AppendNull(s.st.w, s.proto)
			} else {
				s.commandInfo(spec)
			}
		}
	case "count":
		s.int(int64(len(all)))
	case "list":
		s.commandList(args[2:])
	case "docs":
		specs := all
		if len(args) > 2 {
			specs = slices.DeleteFunc(s.named(args[2:]), func(spec *command.Spec) bool { return spec == nil })
		}
		s.docs(specs)
	case "getkeys":
		s.getKeys(args[2:], false)
	case "getkeysandflags":
		s.getKeys(args[2:], true)
	}
}

// named looks names up, subcommands as "container|subcommand". Unknown ones are nil.
func (s *session) named(names [][]byte) []*command.Spec {
	specs := make([]*command.Spec, len(names))
	for i, name := range names {
		container, sub, hasSub := strings.Cut(string(name), "|")
		specs[i] = s.st.srv.table.Lookup([]byte(container))
		if specs[i] != nil && hasSub {
			specs[i] = specs[i].Sub([]byte(sub))
		}
	}
	return specs
}

// statuses replies with a set of simple strings.
func (s *session) statuses(words []string) {
	s.st.w = resp.AppendSet(s.st.w, len(words), s.proto)
	for _, w := range words {
		s.st.w = resp.AppendSimple(s.st.w, w)
	}
}

// commandInfo is one element of COMMAND's reply, in the shape of Redis 7.
func (s *session) commandInfo(spec *command.Spec) {
	s.st.w = resp.AppendArray(s.st.w, 10)
	s.text(spec.Name)
	s.int(int64(spec.Arity))
	s.statuses(spec.FlagNames())
	first, last, step := spec.FirstKey, spec.LastKey, spec.KeyStep
	if len(spec.Subs) > 0 {
		first, last, step = 0, 0, 0
	}
	s.int(int64(first))
	s.int(int64(last))
	s.int(int64(step))
	s.statuses(spec.Categories().Names())
	s.st.w = resp.AppendSet(s.st.w, 0, s.proto) // tips
	s.keySpecs(spec)
	s.st.w = resp.AppendSet(s.st.w, len(spec.Subs), s.proto)
	for _, sub := range spec.Subs {
		s.commandInfo(sub)
	}
}

// keySpecs says where the keys are and what happens to them, where that is a range.
func (s *session) keySpecs(spec *command.Spec) {
	if spec.KeyStep == 0 || len(spec.Subs) > 0 {
		s.st.w = resp.AppendSet(s.st.w, 0, s.proto)
		return
	}
	s.st.w = resp.AppendSet(s.st.w, 1, s.proto)
	s.st.w = resp.AppendMap(s.st.w, 3, s.proto)
	s.text("flags")
	s.statuses(spec.Use(0, nil).Words())
	s.text("begin_search")
	s.typed("index", [][2]any{{"index", int64(spec.FirstKey)}})
	last := int64(spec.LastKey)
	if last >= 0 {
		last -= int64(spec.FirstKey)
	}
	s.text("find_keys")
	s.typed("range", [][2]any{{"lastkey", last}, {"keystep", int64(spec.KeyStep)}, {"limit", int64(0)}})
}

func (s *session) typed(kind string, fields [][2]any) {
	s.st.w = resp.AppendMap(s.st.w, 2, s.proto)
	s.text("type")
	s.text(kind)
	s.text("spec")
	s.st.w = resp.AppendMap(s.st.w, len(fields), s.proto)
	for _, f := range fields {
		s.text(f[0].(string))
		s.int(f[1].(int64))
	}
}

func (s *session) commandList(filter [][]byte) {
	keep := func(*command.Spec) bool { return true }
	switch {
	case len(filter) == 0:
	case len(filter) != 3 || !command.EqualFold(filter[0], "filterby"):
		s.fail("ERR syntax error")
		return
	case command.EqualFold(filter[1], "aclcat"):
		bit, ok := command.ParseCategory(string(filter[2]))
		keep = func(spec *command.Spec) bool { return ok && spec.Categories()&bit != 0 }
	case command.EqualFold(filter[1], "pattern"):
		keep = func(spec *command.Spec) bool { return command.Match(filter[2], []byte(spec.Name)) }
	case command.EqualFold(filter[1], "module"):
		keep = func(*command.Spec) bool { return false }
	default:
		s.fail("ERR syntax error")
		return
	}
	var names []string
	for _, spec := range s.st.srv.table.ByID() {
		if keep(spec) {
			names = append(names, spec.Name)
		}
	}
	s.words(names)
}

func (s *session) docs(specs []*command.Spec) {
	s.st.w = resp.AppendMap(s.st.w, len(specs), s.proto)
	for _, spec := range specs {
		s.text(spec.Name)
		n := 3
		if len(spec.Subs) > 0 {
			n++
		}
		args := arguments(spec)
		if len(args) > 0 {
			n++
		}
		s.st.w = resp.AppendMap(s.st.w, n, s.proto)
		for _, pair := range [][2]string{{"summary", spec.Help}, {"since", spec.Since}, {"group", spec.Group}} {
			s.text(pair[0])
			s.text(pair[1])
		}
		if len(args) > 0 {
			s.text("arguments")
			s.st.w = resp.AppendArray(s.st.w, len(args))
			for _, a := range args {
				s.argument(a)
			}
		}
		if len(spec.Subs) > 0 {
			s.text("subcommands")
			s.docs(spec.Subs)
		}
	}
}

// argument is what the table knows of an argument: whether it is a key, and how often it may be there.
type argument struct {
	key   bool
	flags []string
}

// arguments are those of a command that there must be, and one for all that there may be besides.
func arguments(spec *command.Spec) (args []argument) {
	if len(spec.Subs) > 0 {
		return nil
	}
	first := 1
	if spec.Container != nil {
		first = 2
	}
	count := max(spec.Arity, -spec.Arity)
	keyFrom, keyTo, step := spec.KeyRange(count)
	for i := first; i < count; i++ {
		args = append(args, argument{key: step > 0 && i >= keyFrom && i <= keyTo && (i-keyFrom)%step == 0})
	}
	switch {
	case spec.Arity > 0:
	case spec.KeyStep == 1 && spec.LastKey < 0 && keyTo >= first:
		args[keyTo-first].flags = []string{"multiple"} // as many keys as one likes
	default:
		args = append(args, argument{flags: []string{"optional", "multiple"}})
	}
	return args
}

// argument is an element of the arguments of COMMAND DOCS.
func (s *session) argument(a argument) {
	n, name, kind := 2, "arg", "string"
	if a.key {
		n, name, kind = 3, "key", "key"
	}
	if len(a.flags) > 0 {
		n++
	}
	s.st.w = resp.AppendMap(s.st.w, n, s.proto)
	s.text("name")
	s.text(name)
	s.text("type")
	s.text(kind)
	if a.key {
		s.text("key_spec_index")
		s.int(0)
	}
	if len(a.flags) > 0 {
		s.text("flags")
		s.statuses(a.flags)
	}
}

func (s *session) getKeys(args [][]byte, flags bool) {
	spec := s.st.srv.table.Lookup(args[0])
	if spec != nil {
		spec = spec.Resolve(args)
	}
	switch {
	case spec == nil:
		s.fail("ERR Invalid command specified")
		return
	case !spec.HasKeys():
		s.fail("ERR The command has no key arguments")
		return
	case !spec.ArityOK(len(args)):
		s.fail("ERR Invalid number of arguments specified for command")
		return
	}
	at := spec.KeysAt(args, nil)
	if len(at) == 0 && !slices.Contains(spec.FlagNames(), "no_mandatory_keys") {
		s.fail("ERR Invalid arguments specified for command")
		return
	}
	s.st.w = resp.AppendArray(s.st.w, len(at))
	for i, pos := range at {
		if flags {
			s.st.w = resp.AppendArray(s.st.w, 2)
			s.bulk(args[pos])
			s.statuses(spec.Use(i, args).Words())
		} else {
			s.bulk(args[pos])
		}
	}
}
