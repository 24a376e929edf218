package script

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	databases = store.Databases
	maxLogs   = 100 // lines that one script may log
)

// Config of an Engine. Zero fields mean the defaults that the comments name.
type Config struct {
	Table *command.Table // needed
	// TimeLimit ends a script that runs longer; 5 s.
	TimeLimit time.Duration
	// MaxMemory is how many bytes a script may need for its values; 128 MiB.
	MaxMemory int64
	// MaxScripts and MaxScriptBytes bound the cache of compiled scripts; 2,000 and 4 MiB of source.
	MaxScripts     int
	MaxScriptBytes int
	// RedisVersion is what redis.REDIS_VERSION says; 7.0.15.
	RedisVersion string
	// Charge is told of the bytes that cached scripts take, and of those given back as negative ones; nil: nobody is.
	Charge func(bytes int64)
	Logger *slog.Logger // of redis.log; discards
}

// Engine holds what the scripts of all loops share.
type Engine struct {
	cfg       Config
	scripts   *cache
	timeLimit atomic.Int64 // nanoseconds

	mu      sync.Mutex
	runners []*Runner
}

// sparse bounds the gap that an assignment to t[i] fills, for which the interpreter has only a setting of the process.
var sparse = sync.OnceFunc(func() { lua.MaxArrayIndex = 4 << 20 })

// New makes an Engine without any script.
func New(cfg Config) *Engine {
	sparse()
	if cfg.TimeLimit == 0 {
		cfg.TimeLimit = 5 * time.Second
	}
	if cfg.MaxMemory == 0 {
		cfg.MaxMemory = 128 << 20
	}
	if cfg.Charge == nil {
		cfg.Charge = func(int64) {}
	}
	if cfg.MaxScripts == 0 {
		cfg.MaxScripts = 2000
	}
	if cfg.MaxScriptBytes == 0 {
		cfg.MaxScriptBytes = 4 << 20
	}
	if cfg.RedisVersion == "" {
		cfg.RedisVersion = "7.0.15"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: cfg, scripts: newCache(cfg.MaxScripts, cfg.MaxScriptBytes, cfg.Charge)}
	e.SetTimeLimit(cfg.TimeLimit)
	return e
}

// TimeLimit is how long a script may run.
func (e *Engine) TimeLimit() time.Duration { return time.Duration(e.timeLimit.Load()) }

// SetTimeLimit changes it, also for a script that runs.
func (e *Engine) SetTimeLimit(d time.Duration) { e.timeLimit.Store(int64(d)) }

// NewRunner makes what one loop runs scripts with.
func (e *Engine) NewRunner() *Runner {
	r := &Runner{e: e, guard: newGuard(e.TimeLimit, e.cfg.MaxMemory)}
	e.mu.Lock()
	e.runners = append(e.runners, r)
	e.mu.Unlock()
	return r
}

// Runner runs the scripts of one loop, one at a time. It is a command.Scripts. Owned by the loop.
type Runner struct {
	e     *Engine
	guard *guard
	m     *machine // nil until the first script

	// Of the script that runs.
	c        *command.Context
	proto    int
	readOnly bool
	logged   int
	args     [][]byte
	buf      []byte
	act      act
}

var _ command.Scripts = (*Runner)(nil)

const (
	errNoScript     = "NOSCRIPT No matching script. Please use EVAL."
	errNotInteger   = "ERR value is not an integer or out of range"
	errTooManyKeys  = "ERR Number of keys can't be greater than number of args"
	errNegativeKeys = "ERR Number of keys can't be negative"
	errWriteFlag    = "ERR Can not execute a script with write flag using *_ro command."
	errOOM          = "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
)

// Run runs EVAL, EVALSHA, their _RO forms and SCRIPT.
func (r *Runner) Run(c *command.Context) {
	switch c.Spec().Name {
	case "script":
		r.script(c)
	case "eval":
		r.eval(c, false, false)
	case "evalsha":
		r.eval(c, true, false)
	case "eval_ro":
		r.eval(c, false, true)
	case "evalsha_ro":
		r.eval(c, true, true)
	}
}

func refuse(c *command.Context, message string) { c.Out = resp.AppendError(c.Out, message) }

// find finds a script by its SHA1.
func (r *Runner) find(sha []byte) *program {
	if len(sha) != 40 {
		return nil
	}
	return r.e.scripts.get(string(bytes.ToLower(sha)))
}

