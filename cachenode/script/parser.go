package script

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// Limits of Lua 5.1 (luaconf.h).
const (
	maxLevels   = 195 // of nesting: LUAI_MAXCCALLS, less what Redis has on the stack
	maxLocals   = 200
	maxUpvalues = 60

	// maxChain bounds what Lua reads in a loop, and what makes the tree, which is walked by recursion, deeper here.
	maxChain = 4000

	// maxWords bounds the constants of a function, each of which the compiler looks for among those before.
	maxWords = 8192
)

// parser reads Lua 5.1 (reference manual, 8) into the interpreter's syntax tree. The interpreter's own parser takes more
// than Lua 5.1, nests without bound, and has its own words for what is wrong.
type parser struct {
	lexer
	tok      token
	ahead    *token
	lastLine int // of the token before tok
	level    int
	fn       *function
	names    *names
}

// function is a function being read.
type function struct {
	parent   *function
	line     int // 0 for the chunk
	varargs  bool
	locals   []string
	upvalues []string
	loops    int
	words    map[string]struct{} // names, strings and numbers: at least its constants
}

// parse reads a chunk. The error is in the words of Lua.
func parse(source, name string) (stmts []ast.Stmt, n *names, err error) {
	p := &parser{lexer: lexer{s: source, line: 1, name: name}, names: newNames()}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case syntaxError:
			err = fmt.Errorf("%s", string(e))
		default:
			panic(e)
		}
	}()
	p.fn = &function{varargs: true}
	p.tok = p.lexer.next()
	stmts = p.block()
	if p.tok.kind != tokEOF {
		p.expected(tokEOF)
	}
	return stmts, p.names, nil
}

func (p *parser) advance() {
	p.lastLine = p.tok.line
	if k := p.tok.kind; k == tokName || k == tokString || k == tokNumber {
		if p.fn.words == nil {
			p.fn.words = map[string]struct{}{}
		}
		if p.fn.words[p.tok.near] = struct{}{}; len(p.fn.words) > maxWords {
			p.fail("constant table overflow", "")
		}
	}
	if p.ahead != nil {
		p.tok, p.ahead = *p.ahead, nil
		return
	}
	p.tok = p.lexer.next()
}

func (p *parser) is(kind string) bool { return p.tok.kind == kind }

func (p *parser) accept(kind string) bool {
	if p.tok.kind != kind {
		return false
	}
	p.advance()
	return true
}

func (p *parser) syntax(message string) { p.fail(message, p.tok.near) }

func (p *parser) expected(kind string) { p.syntax("'" + kind + "' expected") }

func (p *parser) need(kind string) {
	if !p.accept(kind) {
		p.expected(kind)
	}
}

// match needs what closes something that was opened at line.
func (p *parser) match(what, who string, line int) {
	if p.accept(what) {
		return
	}
	if line == p.line {
		p.expected(what)
	}
	p.syntax("'" + what + "' expected (to close '" + who + "' at line " + strconv.Itoa(line) + ")")
}

func (p *parser) name() string {
	if p.tok.kind != tokName {
		p.expected(tokName)
	}
	s := p.tok.text
	p.advance()
	return s
}

func (p *parser) enter() {
	if p.level++; p.level > maxLevels {
		p.fail("chunk has too many syntax levels", "")
	}
}

func (p *parser) leave() { p.level-- }

func (p *parser) limit(n int, what string) {
	if p.fn.line == 0 {
		p.fail(fmt.Sprintf("main function has more than %d %s", n, what), "")
	}
	p.fail(fmt.Sprintf("function at line %d has more than %d %s", p.fn.line, n, what), "")
}

func (p *parser) declare(names ...string) {
	p.fn.locals = append(p.fn.locals, names...)
	if len(p.fn.locals) > maxLocals {
		p.limit(maxLocals, "local variables")
	}
}

// resolve tells what a name is here: local, upvalue or global.
func (p *parser) resolve(name string) string {
	if slices.Contains(p.fn.locals, name) {
		return "local"
	}
	if p.upvalue(p.fn, name) {
		return "upvalue"
	}
	return "global"
}

