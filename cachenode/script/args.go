package script

import (
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

// position is where the function that called the running Go function stands, as Lua's luaL_where says it.
func position(L *lua.LState, level int) string {
	dbg, ok := L.GetStack(level)
	if !ok {
		return ""
	}
	if _, err := L.GetInfo("Sl", dbg, lua.LNil); err != nil || dbg.Source == "" || dbg.CurrentLine <= 0 {
		return ""
	}
	return dbg.Source + ":" + strconv.Itoa(dbg.CurrentLine) + ": "
}

// fail raises an error in the words of luaL_error.
func fail(L *lua.LState, message string) {
	L.Error(lua.LString(position(L, 1)+message), 0)
}

// badArg raises what luaL_argerror does. The function is named as it was called; name is what to call it where nothing is
// known of that.
func badArg(L *lua.LState, name string, n int, message string) {
	if dbg, ok := L.GetStack(0); ok {
		if _, err := L.GetInfo("n", dbg, lua.LNil); err == nil {
			if name = dbg.Name; name == "(anonymous)" || name == "main chunk" || name == "corountine" {
				name = "?"
			}
		}
	}
	if m, ok := L.G.Registry.RawGetString(machineKey).(*lua.LUserData).Value.(*machine); ok && m.siteOf(position(L, 1)).isMethod(name) {
		if n--; n == 0 {
			fail(L, "calling '"+name+"' on bad self ("+message+")")
		}
	}
	fail(L, "bad argument #"+strconv.Itoa(n)+" to '"+name+"' ("+message+")")
}

// machineKey is where the interpreter's registry has its machine.
const machineKey = "machine"

func typeName(L *lua.LState, n int) string {
	if n > L.GetTop() {
		return "no value"
	}
	return L.Get(n).Type().String()
}

func badType(L *lua.LState, name string, n int, want string) {
	badArg(L, name, n, want+" expected, got "+typeName(L, n))
}

func needString(L *lua.LState, name string, n int) string {
	s, ok := text(L.Get(n))
	if !ok {
		badType(L, name, n, "string")
	}
	return s
}

func needNumber(L *lua.LState, name string, n int) float64 {
	f, ok := number(L.Get(n))
	if !ok {
		badType(L, name, n, "number")
	}
	return f
}

func needInt(L *lua.LState, name string, n int) int64 { return toInt(needNumber(L, name, n)) }

func optInt(L *lua.LState, name string, n int, otherwise int64) int64 {
	if L.Get(n) == lua.LNil {
		return otherwise
	}
	return needInt(L, name, n)
}

func needTable(L *lua.LState, name string, n int) *lua.LTable {
	t, ok := L.Get(n).(*lua.LTable)
	if !ok {
		badType(L, name, n, "table")
	}
	return t
}

func needAny(L *lua.LState, name string, n int) lua.LValue {
	if n > L.GetTop() {
		badArg(L, name, n, "value expected")
	}
	return L.Get(n)
}
