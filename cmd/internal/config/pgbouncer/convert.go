package pgbouncer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Conversion is a configuration of ours that does what a pgbouncer.ini said.
type Conversion struct {
	YAML  string // holds the passwords of the connection strings, and the notes as comments
	Notes []Note
}

// Note is about a setting that has no equivalent, or not quite.
type Note struct {
	Where   string // file:line; empty for a default
	Setting string
	Advice  string // what to do instead
}

func (n Note) String() string {
	if n.Where == "" {
		return n.Setting + ": " + n.Advice
	}
	return n.Where + ": " + n.Setting + ": " + n.Advice
}

// Convert reads the file at path and those that it includes. The error holds everything that could not be read, each with
// its file and line; it never quotes a connection string.
func Convert(path string) (*Conversion, error) {
	return convert(path, func(path string) (io.ReadCloser, error) { return os.Open(path) })
}

func convert(path string, open func(string) (io.ReadCloser, error)) (*Conversion, error) {
	r := reader{open: open}
	r.file(path, "", 0)
	c := composer{errs: r.errs, settings: map[string]entry{}, noted: map[Note]bool{}, root: &yaml.Node{Kind: yaml.MappingNode}}
	var databases, users []entry
	for _, e := range r.entries {
		switch e.section {
		case "pgbouncer":
			c.settings[e.key] = e // the last counts
		case "databases":
			databases = append(databases, e)
		case "users":
			users = append(users, e)
		case "peers":
			c.note(e.where, "peers", "not needed: one process uses several processors (loops), and its cancel keys are its own")
		default:
			c.note(e.where, e.section, "is no section of PgBouncer's")
		}
	}
	c.listening()
	c.databases(databases)
	c.login()
	for _, rule := range rules {
		c.setting(rule)
	}
	c.minPoolSize()
	c.users(users)
	c.unknown(r.entries)
	c.put("cache", "off").LineComment = "PgBouncer has none"
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return &Conversion{YAML: c.yaml(), Notes: c.notes}, nil
}

// composer builds the configuration.
type composer struct {
	settings map[string]entry // of the section [pgbouncer]
	root     *yaml.Node
	notes    []Note
	noted    map[Note]bool // those of notes
	errs     []error

	exposed   bool // clients may come from other machines
	authUsers []entry
}

func (c *composer) note(where, setting, advice string) {
	if n := (Note{where, setting, advice}); !c.noted[n] {
		c.noted[n] = true
		c.notes = append(c.notes, n)
	}
}

func (c *composer) fail(where, setting string, err error) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s: %w", where, setting, err))
}

// get returns a setting's value, or PgBouncer's default.
func (c *composer) get(name string) (value string, e entry, isSet bool) {
	if e, isSet = c.settings[name]; isSet {
		return e.value, e, true
	}
	for _, r := range rules {
		if r.name == name {
			return r.def, entry{}, false
		}
	}
	return "", entry{}, false
}

func (c *composer) put(name, value string) *yaml.Node { return put(c.root, name, value) }

// put adds a line to a mapping.
func put(to *yaml.Node, name, value string) *yaml.Node {
	v := scalar(value)
	to.Content = append(to.Content, scalar(name), v)
	return v
}

// scalar is a text that reads back as itself.
func scalar(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: s}
	if s == "" || s == "~" || strings.EqualFold(s, "null") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// setting converts one that stands for itself.
func (c *composer) setting(r rule) {
	value, e, isSet := c.get(r.name)
	switch {
	case r.convert == composed || !isSet && !r.state:
	case r.convert == none:
		if value != r.def && !slices.Contains(r.harmless, value) {
			c.note(e.where, r.name, r.advice)
		}
	default:
		if line := c.convert(c.root, r, r.name, e.where, value); line != nil && !isSet {
			line.LineComment = "PgBouncer's default"
		}
	}
}

// convert adds a converted setting to a mapping.
func (c *composer) convert(to *yaml.Node, r rule, name, where, value string) *yaml.Node {
	out, advice, err := r.convert.value(name, value)
	if err != nil {
		c.fail(where, name, err)
		return nil
	}
	if advice != "" {
		c.note(where, name, advice)
	}
	if out == "" && r.convert != word {
		return nil
	}
	if r.to != "" {
		name = r.to
	}
	return put(to, name, out)
}

// unknown names what is no setting of PgBouncer's.
func (c *composer) unknown(entries []entry) {
	for _, e := range entries {
		if e.section == "pgbouncer" && !slices.ContainsFunc(rules, func(r rule) bool { return r.name == e.key }) {
			c.note(e.where, e.key, "is no setting of PgBouncer 1.25")
		}
	}
}

func (c *composer) minPoolSize() {
	if value, e, isSet := c.get("min_pool_size"); isSet {
		size, _, _ := c.get("default_pool_size")
		c.minimum(c.root, e.where, value, size)
	}
}

// minimum adds min_pool_size, which PgBouncer caps at the pool's size.
func (c *composer) minimum(to *yaml.Node, where, value, size string) {
	low, advice, err := count("min_pool_size", value)
	if err != nil {
		c.fail(where, "min_pool_size", err)
		return
	}
	if advice != "" {
		c.note(where, "min_pool_size", advice)
	}
	if high, _, err := count("pool_size", size); err == nil && less(high, low) {
		c.note(where, "min_pool_size", "is more than the pool's size: taken as "+high)
		low = high
	}
	put(to, "min_pool_size", low)
}

// less compares whole numbers without signs or leading zeros.
func less(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a < b }

// yaml is the result as text.
func (c *composer) yaml() string {
	text, err := yaml.Marshal(c.root)
	if err != nil {
		panic(fmt.Sprintf("pgbouncer: encode a tree of our own: %v", err))
	}
	if len(c.notes) == 0 {
		return string(text)
	}
	var b strings.Builder
	b.Write(text)
	b.WriteString("\n# Without equivalent, or not quite the same:\n")
	for _, n := range c.notes {
		// A path may hold anything; a comment ends with its line.
		b.WriteString("#   " + strings.Map(printable, n.String()) + "\n")
	}
	return b.String()
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == '\ufffd' {
		return ' '
	}
	return r
}
