package script

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"log/slog"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// What redis.call refuses, in the words of Redis.
const (
	errNoArgs     = "Please specify at least one argument for this redis lib call"
	errArgTypes   = "Lua redis lib command arguments must be strings or integers"
	errUnknown    = "Unknown Redis command called from script"
	errArity      = "Wrong number of args calling Redis command from script"
	errNotAllowed = "This Redis command is not allowed from script"
	errReadScript = "Write commands are not allowed from read-only scripts."
	errEverywhere = "This Redis command asks every node for its keys, which a script cannot do in a cluster"
	errForeignKey = "Script attempted to access a key that another node holds: name its keys, with a common {hash tag}"
)

// notInScripts are the commands that could be called and must not be: they wait. BLMPOP and BZMPOP may: they do not wait there.
var notInScripts = map[string]bool{
	"blpop": true, "brpop": true, "brpoplpush": true, "blmove": true, "bzpopmin": true, "bzpopmax": true,
	"wait": true, "multi": true, "exec": true, "discard": true, "watch": true, "unwatch": true, "config": true, "client": true, "debug": true, "monitor": true,
}

func (m *machine) redis() fields {
	return fields{
		"call":         func(L *lua.LState) int { return m.call(L, true) },
		"pcall":        func(L *lua.LState) int { return m.call(L, false) },
		"error_reply":  func(L *lua.LState) int { return m.statusTable(L, "err") },
		"status_reply": func(L *lua.LState) int { return m.statusTable(L, "ok") },
		"sha1hex":      m.sha1hex, "log": m.log, "setresp": m.setresp,
		"replicate_commands": func(L *lua.LState) int { L.Push(lua.LTrue); return 1 },
		"set_repl":           m.setRepl, "acl_check_cmd": m.aclCheck,
		"breakpoint": func(L *lua.LState) int { L.Push(lua.LFalse); return 1 },
		"debug":      func(L *lua.LState) int { return 0 },
		"LOG_DEBUG":  lua.LNumber(0), "LOG_VERBOSE": lua.LNumber(1), "LOG_NOTICE": lua.LNumber(2), "LOG_WARNING": lua.LNumber(3),
		"REPL_NONE": lua.LNumber(0), "REPL_AOF": lua.LNumber(1), "REPL_SLAVE": lua.LNumber(2), "REPL_REPLICA": lua.LNumber(2), "REPL_ALL": lua.LNumber(3),
		"REDIS_VERSION": lua.LString(m.r.e.cfg.RedisVersion), "REDIS_VERSION_NUM": lua.LNumber(versionNumber(m.r.e.cfg.RedisVersion)),
	}
}

func versionNumber(v string) int {
	n := 0
	for part := range strings.SplitSeq(v, ".") {
		k, _ := strconv.Atoi(part)
		n = n<<8 | k
	}
	return n
}

// errorTable is what redis.call raises and redis.pcall returns. A message without "-" gets the code ERR.
func (m *machine) errorTable(message string) *lua.LTable {
	if code, ok := strings.CutPrefix(message, "-"); ok {
		message = code
	} else {
		message = "ERR " + message
	}
	t := m.single("err", strings.TrimRight(message, "\r\n"))
	t.RawSetString("ignore_error_stats_update", lua.LTrue)
	return t
}

// call runs a command: redis.call, and redis.pcall where it does not raise.
func (m *machine) call(L *lua.LState, raise bool) int {
	v := m.invoke(L)
	if t, ok := v.(*lua.LTable); ok && raise && t.RawGetString("err") != lua.LNil {
		L.Error(t, 0)
	}
	L.Push(v)
	return 1
}

func (m *machine) invoke(L *lua.LState) lua.LValue {
	n := L.GetTop()
	if n == 0 {
		return m.errorTable(errNoArgs)
	}
	r := m.r
	args := r.args[:0]
	for i := 1; i <= n; i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			args = append(args, bytesOf(string(v)))
		case lua.LNumber:
			args = append(args, appendArgument(nil, float64(v)))
		default:
			return m.errorTable(errArgTypes)
		}
	}
	r.args = args
	spec := r.e.cfg.Table.Lookup(args[0])
	if spec == nil || spec.Resolve(args) == nil {
		if notInScripts[strings.ToLower(string(args[0]))] {
			return m.errorTable(errNotAllowed)
		}
		return m.errorTable(errUnknown)
	}
	if !spec.Resolve(args).ArityOK(n) {
		return m.errorTable(errArity)
	}
	c := r.c
	if c.Permit != nil {
		if problem := c.Permit(spec, args); problem != "" {
			return m.errorTable("-ERR " + problem)
		}
	}
	if v, ok := m.inSession(spec, args); ok {
		return v
	}
	if !spec.Runs() || notInScripts[spec.Name] {
		return m.errorTable(errNotAllowed)
	}
	if c.Peers && spec.AllKeys() {
		return m.errorTable(errEverywhere)
	}
	if spec.Flags&command.Write != 0 {
		if r.readOnly {
			return m.errorTable(errReadScript)
		}
		m.guard.noteWrite()
	}
	out, proto := c.Out, c.Proto
	c.Out, c.Proto = r.buf[:0], r.proto
	c.Scripted = true
	held := c.Call(spec, args)
	c.Scripted = false
	r.buf, c.Out, c.Proto = c.Out, out, proto
	if !held {
		return m.errorTable(errForeignKey)
	}
	reply := r.buf
	if cap(reply) > 1<<20 {
		r.buf = nil // also when the script ends here
	}
	if len(reply) > 1<<10 && !m.guard.charge(2*len(reply)) {
		fail(L, errNoMemory)
	}
	v, _ := m.toLua(reply)
	return v
}

