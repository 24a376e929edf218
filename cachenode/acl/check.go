package acl

import (
	"github.com/outrigger-proxy/outrigger/cachenode/command"
)

// Verdict says whether a command is allowed, and what it lacks.
type Verdict uint8

const (
	Allowed Verdict = iota
	NoCommand
	NoKey
	NoChannel
	NoPattern // of SORT, which reads keys by it
)

// Free tells whether the user may do everything: then nothing needs to be checked.
func (u *User) Free() bool { return u.free }

// Check says whether the user may run a command, subcommands by their own spec. at is the position of the argument that is
// not allowed.
func (u *User) Check(spec *command.Spec, args [][]byte) (v Verdict, at int) {
	if u.free || spec.Flags&command.NoAuth != 0 {
		return Allowed, 0
	}
	v, at = u.root.check(spec, args)
	for i := 0; v != Allowed && i < len(u.selectors); i++ {
		// Of several refusals, the one that came furthest is told.
		if w, where := u.selectors[i].check(spec, args); w == Allowed || w > v || w == v && where > at {
			v, at = w, where
		}
	}
	return v, at
}

func (s *selector) check(spec *command.Spec, args [][]byte) (v Verdict, at int) {
	if !s.mayRun(spec) {
		return NoCommand, 0
	}
	if !s.allKeys && spec.HasKeys() {
		for i, pos := range spec.KeysAt(args, nil) {
			use := spec.Use(i, args)
			if !s.mayTouch(args[pos], use.Reads, use.Writes()) {
				return NoKey, pos
			}
		}
		if pos := spec.Elsewhere(args); pos > 0 && !s.mayReadAll() {
			return NoPattern, pos
		}
	}
	if !s.allChannels {
		first, last, exact := channels(spec, len(args))
		for i := first; i <= last; i++ {
			if !s.mayHear(args[i], exact) {
				return NoChannel, i
			}
		}
	}
	return Allowed, 0
}

// mayTouch tells whether a key may be read or written.
func (s *selector) mayTouch(key []byte, read, write bool) bool {
	for _, p := range s.keys {
		if (!read || p.read) && (!write || p.write) && command.Match([]byte(p.glob), key) {
			return true
		}
	}
	return false
}

// mayReadAll tells whether a pattern of keys to read is every key's.
func (s *selector) mayReadAll() bool {
	for _, p := range s.keys {
		if p.read && p.glob == "*" {
			return true
		}
	}
	return false
}

// mayHear tells whether a channel may be used. A pattern to subscribe to must be one of those allowed, letter by letter.
func (s *selector) mayHear(channel []byte, exact bool) bool {
	for _, c := range s.channels {
		if exact && c == string(channel) || !exact && command.Match([]byte(c), channel) {
			return true
		}
	}
	return false
}

// channels says which arguments of a command name channels; exact for patterns.
func channels(spec *command.Spec, n int) (first, last int, exact bool) {
	switch spec.Name {
	case "publish", "spublish":
		return 1, 1, false
	case "subscribe", "ssubscribe":
		return 1, n - 1, false
	case "psubscribe":
		return 1, n - 1, true
	}
	return 0, -1, false
}

// MayHear tells whether the user may still use a channel or pattern that it has subscribed to.
func (u *User) MayHear(channel string, exact bool) bool {
	if u.free || u.root.allChannels || u.root.mayHear([]byte(channel), exact) {
		return true
	}
	for _, s := range u.selectors {
		if s.allChannels || s.mayHear([]byte(channel), exact) {
			return true
		}
	}
	return false
}
