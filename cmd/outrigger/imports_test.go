package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/outrigger-proxy/outrigger"
	root   = "../.."
)

// ban is a row of the import table. It holds for code that ships, not for tests.
type ban struct {
	folder string   // and what is below it, for the importing file
	except []string // importing folders that the ban does not reach
	target string   // path, and what is below it, relative to the module; or another module's path; "*" is every other module
	allow  []string // modules excepted from "*"
	why    string
}

var bans = []ban{
	{folder: "protocol", target: "cluster", why: "bytes on a wire know nothing of who is alive"},
	{folder: "protocol", target: "cachenode", why: "bytes on a wire decide nothing"},
	{folder: "protocol", target: "pgpool", why: "bytes on a wire decide nothing"},
	{folder: "protocol", target: "cmd", why: "only cmd wires the program together"},
	{folder: "protocol", target: "*", allow: []string{"golang.org/x/sys", "github.com/jackc/pgproto3/v2", "github.com/vmihailenco/msgpack/v5"},
		why: "the lowest layer needs the system and the wire libraries, nothing else"},

	{folder: "cluster", target: "cachenode", why: "membership and ring are computed without knowing what is stored"},
	{folder: "cluster", target: "pgpool", why: "membership and ring are computed without knowing who uses them"},
	{folder: "cluster", target: "cmd", why: "only cmd wires the program together"},

	{folder: "cachenode", target: "pgpool", why: "each half runs without the other"},
	{folder: "cachenode", target: "cmd", why: "only cmd wires the program together"},

	{folder: "pgpool", target: "cachenode", why: "each half runs without the other"},
	{folder: "pgpool", target: "cluster", why: "the pooler reaches the cluster through interfaces that it declares itself, and runs without one"},
	{folder: "pgpool", target: "cmd", why: "only cmd wires the program together"},

	{folder: "", except: []string{"bench"}, target: "bench", why: "bench measures the program and is no part of it"},
	{folder: "", except: []string{"cmd/internal/dev", "pgpool/devpg", "bench"}, target: "pgpool/devpg", why: "throwaway databases are for tests, dev and bench"},
	{folder: "cmd", target: "cachenode/redistest", why: "real servers are for tests and bench"},
	{folder: "", target: "cluster/gossiptest", why: "ports that stay free are for tests"},
	{folder: "", except: []string{"bench"}, target: "github.com/jackc/pgx/v5", why: "a driver is for tests: what ships forwards bytes"},
	{folder: "", target: "github.com/lib/pq", why: "a driver is for tests: what ships forwards bytes"},
	{folder: "", except: []string{"bench"}, target: "github.com/redis/go-redis/v9", why: "a client is for tests"},
	{folder: "", except: []string{"cachenode/near", "bench/hitratio"}, target: "github.com/maypok86/otter/v2", why: "copies are kept in one place; the cache itself has its own store"},
	{folder: "", except: []string{"bench/hitratio"}, target: "github.com/dgraph-io/ristretto/v2", why: "a rival's policy is for comparing hit ratios"},
	{folder: "", target: "github.com/hibiken/asynq", why: "what is built on a client is for tests"},
	{folder: "", target: "github.com/bsm/redislock", why: "what is built on a client is for tests"},
	{folder: "", target: "github.com/go-redis/cache/v9", why: "what is built on a client is for tests"},
	{folder: "", target: "github.com/anishathalye/porcupine", why: "a checker of histories is for tests"},
	{folder: "", target: "go.uber.org/goleak", why: "leak checks are for tests"},
	{folder: "", except: []string{"cachenode/redistest", "cluster/gossiptest"}, target: "testing", why: "it registers flags and belongs in _test.go files"},
	{folder: "", except: []string{"cmd"}, target: "github.com/spf13/cobra", why: "the command line is cmd's"},
	{folder: "", except: []string{"cmd"}, target: "github.com/spf13/pflag", why: "the command line is cmd's"},
	{folder: "", except: []string{"cmd/internal/config"}, target: "go.yaml.in/yaml/v3", why: "settings are read in one place"},
	{folder: "", except: []string{"cmd/internal/ops"}, target: "github.com/prometheus/client_golang", why: "parts give numbers, ops gives them their names"},
	{folder: "", except: []string{"cluster"}, target: "github.com/hashicorp/memberlist", why: "gossip stays behind cluster"},
	{folder: "", except: []string{"cluster/ring"}, target: "github.com/buraksezer/consistent", why: "the ring's library stays behind cluster/ring"},
	{folder: "", except: []string{"cachenode/script"}, target: "github.com/yuin/gopher-lua", why: "the interpreter stays behind cachenode/script"},
	{folder: "", except: []string{"pgpool/auth"}, target: "github.com/xdg-go/scram", why: "proofs of identity stay behind pgpool/auth"},
}

