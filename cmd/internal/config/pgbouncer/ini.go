package pgbouncer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxFile     = 4 << 20 // bytes of one file
	maxIncludes = 10      // files inside each other; PgBouncer's MAX_INCLUDE
	maxFiles    = 1000
	maxEntries  = 100_000 // of all files
)

// entry is a `key = value` line.
type entry struct {
	section, key, value string
	where               string // file:line
}

// reader gathers entries of a file and of those that it includes.
type reader struct {
	open    func(path string) (io.ReadCloser, error)
	files   int
	section string // of the line being read: it lasts through %include
	entries []entry
	errs    []error
}

// file reads a file. depth counts those that it is included by.
func (r *reader) file(path, includedAt string, depth int) {
	if r.files++; r.files > maxFiles {
		if r.files == maxFiles+1 {
			r.fail(includedAt, "more than %d files", maxFiles)
		}
		return
	}
	f, err := r.open(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err
		}
		r.fail(includedAt, "cannot read %s: %v", path, err)
		return
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		r.fail(includedAt, "cannot read %s: %v", path, err)
	case len(content) > maxFile:
		r.fail(includedAt, "%s has over %d bytes", path, maxFile)
	default:
		number := 0
		for line := range strings.SplitSeq(string(content), "\n") {
			number++
			r.line(path, fmt.Sprintf("%s:%d", path, number), strings.TrimSpace(line), depth)
		}
	}
}

func (r *reader) fail(where, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if where != "" {
		message = where + ": " + message
	}
	r.errs = append(r.errs, errors.New(message))
}

func (r *reader) line(path, where, line string, depth int) {
	switch {
	case line == "" || line[0] == ';' || line[0] == '#':
	case line[0] == '%':
		name, ok := strings.CutPrefix(line, "%include")
		if !ok || strings.TrimLeft(name, " \t") == name {
			r.fail(where, "%%include FILE is the only line that starts with %%")
			return
		}
		if depth == maxIncludes {
			r.fail(where, "more than %d files include each other", maxIncludes)
			return
		}
		r.file(r.beside(path, strings.TrimSpace(name)), where, depth+1)
	case line[0] == '[':
		name, rest, ok := strings.Cut(line[1:], "]")
		if rest = strings.TrimSpace(rest); !ok || rest != "" && rest[0] != ';' && rest[0] != '#' {
			r.fail(where, "a section is [NAME]")
			return
		}
		r.section = strings.TrimSpace(name)
	default:
		key, value, ok := cutKey(line)
		switch {
		case !ok:
			r.fail(where, "not `key = value`, with a key of other characters than _0-9A-Za-z in double quotes")
		case r.section == "":
			r.fail(where, "%s stands before the first [section]", key)
		case len(r.entries) == maxEntries:
			if r.errs == nil {
				r.fail(where, "more than %d lines", maxEntries)
			}
		default:
			r.entries = append(r.entries, entry{r.section, key, value, where})
		}
	}
}

// beside is an included file's path: relative to the file that includes it, or, as PgBouncer has it, to the working
// directory when there is no such file.
func (r *reader) beside(path, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	near := filepath.Join(filepath.Dir(path), name)
	if f, err := r.open(near); err == nil {
		f.Close()
		return near
	}
	if f, err := r.open(name); err == nil {
		f.Close()
		return name
	}
	return near
}

// cutKey takes `key = value` apart. A key in double quotes may hold anything, a quote doubled.
func cutKey(line string) (key, value string, ok bool) {
	if line[0] != '"' {
		key, value, ok = strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		return key, strings.TrimSpace(value), ok && key != "" && !strings.ContainsAny(key, "\" \t")
	}
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		if line[i] == '"' {
			if i+1 == len(line) || line[i+1] != '"' {
				value, ok = strings.CutPrefix(strings.TrimSpace(line[i+1:]), "=")
				return b.String(), strings.TrimSpace(value), ok && b.Len() > 0
			}
			i++
		}
		b.WriteByte(line[i])
	}
	return "", "", false
}

// pair is a part of a connection string.
type pair struct{ key, value string }

// pairs takes a connection string apart: key=value, with a value that has spaces in single quotes, a quote doubled
// (PgBouncer's loader.c, cstr_get_pair).
func pairs(s string) ([]pair, error) {
	var all []pair
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		key, rest, ok := strings.Cut(s, "=")
		key = strings.TrimRight(key, " \t")
		if !ok || key == "" || strings.ContainsAny(key, " \t") {
			return nil, errors.New("not a list of key=value") // the text may hold a password
		}
		var value string
		if value, s, ok = cutValue(strings.TrimLeft(rest, " \t")); !ok {
			return nil, fmt.Errorf("%s has no value, or one with a quote that does not end", key)
		}
		all = append(all, pair{key, value})
	}
	return all, nil
}

func cutValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '\'' {
		end := strings.IndexAny(s, " \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] == '\'' {
			if i+1 == len(s) || s[i+1] != '\'' {
				return b.String(), s[i+1:], b.Len() > 0
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