// inSession answers what a session answers itself and a script may ask.
func (m *machine) inSession(spec *command.Spec, args [][]byte) (v lua.LValue, ok bool) {
	switch spec.Name {
	case "ping":
		if len(args) > 2 {
			return m.errorTable("-ERR wrong number of arguments for 'ping' command"), true
		}
		if len(args) == 2 {
			return lua.LString(args[1]), true
		}
		return m.single("ok", "PONG"), true
	case "echo":
		return lua.LString(args[1]), true
	case "publish", "spublish":
		switch {
		case m.r.readOnly:
			return m.errorTable(errReadScript), true
		case m.r.c.Publish == nil:
			return m.errorTable(errNotAllowed), true
		}
		return lua.LNumber(m.r.c.Publish(spec.Name == "spublish", args[1], args[2])), true
	case "select":
		db, isInt := resp.ParseInt(args[1])
		if !isInt {
			return m.errorTable("-ERR value is not an integer or out of range"), true
		}
		if db < math.MinInt32 || db > math.MaxInt32 {
			return m.errorTable("-ERR value is out of range, value must between -2147483648 and 2147483647"), true
		}
		if db < 0 || db >= databases {
			return m.errorTable("-ERR DB index is out of range"), true
		}
		m.r.c.DB = int(db)
		return m.single("ok", "OK"), true
	}
	return nil, false
}

// appendArgument appends a number as redis.call passes it to a command.
func appendArgument(b []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 && (f != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(b, int64(f), 10)
	}
	return appendFloat(b, f, 17)
}

func (m *machine) statusTable(L *lua.LState, field string) int {
	s, ok := L.Get(1).(lua.LString)
	if L.GetTop() != 1 || !ok {
		L.Push(m.errorTable("wrong number or type of arguments"))
		return 1
	}
	message := string(s)
	if field == "err" {
		// Redis takes what has no blank for a message without a code.
		if code, ok := strings.CutPrefix(message, "-"); ok {
			message = code
		}
		if !strings.Contains(message, " ") {
			message = "ERR " + message
		}
	}
	L.Push(m.single(field, message))
	return 1
}

func (m *machine) raise(L *lua.LState, message string) { L.Error(m.errorTable(message), 0) }

func (m *machine) sha1hex(L *lua.LState) int {
	if L.GetTop() != 1 {
		m.raise(L, "wrong number of arguments")
	}
	s, _ := text(L.Get(1))
	L.Push(lua.LString(sha(s)))
	return 1
}

func sha(s string) string {
	sum := sha1.Sum(bytesOf(s))
	return hex.EncodeToString(sum[:])
}

func (m *machine) log(L *lua.LState) int {
	if L.GetTop() < 2 {
		m.raise(L, "redis.log() requires two arguments or more.")
	}
	level, ok := L.Get(1).(lua.LNumber)
	if !ok {
		m.raise(L, "First argument must be a number (log level).")
	}
	if level < 0 || level > 3 {
		m.raise(L, "Invalid debug level.")
	}
	if m.r.logged >= maxLogs {
		return 0 // a loop must not fill the disk
	}
	m.r.logged++
	var words []string
	for i := 2; i <= L.GetTop(); i++ {
		if s, ok := text(L.Get(i)); ok {
			words = append(words, s[:min(len(s), 1024)])
		}
	}
	at := [...]slog.Level{slog.LevelDebug, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn}[int(level)]
	m.r.e.cfg.Logger.Log(context.Background(), at, "script says", "message", strings.Join(words, " "))
	return 0
}

func (m *machine) setresp(L *lua.LState) int {
	if L.GetTop() != 1 {
		m.raise(L, "redis.setresp() requires one argument.")
	}
	v, ok := number(L.Get(1))
	if !ok || v != 2 && v != 3 {
		m.raise(L, "RESP version must be 2 or 3.")
	}
	m.r.proto = int(v)
	return 0
}

// setRepl has no effect: what has changed is replicated, not what was called.
func (m *machine) setRepl(L *lua.LState) int {
	if L.GetTop() != 1 {
		m.raise(L, "redis.set_repl() requires two arguments.")
	}
	if v, _ := number(L.Get(1)); toInt(v)&^3 != 0 {
		m.raise(L, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
	}
	return 0
}

func (m *machine) aclCheck(L *lua.LState) int {
	if L.GetTop() == 0 {
		m.raise(L, errNoArgs)
	}
	name, ok := text(L.Get(1))
	if !ok {
		m.raise(L, errArgTypes)
	}
	spec := m.r.e.cfg.Table.Lookup([]byte(name))
	if spec == nil {
		m.raise(L, "Invalid command passed to redis.acl_check_cmd()")
	}
	args := make([][]byte, L.GetTop())
	for i := range args {
		arg, ok := text(L.Get(i + 1))
		if !ok {
			m.raise(L, errArgTypes)
		}
		args[i] = []byte(arg)
	}
	permit := m.r.c.Permit
	L.Push(lua.LBool(permit == nil || permit(spec, args) == ""))
	return 1
}
