package acl

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
)

// User is what one may do. It is immutable but for who builds it.
type User struct {
	Name      string
	Enabled   bool
	NoPass    bool                // any password does
	Passwords [][sha256.Size]byte // any of these does

	sanitize  string // the last rule about it, told back only
	root      *selector
	selectors []*selector // each of them is enough too

	free bool // everything is allowed
}

// selector is a set of permissions: commands, together with the keys and channels they may name.
type selector struct {
	commands []uint64 // bit per command.Spec.ID
	rules    []string // that have led to commands, as they are told back
	all      bool     // every command, also those to come

	keys     []pattern
	channels []string

	allKeys, allChannels bool
}

type pattern struct {
	glob        string
	read, write bool
}

// problem is what is wrong with a rule, in the words of Redis's acl.c (ACLSetUserStringError).
type problem string

func (p problem) Error() string { return string(p) }

const (
	errSyntax     = problem("Syntax error")
	errUnknown    = problem("Unknown command or category name in ACL")
	errAfterAll   = problem("Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns")
	errAfterAllCh = problem("Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels")
	errNoPassword = problem("The password you are trying to remove from the user does not exist")
	errHash       = problem("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")
	errFirstArg   = problem("Allowing first-arg of a subcommand is not supported")
)

// New makes a user that may do nothing.
func New(name string) *User { return &User{Name: name, root: &selector{}} }

// NewDefault makes the user that everybody is who has not logged in: who may do everything without a password.
func NewDefault() *User {
	u := New("default")
	u.Enabled, u.NoPass = true, true
	u.root = &selector{all: true, allKeys: true, allChannels: true, rules: []string{"+@all"}}
	u.free = true
	return u
}

func (u *User) clone() *User {
	c := *u
	c.Passwords = slices.Clone(u.Passwords)
	c.root = u.root.clone()
	c.selectors = slices.Clone(u.selectors)
	return &c
}

func (s *selector) clone() *selector {
	c := *s
	c.commands, c.rules = slices.Clone(s.commands), slices.Clone(s.rules)
	c.keys, c.channels = slices.Clone(s.keys), slices.Clone(s.channels)
	return &c
}

// RuleError is a rule that means nothing.
type RuleError struct {
	Rule string
	Err  error
}

func (e *RuleError) Error() string {
	return "Error in ACL SETUSER modifier '" + e.Rule + "': " + e.Err.Error()
}

func (e *RuleError) Unwrap() error { return e.Err }

// With returns the user that rules make of u.
func (u *User) With(t *command.Table, rules []string) (*User, error) {
	rules, err := mergeSelectors(rules)
	if err != nil {
		return nil, err
	}
	next := u.clone()
	for _, r := range rules {
		if err := next.apply(t, r); err != nil {
			return nil, &RuleError{r, err}
		}
	}
	next.free = next.root.all && next.root.allKeys && next.root.allChannels && next.root.complete(t)
	return next, nil
}

// mergeSelectors joins the words of selectors, which the parser of commands has cut at their spaces.
func mergeSelectors(rules []string) (merged []string, err error) {
	open := ""
	for _, r := range rules {
		switch {
		case open != "":
			open += " " + r
		case strings.HasPrefix(r, "(") && !strings.HasSuffix(r, ")"):
			open = r
		default:
			merged = append(merged, r)
			continue
		}
		if strings.HasSuffix(open, ")") {
			merged = append(merged, open)
			open = ""
		}
	}
	if open != "" {
		return nil, problem("Unmatched parenthesis in acl selector starting at '" + open + "'.")
	}
	return merged, nil
}

// apply changes u by one rule (ACLSetUser in Redis's acl.c).
func (u *User) apply(t *command.Table, rule string) error {
	switch strings.ToLower(rule) {
	case "":
		return nil
	case "on":
		u.Enabled = true
		return nil
	case "off":
		u.Enabled = false
		return nil
	case "nopass":
		u.NoPass, u.Passwords = true, nil
		return nil
	case "resetpass":
		u.NoPass, u.Passwords = false, nil
		return nil
	case "skip-sanitize-payload", "sanitize-payload":
		u.sanitize = strings.ToLower(rule)
		return nil
	case "clearselectors":
		u.selectors = nil
		return nil
	case "reset":
		name := u.Name
		*u = *New(name)
		u.sanitize = "sanitize-payload"
		return nil
	}
	switch rule[0] {
	case '>':
		u.addPassword(sha256.Sum256([]byte(rule[1:])))
		return nil
	case '#':
		sum, err := parseHash(rule[1:])
		if err != nil {
			return err
		}
		u.addPassword(sum)
		return nil
	case '<', '!':
		sum := sha256.Sum256([]byte(rule[1:]))
		if rule[0] == '!' {
			var err error
			if sum, err = parseHash(rule[1:]); err != nil {
				return err
			}
		}
		i := slices.Index(u.Passwords, sum)
		if i < 0 {
			return errNoPassword
		}
		u.Passwords = slices.Delete(u.Passwords, i, i+1)
		return nil
	case '(':
		s := &selector{}
		for _, r := range strings.Fields(rule[1 : len(rule)-1]) {
			if err := s.apply(t, r); err != nil {
				return err
			}
		}
		u.selectors = append(u.selectors, s)
		return nil
	}
	return u.root.apply(t, rule)
}

