package config

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// text shows the value as it could stand in the file or a variable. It is not masked.
func (s Setting) text(c *Config) string {
	switch v := s.field(c).(type) {
	case *string:
		return *v
	case *[]string:
		return strings.Join(*v, ",")
	case *bool:
		if *v {
			return "on"
		}
		return "off"
	case *int:
		return strconv.Itoa(*v)
	case *int64:
		return formatSize(*v)
	case *time.Duration:
		if *v%time.Second == 0 {
			return strconv.FormatInt(int64(*v/time.Second), 10) + "s"
		}
		return v.String()
	case *map[string]Database, *map[string]User, *map[string]Prefix:
		return flowText(s.node(c, false))
	default:
		panic(fmt.Sprintf("config: no text for %s, a %T", s.Name, v))
	}
}

// masked is text without passwords.
func (s Setting) masked(c *Config) string {
	if s.kind.isMap {
		return flowText(s.node(c, true))
	}
	return mask(s, s.text(c))
}

// mask hides the passwords in a setting's text.
func mask(s Setting, v string) string {
	switch {
	case v == "":
		return v
	case s.kind.name == pgURL.name: // a comma may be part of its password
		return maskURL(v)
	case s.kind.name == pgURLs.name:
		urls := strings.Split(v, ",")
		for i := range urls {
			urls[i] = maskURL(urls[i])
		}
		return strings.Join(urls, ",")
	case s.Name == "cache_users":
		return passwordHash.ReplaceAllString(v, "#***")
	}
	return v
}

var passwordHash = regexp.MustCompile("#[0-9a-fA-F]{64}")

// Values calls yield for each setting and its value without passwords, in the table's order.
func (c *Config) Values(yield func(s Setting, value string) bool) {
	for _, s := range Settings() {
		if !yield(s, s.masked(c)) {
			return
		}
	}
}

// YAML is the effective configuration without passwords, each value with the place it comes from.
func (c *Config) YAML() string {
	root := &yaml.Node{Kind: yaml.MappingNode}
	group := ""
	for _, s := range Settings() {
		key := scalarNode(s.Name)
		if s.Group != group {
			group = s.Group
			key.HeadComment = group
		}
		value := s.node(c, true)
		if origin := c.Origin(s.Name); origin != "" {
			commented := value
			if value.Kind == yaml.MappingNode && value.Style != yaml.FlowStyle {
				commented = key
			}
			commented.LineComment = "from " + origin
		}
		root.Content = append(root.Content, key, value)
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	if err := encoder.Encode(root); err != nil {
		panic(fmt.Sprintf("config: encode a tree of our own: %v", err))
	}
	return b.String()
}

// node is the value as it stands in the file.
func (s Setting) node(c *Config, masked bool) *yaml.Node {
	switch v := s.field(c).(type) {
	case *map[string]Database:
		return entriesNode(c, s.Name, *v, masked, func(d Database) own { return d.own })
	case *map[string]User:
		return entriesNode(c, s.Name, *v, masked, func(u User) own { return u.own })
	case *map[string]Prefix:
		return entriesNode(c, s.Name, *v, masked, func(p Prefix) own { return p.own })
	}
	if masked {
		return scalarNode(s.masked(c))
	}
	return scalarNode(s.text(c))
}

// entriesNode shows the entries that were written down, with the place each of their values comes from.
func entriesNode[E any](c *Config, setting string, entries map[string]E, masked bool, ownOf func(E) own) *yaml.Node {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		path := setting + "." + name
		if c.Origin(path) == "" {
			continue // filled in by primary_url
		}
		entry := &yaml.Node{Kind: yaml.MappingNode}
		values := ownOf(entries[name]).values
		for _, key := range slices.Sorted(maps.Keys(values)) {
			text := strings.Join(values[key], ",")
			if masked {
				text = mask(serverSettings[key], text)
			}
			value := scalarNode(text)
			value.LineComment = "from " + c.Origin(path+"."+key)
			entry.Content = append(entry.Content, scalarNode(key), value)
		}
		if len(entry.Content) == 0 {
			entry.Style = yaml.FlowStyle
		}
		root.Content = append(root.Content, scalarNode(name), entry)
	}
	if len(root.Content) == 0 {
		root.Style = yaml.FlowStyle
	}
	return root
}

// scalarNode is a text that reads back as itself.
func scalarNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: s}
	if s == "" || s == "~" || strings.EqualFold(s, "null") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// flowText is a mapping in one line, as it could stand in a variable; an empty one is the empty text.
func flowText(n *yaml.Node) string {
	if len(n.Content) == 0 {
		return ""
	}
	n.Style = yaml.FlowStyle
	dropComments(n)
	text, err := yaml.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("config: encode a tree of our own: %v", err))
	}
	return strings.TrimSpace(string(text))
}

func dropComments(n *yaml.Node) {
	n.LineComment = ""
	for _, child := range n.Content {
		dropComments(child)
	}
}

// Markdown is the table of settings for the README.
func Markdown() string {
	var b strings.Builder
	group := ""
	for _, s := range Settings() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n**%s**\n\n| setting | default | own for | meaning |\n|---|---|---|---|\n", group)
		}
		def := "–"
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		help := s.Help
		if len(s.Env) > 0 {
			help += "; also `" + strings.Join(s.Env, "`, `") + "` in the environment"
		}
		var own []string
		if s.PerDatabase() {
			own = append(own, "database")
		}
		if s.PerUser() {
			own = append(own, "user")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, def, strings.Join(own, ", "), help)
	}
	return b.String()
}
