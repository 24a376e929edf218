package script

import (
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

func (p *parser) exprs() []ast.Expr {
	list := []ast.Expr{p.expr()}
	for p.accept(",") {
		list = append(list, p.expr())
	}
	return list
}

// Priorities of operators, left and right.
var priorities = map[string][2]int{
	"+": {6, 6}, "-": {6, 6}, "*": {7, 7}, "/": {7, 7}, "%": {7, 7}, "^": {10, 9}, "..": {5, 4},
	"~=": {3, 3}, "==": {3, 3}, "<": {3, 3}, "<=": {3, 3}, ">": {3, 3}, ">=": {3, 3}, "and": {2, 2}, "or": {1, 1},
}

const unaryPriority = 8

func (p *parser) expr() ast.Expr { return p.operators(0) }

func (p *parser) operators(least int) ast.Expr {
	p.enter()
	defer p.leave()
	var e ast.Expr
	switch p.tok.kind {
	case "not":
		p.advance()
		e = p.at2(&ast.UnaryNotOpExpr{Expr: p.operators(unaryPriority)})
	case "-":
		p.advance()
		operand := p.operators(unaryPriority)
		e = p.at2(&ast.UnaryMinusOpExpr{Expr: operand})
		p.names.unary(p.lastLine, "-", operand)
	case "#":
		p.advance()
		operand := p.operators(unaryPriority)
		e = p.at2(&ast.UnaryLenOpExpr{Expr: operand})
		p.names.unary(p.lastLine, "#", operand)
	default:
		e = p.simple()
	}
	for chain := 0; ; chain++ {
		operator := p.tok.kind
		priority, ok := priorities[operator]
		if !ok || priority[0] <= least {
			return e
		}
		if chain > maxChain {
			// The tree grows to the left by one, where Lua only emits code.
			p.fail("function or expression too complex", "")
		}
		p.advance()
		right := p.operators(priority[1])
		e = p.binary(operator, e, right)
	}
}

// at2 gives an expression the line where it ends: there Lua's instruction stands.
func (p *parser) at2(e ast.Expr) ast.Expr {
	e.SetLine(p.lastLine)
	return e
}

func (p *parser) binary(operator string, left, right ast.Expr) ast.Expr {
	switch operator {
	case "and", "or":
		return p.at2(&ast.LogicalOpExpr{Operator: operator, Lhs: left, Rhs: right})
	case "..":
		p.names.joined(p.lastLine, left, right)
		return p.at2(&ast.StringConcatOpExpr{Lhs: left, Rhs: right})
	case "+", "-", "*", "/", "%", "^":
		p.names.arithmetic(p.lastLine, operator, left, right)
		return p.at2(&ast.ArithmeticOpExpr{Operator: operator, Lhs: left, Rhs: right})
	}
	return p.at2(&ast.RelationalOpExpr{Operator: operator, Lhs: left, Rhs: right})
}

func (p *parser) simple() ast.Expr {
	var e ast.Expr
	switch p.tok.kind {
	case tokNumber:
		e = &ast.NumberExpr{Value: strconv.FormatFloat(p.tok.num, 'g', -1, 64)}
	case tokString:
		e = &ast.StringExpr{Value: p.tok.text}
	case "nil":
		e = &ast.NilExpr{}
	case "true":
		e = &ast.TrueExpr{}
	case "false":
		e = &ast.FalseExpr{}
	case "...":
		if !p.fn.varargs {
			p.syntax("cannot use '...' outside a vararg function")
		}
		e = &ast.Comma3Expr{}
	case "{":
		return p.table()
	case "function":
		line := p.tok.line
		p.advance()
		return p.body(line, false)
	default:
		return p.primary()
	}
	e.SetLine(p.tok.line)
	p.advance()
	return e
}

func (p *parser) table() ast.Expr {
	line := p.tok.line
	t := &ast.TableExpr{Fields: []*ast.Field{}}
	t.SetLine(line)
	p.need("{")
	for !p.is("}") {
		switch {
		case p.is(tokName):
			if p.ahead == nil {
				next := p.lexer.next()
				p.ahead = &next
			}
			if p.ahead.kind == "=" {
				key := p.key()
				p.advance()
				t.Fields = append(t.Fields, &ast.Field{Key: key, Value: p.expr()})
			} else {
				t.Fields = append(t.Fields, &ast.Field{Value: p.expr()})
			}
		case p.accept("["):
			key := p.expr()
			p.need("]")
			p.need("=")
			t.Fields = append(t.Fields, &ast.Field{Key: key, Value: p.expr()})
		default:
			t.Fields = append(t.Fields, &ast.Field{Value: p.expr()})
		}
		if !p.accept(",") && !p.accept(";") {
			break
		}
	}
	p.match("}", "{", line)
	return t
}

// key is a name that stands for a string.
func (p *parser) key() ast.Expr {
	k := &ast.StringExpr{}
	k.SetLine(p.tok.line)
	k.Value = p.name()
	return k
}

func (p *parser) ident(name string, line int) *ast.IdentExpr {
	e := &ast.IdentExpr{Value: name}
	e.SetLine(line)
	p.names.known[e] = p.resolve(name) + " '" + name + "'"
	return e
}

func (p *parser) index(object, key ast.Expr) ast.Expr {
	e := &ast.AttrGetExpr{Object: object, Key: key}
	e.SetLine(p.lastLine)
	p.names.indexed(p.lastLine, object, key)
	return e
}

func (p *parser) primary() ast.Expr {
	var e ast.Expr
	line := p.tok.line
	switch p.tok.kind {
	case tokName:
		e = p.ident(p.name(), line)
	case "(":
		p.advance()
		e = single(p.expr())
		p.names.inParens[e] = true
		p.match(")", "(", line)
	default:
		p.syntax("unexpected symbol")
	}
	for depth := 0; ; depth++ {
		if depth > maxChain {
			p.fail("function or expression too complex", "")
		}
		switch p.tok.kind {
		case ".":
			p.advance()
			e = p.index(e, p.key())
		case "[":
			p.advance()
			key := p.expr()
			p.need("]")
			e = p.index(e, key)
		case ":":
			p.advance()
			method := p.name()
			call := &ast.FuncCallExpr{Receiver: e, Method: method}
			call.SetLine(p.tok.line)
			p.names.method(p.tok.line, e, method)
			call.Args = p.args()
			e = call
		case "(", tokString, "{":
			call := &ast.FuncCallExpr{Func: e}
			call.SetLine(p.tok.line)
			p.names.call(p.tok.line, e)
			call.Args = p.args()
			e = call
		default:
			return e
		}
	}
}

func (p *parser) args() []ast.Expr {
	line := p.tok.line
	switch p.tok.kind {
	case tokString:
		e := &ast.StringExpr{Value: p.tok.text}
		e.SetLine(line)
		p.advance()
		return []ast.Expr{e}
	case "{":
		return []ast.Expr{p.table()}
	case "(":
		if line != p.lastLine {
			p.syntax("ambiguous syntax (function call x new statement)")
		}
		p.advance()
		list := []ast.Expr{}
		if !p.is(")") {
			list = p.exprs()
		}
		p.match(")", "(", line)
		return list
	}
	p.syntax("function arguments expected")
	return nil
}