func (p *parser) upvalue(fn *function, name string) bool {
	if slices.Contains(fn.upvalues, name) {
		return true
	}
	if fn.parent == nil || !slices.Contains(fn.parent.locals, name) && !p.upvalue(fn.parent, name) {
		return false
	}
	if fn.upvalues = append(fn.upvalues, name); len(fn.upvalues) > maxUpvalues {
		p.fn = fn
		p.limit(maxUpvalues, "upvalues")
	}
	return true
}

func (p *parser) blockEnds() bool {
	switch p.tok.kind {
	case "else", "elseif", "end", "until", tokEOF:
		return true
	}
	return false
}

// block reads statements, whose locals end with them.
func (p *parser) block() []ast.Stmt {
	locals := len(p.fn.locals)
	stmts := p.statements()
	p.fn.locals = p.fn.locals[:locals]
	return stmts
}

func (p *parser) statements() []ast.Stmt {
	p.enter()
	defer p.leave()
	stmts := []ast.Stmt{}
	for !p.blockEnds() {
		stmt, last := p.statement()
		stmts = append(stmts, stmt)
		p.accept(";")
		if last {
			break
		}
	}
	return stmts
}

func (p *parser) statement() (s ast.Stmt, last bool) {
	line := p.tok.line
	switch p.tok.kind {
	case "if":
		s = p.ifStatement(line)
	case "while":
		p.advance()
		w := &ast.WhileStmt{Condition: p.expr()}
		p.need("do")
		w.Stmts = p.loop()
		p.match("end", "while", line)
		s = w
	case "do":
		p.advance()
		s = &ast.DoBlockStmt{Stmts: p.block()}
		p.match("end", "do", line)
	case "for":
		s = p.forStatement(line)
	case "repeat":
		p.advance()
		r := &ast.RepeatStmt{}
		locals := len(p.fn.locals)
		p.fn.loops++
		r.Stmts = p.statements()
		p.fn.loops--
		p.match("until", "repeat", line)
		r.Condition = p.expr() // which sees the locals of the body
		p.fn.locals = p.fn.locals[:locals]
		s = r
	case "function":
		s = p.functionStatement(line)
	case "local":
		p.advance()
		if p.accept("function") {
			name := p.name()
			p.declare(name)
			p.names.local[name] = true
			s = &ast.LocalAssignStmt{Names: []string{name}, Exprs: []ast.Expr{p.body(line, false)}}
		} else {
			s = p.local()
		}
	case "return":
		p.advance()
		r := &ast.ReturnStmt{}
		if !p.blockEnds() && !p.is(";") {
			r.Exprs = p.exprs()
		}
		s, last = r, true
	case "break":
		p.advance()
		if p.fn.loops == 0 {
			p.syntax("no loop to break")
		}
		s, last = &ast.BreakStmt{}, true
	default:
		s = p.exprStatement()
	}
	s.SetLine(line)
	s.SetLastLine(p.lastLine)
	return s, last
}

func (p *parser) loop() []ast.Stmt {
	p.fn.loops++
	stmts := p.block()
	p.fn.loops--
	return stmts
}

func (p *parser) ifStatement(line int) ast.Stmt {
	p.advance()
	first := &ast.IfStmt{Condition: p.expr()}
	p.need("then")
	first.Then = p.block()
	current := first
	for branches := 0; ; branches++ {
		if branches > maxChain {
			p.fail("function or expression too complex", "")
		}
		at := p.tok.line
		if p.accept("elseif") {
			more := &ast.IfStmt{Condition: p.expr()}
			p.need("then")
			more.Then = p.block()
			more.SetLine(at)
			more.SetLastLine(p.lastLine)
			current.Else = []ast.Stmt{more}
			current = more
			continue
		}
		if p.accept("else") {
			current.Else = p.block()
		}
		p.match("end", "if", line)
		return first
	}
}

