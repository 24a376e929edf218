package script

import (
	"errors"
	"fmt"

	lua "github.com/yuin/gopher-lua"
)

// chunkName is what Redis calls a script in its errors.
const chunkName = "user_script"

// compile makes a script ready to run. The error is in the words of Lua.
func compile(source, name string) (proto *lua.FunctionProto, n *names, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: function or expression too complex (%v)", name, r)
		}
	}()
	stmts, n, err := parse(source, name)
	if err != nil {
		return nil, nil, err
	}
	joined(stmts)
	if proto, err = lua.Compile(stmts, name); err != nil {
		var e *lua.CompileError
		if errors.As(err, &e) {
			err = fmt.Errorf("%s:%d: %s", name, e.Line, e.Message)
		}
		return nil, nil, err
	}
	n.known, n.inParens, n.local = nil, nil, nil
	return proto, n, nil
}
