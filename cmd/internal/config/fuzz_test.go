package config

import (
	"strings"
	"testing"
)

// Whatever a file holds, it is refused, or what check prints of it reads back as the same.
func FuzzYAML(f *testing.F) {
	for _, seed := range []string{"", "primary_url: " + dsn, "zone: [a, b]", "a: &a\n- *a", "- x", "zone: a\n---\n", "\t", "max_memory: 64MiB",
		"? zone\n: b", "zone: !!binary aGk=", "<<: {zone: a}", tree, "databases: &d\n  x: *d", "databases: {'null': {primary_url: 'postgres://a@b', connect_query: \"a\\n#b: \"}}",
		"users: {~: {}}", "zone: 'null'"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		first, ok := loadYAML(content)
		if !ok {
			return
		}
		out := first.YAML()
		second, ok := loadYAML([]byte(out))
		if !ok {
			t.Fatalf("does not read back:\n%s", out)
		}
		for _, s := range Settings() {
			if a, b := s.masked(first), s.masked(second); a != b {
				t.Errorf("%s was %q, is %q", s.Name, a, b)
			}
		}
		for name := range first.Databases {
			_ = first.PoolFor(name, "")
		}
	})
}

// loadYAML is Load of a file's content.
func loadYAML(content []byte) (*Config, bool) {
	l := newLoader()
	l.yaml("f", content)
	l.finish()
	return l.config, len(l.problems) == 0
}

// Variables are refused with their name, or loaded, and never crash it.
func FuzzEnvironment(f *testing.F) {
	f.Add("ZONE=a\nQUERY_TIMEOUT=5\nDATABASES={a: {pool_size: 3}}\nUSERS={\nPRIMARY_ULR=x\nLOOPS")
	f.Fuzz(func(t *testing.T, lines string) {
		var environ []string
		for line := range strings.SplitSeq(lines, "\n") {
			environ = append(environ, "OUTRIGGER_"+line)
		}
		l := newLoader()
		l.environ(environ)
		for _, p := range l.problems {
			if !strings.HasPrefix(p.Where, "OUTRIGGER_") {
				t.Errorf("problem without its variable: %v", p)
			}
		}
		l.finish()
		_ = l.config.YAML()
	})
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{"30s", "1e9", "NaN", "64MiB", "-1", "[::1]:80", "off", dsn, "postgres://a:b@c?d=%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := parseDuration(s); err == nil && d < 0 {
			t.Errorf("parseDuration(%q) = %v", s, d)
		}
		if n, err := parseSize(s); err == nil {
			if again, err := parseSize(formatSize(n)); err != nil || again != n {
				t.Errorf("parseSize(%q) = %d, shown as %s, read as %d (%v)", s, n, formatSize(n), again, err)
			}
		}
		if a, err := parseAddr(s); err == nil {
			if again, err := parseAddr(a); err != nil || again != a {
				t.Errorf("parseAddr(%q) = %q, read as %q (%v)", s, a, again, err)
			}
		}
		if u, err := parsePostgresURL(s); err == nil {
			_ = maskURL(u)
		}
	})
}
