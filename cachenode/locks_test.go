package cachenode

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// No lock is held across a call that waits for another node, or for anybody. The test reads the code: it knows which functions
// wait, finds out which others call them, and follows each function from Lock to Unlock.

// waits are the calls that wait, by name: of the network, of goroutines, of time.
var waits = map[string]bool{
	"DialContext": true, "Dial": true, "ReadFull": true, "Wait": true, "Sleep": true, "SetDeadline": true,
	"UpdateNode": true, "Join": true, "LookupHost": true, "LookupIPAddr": true, "LookupSRV": true, "Handshake": true, "HandshakeContext": true,
}

// innocent are calls that do not wait though they are named like some that do.
var innocent = map[string]bool{"close": true, "errors.Join": true, "strings.Join": true, "path.Join": true, "filepath.Join": true}

// lockCheck is the code of a package.
type lockCheck struct {
	fset  *token.FileSet
	funcs map[string][]*ast.FuncDecl // methods of different types may have one name: each counts
	waits map[string]bool
	found []string
}

func newLockCheck() *lockCheck {
	return &lockCheck{fset: token.NewFileSet(), funcs: map[string][]*ast.FuncDecl{}, waits: map[string]bool{}}
}

func (c *lockCheck) add(file *ast.File) {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			c.funcs[f.Name.Name] = append(c.funcs[f.Name.Name], f)
		}
	}
}

// check finds the places where something waits while a lock is held.
func (c *lockCheck) check() []string {
	for changed := true; changed; {
		changed = false
		for name, fns := range c.funcs {
			for _, f := range fns {
				if !c.waits[name] && c.waitsIn(f.Body) {
					c.waits[name], changed = true, true
				}
			}
		}
	}
	for _, fns := range c.funcs {
		for _, f := range fns {
			c.follow(f.Body.List, map[string]bool{})
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if lit, ok := n.(*ast.FuncLit); ok {
					c.follow(lit.Body.List, map[string]bool{}) // whoever calls it, and when: it begins with nothing held
				}
				return true
			})
		}
	}
	slices.Sort(c.found)
	return c.found
}

// waitsIn tells whether running a node may wait. Functions that are only made there do not run there.
func (c *lockCheck) waitsIn(n ast.Node) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit, *ast.GoStmt:
			return false
		case *ast.SelectStmt:
			ready := slices.ContainsFunc(n.Body.List, func(s ast.Stmt) bool { return s.(*ast.CommClause).Comm == nil })
			if found = found || !ready; ready {
				for _, s := range n.Body.List {
					for _, body := range s.(*ast.CommClause).Body {
						found = found || c.waitsIn(body)
					}
				}
			}
			return false
		case *ast.UnaryExpr:
			found = found || n.Op == token.ARROW
		case *ast.SendStmt:
			found = true
		case *ast.CallExpr:
			name, qualified := called(n)
			found = found || !innocent[qualified] && (waits[name] && strings.Contains(qualified, ".") || c.waits[name])
		}
		return !found
	})
	return found
}

// called is the name of the function that is called, and the same behind what it is selected from.
func called(call *ast.CallExpr) (name, qualified string) {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name, f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name, text(f.X) + "." + f.Sel.Name
	}
	return "", ""
}

// text is an expression as far as it names something.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return text(e.X) + "." + e.Sel.Name
	}
	return "?"
}

// follow goes through statements with the locks held so far, by the names of what is locked.
func (c *lockCheck) follow(list []ast.Stmt, held map[string]bool) {
	for _, s := range list {
		if call, ok := s.(*ast.ExprStmt); ok {
			if call, ok := call.X.(*ast.CallExpr); ok {
				switch name, of := called(call); name {
				case "Lock", "RLock":
					held[strings.TrimSuffix(of, "."+name)] = true
					continue
				case "Unlock", "RUnlock":
					delete(held, strings.TrimSuffix(of, "."+name))
					continue
				}
			}
		}
		if _, deferred := s.(*ast.DeferStmt); deferred {
			continue // an Unlock at the end changes nothing before it
		}
		if len(held) > 0 && !c.branches(s) && c.waitsIn(s) {
			c.found = append(c.found, fmt.Sprintf("%s: waits while %v is locked", c.fset.Position(s.Pos()), held))
		}
		c.into(s, held)
	}
}

