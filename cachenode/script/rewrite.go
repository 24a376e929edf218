package script

import (
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// concatName is the global that stands for "..": the interpreter's own operator knows no bound for what it makes. No
// script can name it.
const concatName = "(concat)"

// joined replaces every concatenation by a call of concatName.
func joined(stmts []ast.Stmt) {
	for i, s := range stmts {
		switch s := s.(type) {
		case *ast.AssignStmt:
			rewriteAll(s.Lhs)
			rewriteAll(s.Rhs)
			if len(s.Lhs) > 1 {
				stmts[i] = apart(s)
			}
		case *ast.LocalAssignStmt:
			rewriteAll(s.Exprs)
		case *ast.FuncCallStmt:
			s.Expr = rewrite(s.Expr)
		case *ast.DoBlockStmt:
			joined(s.Stmts)
		case *ast.WhileStmt:
			s.Condition = rewrite(s.Condition)
			joined(s.Stmts)
		case *ast.RepeatStmt:
			s.Condition = rewrite(s.Condition)
			joined(s.Stmts)
		case *ast.IfStmt:
			s.Condition = rewrite(s.Condition)
			joined(s.Then)
			joined(s.Else)
		case *ast.NumberForStmt:
			s.Init, s.Limit = rewrite(s.Init), rewrite(s.Limit)
			if s.Step != nil {
				s.Step = rewrite(s.Step)
			}
			joined(s.Stmts)
		case *ast.GenericForStmt:
			rewriteAll(s.Exprs)
			joined(s.Stmts)
		case *ast.FuncDefStmt:
			joined(s.Func.Stmts)
		case *ast.ReturnStmt:
			rewriteAll(s.Exprs)
		}
	}
}

// apart takes an assignment to several targets apart: what the interpreter makes of "a, b = b, a" is wrong for locals. What
// the targets consist of comes first, then the values, then the assignments, the last first, as in Lua.
func apart(s *ast.AssignStmt) ast.Stmt {
	line := s.Line()
	block := &ast.DoBlockStmt{}
	block.SetLine(line)
	block.SetLastLine(s.LastLine())
	temporary := func(name string) ast.Expr {
		e := &ast.IdentExpr{Value: name}
		e.SetLine(line)
		return e
	}
	hold := func(names []string, values []ast.Expr) {
		l := &ast.LocalAssignStmt{Names: names, Exprs: values}
		l.SetLine(line)
		block.Stmts = append(block.Stmts, l)
	}
	var values []string
	for i, target := range s.Lhs {
		n := strconv.Itoa(i)
		values = append(values, "(value "+n)
		if a, ok := target.(*ast.AttrGetExpr); ok {
			// Two at once, so that the interpreter does not take one for "local function".
			hold([]string{"(table " + n, "(key " + n}, []ast.Expr{single(a.Object), single(a.Key)})
			a.Object = temporary("(table " + n)
			if _, constant := a.Key.(*ast.StringExpr); !constant {
				a.Key = temporary("(key " + n)
			}
		}
	}
	hold(values, s.Rhs)
	for i := len(s.Lhs) - 1; i >= 0; i-- {
		one := &ast.AssignStmt{Lhs: s.Lhs[i : i+1 : i+1], Rhs: []ast.Expr{temporary(values[i])}}
		one.SetLine(line)
		block.Stmts = append(block.Stmts, one)
	}
	return block
}

func rewriteAll(list []ast.Expr) {
	for i := range list {
		list[i] = rewrite(list[i])
	}
}

func rewrite(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		e.Object, e.Key = rewrite(e.Object), rewrite(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if f.Key != nil {
				f.Key = rewrite(f.Key)
			}
			f.Value = rewrite(f.Value)
		}
	case *ast.FuncCallExpr:
		if e.Func != nil {
			e.Func = rewrite(e.Func)
		}
		if e.Receiver != nil {
			e.Receiver = rewrite(e.Receiver)
		}
		rewriteAll(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = rewrite(e.Lhs), rewrite(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = rewrite(e.Lhs), rewrite(e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = rewrite(e.Lhs), rewrite(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		e.Expr = rewrite(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = rewrite(e.Expr)
	case *ast.UnaryLenOpExpr:
		e.Expr = rewrite(e.Expr)
	case *ast.FunctionExpr:
		joined(e.Stmts)
	case *ast.StringConcatOpExpr:
		return concatCall(e)
	}
	return e
}

// concatCall is one call for a whole chain, as many operands as the interpreter passes arguments.
func concatCall(e *ast.StringConcatOpExpr) ast.Expr {
	const most = 50
	name := &ast.IdentExpr{Value: concatName}
	call := &ast.FuncCallExpr{Func: name, AdjustRet: true}
	line := e.Line()
	name.SetLine(line)
	call.SetLine(line)
	call.SetLastLine(e.LastLine())
	var rest ast.Expr = e
	for {
		pair, ok := rest.(*ast.StringConcatOpExpr)
		if !ok || len(call.Args) == most {
			break
		}
		call.Args = append(call.Args, single(rewrite(pair.Lhs)))
		rest = pair.Rhs
	}
	call.Args = append(call.Args, single(rewrite(rest)))
	return call
}

// single cuts an expression that may give several values to one.
func single(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return e
}
