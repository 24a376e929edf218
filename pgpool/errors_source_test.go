package pgpool

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// source parses what a package ships, on all systems.
func source(t *testing.T, dir string) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set, files := token.NewFileSet(), make(map[string]*ast.File)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if files[filepath.Base(path)], err = parser.ParseFile(set, path, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	return set, files
}

// ownError tells whether n makes up an SQLSTATE: a pgwire.Error with a Code that is no notice and no copy of a server's, or
// an assignment of a Code.
func ownError(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CompositeLit:
		if !isError(n.Type) {
			return false
		}
		fields := make(map[string]ast.Expr)
		for _, e := range n.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok {
				return true // without names, and so with a code
			}
			fields[kv.Key.(*ast.Ident).Name] = kv.Value
		}
		code := fields["Code"]
		if copied, ok := code.(*ast.SelectorExpr); ok && copied.Sel.Name == "Code" {
			return false
		}
		severity, _ := fields["Severity"].(*ast.BasicLit)
		return code != nil && (severity == nil || severity.Value != `"NOTICE"`)
	case *ast.AssignStmt:
		for i, to := range n.Lhs {
			if field, ok := to.(*ast.SelectorExpr); ok && field.Sel.Name == "Code" && i < len(n.Rhs) {
				if _, made := n.Rhs[i].(*ast.BasicLit); made {
					return true
				}
			}
		}
	}
	return false
}

// isError tells whether an expression is the type pgwire.Error, as its own package or others name it.
func isError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Error"
	case *ast.SelectorExpr:
		p, ok := e.X.(*ast.Ident)
		return ok && p.Name == "pgwire" && e.Sel.Name == "Error"
	}
	return false
}

// What clients are told is in the tables and nowhere else.
func TestNoErrorOutsideTheTables(t *testing.T) {
	for _, table := range errorTables() {
		set, files := source(t, table.dir)
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if ownError(n) {
					t.Errorf("%v: this error belongs in the table of errors.go", set.Position(n.Pos()))
				}
				return true
			})
		}
	}
}

func TestOwnError(t *testing.T) {
	for text, want := range map[string]bool{
		`&pgwire.Error{Code: "0A000", Message: "no"}`:                        true,
		`Error{Code: code}`:                                                  true,
		`pgwire.Error{"FATAL", "0A000", "no", "", "", ""}`:                   true,
		`func() { e.Code = "0A000" }`:                                        true,
		`func() { e.Code = string(value) }`:                                  false,
		`&pgwire.Error{Severity: "NOTICE", Code: "00000", Message: "wait"}`:  false,
		`&pgwire.Error{Severity: m.Severity, Code: m.Code, Message: "copy"}`: false,
		`&pgwire.Error{Message: "a notice"}`:                                 false,
		`pgwire.Kind{Code: "0A000"}`:                                         false,
	} {
		parsed, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		got := false
		ast.Inspect(parsed, func(n ast.Node) bool {
			got = got || ownError(n)
			return true
		})
		if got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// Every reason has a row, is given somewhere, and is given the arguments that its formats name.
func TestErrorsAreUsed(t *testing.T) {
	for _, table := range errorTables() {
		set, files := source(t, table.dir)
		names := reasonNames(files["errors.go"])
		if len(names) != len(table.kinds) {
			t.Fatalf("%s: %d reasons, %d rows", table.title, len(names), len(table.kinds))
		}
		used := make(map[string]bool)
		for name, file := range files {
			if name == "errors.go" {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					used[id.Name] = true
				}
				call, ok := n.(*ast.CallExpr)
				if !ok || call.Ellipsis.IsValid() {
					return true
				}
				with, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || with.Sel.Name != "with" {
					return true
				}
				id, ok := with.X.(*ast.Ident)
				if !ok {
					return true
				}
				if i := slices.Index(names, id.Name); i >= 0 && len(call.Args) != arguments(table.kinds[i]) {
					t.Errorf("%v: %d arguments, %s takes %d", set.Position(n.Pos()), len(call.Args), id.Name, arguments(table.kinds[i]))
				}
				return true
			})
		}
		for _, name := range names {
			if !used[name] {
				t.Errorf("%s: nobody is told %s", table.title, name)
			}
		}
	}
}

// reasonNames are the constants of type reason in their order.
func reasonNames(file *ast.File) (names []string) {
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		if kind, ok := group.Specs[0].(*ast.ValueSpec).Type.(*ast.Ident); !ok || kind.Name != "reason" {
			continue
		}
		for _, spec := range group.Specs {
			names = append(names, spec.(*ast.ValueSpec).Names[0].Name)
		}
	}
	return names
}

// arguments is how many arguments the formats of a row name.
func arguments(k pgwire.Kind) (n int) {
	for _, v := range verb.FindAllString(k.Message+k.Detail+k.Hint, -1) {
		index, _ := strconv.Atoi(v[2:3])
		n = max(n, index)
	}
	return n
}