func (u *User) addPassword(sum [sha256.Size]byte) {
	if !slices.Contains(u.Passwords, sum) {
		u.Passwords = append(u.Passwords, sum)
	}
	u.NoPass = false
}

func parseHash(text string) (sum [sha256.Size]byte, err error) {
	if len(text) != 2*sha256.Size || strings.ToLower(text) != text {
		return sum, errHash
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return sum, errHash
	}
	return [sha256.Size]byte(b), nil
}

// apply changes the permissions by one rule (ACLSetSelector).
func (s *selector) apply(t *command.Table, rule string) error {
	switch strings.ToLower(rule) {
	case "allkeys", "~*":
		s.allKeys, s.keys = true, nil
		return nil
	case "resetkeys":
		s.allKeys, s.keys = false, nil
		return nil
	case "allchannels", "&*":
		s.allChannels, s.channels = true, nil
		return nil
	case "resetchannels":
		s.allChannels, s.channels = false, nil
		return nil
	case "allcommands", "+@all":
		s.commands, s.all, s.rules = nil, true, []string{"+@all"}
		return nil
	case "nocommands", "-@all":
		s.commands, s.all, s.rules = nil, false, nil
		return nil
	}
	switch rule[0] {
	case '~', '%':
		return s.addKeys(rule)
	case '&':
		if s.allChannels {
			return errAfterAllCh
		}
		if strings.ContainsAny(rule, " \x00") {
			return errSyntax
		}
		if !slices.Contains(s.channels, rule[1:]) {
			s.channels = append(s.channels, rule[1:])
		}
		return nil
	case '+', '-':
		return s.addCommands(t, strings.ToLower(rule[1:]), rule[0] == '+')
	}
	return errSyntax
}

// addKeys adds ~pattern, or %R~pattern, %W~pattern, %RW~pattern.
func (s *selector) addKeys(rule string) error {
	if s.allKeys {
		return errAfterAll
	}
	p := pattern{read: true, write: true, glob: rule[1:]}
	if rule[0] == '%' {
		p.read, p.write = false, false
		i := 1
		for ; i < len(rule) && rule[i] != '~'; i++ {
			switch rule[i] | 0x20 {
			case 'r':
				p.read = true
			case 'w':
				p.write = true
			default:
				return errSyntax
			}
		}
		if i == len(rule) || !p.read && !p.write {
			return errSyntax
		}
		p.glob = rule[i+1:]
	}
	if strings.ContainsAny(p.glob, " \x00") {
		return errSyntax
	}
	for i := range s.keys {
		if s.keys[i].glob == p.glob {
			s.keys[i].read = s.keys[i].read || p.read
			s.keys[i].write = s.keys[i].write || p.write
			return nil
		}
	}
	s.keys = append(s.keys, p)
	return nil
}

// addCommands adds or removes a command, a subcommand or a category.
func (s *selector) addCommands(t *command.Table, name string, allow bool) error {
	sign := "-"
	if allow {
		sign = "+"
	}
	switch category, isCategory := strings.CutPrefix(name, "@"); {
	case isCategory:
		bit, ok := command.ParseCategory(category)
		if !ok {
			return errUnknown
		}
		for _, spec := range t.ByID() {
			if spec.Categories()&bit != 0 {
				s.set(t, spec, allow)
			}
		}
	default:
		container, sub, hasSub := strings.Cut(name, "|")
		spec := t.Lookup([]byte(container))
		if spec == nil {
			return errUnknown
		}
		if hasSub {
			if strings.Contains(sub, "|") {
				return errFirstArg
			}
			if len(spec.Subs) == 0 || spec.Sub([]byte(sub)) == nil {
				return errUnknown
			}
			spec = spec.Sub([]byte(sub))
		}
		s.set(t, spec, allow)
		for _, one := range spec.Subs {
			s.set(t, one, allow)
		}
	}
	// A rule takes the place of those that it makes meaningless.
	s.rules = slices.DeleteFunc(s.rules, func(old string) bool {
		return old[1:] == name || strings.HasPrefix(old[1:], name+"|")
	})
	s.rules = append(s.rules, sign+name)
	return nil
}

// set allows or forbids one command.
func (s *selector) set(t *command.Table, spec *command.Spec, allow bool) {
	if s.all && !allow && s.commands == nil {
		s.commands = make([]uint64, (len(t.ByID())+63)/64)
		for i := range s.commands {
			s.commands[i] = ^uint64(0)
		}
	}
	if s.commands == nil {
		if s.all {
			return
		}
		s.commands = make([]uint64, (len(t.ByID())+63)/64)
	}
	if bit := uint64(1) << (spec.ID % 64); allow {
		s.commands[spec.ID/64] |= bit
	} else {
		s.commands[spec.ID/64] &^= bit
	}
}

// complete tells whether no command is forbidden.
func (s *selector) complete(t *command.Table) bool {
	for _, spec := range t.ByID() {
		if !s.mayRun(spec) {
			return false
		}
	}
	return true
}

func (s *selector) mayRun(spec *command.Spec) bool {
	if s.commands == nil {
		return s.all
	}
	return s.commands[spec.ID/64]>>(spec.ID%64)&1 != 0
}