// branches tells whether a statement is made of others, which follow looks at one by one.
func (c *lockCheck) branches(s ast.Stmt) bool {
	switch s.(type) {
	case *ast.BlockStmt, *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt:
		return true
	}
	return false
}

// into follows what a statement is made of, each branch with the locks that are held before it.
func (c *lockCheck) into(s ast.Stmt, held map[string]bool) {
	branch := func(list ...ast.Stmt) {
		own := map[string]bool{}
		for k := range held {
			own[k] = true
		}
		c.follow(list, own)
	}
	head := func(nodes ...ast.Node) {
		for _, n := range nodes {
			if len(held) > 0 && c.waitsIn(n) {
				c.found = append(c.found, fmt.Sprintf("%s: waits while %v is locked", c.fset.Position(n.Pos()), held))
			}
		}
	}
	clauses := func(body *ast.BlockStmt) {
		for _, clause := range body.List {
			if clause, ok := clause.(*ast.CaseClause); ok {
				branch(clause.Body...)
			}
		}
	}
	switch s := s.(type) {
	case *ast.BlockStmt:
		c.follow(s.List, held)
	case *ast.IfStmt:
		head(s.Cond)
		if s.Init != nil {
			head(s.Init)
		}
		branch(s.Body.List...)
		if s.Else != nil {
			branch(s.Else)
		}
	case *ast.ForStmt:
		branch(s.Body.List...)
	case *ast.RangeStmt:
		head(s.X)
		branch(s.Body.List...)
	case *ast.SwitchStmt:
		if s.Tag != nil {
			head(s.Tag)
		}
		clauses(s.Body)
	case *ast.TypeSwitchStmt:
		clauses(s.Body)
	}
}

func TestNoLockIsHeldWhileWaiting(t *testing.T) {
	t.Parallel()
	locks := 0
	for _, dir := range []string{".", "store", "near", "../cluster"} {
		c := newLockCheck()
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(c.fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			c.add(file)
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if name, _ := called(call); name == "Lock" {
						locks++
					}
				}
				return true
			})
		}
		for _, found := range c.check() {
			t.Error(found)
		}
	}
	if locks < 50 {
		t.Errorf("only %d places lock anything: the test does not see the code", locks)
	}
}

// The check finds what it is for.
func TestLockCheckFinds(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		`n.mu.Lock(); x(); n.mu.Unlock(); nc.Dial()`:                             0,
		`n.mu.Lock(); nc.Dial(); n.mu.Unlock()`:                                  1,
		`n.mu.Lock(); defer n.mu.Unlock(); if a { y() }`:                         1,
		`n.mu.Lock(); defer n.mu.Unlock(); go y(); f(func() { y() })`:            0,
		`n.mu.Lock(); if a { n.mu.Unlock(); y(); return }; n.mu.Unlock()`:        0,
		`n.mu.Lock(); for a { <-ch }; n.mu.Unlock()`:                             1,
		`n.mu.Lock(); select { case ch <- 1: default: }; n.mu.Unlock()`:          0,
		`n.mu.Lock(); select { case ch <- 1: case <-d: }; n.mu.Unlock()`:         1,
		`n.mu.Lock(); if err := y(); err != nil { }; n.mu.Unlock()`:              1,
		`a.mu.Lock(); b.mu.Lock(); b.mu.Unlock(); running.Wait(); a.mu.Unlock()`: 1,
		`f(func() { n.mu.Lock(); y(); n.mu.Unlock() })`:                          1,
		`n.mu.Lock(); switch a { case 1: y() }; n.mu.Unlock()`:                   1,
		`n.mu.Lock(); s := strings.Join(a, b); n.mu.Unlock(); z(s)`:              0,
	} {
		c := newLockCheck()
		file, err := parser.ParseFile(c.fset, "x.go", "package x\nfunc x() {}\nfunc y() { z() }\nfunc z() { io.ReadFull(a, b) }\nfunc test() { "+body+" }", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		c.add(file)
		if got := c.check(); len(got) != want {
			t.Errorf("%s: found %q, want %d", body, got, want)
		}
	}
}
