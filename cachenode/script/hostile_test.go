package script

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostile are scripts that take all they can by what they hand to the libraries, where the interpreter's own count of
// instructions does not look. None has an end of its own within the limits of the test, or each ends with an error.
var hostile = []struct{ name, source string }{
	// Patterns: few steps that are long ones, and many that are short.
	{"%b from every place", "return string.find(string.rep('(', 8e6), '%b()')"},
	{"%b behind a *", "return string.find(string.rep('(', 1e6), '[(]*%b()x')"},
	{".- in front of %b", "return string.find(string.rep('(', 1e5), '.-.-%b()')"},
	{"%b in gsub", "return #string.gsub(string.rep('(', 8e6), '%b()', '')"},
	{"%b in gmatch", "for x in string.gmatch(string.rep('(', 8e6), '%b()') do end error('came to an end')"},
	{"a long set", "return string.find(string.rep('a', 1e6), '[' .. string.rep('b', 8e6) .. ']')"},
	{"a long set with *", "return string.find(string.rep('a', 1e6), '[^' .. string.rep('b', 8e6) .. ']*c')"},
	{"%f with a long set", "return string.find(string.rep('a', 1e6), '%f[' .. string.rep('b', 8e6) .. ']')"},
	{".- to what is not there", "return string.find(string.rep('a', 1e6), '.-.-b')"},
	{"a capture that comes back", "return string.find(string.rep('a', 4e6), '(.*)%1b')"},
	{"captures that come back", "return string.find(string.rep('a', 1e5), '(.-)(.-)(.-)%3%2%1b')"},
	{"pattern of many items", "return string.find(string.rep('a', 1e5), string.rep('a?', 1e5) .. 'b')"},

	// Functions that libraries call, and that never end.
	{"gsub with a function", "return string.gsub('x', 'x', function() while true do end end)"},
	{"gsub in gsub", "local function f(s) return (string.gsub(s, '.', f)) .. 'x' end return f('xx')"},
	{"gsub with a table", "return string.gsub('x', 'x', setmetatable({}, {__index = function(t, k) while true do end end}))"},
	{"gmatch over and over", "while true do for x in string.gmatch('aaa', 'a*') do end end"},
	{"sort with a sort in it", "local t = {} for i = 1, 100 do t[i] = i end local function f(a, b) table.sort({2, 1}, f) return a < b end table.sort(t, f)"},
	{"foreach", "local t = {1} table.foreach(t, function() while true do end end)"},
	{"load", "return load(function() while true do end end)"},
	{"load of a text without end", "return assert(load(function() return ' ' end))"},
	{"xpcall", "while true do xpcall(error, function() while true do end end) end"},
	{"xpcall that fails in its handler", "local function h() error('x') end local function f() return xpcall(f, h) end while true do f() end"},
	{"pcall at the end", "return pcall(function() while true do end end)"},
	{"__tostring", "return tostring(setmetatable({}, {__tostring = function(t) while true do end end}))"},
	{"__concat", "local t = setmetatable({}, {__concat = function(a, b) return a .. b end}) return t .. t"},
	{"__lt", "local t t = setmetatable({}, {__lt = function(a, b) return a < b end}) local u = setmetatable({}, getmetatable(t)) return t < u"},
	{"__eq", "local m = {} m.__eq = function(a, b) return a == b end return setmetatable({}, m) == setmetatable({}, m)"},
	{"__newindex", "local t t = setmetatable({}, {__newindex = function(t, k, v) t[k] = v end}) t.x = 1"},
	{"__call", "local t = setmetatable({}, {}) getmetatable(t).__call = function(self) return 1 + self() end return t()"},
	{"__unm", "local t = setmetatable({}, {__unm = function(a) return -a end}) return -t"},

	// Recursion.
	{"recursion through tostring", "local m = {} m.__tostring = function(t) return 'x' .. tostring(t) end return tostring(setmetatable({}, m))"},
	{"recursion through pcall", "local function f() local ok, e = pcall(f) error(e) end f()"},
	{"recursion of two", "local a, b function a(n) return 1 + b(n) end function b(n) return 1 + a(n) end return a(1)"},
	{"recursion through load", "local function f() load(f) return '' .. f() end return f()"},
	{"recursion in every way", "local f f = function(n) if n % 3 == 0 then return (string.gsub('x', 'x', function() return f(n + 1) end)) elseif n % 3 == 1 then table.sort({1, 2}, function() f(n + 1) end) return 'x' else return tostring(setmetatable({}, {__tostring = function() return f(n + 1) end})) end end return f(0)"},

	// Coroutines.
	{"coroutines that wait", "local t = {} while true do local co = coroutine.create(function() local a = {} coroutine.yield() return a end) coroutine.resume(co) t[#t + 1] = co end"},
	{"coroutines with deep stacks", "local t = {} local function f(n) if n == 0 then coroutine.yield() else return 1 + f(n - 1) end end while true do local co = coroutine.create(f) coroutine.resume(co, 500) t[#t + 1] = co end"},
	{"coroutines in coroutines", "local function f() local co = coroutine.wrap(f) return co() end return f()"},
	{"a coroutine that resumes for ever", "local co = coroutine.wrap(function() while true do coroutine.yield(pcall(error, {})) end end) while true do co() end"},
	{"a coroutine that never yields", "return coroutine.resume(coroutine.create(function() while true do end end))"},
	{"coroutines that double", "local function f() local a, b = coroutine.wrap(f), coroutine.wrap(f) a() b() end while true do pcall(f) end"},

	// Memory.
	{"rep of rep", "local s = string.rep('x', 1e6) while true do s = string.rep(s, 10) end"},
	{"rep that is kept", "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1000 + i) end"},
	{"concatenation of many", "local t, s = {}, 'x' while true do s = s .. 'xxxxxxxxxxxxxxxx' t[#t + 1] = s end"},
	{"concat with a long separator", "local t = {} for i = 1, 4000 do t[i] = i end return #table.concat(t, string.rep('x', 1e6))"},
	{"concat of numbers", "local t = {} for i = 1, 1e3 do t[i] = i end local s = table.concat(t, ' ') while true do t[#t + 1] = table.concat(t, s) end"},
	{"a tree of tables", "local function f() return {f(), f()} end return f()"},
	{"long keys", "local t, k = {}, string.rep('k', 1e5) for i = 1, 1e9 do t[k .. i] = true end"},
	{"sparse tables", "local t = {} while true do t[#t + 1] = {[5e5] = 1} end"},
	{"table.insert far out", "local t = {} while true do local u = {} table.insert(u, 5e5, 1) t[#t + 1] = u end"},
	{"closures", "local f = function() end while true do local g = f f = function() return g end end"},
	{"format with %q", "return #string.format('%q', string.rep('\\0', 8e6))"},
	{"gsub that doubles", "local s = 'x' while true do s = string.gsub(s, '.*', '%0%0%0%0') end"},
	{"upper and lower", "local t, s = {}, string.rep('x', 1e6) while true do t[#t + 1] = s:upper() t[#t + 1] = s:reverse() end"},
	{"char", "local t = {} while true do t[#t + 1] = string.char(unpack({string.byte(string.rep('x', 7000), 1, -1)})) end"},
	{"replies that are kept", "local t = {} while true do t[#t + 1] = redis.call('get', 'large') end"},
	{"a reply that is too large", "local keys = {} for i = 1, 20 do keys[i] = 'large' end return redis.call('mget', unpack(keys))"},

	// cjson, cmsgpack and struct.
	{"decode of deep arrays", "return cjson.decode(string.rep('[', 1e6))"},
	{"decode of deep objects", "return cjson.decode(string.rep('{\"a\":', 1e6))"},
	{"decode of much", "return cjson.decode('[' .. string.rep('[],', 2e6) .. '1]')"},
	{"decode that is kept", "local t, s = {}, '[' .. string.rep('{},', 1e4) .. '1]' while true do t[#t + 1] = cjson.decode(s) end"},
	{"encode of itself", "local t = {} t.t = t return cjson.encode(t)"},
	{"encode of an array of itself", "local t = {} t[1], t[2] = t, t return cjson.encode(t)"},
	{"encode of what is escaped", "return #cjson.encode(string.rep('\\1', 8e6))"},
	{"encode of a sparse array", "return cjson.encode({[1e9] = 1})"},
	{"pack of arrays of itself", "local t = {} for i = 1, 10 do t[i] = t end return #cmsgpack.pack(t)"},
	{"unpack of deep arrays", "return cmsgpack.unpack(string.rep('\\145', 1e6))"},
	{"unpack of deep maps", "return cmsgpack.unpack(string.rep('\\129\\1', 1e6))"},
	{"unpack of a length alone", "return cmsgpack.unpack('\\221\\255\\255\\255\\255')"},
	{"unpack of a string's length alone", "return cmsgpack.unpack('\\219\\255\\255\\255\\255')"},
	{"unpack of much", "return cmsgpack.unpack('\\221\\0\\64\\0\\0' .. string.rep('\\144', 4194304))"},
	{"unpack of many", "return cmsgpack.unpack(string.rep('\\1', 1e6))"},
	{"unpack of much over and over", "while true do cmsgpack.unpack('\\221\\0\\1\\0\\0' .. string.rep('\\128', 65536)) end"},
	{"struct of many", "return struct.unpack(string.rep('B', 1e6), string.rep('x', 1e6))"},
	{"struct of a huge size", "return struct.unpack('c2147483647', 'x')"},
	{"unpack of a table that is not", "return unpack({}, 1, 1e9)"},
}

// TestHostileScriptsEnd runs them: each ends with an error, in a time and with memory that the limits bound, leaves nothing, and
// the runner serves the next script.
func TestHostileScriptsEnd(t *testing.T) {
	const limit = 16 << 20
	o := newOurs(Config{TimeLimit: 20 * time.Millisecond, MaxMemory: limit})
	o.do("set", "large", strings.Repeat("x", 1<<20))
	runtime.GC()
	base := heapBytes()
	for _, s := range hostile {
		began := time.Now()
		got := o.do("eval", s.source, "0")
		took := time.Since(began)
		if len(got) == 0 || got[0] != '-' {
			t.Errorf("%s: %.200q", s.name, got)
		}
		if took > 10*time.Second {
			t.Errorf("%s took %v", s.name, took)
		}
		o.c.Out = nil
		runtime.GC()
		if stays := heapBytes() - base; stays > limit {
			t.Errorf("%s: %d MiB stay", s.name, stays>>20)
		}
		if got := o.do("eval", "return 1 + 1", "0"); string(got) != ":2\r\n" {
			t.Fatalf("after %s: %q", s.name, got)
		}
	}
}
