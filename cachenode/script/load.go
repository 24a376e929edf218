package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func (m *machine) loadstring(L *lua.LState) int {
	source := needString(L, "loadstring", 1)
	name := source
	if L.Get(2) != lua.LNil {
		name = needString(L, "loadstring", 2)
	}
	return m.loaded(L, source, chunkID(name))
}

func (m *machine) load(L *lua.LState) int {
	fn, ok := L.Get(1).(*lua.LFunction)
	if !ok {
		badType(L, "load", 1, "function")
	}
	name := "=(load)"
	if L.Get(2) != lua.LNil {
		name = needString(L, "load", 2)
	}
	var source strings.Builder
	for {
		L.Push(fn)
		L.Call(0, 1)
		piece := L.Get(-1)
		L.Pop(1)
		s, ok := text(piece)
		if piece == lua.LNil || ok && s == "" {
			return m.loaded(L, source.String(), chunkID(name))
		}
		if !ok {
			fail(L, "reader function must return a string")
		}
		if !m.guard.charge(len(s) + source.Len()) {
			fail(L, errNoMemory)
		}
		source.WriteString(s)
	}
}

func (m *machine) loaded(L *lua.LState, source, name string) int {
	if len(source) > maxSource {
		fail(L, errNoMemory)
	}
	proto, _, err := compile(source, name)
	if err != nil {
		L.Push(lua.LNil)
		L.Push(lua.LString(err.Error()))
		return 2
	}
	fn := L.NewFunctionFromProto(proto)
	fn.Env = m.env
	L.Push(fn)
	return 1
}

// chunkID is how Lua's luaO_chunkid shows the name of a chunk.
func chunkID(name string) string {
	const size = 60
	switch {
	case strings.HasPrefix(name, "=") || strings.HasPrefix(name, "@"):
		return name[1:min(len(name), size)]
	}
	line, _, more := strings.Cut(name, "\n")
	room := size - len(`[string "..."]`) - 1
	if more || len(line) > room {
		return `[string "` + line[:min(len(line), room)] + `..."]`
	}
	return `[string "` + line + `"]`
}

// pcall also turns the tables of Redis's errors into their texts.
func (m *machine) pcall(L *lua.LState) int {
	if !callable(L, L.Get(1)) {
		L.Push(lua.LFalse)
		L.Push(lua.LString("attempt to call a " + typeName(L, 1) + " value"))
		return 2
	}
	if err := m.protected(L, L.GetTop()-1); err != nil {
		L.Push(lua.LFalse)
		L.Push(errorText(m.errorValue(err)))
		return 2
	}
	L.Insert(lua.LTrue, 1)
	return L.GetTop()
}

func callable(L *lua.LState, v lua.LValue) bool {
	_, ok := v.(*lua.LFunction)
	return ok || L.GetMetaField(v, "__call") != lua.LNil
}

// protected calls the function under nargs arguments on the stack, in whose place its results come. It runs in a thread of
// its own: the interpreter's error handling detaches all closures of a thread from the locals that they share with functions
// that go on.
func (m *machine) protected(L *lua.LState, nargs int) error {
	if m.nest >= maxNest {
		return &lua.ApiError{Type: lua.ApiErrorRun, Object: lua.LString("C stack overflow")}
	}
	var th *lua.LState
	if m.nest == 0 && m.spare != nil {
		th, m.spare = m.spare, nil
	} else {
		// The deeper, the smaller: the stack of Go grows with all of them.
		th = m.thread(L, max(maxCalls>>m.nest, minCalls))
	}
	current := L.G.CurrentThread
	L.XMoveTo(th, nargs+1)
	m.nest++
	err := th.PCall(nargs, lua.MultRet, nil)
	m.nest--
	L.G.CurrentThread = current
	if err != nil {
		return err // its stacks may be of any size: it goes
	}
	th.XMoveTo(L, th.GetTop())
	if m.nest == 0 {
		m.spare = th
	}
	return nil
}

// thread makes a thread of so many frames, which the guard watches. Made with a context it would start a goroutine.
func (m *machine) thread(L *lua.LState, frames int) *lua.LState {
	m.room(L, 16<<10)
	L.RemoveContext()
	L.Options.CallStackSize = frames
	th, _ := L.NewThread()
	L.Options.CallStackSize = maxCalls
	L.SetContext(m.guard)
	th.SetContext(m.guard)
	return th
}

// errorText is the text of an error table, any other value as it is.
func errorText(v lua.LValue) lua.LValue {
	if t, ok := v.(*lua.LTable); ok {
		if s, ok := t.RawGetString("err").(lua.LString); ok {
			return s
		}
	}
	return v
}

func (m *machine) xpcall(L *lua.LState) int {
	fn := needAny(L, "xpcall", 1)
	handler := needAny(L, "xpcall", 2)
	L.SetTop(0)
	L.Push(fn)
	if err := m.protected(L, 0); err != nil {
		L.SetTop(0)
		L.Push(handler)
		L.Push(m.errorValue(err))
		L.Call(1, 1)
		L.Insert(lua.LFalse, 1)
		return 2
	}
	L.Insert(lua.LTrue, 1)
	return L.GetTop()
}

// errorValue is what a failed call has raised, the interpreter's own messages in the words of Lua.
func (m *machine) errorValue(err error) lua.LValue {
	api, ok := err.(*lua.ApiError)
	if !ok {
		return lua.LString(err.Error())
	}
	if s, ok := api.Object.(lua.LString); ok {
		return lua.LString(m.translate(string(s)))
	}
	return api.Object
}
