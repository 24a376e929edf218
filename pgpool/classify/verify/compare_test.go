package verify

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// Verdict is how the classifier's word compares with the truth.
type Verdict int

// The verdicts. Those from Unsafe on must never be.
const (
	Same     Verdict = iota
	Cautious         // it binds more than the truth: another statement than a read
	Missed           // a read that is not called one
	Unsafe           // it binds less than the truth: a write called a read is the worst of it
	Unseen           // a flag is missing, so that something stays in the session unnoticed
)

func (v Verdict) String() string {
	return [...]string{"same", "cautious", "missed", "unsafe", "unseen"}[v]
}

// Compare judges the classifier's result. Unknown is cautious whatever the flags: all of it stops at the first doubt.
func Compare(got classify.Result, want Truth) Verdict {
	if got.Class < want.Class || got.Base < want.Base {
		return Unsafe
	}
	if got.Class != classify.Unknown {
		for _, any := range want.Flags {
			if !got.Flags.Has(any) {
				return Unseen
			}
		}
	}
	switch {
	case got.Class == want.Class:
		return Same
	case want.Class <= classify.CopyOut:
		return Missed
	case want.Class >= classify.Write && got.Class >= classify.Write:
		return Same // both go to the primary and may do anything
	}
	return Cautious
}

// CompareNames checks ClassifyNames, by which a text that only its names make a write may yet be a read.
func CompareNames(sql string, got classify.Result, want Truth) error {
	again, found, all := classify.ClassifyNames([]byte(sql), make([]classify.Name, 0, 128))
	if again != got {
		return fmt.Errorf("Classify says %+v and ClassifyNames %+v: %q", got, again, sql)
	}
	if got.Base > classify.CopyOut || !all {
		return nil
	}
	var functions, relations []called
	for _, f := range found {
		var schemaBuf, nameBuf [classify.MaxName]byte
		schema, ok := f.Schema.Fold([]byte(sql), schemaBuf[:])
		name, ok2 := f.Name.Fold([]byte(sql), nameBuf[:])
		switch c := (called{string(schema), string(name)}); {
		case !ok || !ok2:
			return nil // the caller takes it for unknown
		case f.Function:
			functions = append(functions, c)
		default:
			relations = append(relations, c)
		}
	}
	for _, f := range want.Functions {
		if !slices.Contains(functions, f) {
			return fmt.Errorf("it calls %v, and only %v are found: %q", f, functions, sql)
		}
	}
	for _, r := range want.Relations {
		if !slices.Contains(relations, r) {
			return fmt.Errorf("it reads %v, and only %v are found: %q", r, relations, sql)
		}
	}
	return nil
}

// reasons are why the classifier may be more careful than the truth. The first that fits is the one.
var reasons = []struct {
	pattern *regexp.Regexp // of the text
	why     string
}{
	{regexp.MustCompile(`\\'`), "a backslash in front of a quote: what it means depends on standard_conforming_strings"},
	{regexp.MustCompile(`[\x80-\xff]\\`), "a backslash behind a byte beyond ASCII: it may be half a character in the client's encoding"},
	{regexp.MustCompile(`(?i)\bu&"`), "a name in Unicode escapes: it may be any name"},
	{regexp.MustCompile(`(?i)\b(?:declare|fetch|move|close)\b`), "cursors count as writes"},
	{regexp.MustCompile(`(?i)\bexecute\b`), "EXPLAIN EXECUTE counts as EXECUTE"},
	{regexp.MustCompile(`(?i)\b(?:search\s+(?:depth|breadth)|cycle)\b`), "SEARCH and CYCLE: the end of the list of WITH is hard to tell"},
	{regexp.MustCompile(`(?i)\bsecond\s*\(`), "INTERVAL … SECOND(2) looks like a call"},
	{regexp.MustCompile(`(?i)\btablesample\b`), "TABLESAMPLE with a method that is not built in: code of an extension"},
	{regexp.MustCompile(`(?i)\b(?:array_in|anyrange_in|tsvectorin)\b`), "input functions, which are not for users"},
	{regexp.MustCompile(`(?i)\bcurrent_setting\b`), "current_setting of what is no literal, or of the server's role"},
	{regexp.MustCompile(`(?i)\brows\s*\(`), "a window's frame in parentheses looks like a call"},
	{regexp.MustCompile(`(?i)\bcube\b`), "CUBE and ROLLUP deep inside GROUPING SETS look like calls"},
	{regexp.MustCompile(`(?i)[,(]\s*\w+\s+\w+\s*\(`), "FROM a, b alias(column): without AS, and not right behind FROM or JOIN, it looks like a call"},
}

// Reason explains why sql is Cautious or Missed. It is "" for what nobody has explained yet.
func Reason(sql string) string {
	for _, r := range reasons {
		if r.pattern.MatchString(sql) {
			return r.why
		}
	}
	_, found, _ := classify.ClassifyNames([]byte(sql), make([]classify.Name, 0, 128))
	for _, f := range found {
		var buf [classify.MaxName]byte
		if name, ok := f.Name.Fold([]byte(sql), buf[:]); ok && f.Function && !f.Reads {
			if why := classify.WhyPrimary(name); why != "" {
				return "a function that docs/functions.md keeps on the primary: " + why
			}
		}
	}
	return ""
}

// oneLine returns the start of sql for a report.
func oneLine(sql string, limit int) string {
	sql = strings.Join(strings.Fields(sql), " ")
	if len(sql) > limit {
		sql = sql[:limit] + " …"
	}
	return sql
}
