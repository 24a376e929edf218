package acl

import (
	"encoding/hex"
	"strings"
)

// Flags are what ACL GETUSER calls them.
func (u *User) Flags() []string {
	flags := []string{"off"}
	if u.Enabled {
		flags[0] = "on"
	}
	if u.NoPass {
		flags = append(flags, "nopass")
	}
	if u.sanitize != "" {
		flags = append(flags, u.sanitize)
	}
	return flags
}

// Hashes are the passwords as they are told.
func (u *User) Hashes() (hashes []string) {
	for _, p := range u.Passwords {
		hashes = append(hashes, hex.EncodeToString(p[:]))
	}
	return hashes
}

// Permissions are commands, keys and channels of a user, or of one of its selectors.
type Permissions struct{ Commands, Keys, Channels string }

// Permissions tells those of the user itself, and then of its selectors.
func (u *User) Permissions() []Permissions {
	all := []Permissions{u.root.describe()}
	for _, s := range u.selectors {
		all = append(all, s.describe())
	}
	return all
}

func (s *selector) describe() (p Permissions) {
	p.Commands = "-@all"
	if len(s.rules) > 0 {
		p.Commands = strings.Join(s.rules, " ")
		if !s.startsWithAll() {
			p.Commands = "-@all " + p.Commands
		}
	}
	var words []string
	if s.allKeys {
		words = []string{"~*"}
	}
	for _, k := range s.keys {
		switch {
		case k.read && k.write:
			words = append(words, "~"+k.glob)
		case k.read:
			words = append(words, "%R~"+k.glob)
		default:
			words = append(words, "%W~"+k.glob)
		}
	}
	p.Keys = strings.Join(words, " ")
	if s.allChannels {
		p.Channels = "&*"
	}
	words = nil
	for _, c := range s.channels {
		words = append(words, "&"+c)
	}
	if len(words) > 0 {
		p.Channels = strings.Join(words, " ")
	}
	return p
}

func (s *selector) startsWithAll() bool { return len(s.rules) > 0 && s.rules[0] == "+@all" }

func (p Permissions) line() string {
	words := []string{}
	if p.Keys != "" {
		words = append(words, p.Keys)
	}
	switch {
	case p.Channels == "&*":
		words = append(words, p.Channels)
	case p.Channels != "":
		words = append(words, "resetchannels", p.Channels)
	default:
		words = append(words, "resetchannels")
	}
	return strings.Join(append(words, p.Commands), " ")
}

// String is the user's line in ACL LIST.
func (u *User) String() string {
	words := append([]string{"user", u.Name}, u.Flags()...)
	for _, h := range u.Hashes() {
		words = append(words, "#"+h)
	}
	for i, p := range u.Permissions() {
		if i == 0 {
			words = append(words, p.line())
		} else {
			words = append(words, "("+p.line()+")")
		}
	}
	return strings.Join(words, " ")
}
