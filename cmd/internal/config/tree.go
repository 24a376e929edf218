package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// consoleNames are databases that clients reach the console by.
var consoleNames = []string{"outrigger", "pgbouncer"}

// serverSettings say where a database is. They are no pool settings, and have no field in Config.
var serverSettings = map[string]Setting{
	"primary_url":  {Name: "primary_url", kind: pgURL},
	"replica_urls": {Name: "replica_urls", kind: pgURLs},
	"dbname":       {Name: "dbname", kind: text},
}

// tree reads one of the maps.
func (l *loader) tree(s Setting, root *yaml.Node, where func(*yaml.Node) string) {
	switch s.Name {
	case "databases":
		l.databases(s, root, where)
	case "users":
		l.users(s, root, where)
	case "cache_prefixes":
		l.prefixes(s, root, where)
	}
}

// databases reads the map of databases.
func (l *loader) databases(s Setting, root *yaml.Node, where func(*yaml.Node) string) {
	settings := ownSettings(Setting.PerDatabase)
	maps.Copy(settings, serverSettings)
	databases := map[string]Database{}
	l.entries(s, root, where, settings, hintPool, func(key *yaml.Node, own own) {
		if slices.Contains(consoleNames, key.Value) {
			l.problem(where(key), s.Name+"."+key.Value, "is the console's name", "call it something else; dbname may still say "+key.Value)
		}
		databases[key.Value] = Database{Name: key.Value, own: own}
	})
	l.config.Databases = databases
}

// users reads the map of users.
func (l *loader) users(s Setting, root *yaml.Node, where func(*yaml.Node) string) {
	users := map[string]User{}
	l.entries(s, root, where, ownSettings(Setting.PerUser), hintPool, func(key *yaml.Node, own own) {
		if key.Value == "*" {
			l.problem(where(key), s.Name+".*", "is no user", "settings at the top level are everybody's")
		}
		users[key.Value] = User{Name: key.Value, own: own}
	})
	l.config.Users = users
}

// ownSettings are the settings that an entry may have, by name and short name.
func ownSettings(mayHave func(Setting) bool) map[string]Setting {
	settings := map[string]Setting{}
	for _, s := range Settings() {
		if mayHave(s) {
			settings[s.Name] = s
		}
	}
	for short, name := range shortNames {
		settings[short] = settings[name]
	}
	return settings
}

// hintPool says what an entry of databases or users looks like.
const hintPool = "such as {pool_size: 5}"

// entries reads a mapping of names to mappings of settings, for which hint has an example, and calls entry for each name.
func (l *loader) entries(s Setting, root *yaml.Node, where func(*yaml.Node) string, settings map[string]Setting, hint string, entry func(*yaml.Node, own)) {
	// What an older source said goes with its map.
	maps.DeleteFunc(l.config.origins, func(name, _ string) bool { return strings.HasPrefix(name, s.Name+".") })
	lines := map[string]int{}
	l.pairs(s.Name, root, s.kind.hint, where, func(key, value *yaml.Node) {
		path := s.Name + "." + key.Value
		if l.twice(lines, path, key.Value, where(key), key.Line) {
			return
		}
		l.config.origins[path] = where(key)
		entry(key, l.own(path, value, where, settings, hint))
	})
}

// own reads the settings of an entry.
func (l *loader) own(path string, root *yaml.Node, where func(*yaml.Node) string, settings map[string]Setting, hint string) own {
	o := own{values: map[string][]string{}}
	lines := map[string]int{}
	l.pairs(path, root, hint, where, func(key, value *yaml.Node) {
		s, known := settings[key.Value]
		name := path + "." + key.Value
		if !known {
			l.unknown(where(key), name, key.Value, slices.Sorted(maps.Keys(settings)))
			return
		}
		if l.twice(lines, name, s.Name, where(key), key.Line) {
			return
		}
		texts, ok := scalars(value)
		if !ok {
			l.problem(where(value), name, "takes a value or a list of values", s.kind.hint)
			l.broken[s.Name] = true
			return
		}
		field := any(new(string))
		if s.field != nil {
			field = s.field(&Config{})
		} else if s.kind.isList {
			field = new([]string)
		}
		if !l.read(s, where(key), name, texts, field) {
			return
		}
		o.values[s.Name] = texts
		l.config.origins[path+"."+s.Name] = where(key)
		if s.field != nil {
			o.pool = append(o.pool, ownValue{s, texts})
		}
	})
	return o
}

// pairs calls yield for each key and value of a mapping. A null is an empty mapping.
func (l *loader) pairs(name string, root *yaml.Node, hint string, where func(*yaml.Node) string, yield func(key, value *yaml.Node)) {
	if root.Kind == yaml.AliasNode {
		root = root.Alias
	}
	if root.Kind == yaml.ScalarNode && (root.Tag == "!!null" || root.Value == "") {
		return
	}
	if root.Kind != yaml.MappingNode {
		l.problem(where(root), name, "is not a map", hint)
		return
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key := root.Content[i]
		if key.Kind != yaml.ScalarNode || key.Value == "" {
			l.problem(where(key), name, "has a key that is no name", hint)
			continue
		}
		yield(key, root.Content[i+1])
	}
}

// unknown complains about a key that is no setting.
func (l *loader) unknown(where, path, name string, known []string) {
	message, hint := "no such setting", "`outrigger help serve` lists the settings"
	if best, ok := Similar(name, known); ok {
		hint = "did you mean " + best + "?"
	}
	for _, s := range Settings() {
		if s.Name != name {
			continue
		}
		message += " here"
		switch {
		case s.PerDatabase():
			hint = "it may stand in databases and at the top level"
		case s.PerUser():
			hint = "it may stand in users and at the top level"
		default:
			hint = "it stands at the top level alone"
		}
	}
	l.problem(where, path, message, hint)
}

// twice complains about a setting that was there before, in the same mapping.
func (l *loader) twice(lines map[string]int, path, name, where string, line int) bool {
	first, again := lines[name]
	if again {
		l.problem(where, path, fmt.Sprintf("is set twice, first in line %d", first), "keep one")
	} else {
		lines[name] = line
	}
	return again
}

// flow reads the map that stands in a variable or a flag as one text.
func (l *loader) flow(s Setting, where, content string) {
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(content)))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		l.problem(where, s.Name, "is not YAML", s.kind.hint)
		l.broken[s.Name] = true
		return
	}
	root := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	if len(doc.Content) > 0 {
		root = doc.Content[0]
	}
	l.tree(s, root, func(*yaml.Node) string { return where })
}
