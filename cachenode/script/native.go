package script

import (
	"bytes"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// native does what a well-known script does. It reports false, before anything is written, for what it leaves to the script
// itself: above all what ends in an error, whose text says where in the script.
type native func(a *act) bool

// act is a native at work: the shards of its keys are held.
type act struct {
	r          *Runner
	c          *command.Context
	keys, argv [][]byte

	// The last reply: its type, its integer, and the bytes of a bulk string, valid until the next call.
	kind byte
	n    int64
	bulk []byte
}

// maxNativeKeys bounds the keys of a native: scripts with more than Lua unpacks fail.
const maxNativeKeys = 500

// runNative runs the native of a script, unless the script must run itself.
func (r *Runner) runNative(c *command.Context, p *program, keys, argv [][]byte) (done bool) {
	// Where memory is short the script may fail between two writes, which a native does not imitate.
	size := 0
	for _, v := range argv {
		size += len(v)
	}
	if len(keys) == 0 || len(keys) > maxNativeKeys || !c.Store.Fits(1<<20+int64(size*len(keys))) {
		return false
	}
	a := &r.act
	*a = act{r: r, c: c, keys: keys, argv: argv}
	start := len(c.Out)
	run := func() { done = p.native(a) }
	if c.Atomic() {
		run()
	} else {
		c.Together(keys, 0, run)
	}
	if !done {
		c.Out = c.Out[:start]
	}
	*a = act{}
	clear(r.args)
	return done
}

// do runs a command. It reports false for an error.
func (a *act) do(name string, args ...[]byte) bool {
	r, c := a.r, a.c
	r.args = append(append(r.args[:0], []byte(name)), args...)
	spec := r.e.cfg.Table.Lookup(r.args[0])
	if spec == nil {
		return false
	}
	out, proto := c.Out, c.Proto
	c.Out, c.Proto = r.buf[:0], 2
	held := c.Call(spec, r.args)
	r.buf, c.Out, c.Proto = c.Out, out, proto
	if !held {
		return false
	}
	h, err := resp.ReadHeader(r.buf)
	if err != nil || h.Size == 0 || h.Kind == '-' {
		return false
	}
	a.kind, a.n, a.bulk = h.Kind, h.N, nil
	if h.Kind == '$' && h.N >= 0 {
		a.bulk = r.buf[h.Size : h.Size+int(h.N)]
	}
	return true
}

// get reads a key; isNil when there is none.
func (a *act) get(key []byte) (isNil, ok bool) {
	if !a.do("get", key) || a.kind != '$' {
		return false, false
	}
	return a.n < 0, true
}

// owns tells whether a key holds what the script was given to compare with.
func (a *act) owns(key []byte) (is, ok bool) {
	isNil, ok := a.get(key)
	return ok && !isNil && bytes.Equal(a.bulk, a.argv[0]), ok
}

func (a *act) int(v int64) bool {
	a.c.Out = resp.AppendInt(a.c.Out, v)
	return true
}

func (a *act) null() bool {
	a.c.Out = resp.AppendNull(a.c.Out, a.c.Proto)
	return true
}

func (a *act) ok() bool {
	a.c.Out = resp.AppendOK(a.c.Out)
	return true
}

// plain reads an argument that is an integer as Redis writes them, of a size that computing with it in Lua does not change.
func (a *act) plain(i int) (v int64, ok bool) {
	if i >= len(a.argv) {
		return 0, false
	}
	v, ok = resp.ParseInt(a.argv[i])
	return v, ok && v > -1e14 && v < 1e14
}

func decimal(v int64) []byte { return strconv.AppendInt(nil, v, 10) }
