package script

import (
	"math/rand/v2"
	"strings"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxCalls       = 16000   // frames of the call stack
	minCalls       = 200     // of one deep inside protected calls
	coroutineCalls = 800     // of a coroutine
	maxSlots       = 1 << 18 // of the data stack
	maxNest        = 190     // protected calls and coroutines inside each other

	// maxSource bounds a script's text: what compiles it takes many times as much.
	maxSource = 512 << 10
)

// machine is one interpreter with what scripts see of it. Owned by a runner.
type machine struct {
	r     *Runner
	guard *guard
	L     *lua.LState

	env     *lua.LTable // what scripts have as _G
	globals *lua.LTable // its fields
	// real leads from a protected table, which is an empty shell, to its fields, and shells back.
	real, shells map[*lua.LTable]*lua.LTable

	envMeta    *lua.LTable // what scripts see as the metatable of _G
	stringMeta *lua.LTable
	nextFn     *lua.LFunction
	inextFn    *lua.LFunction
	handler    *lua.LFunction
	errReadFn  *lua.LFunction
	null       *lua.LUserData // cjson.null
	names      *names         // of the script that runs
	random     uint64
	nest       int
	spare      *lua.LState // a thread for protected
}

func newMachine(r *Runner) *machine {
	L := lua.NewState(lua.Options{
		CallStackSize: maxCalls, RegistrySize: 1 << 9, RegistryMaxSize: maxSlots, RegistryGrowStep: 1 << 10,
		SkipOpenLibs: true, MinimizeStackMemory: true,
	})
	m := &machine{r: r, guard: r.guard, L: L, real: map[*lua.LTable]*lua.LTable{}, shells: map[*lua.LTable]*lua.LTable{}}
	own := L.NewUserData()
	own.Value = m
	L.G.Registry.RawSetString(machineKey, own)
	m.globals = L.NewTable()
	for _, open := range []lua.LGFunction{lua.OpenTable, lua.OpenMath, lua.OpenCoroutine} {
		L.Push(L.NewFunction(open))
		L.Call(0, 0)
	}
	m.errReadFn = L.NewFunction(func(L *lua.LState) int {
		fail(L, errReadOnly)
		return 0
	})
	m.nextFn, m.inextFn = L.NewFunction(m.next), L.NewFunction(m.inext)
	m.handler = L.NewFunction(m.errorHandler)
	m.null = L.NewUserData()

	m.env = m.protect(m.globals)
	missing := L.NewTable()
	missing.RawSetString("__index", L.NewFunction(func(L *lua.LState) int {
		name, ok := text(L.Get(2))
		if !ok {
			name = L.Get(2).Type().String()
		}
		fail(L, "Script attempted to access nonexistent global variable '"+name+"'")
		return 0
	}))
	m.globals.Metatable = missing
	m.envMeta = m.protect(L.NewTable())

	for name, fn := range m.base() {
		if name == concatName {
			m.env.RawSetString(name, L.NewFunction(fn))
		} else {
			m.globals.RawSetString(name, L.NewFunction(fn))
		}
	}
	m.globals.RawSetString("next", m.nextFn)
	m.globals.RawSetString("_G", m.env)
	m.globals.RawSetString("_VERSION", lua.LString("Lua 5.1"))
	m.globals.RawSetString("__redis__err__handler", m.handler)
	m.library("string", m.strings(), nil)
	m.library("table", m.tables(), L.GetGlobal("table").(*lua.LTable))
	m.library("math", m.maths(), L.GetGlobal("math").(*lua.LTable))
	m.library("coroutine", m.coroutines(L.GetGlobal("coroutine").(*lua.LTable)), nil)
	m.library("bit", m.bits(), nil)
	m.library("struct", m.structs(), nil)
	m.library("cmsgpack", m.msgpack(), nil)
	m.library("cjson", m.json(), nil)
	m.library("redis", m.redis(), nil)

	meta := L.NewTable()
	meta.RawSetString("__index", m.globals.RawGetString("string"))
	L.SetMetatable(lua.LString(""), meta)
	m.stringMeta = m.protect(meta)
	L.SetContext(r.guard)
	m.seed(rand.Uint32())
	return m
}

// protect gives a shell of t that cannot be changed.
func (m *machine) protect(t *lua.LTable) *lua.LTable {
	shell, meta := m.L.NewTable(), m.L.NewTable()
	meta.RawSetString("__index", t)
	meta.RawSetString("__newindex", m.errReadFn)
	shell.Metatable = meta
	m.real[shell], m.shells[t] = t, shell
	return shell
}

// fields are the members of a library.
type fields map[string]any // lua.LGFunction, or a lua.LValue

