package config

import (
	"bytes"
	"fmt"
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
	default:
		panic(fmt.Sprintf("config: no text for %s, a %T", s.Name, v))
	}
}

// masked is text without passwords.
func (s Setting) masked(c *Config) string {
	v := s.text(c)
	if v == "" || (s.kind.name != pgURL.name && s.kind.name != pgURLs.name) {
		return v
	}
	urls := strings.Split(v, ",")
	for i := range urls {
		urls[i] = maskURL(urls[i])
	}
	return strings.Join(urls, ",")
}

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
	for s, v := range c.Values {
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: s.Name}
		if s.Group != group {
			group = s.Group
			key.HeadComment = group
		}
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: v}
		if v == "" {
			value.Style = yaml.DoubleQuotedStyle
		}
		if origin := c.Origin(s.Name); origin != "" {
			value.LineComment = "from " + origin
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

// Markdown is the table of settings for the README.
func Markdown() string {
	var b strings.Builder
	group := ""
	for _, s := range Settings() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n**%s**\n\n| setting | default | meaning |\n|---|---|---|\n", group)
		}
		def := "–"
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		help := s.Help
		if len(s.Env) > 0 {
			help += "; also `" + strings.Join(s.Env, "`, `") + "` in the environment"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, def, help)
	}
	return b.String()
}
