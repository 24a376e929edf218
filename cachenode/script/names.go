package script

import (
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// names tells what a script calls the values that may turn out wrong, so that messages can name them as Lua's do. The
// interpreter tells the line of an error and not the expression: where several on a line could be meant, none is named.
type names struct {
	known    map[ast.Expr]string // of variables: "local 'x'"
	inParens map[ast.Expr]bool
	local    map[string]bool // names of local functions
	sites    map[int]*site
}

// site is what is done on one line. The values are what is described, "" where Lua has no name for it or several differ.
type site struct {
	index   map[string]string   // by the key
	calls   []string            // what is called
	methods map[string]bool     // names called as methods
	plain   map[string]bool     // names called otherwise
	arith   map[string][]string // by the operator: left, right
	unary   map[string]string   // or the type of a constant, behind "="
	chains  [][]string          // operands of concatenations, the last first
}

func newNames() *names {
	return &names{known: map[ast.Expr]string{}, inParens: map[ast.Expr]bool{}, local: map[string]bool{}, sites: map[int]*site{}}
}

func (n *names) site(line int) *site {
	s := n.sites[line]
	if s == nil {
		s = &site{}
		n.sites[line] = s
	}
	return s
}

// describe says what Lua calls an expression: a variable, a field; "" for what has no name.
func (n *names) describe(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		return n.known[e]
	case *ast.AttrGetExpr:
		if key, ok := e.Key.(*ast.StringExpr); ok {
			return "field '" + key.Value + "'"
		}
		return "field '?'"
	}
	return ""
}

// put notes a description under a key; two that differ are none.
func put(m *map[string]string, key, description string) {
	if old, ok := (*m)[key]; ok && old != description {
		description = ""
	}
	set(m, key, description)
}

// set makes the map when it is first needed: most lines need none.
func set[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
}

func (n *names) indexed(line int, object, key ast.Expr) {
	k := "?"
	switch key := key.(type) {
	case *ast.StringExpr:
		k = "=" + key.Value
	case *ast.NumberExpr:
		k = "=" + key.Value
	}
	put(&n.site(line).index, k, n.describe(object))
}

// certain tells what is there to be called.
func certain(e ast.Expr, description string) bool {
	if strings.HasPrefix(description, "global ") {
		return true // one that is missing is an error of its own
	}
	if a, ok := e.(*ast.AttrGetExpr); ok {
		lib, ok1 := a.Object.(*ast.IdentExpr)
		key, ok2 := a.Key.(*ast.StringExpr)
		return ok1 && ok2 && lib.Value == "redis" && (key.Value == "call" || key.Value == "pcall")
	}
	return false
}

func (n *names) call(line int, fn ast.Expr) {
	s := n.site(line)
	d := n.describe(fn)
	switch fn := fn.(type) {
	case *ast.IdentExpr:
		set(&s.plain, fn.Value, true)
	case *ast.AttrGetExpr:
		if key, ok := fn.Key.(*ast.StringExpr); ok {
			set(&s.plain, key.Value, true)
		}
	}
	if id, ok := fn.(*ast.IdentExpr); !certain(fn, d) && !(ok && n.local[id.Value]) {
		s.calls = append(s.calls, d)
	}
}

func (n *names) method(line int, receiver ast.Expr, method string) {
	s := n.site(line)
	set(&s.methods, method, true)
	put(&s.index, "="+method, n.describe(receiver))
	s.calls = append(s.calls, "method '"+method+"'")
}

func (n *names) arithmetic(line int, operator string, left, right ast.Expr) {
	s := n.site(line)
	l, r := n.describe(left), n.describe(right)
	if old := s.arith[operator]; old != nil {
		if old[0] != l {
			l = ""
		}
		if old[1] != r {
			r = ""
		}
	}
	set(&s.arith, operator, []string{l, r})
}

func (n *names) unary(line int, operator string, operand ast.Expr) {
	d := n.describe(operand)
	switch operand.(type) {
	case *ast.TableExpr:
		d = "=table"
	case *ast.StringExpr:
		d = "=string"
	case *ast.FunctionExpr:
		d = "=function"
	case *ast.TrueExpr, *ast.FalseExpr:
		d = "=boolean"
	case *ast.NumberExpr:
		d = "=number"
	}
	put(&n.site(line).unary, operator, d)
}

func (n *names) joined(line int, left, right ast.Expr) {
	s := n.site(line)
	if _, more := right.(*ast.StringConcatOpExpr); more && len(s.chains) > 0 && !n.inParens[right] {
		last := len(s.chains) - 1
		s.chains[last] = append(s.chains[last], n.describe(left))
		return
	}
	s.chains = append(s.chains, []string{n.describe(right), n.describe(left)})
}

// called gives the description of what cannot be called on a line, where only one thing can be meant.
func (s *site) called() string {
	found := ""
	for i, d := range s.calls {
		if i > 0 && d != found {
			return ""
		}
		found = d
	}
	return found
}

// isMethod tells whether a function is called as a method on a line.
func (s *site) isMethod(name string) bool { return s.methods[name] && !s.plain[name] }
