package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/pressure"
)

// Sources are where a configuration comes from, weakest first. Nothing else is read: not the process's environment
// either, so that a test needs no process.
type Sources struct {
	File    string   // path of the YAML file; empty: none
	Environ []string // as os.Environ gives it
	Flags   []*Flag  // those that were not set are passed over
	Set     []Given  // by an administrator, at run time
}

// Given is a value for a setting.
type Given struct{ Name, Value string }

// Load reads, merges and validates. The error is Problems, with everything that is wrong.
func Load(src Sources) (*Config, error) {
	l := newLoader()
	file := src.File
	if file == "" {
		file, _ = lookup(src.Environ, "OUTRIGGER_CONFIG")
	}
	if file != "" {
		l.file(file)
	}
	l.environ(src.Environ)
	l.flags(src.Flags)
	l.given(src.Set)
	l.finish()
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return l.config, nil
}

// newLoader starts with the defaults.
func newLoader() *loader {
	l := &loader{config: &Config{origins: map[string]string{}}, broken: map[string]bool{}}
	for _, s := range Settings() {
		if s.kind.isMap {
			continue
		}
		if err := s.kind.parse([]string{s.Default}, s.field(l.config)); err != nil && s.Default != "" {
			panic(fmt.Sprintf("config: default of %s: %v", s.Name, err))
		}
	}
	return l
}

// finish does what needs all sources to have been read.
func (l *loader) finish() {
	l.derive()
	l.resolve()
	l.validate()
}

// loader gathers values and problems.
type loader struct {
	config   *Config
	problems Problems
	broken   map[string]bool // settings whose value was not understood: validate has nothing to say about them
}

func (l *loader) problem(where, setting, message, hint string) {
	l.problems = append(l.problems, Problem{Where: where, Setting: setting, Message: message, Hint: hint})
}

// set gives a setting a value from a source that comes later than all before.
func (l *loader) set(s Setting, where string, texts []string) {
	if s.kind.isMap {
		l.config.origins[s.Name] = where
		l.flow(s, where, strings.Join(texts, ","))
	} else if l.read(s, where, s.Name, texts, s.field(l.config)) {
		l.config.origins[s.Name] = where
	}
}

// read reads a value into field. name is how the value is called in a complaint.
func (l *loader) read(s Setting, where, name string, texts []string, field any) bool {
	err := s.kind.read(texts, field)
	switch {
	case err == nil:
		return true
	case errors.Is(err, errEmpty):
		l.problem(where, name, err.Error(), "leave it out for the default")
	default:
		l.problem(where, name, err.Error(), s.kind.hint)
	}
	l.broken[s.Name] = true
	return false
}

// environ takes OUTRIGGER_<NAME> and the aliases; an alias gives way to the name.
//
// A variable that is nearly a setting is a typing error. Others are passed over: Kubernetes makes some of the same
// prefix (OUTRIGGER_SERVICE_HOST) when a service has our name.
func (l *loader) environ(environ []string) {
	var names []string
	for _, s := range Settings() {
		names = append(names, s.EnvName())
		for _, name := range append(slices.Clone(s.Env), s.EnvName()) {
			if v, ok := lookup(environ, name); ok {
				l.set(s, name, []string{v})
			}
		}
	}
	names = append(names, "OUTRIGGER_CONFIG")
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "OUTRIGGER_") || slices.Contains(names, name) {
			continue
		}
		if best, edits := nearest(name, names); edits <= 2 {
			l.problem(name, "", "no such setting", "did you mean "+best+"?")
		}
	}
}

func lookup(environ []string, name string) (string, bool) {
	for _, entry := range slices.Backward(environ) {
		if n, v, _ := strings.Cut(entry, "="); n == name {
			return v, true
		}
	}
	return "", false
}

func (l *loader) flags(flags []*Flag) {
	for _, f := range flags {
		if f.isSet {
			l.set(f.setting, "--"+f.setting.FlagName(), f.texts)
		}
	}
}

// given takes what an administrator sets at run time.
func (l *loader) given(values []Given) {
	for _, v := range values {
		i := slices.IndexFunc(Settings(), func(s Setting) bool { return s.Name == v.Name })
		if i < 0 {
			var names []string
			for _, s := range Settings() {
				names = append(names, s.Name)
			}
			hint := "SHOW CONFIG lists the settings"
			if best, ok := Similar(v.Name, names); ok {
				hint = "did you mean " + best + "?"
			}
			l.problem("SET", v.Name, "no such setting", hint)
			continue
		}
		s := Settings()[i]
		if !s.Reloadable() {
			l.problem("SET", v.Name, "cannot be changed while the sidecar runs", "change it in the configuration and restart")
			continue
		}
		l.set(s, "SET", []string{v.Value})
	}
}

// derive fills in the defaults that depend on other settings or on the machine.
func (l *loader) derive() {
	c := l.config
	if c.Loops == 0 {
		c.Loops = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = defaultMaxMemory(pressure.Own().Limit())
	}
	if c.NodeName == "" {
		c.NodeName = l.defaultNodeName()
	}
}

// defaultNodeName is what tells this node from others without anybody's help, and if possible also after a restart. It
// depends on no address: those change.
func (l *loader) defaultNodeName() string {
	name, err := os.Hostname() // in Kubernetes the pod's name
	if err != nil {
		l.problem("", "node_name", "the host name is unknown: "+err.Error(), "set node_name")
		return ""
	}
	port := portOf(l.config.GossipListen)
	if port == "0" || name == "localhost" || strings.HasPrefix(name, "localhost.") { // others are called that as well
		return name + "-" + strings.ToLower(rand.Text()[:8])
	}
	if port != defaultGossipPort {
		name += "-" + port
	}
	return name
}

// Flag is a setting on the command line. It satisfies the flag libraries' Value interfaces.
type Flag struct {
	setting Setting
	texts   []string
	isSet   bool
}

// Flags makes one flag for each setting, to be registered with the command and then given to Load.
func Flags() []*Flag {
	var flags []*Flag
	for _, s := range Settings() {
		flags = append(flags, &Flag{setting: s})
	}
	return flags
}

func (f *Flag) Name() string  { return f.setting.FlagName() }
func (f *Flag) Usage() string { return f.setting.Help }

// IsBool tells whether the flag may stand alone, meaning "on".
func (f *Flag) IsBool() bool { return f.setting.kind.name == boolean.name }

// IsFile tells whether the value is the name of a file or directory.
func (f *Flag) IsFile() bool {
	return f.setting.kind.name == file.name || f.setting.kind.name == socketPath.name || f.setting.kind.name == dir.name
}

// Values are what the setting may be set to, for a shell to offer; none when they are too many to tell.
func (f *Flag) Values() []string { return f.setting.kind.values }

// String shows the default, which is what help prints.
func (f *Flag) String() string { return f.setting.Default }

// Type is the word that help prints for the value.
func (f *Flag) Type() string {
	if strings.HasPrefix(f.setting.kind.name, "one of") {
		return "name"
	}
	return strings.ReplaceAll(f.setting.kind.name, " ", "-")
}

// Set takes the value; it is read, and complained about, by Load with all others. A list's flag may be repeated.
func (f *Flag) Set(s string) error {
	if !f.setting.kind.isList {
		f.texts = nil
	}
	f.texts, f.isSet = append(f.texts, s), true
	return nil
}

// IsProblems tells whether err is about the configuration, which makes it the user's to mend.
func IsProblems(err error) bool {
	_, ok := errors.AsType[Problems](err)
	return ok
}
