package script

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// TestRunawayScriptsEnd runs what does not end by itself. None may take much longer than the limit, or the process with it,
// and the next script runs as if nothing had been.
func TestRunawayScriptsEnd(t *testing.T) {
	o := newOurs(Config{TimeLimit: 300 * time.Millisecond, MaxMemory: 32 << 20})
	for _, source := range []string{
		"while true do end",
		"while true do pcall(function() while true do end end) end",
		"local function f() pcall(f) f() end f()",
		"local function f() return f() end f()",
		"repeat local ok = pcall(error, 'x') until false",
		"for i = 1, 1e18 do end",
		"while true do redis.call('get', 'k') end",
		"local s = string.rep('a', 30000) return s:find(string.rep('.-', 20) .. 'b')",
		"return string.rep('a', 50000):match(string.rep('a*', 30) .. 'b')",
		"return string.gsub(string.rep('a', 3000), string.rep('a?', 300) .. string.rep('a', 300) .. 'b', '')",
		"local t = {} for i = 1, 1000 do t[i] = i end while true do table.sort(t, function(a, b) return a < b end) end",
		"local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end",
		"while true do coroutine.create(function() end) end",
		"while true do string.rep('x', 1000):reverse() end",
		"return string.gsub(string.rep('x', 100000), '', function() for i = 1, 1e5 do end end)",
		"local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
		"while true do cjson.encode({1, 2, 3}) end",
		"while true do loadstring('return 1') end",
	} {
		began := time.Now()
		got := o.do("eval", source, "0")
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %v", source, took)
		}
		if len(got) == 0 || got[0] != '-' {
			t.Errorf("%s: %.200q", source, got)
		}
		if got := o.do("eval", "return 1 + 1", "0"); string(got) != ":2\r\n" {
			t.Fatalf("after %s: %q", source, got)
		}
	}
	if got := o.do("eval", "while true do end", "0"); !strings.HasPrefix(string(got), "-"+errTime+" script: ") {
		t.Errorf("%q", got)
	}
	// What has been written stays, and is told.
	got := o.do("eval", "redis.call('set', 'w', 1) while true do end", "0")
	if !strings.HasPrefix(string(got), "-"+errTime) || string(o.do("get", "w")) != "$1\r\n1\r\n" {
		t.Errorf("%q", got)
	}
}

func TestGreedyScriptsEnd(t *testing.T) {
	const limit = 32 << 20
	o := newOurs(Config{TimeLimit: 2 * time.Second, MaxMemory: limit})
	runtime.GC()
	base := heapBytes()
	for _, source := range []string{
		"return string.rep('x', 1e10)",
		"local s = 'x' while true do s = s .. s end",
		"local s = 'x' for i = 1, 20 do s = s .. s end return s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s .. s",
		"local t = {} while true do t[#t + 1] = string.rep('x', 1e6) end",
		"local t = {} while true do t[#t + 1] = {} end",
		"local t = {} local i = 0 while true do i = i + 1 t[i] = i end",
		"local t = {} local i = 0 while true do i = i + 1 t['k' .. i] = i end",
		"local t = {} for i = 1, 100 do t[i] = {} t[i][4e6] = 1 end",
		"local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
		"local t = {string.rep('x', 1e6)} for i = 1, 200 do t[i] = t[1] end return table.concat(t)",
		"return string.format(string.rep('%s', 200), unpack((function() local t = {} for i = 1, 200 do t[i] = string.rep('x', 1e6) end return t end)()))",
		"return (string.gsub(string.rep('x', 1e5), 'x', string.rep('y', 1e5)))",
		"return (string.gsub(string.rep('x', 1e4), 'x', function() return string.rep('y', 1e5) end))",
		"local t = {} for i = 1, 100 do t = {t, t} end return t",
		"local t = {} for i = 1, 100 do t = {t, t} end return cjson.encode(t)",
		"local t = {} for i = 1, 15 do t = {t, t, t, t, t, t} end return #cmsgpack.pack(t)",
		"return cjson.decode('[' .. string.rep('{},', 3e6) .. '1]')",
		"return load(function() return string.rep(' ', 1e6) end)",
		"local s = 'return ' .. string.rep('{', 1e5) return loadstring(s)()",
		"local s = 'return ' .. string.rep('- ', 1e5) .. '1' return assert(loadstring(s))()",
		"local s = 'return ' .. string.rep('(', 1e5) return assert(loadstring(s))()",
		"local s = 'local a = 1 return a' .. string.rep('.a', 1e5) return assert(loadstring(s))()",
		"local s = 'return 1' .. string.rep('+1', 1e5) return assert(loadstring(s))()",
		"local s = 'return 1' .. string.rep(' ..1', 1e5) return assert(loadstring(s))()",
		"local function f(n) return 1 + f(n + 1) end return f(1)",
		"local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x == nil and error('none')",
		"local function f() return pcall(f) end local a, b = f() error(b or 'deep')",
		"local function f(...) return f(1, ...) end return f()",
		"local co function co(n) return coroutine.wrap(function() return co(n + 1) end)() end return co(1)",
	} {
		got := o.do("eval", source, "0")
		if len(got) == 0 || !bytes.ContainsAny(got[:1], "-*") || len(got) > 2*limit {
			t.Errorf("%.80s: %d bytes, %.200q", source, len(got), got)
		}
		got = nil
		o.c.Out = nil
		runtime.GC()
		if now := heapBytes() - base; now > limit {
			t.Errorf("%.80s: %d MiB stay", source, now>>20)
		}
		if got := o.do("eval", "return 1 + 1", "0"); string(got) != ":2\r\n" {
			t.Fatalf("after %s: %q", source, got)
		}
	}
}

