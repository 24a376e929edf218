package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

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
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		l.problem(at(path, root), "", "is not a list of settings", "one `name: value` a line")
		return
	}
	settings := map[string]Setting{}
	var names []string
	for _, s := range Settings() {
		settings[s.Name] = s
		names = append(names, s.Name)
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		s, known := settings[key.Value]
		if !known {
			hint := "`outrigger help serve` lists the settings"
			if best, edits := nearest(key.Value, names); edits <= max(2, len(key.Value)/3) {
				hint = "did you mean " + best + "?"
			}
			l.problem(at(path, key), key.Value, "no such setting", hint)
			continue
		}
		if first, again := lines[s.Name]; again {
			l.problem(at(path, key), s.Name, fmt.Sprintf("is set twice, first in line %d", first), "keep one")
			continue
		}
		lines[s.Name] = key.Line
		texts, ok := scalars(value)
		if !ok {
			l.problem(at(path, value), s.Name, "takes a value or a list of values", "")
			l.broken[s.Name] = true
			continue
		}
		l.set(s, at(path, key), texts)
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		l.problem(path, "", "holds more than one YAML document", "keep the first")
	}
}

func at(path string, n *yaml.Node) string { return fmt.Sprintf("%s:%d", path, n.Line) }

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