// library makes a protected global table. Functions of the interpreter's own library stay where fields has none, in place
// of a nil.
func (m *machine) library(name string, f fields, own *lua.LTable) {
	t := m.L.NewTable()
	for k, v := range f {
		switch v := v.(type) {
		case func(*lua.LState) int:
			t.RawSetString(k, m.L.NewFunction(v))
		case lua.LGFunction:
			t.RawSetString(k, m.L.NewFunction(v))
		case lua.LValue:
			t.RawSetString(k, v)
		case nil:
			t.RawSetString(k, own.RawGetString(k))
		}
	}
	m.globals.RawSetString(name, m.protect(t))
}

// coroutines are those of the interpreter, bounded.
func (m *machine) coroutines(own *lua.LTable) fields {
	function := func(name string) lua.LGFunction { return own.RawGetString(name).(*lua.LFunction).GFunction }
	create, resume := function("create"), function("resume")
	made := func(L *lua.LState, name string) int {
		if fn, ok := L.Get(1).(*lua.LFunction); !ok || fn.IsG {
			badArg(L, name, 1, "Lua function expected")
		}
		m.room(L, 32<<10)
		// As in thread, which cannot start a function that yields.
		L.RemoveContext()
		L.Options.CallStackSize = coroutineCalls
		n := create(L)
		L.Options.CallStackSize = maxCalls
		L.SetContext(m.guard)
		L.Get(-1).(*lua.LState).SetContext(m.guard)
		return n
	}
	bounded := func(L *lua.LState) int {
		if _, ok := L.Get(1).(*lua.LState); !ok {
			badArg(L, "resume", 1, "coroutine expected")
		}
		if m.nest >= maxNest {
			fail(L, "C stack overflow")
		}
		m.nest++
		defer func() { m.nest-- }()
		n := resume(L)
		if n == 2 && L.Get(-2) == lua.LFalse {
			if s, ok := L.Get(-1).(lua.LString); ok {
				L.Pop(1)
				message := m.translate(string(s))
				switch message {
				case "can not resume a dead thread":
					message = "cannot resume dead coroutine"
				case "can not resume a running thread":
					message = "cannot resume running coroutine"
				}
				L.Push(lua.LString(message))
			}
		}
		return n
	}
	return fields{
		"create": func(L *lua.LState) int { return made(L, "create") },
		"resume": bounded,
		"wrap": func(L *lua.LState) int {
			made(L, "wrap")
			thread := L.Get(-1)
			L.Push(L.NewFunction(func(L *lua.LState) int {
				L.Insert(thread, 1)
				n := bounded(L)
				if L.Get(-n) == lua.LFalse {
					if s, ok := text(L.Get(-1)); ok {
						fail(L, s)
					}
					L.Error(L.Get(-1), 0)
				}
				return n - 1
			}))
			return 1
		},
		"running": func(L *lua.LState) int {
			if L.G.CurrentThread == L.G.MainThread {
				L.Push(lua.LNil)
			} else {
				L.Push(L.G.CurrentThread)
			}
			return 1
		},
		"status": own.RawGetString("status"), "yield": own.RawGetString("yield"),
	}
}

// errorHandler turns whatever was raised into a table that says where.
func (m *machine) errorHandler(L *lua.LState) int {
	v := L.Get(1)
	t, ok := v.(*lua.LTable)
	if !ok || m.real[t] != nil {
		t = L.NewTable()
		message := ""
		if s, ok := text(v); ok {
			message = m.translate(s)
		} else {
			message = v.String()
		}
		t.RawSetString("err", lua.LString("ERR "+message))
	}
	for level := 1; level <= 2; level++ {
		dbg, ok := L.GetStack(level)
		if !ok {
			break
		}
		if _, err := L.GetInfo("Sl", dbg, lua.LNil); err == nil && dbg.Source != "" {
			source := "@" + dbg.Source
			if text, ok := strings.CutPrefix(dbg.Source, `[string "`); ok {
				source = strings.TrimSuffix(text, `"]`)
			}
			t.RawSetString("source", lua.LString(source))
			t.RawSetString("line", lua.LNumber(dbg.CurrentLine))
			break
		}
		if level == 2 {
			t.RawSetString("source", lua.LString("=[C]"))
			t.RawSetString("line", lua.LNumber(-1))
		}
	}
	L.Push(t)
	return 1
}

// frozen makes a string of bytes that do not change any more.
func frozen(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf gives the bytes of a string, which must not be changed.
func bytesOf(s string) []byte {
	if s == "" {
		return []byte{} // not nil, which commands take for something that was not given
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