// within tells whether name is dir or below it.
func within(name, dir string) bool {
	return dir == "" || name == dir || strings.HasPrefix(name, dir+"/")
}

// broken returns the reason why a file in folder may not import imported, or "".
func broken(folder, imported string) string {
	local, ours := strings.CutPrefix(imported, module+"/")
	if ours && local != folder && within(folder, local) {
		return "a child never imports its parent"
	}
	for _, b := range bans {
		if !within(folder, b.folder) || slices.ContainsFunc(b.except, func(e string) bool { return within(folder, e) }) {
			continue
		}
		switch {
		case b.target == "*":
			first, _, _ := strings.Cut(imported, "/")
			if !ours && strings.Contains(first, ".") && !slices.ContainsFunc(b.allow, func(a string) bool { return within(imported, a) }) {
				return b.why
			}
		case ours && within(local, b.target), !ours && within(imported, b.target):
			return b.why
		}
	}
	return ""
}

// eachImport calls f for every import of every Go file that is not a test.
func eachImport(t *testing.T, f func(file, folder, imported string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(rel), path.Dir(filepath.ToSlash(rel)), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImports(t *testing.T) {
	used := map[string]bool{}
	eachImport(t, func(file, folder, imported string) {
		used[imported] = true
		if why := broken(folder, imported); why != "" {
			t.Errorf("%s imports %s: %s", file, imported, why)
		}
	})
	if !used[module+"/cmd/internal/app"] {
		t.Error("the walk did not see this package's own imports: it checks nothing")
	}
}

// The table must be able to say no.
func TestImportTable(t *testing.T) {
	for _, tt := range []struct {
		folder, imported string
		allowed          bool
	}{
		{"pgpool", module + "/protocol/pgwire", true},
		{"pgpool/admin", module + "/cluster", false},
		{"pgpool/admin", module + "/pgpool", false},
		{"pgpool", module + "/pgpool/admin", true},
		{"pgpool", module + "/pgpool/devpg", false},
		{"cmd/internal/dev", module + "/pgpool/devpg", true},
		{"cmd/internal/app", module + "/pgpool/devpg", false},
		{"cachenode", module + "/cluster/ring", true},
		{"cachenode", module + "/pgpool", false},
		{"cluster/ring", module + "/cluster", false},
		{"protocol/resp", "bytes", true},
		{"protocol/resp", "golang.org/x/sys/unix", true},
		{"protocol/resp", "github.com/cespare/xxhash/v2", false},
		{"protocol/netloop", module + "/protocol", false},
		{"pgpool", "github.com/jackc/pgx/v5/pgconn", false},
		{"bench/run", "github.com/jackc/pgx/v5", true},
		{"cmd/outrigger", module + "/bench", false},
		{"cachenode/store", "testing", false},
	} {
		if why := broken(tt.folder, tt.imported); (why == "") != tt.allowed {
			t.Errorf("%s importing %s: %q, want allowed=%v", tt.folder, tt.imported, why, tt.allowed)
		}
	}
}

func TestTopLevel(t *testing.T) {
	folders := []string{"bench", "cachenode", "cluster", "cmd", "pgpool", "protocol"}
	allowed := append([]string{"go.mod", "go.sum", "Makefile", "README.md", "docs", "deploy",
		"bin", "dist"}, folders...) // the last two are made by make
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s does not belong at the top level: Go code lives in %s", e.Name(), strings.Join(folders, ", "))
		}
	}
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(root, folder, "doc.go")); err != nil {
			t.Errorf("%s: what is it for? %v", folder, err)
		}
	}
}

func TestEveryDependencyHasItsReason(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || !strings.HasPrefix(fields[1], "v") {
			continue // an indirect one has a comment
		}
		direct++
		if !strings.Contains(string(doc), "| `"+fields[0]+"` |") {
			t.Errorf("docs/dependencies.md does not say why %s is here", fields[0])
		}
	}
	if direct == 0 {
		t.Error("found no direct dependency in go.mod")
	}
}
