package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// maxFileSize is far more than any configuration needs; a device or a wrong file stops there.
const maxFileSize = 1 << 20

// file reads the YAML file at path.
func (l *loader) file(path string) {
	f, err := os.Open(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err
		}
		l.problem(path, "", "cannot be read: "+err.Error(), "")
		return
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		l.problem(path, "", "cannot be read: "+err.Error(), "")
	case len(content) > maxFileSize:
		l.problem(path, "", "is larger than "+formatSize(maxFileSize), "")
	default:
		l.yaml(path, content)
	}
}

// yamlLine finds the line in the yaml package's messages. The rest of a message may quote the file, and so a password.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// yaml takes a mapping from setting names to scalars or lists of scalars.
func (l *loader) yaml(path string, content []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return // empty, or comments only
		}
		where := path
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			where += ":" + m[1]
		}
		l.problem(where, "", "is not YAML", "one `name: value` a line")
		return
	}
	where := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", path, n.Line) }
	settings := map[string]Setting{}
	for _, s := range Settings() {
		settings[s.Name] = s
	}
	lines := map[string]int{}
	l.pairs("", doc.Content[0], "one `name: value` a line", where, func(key, value *yaml.Node) {
		s, known := settings[key.Value]
		if !known {
			l.unknown(where(key), key.Value, key.Value, slices.Sorted(maps.Keys(settings)))
			return
		}
		if l.twice(lines, s.Name, s.Name, where(key), key.Line) {
			return
		}
		if s.kind.isMap {
			l.config.origins[s.Name] = where(key)
			l.tree(s, value, where)
			return
		}
		texts, ok := scalars(value)
		if !ok {
			l.problem(where(value), s.Name, "takes a value or a list of values", s.kind.hint)
			l.broken[s.Name] = true
			return
		}
		l.set(s, where(key), texts)
	})
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		l.problem(path, "", "holds more than one YAML document", "keep the first")
	}
}

// scalars returns a scalar's text, or those of a list. A null, as in `zone:`, is the empty text.
func scalars(n *yaml.Node) ([]string, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return []string{""}, true
		}
		return []string{n.Value}, true
	case yaml.SequenceNode:
		texts := []string{}
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, false
			}
			texts = append(texts, item.Value)
		}
		return texts, true
	}
	return nil, false
}
