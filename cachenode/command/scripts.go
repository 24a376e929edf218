package command

// Scripts runs EVAL and its kind. It is called with the row of the command in c.Spec, and takes what locks it needs by
// c.Together, unless c.Atomic says that somebody holds them.
type Scripts interface {
	Run(c *Context)
}

// Spec is the row of the command that runs.
func (c *Context) Spec() *Spec { return c.spec }

// Atomic tells whether the command runs inside Together: as one with others.
func (c *Context) Atomic() bool { return c.together }

func runScript(c *Context) {
	if c.Scripts == nil {
		c.fail("ERR this node runs no scripts")
		return
	}
	c.Scripts.Run(c)
}

// anyKey says that a script may touch keys that it does not name.
func anyKey(*Context) bool { return true }

// Runs tells whether the command can be called in Together, and so by a script.
func (s *Spec) Runs() bool { return s.run != nil && !s.Composite() }

// scriptKeys finds the keys that are counted by argument 2.
func scriptKeys(args [][]byte, at []int) []int {
	if len(args) < 4 {
		return at
	}
	return keysCounted(args, 2, at)
}

// scriptSpecs are the rows of scripts.
func scriptSpecs() []Spec {
	return []Spec{
		{Name: "eval", Arity: -3, Flags: Write, keys: scriptKeys, self: runScript, wide: anyKey, Group: "scripting", Since: "2.6.0",
			Help: "Executes a server-side Lua script"},
		{Name: "evalsha", Arity: -3, Flags: Write, keys: scriptKeys, self: runScript, wide: anyKey, Group: "scripting", Since: "2.6.0",
			Help: "Executes a server-side Lua script by SHA1 digest"},
		{Name: "eval_ro", Arity: -3, Flags: ReadOnly, keys: scriptKeys, self: runScript, wide: anyKey, Group: "scripting", Since: "7.0.0",
			Help: "Executes a read-only server-side Lua script"},
		{Name: "evalsha_ro", Arity: -3, Flags: ReadOnly, keys: scriptKeys, self: runScript, wide: anyKey, Group: "scripting", Since: "7.0.0",
			Help: "Executes a read-only server-side Lua script by SHA1 digest"},
		{Name: "script", Arity: -2, Scope: Everywhere, Merge: FirstOK, self: runScript, Group: "scripting", Since: "2.6.0",
			Help: "A container for Lua scripts management commands"},
	}
}
