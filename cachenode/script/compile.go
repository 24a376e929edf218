package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// chunkName is what Redis calls a script in its errors.
const chunkName = "user_script"

// compile makes a script ready to run. The error is in the words of Lua.
func compile(source, name string) (*lua.FunctionProto, error) {
	stmts, err := parse.Parse(strings.NewReader(source), name)
	if err != nil {
		return nil, err
	}
	joined(stmts)
	return lua.Compile(stmts, name)
}