func (r *Runner) eval(c *command.Context, bySHA, readOnly bool) {
	var p *program
	if bySHA && len(c.Args[1]) != 40 {
		refuse(c, errNoScript)
		return
	}
	n, ok := resp.ParseInt(c.Args[2])
	switch {
	case !ok:
		refuse(c, errNotInteger)
		return
	case n > int64(len(c.Args)-3):
		refuse(c, errTooManyKeys)
		return
	case n < 0:
		refuse(c, errNegativeKeys)
		return
	}
	if bySHA {
		if p = r.find(c.Args[1]); p == nil {
			refuse(c, errNoScript)
			return
		}
	} else {
		var err error
		if p, err = r.e.load(string(c.Args[1])); err != nil {
			refuse(c, err.Error())
			return
		}
	}
	f := p.flags
	if f.declared && !f.allowOOM && !f.noWrites && !c.Store.Fits(0) {
		refuse(c, errOOM)
		return
	}
	if readOnly && f.declared && !f.noWrites {
		refuse(c, errWriteFlag)
		return
	}
	keys, argv := c.Args[3:3+n], c.Args[3+n:]
	if p.native != nil && !readOnly && c.Permit == nil && r.runNative(c, p, keys, argv) {
		return
	}
	r.readOnly = readOnly || f.noWrites
	run := func() { r.run(c, p, keys, argv) }
	if c.Atomic() {
		run()
	} else {
		c.Together(nil, 0, run)
	}
}

// load finds a script by its text, or compiles it.
func (e *Engine) load(source string) (*program, error) {
	id := sha(source)
	if p := e.scripts.get(id); p != nil {
		return p, nil
	}
	f, body, message := parseFlags(source)
	if message != "" {
		return nil, errors.New("ERR " + message)
	}
	if len(body) > maxSource {
		return nil, fmt.Errorf("ERR script is larger than %d bytes", maxSource)
	}
	p := &program{sha: id, source: source, flags: f, native: nativeOf(id)}
	var err error
	if p.proto, p.names, err = compile(body, chunkName); err != nil {
		return nil, errors.New("ERR Error compiling script (new function): " + err.Error())
	}
	e.scripts.put(p)
	return p, nil
}

// run runs a script; the shards are held.
func (r *Runner) run(c *command.Context, p *program, keys, argv [][]byte) {
	if r.m == nil {
		r.m = newMachine(r)
	}
	m, L := r.m, r.m.L
	r.c, r.proto, r.logged, m.nest, m.names = c, 2, 0, 0, p.names
	m.globals.RawSetString("KEYS", m.list(keys))
	m.globals.RawSetString("ARGV", m.list(argv))
	fn := L.NewFunctionFromProto(p.proto)
	fn.Env = m.env
	db := c.DB

	r.guard.begin()
	L.SetTop(0)
	L.Push(fn)
	err := L.PCall(0, 1, m.handler)
	broken := false
	start := len(c.Out)
	if err == nil {
		c.Out = m.appendReply(c.Out, L.Get(-1), c.Proto, r.proto)
	}
	reason := r.guard.end()
	if err != nil || reason != stopNone { // it may have caught the error that stopped it, and returned that
		c.Out = c.Out[:start]
		broken = r.fail(c, p, err, reason)
	}
	L.SetTop(0)
	c.DB, r.c = db, nil
	if reason != stopNone || broken {
		// It may have stopped anywhere, with stacks of any size.
		r.m, r.args = nil, nil
		L.Close()
		return
	}
	if cap(r.args) > 1<<16 {
		r.args = nil
	}
	m.globals.RawSetString("KEYS", lua.LNil)
	m.globals.RawSetString("ARGV", lua.LNil)
	clear(r.args[:cap(r.args)])
}

// fail replies what a script has raised, or why it was stopped. It tells whether the interpreter is better not used again.
func (r *Runner) fail(c *command.Context, p *program, err error, reason int) (broken bool) {
	m := r.m
	message, source, line := "", "", ""
	if api, ok := err.(*lua.ApiError); ok {
		if t, ok := api.Object.(*lua.LTable); ok {
			message, _ = text(t.RawGetString("err"))
			source, _ = text(t.RawGetString("source"))
			line, _ = text(t.RawGetString("line"))
		} else if s, ok := text(api.Object); ok {
			// The handler itself had no room left.
			s = m.translate(s)
			message, source, line = "ERR "+s, "@"+chunkName, "1"
			if rest, ok := strings.CutPrefix(s, chunkName+":"); ok {
				if n, _, ok := strings.Cut(rest, ":"); ok {
					if _, err := strconv.Atoi(n); err == nil {
						line = n
					}
				}
			}
		}
	}
	if message == "" {
		message = "ERR unknown error"
	}
	if source == "" && strings.HasPrefix(message, "ERR attempt to yield") {
		source, line = "@"+chunkName, "1"
	}
	switch reason {
	case stopTime:
		message = errTime
	case stopMemory:
		message = errMemory
	case stopKilled:
		message = errKilled
	}
	if source != "" && line != "" {
		message += " script: " + p.sha + ", on " + source + ":" + line + "."
	}
	c.Out = resp.AppendError(c.Out, message)
	return strings.Contains(message, "stack overflow")
}

func (m *machine) list(items [][]byte) *lua.LTable {
	t := m.L.CreateTable(len(items), 0)
	for i, b := range items {
		t.RawSetInt(i+1, lua.LString(b))
	}
	return t
}