func (p *parser) forStatement(line int) ast.Stmt {
	p.advance()
	name := p.name()
	locals := len(p.fn.locals)
	defer func() { p.fn.locals = p.fn.locals[:locals] }()
	switch {
	case p.accept("="):
		f := &ast.NumberForStmt{Name: name, Init: p.expr()}
		p.need(",")
		f.Limit = p.expr()
		if p.accept(",") {
			f.Step = p.expr()
		}
		p.need("do")
		p.declare("(for index)", "(for limit)", "(for step)", name)
		f.Stmts = p.loop()
		p.match("end", "for", line)
		return f
	case p.is(",") || p.is("in"):
		f := &ast.GenericForStmt{Names: []string{name}}
		for p.accept(",") {
			f.Names = append(f.Names, p.name())
		}
		p.need("in")
		f.Exprs = p.exprs()
		p.need("do")
		p.declare("(for generator)", "(for state)", "(for control)")
		p.declare(f.Names...)
		f.Stmts = p.loop()
		p.match("end", "for", line)
		return f
	}
	p.syntax("'=' or 'in' expected")
	return nil
}

func (p *parser) functionStatement(line int) ast.Stmt {
	p.advance()
	at := p.tok.line
	first := p.name()
	target := ast.Expr(p.ident(first, at))
	for p.is(".") {
		p.advance()
		target = p.index(target, p.key())
	}
	f := &ast.FuncDefStmt{Name: &ast.FuncName{Func: target}}
	if p.accept(":") {
		f.Name = &ast.FuncName{Receiver: target, Method: p.name()}
	}
	f.Func = p.body(line, f.Name.Method != "")
	return f
}

func (p *parser) local() ast.Stmt {
	s := &ast.LocalAssignStmt{Names: []string{p.name()}, Exprs: []ast.Expr{}}
	for p.accept(",") {
		s.Names = append(s.Names, p.name())
	}
	if p.accept("=") {
		s.Exprs = p.exprs()
		if fn, ok := s.Exprs[0].(*ast.FunctionExpr); ok && len(s.Exprs) == 1 && len(s.Names) == 1 {
			// The interpreter takes this for "local function", in which the function sees itself.
			no := &ast.FalseExpr{}
			no.SetLine(fn.Line())
			or := &ast.LogicalOpExpr{Operator: "or", Lhs: no, Rhs: fn}
			or.SetLine(fn.Line())
			s.Exprs[0] = or
		}
	}
	p.declare(s.Names...)
	return s
}

func (p *parser) exprStatement() ast.Stmt {
	first := p.primary()
	if call, ok := first.(*ast.FuncCallExpr); ok {
		if call.AdjustRet {
			p.syntax("syntax error")
		}
		return &ast.FuncCallStmt{Expr: call}
	}
	s := &ast.AssignStmt{Lhs: []ast.Expr{first}}
	p.assignable(first)
	for p.accept(",") {
		target := p.primary()
		p.assignable(target)
		if s.Lhs = append(s.Lhs, target); len(s.Lhs) > maxLevels {
			p.limit(maxLevels, "variables in assignment")
		}
	}
	p.need("=")
	s.Rhs = p.exprs()
	return s
}

func (p *parser) assignable(e ast.Expr) {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if !p.names.inParens[e] {
			return
		}
	case *ast.AttrGetExpr:
		if !p.names.inParens[e] {
			return
		}
	}
	p.syntax("syntax error")
}

// body reads parameters and block of a function.
func (p *parser) body(line int, method bool) *ast.FunctionExpr {
	p.fn = &function{parent: p.fn, line: line}
	f := &ast.FunctionExpr{ParList: &ast.ParList{Names: []string{}}}
	if method {
		p.declare("self")
	}
	p.need("(")
	for !p.is(")") {
		if p.accept("...") {
			f.ParList.HasVargs, p.fn.varargs = true, true
			break
		}
		if p.tok.kind != tokName {
			p.syntax("<name> or '...' expected")
		}
		f.ParList.Names = append(f.ParList.Names, p.name())
		if !p.accept(",") {
			break
		}
		if !p.is(tokName) && !p.is("...") {
			p.syntax("<name> or '...' expected")
		}
	}
	p.declare(f.ParList.Names...)
	if f.ParList.HasVargs {
		p.declare("arg")
	}
	p.need(")")
	f.Stmts = p.block()
	f.SetLine(line)
	f.SetLastLine(p.tok.line)
	p.match("end", "function", line)
	p.fn = p.fn.parent
	return f
}

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