// TestScriptsLeaveNothing looks for what one script could leave to the next.
func TestScriptsLeaveNothing(t *testing.T) {
	o := newOurs(Config{})
	for _, c := range []struct{ source, want string }{
		{"local ok = pcall(function() x = 1 end) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"return tostring(rawget(_G, 'x'))", "$3\r\nnil\r\n"},
		{"local ok = pcall(function() getmetatable(_G).__index = nil end) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"local ok = pcall(function() getmetatable('').__index = nil end) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"local ok = pcall(function() string.len = nil end) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"local ok = pcall(rawset, string, 'len', 1) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"local ok = pcall(table.insert, redis, 1) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"local ok = pcall(table.sort, redis) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"local ok = pcall(setmetatable, redis, {}) return tostring(ok)", "$5\r\nfalse\r\n"},
		{"local ok = pcall(function() getmetatable(setmetatable({}, string)).len = 1 end) return tostring(ok) .. type(string.len)", "$13\r\nfalsefunction\r\n"},
		{"pcall(function() __redis__err__handler(string) end) return type(rawget(string, 'source'))", "$3\r\nnil\r\n"},
		{"KEYS.leak = 1 ARGV.leak = 1 return 1", ":1\r\n"},
		{"return tostring(KEYS.leak) .. tostring(ARGV.leak)", "$6\r\nnilnil\r\n"},
		{"redis.setresp(3) redis.call('select', 5) return redis.call('set', 'five', 1)", "+OK\r\n"},
		{"return redis.call('exists', 'five')", ":0\r\n"},
		{"return redis.call('hgetall', 'none')", "*0\r\n"},
	} {
		got := string(o.do("eval", c.source, "0"))
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.source, got, c.want)
		}
	}
	if o.c.DB != 0 {
		t.Errorf("the session is left in database %d", o.c.DB)
	}
}

func TestMemoryShort(t *testing.T) {
	o := newOurs(Config{})
	o.c.Store = store.New(store.Config{MaxBytes: 64 << 20, Policy: store.NoEviction})
	o.do("set", "seed", strings.Repeat("x", 100))
	o.c.Store.SetMaxBytes(1) // less than there is
	for _, c := range []struct{ source, want string }{
		{"return redis.call('set', 'k', 'v')", "-OOM command not allowed when used memory > 'maxmemory'. script: "},
		{"return redis.call('get', 'k')", "$-1\r\n"},
		{"#!lua\nreturn redis.call('get', 'k')", "-" + errOOM + "\r\n"},
		{"#!lua flags=no-writes\nreturn redis.call('get', 'k')", "$-1\r\n"},
		{"#!lua flags=allow-oom\nreturn redis.call('get', 'k')", "$-1\r\n"},
	} {
		if got := string(o.do("eval", c.source, "0")); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.source, got, c.want)
		}
	}
}
