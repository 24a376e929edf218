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
