package script

import (
	"strings"
	"testing"
	"time"
)

// FuzzScript runs anything as a script: it must end, with a reply.
func FuzzScript(f *testing.F) {
	for _, s := range []string{
		"return 1", "local a = {1, 2, x = 'y'} return a.x .. #a", "for i = 1, 3 do end", "return redis.call('set', KEYS[1], ARGV[1])", "error('x')", "if x then",
		"local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x", "return ('x'):rep(100):gsub('x', '%0%0')", "#!lua flags=no-writes\nreturn 1",
		"return string.format('%5.1f|%-8s|%q', 1, 'a', 'b')", "return (...)", "[==[ ]==]", "--[[", "return 0x1f .. 1e5",
	} {
		f.Add(s)
	}
	o := newOurs(Config{TimeLimit: 50 * time.Millisecond, MaxMemory: 8 << 20})
	f.Fuzz(func(t *testing.T, source string) {
		began := time.Now()
		if got := o.do("eval", source, "1", "key", "arg"); len(got) < 3 {
			t.Errorf("%q", got)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		o.do("flushall")
	})
}

// FuzzDecoders gives anything to what decodes binary data.
func FuzzDecoders(f *testing.F) {
	f.Add("[1,2,{\"a\":null}]", ">I2s")
	f.Add("\x93\x01\x02\xa1a", "!8bd")
	f.Add("\"\\ud83d\\ude00\"", "c0")
	f.Add("a", "[^a-z]*%b()")
	o := newOurs(Config{TimeLimit: 50 * time.Millisecond, MaxMemory: 8 << 20})
	const source = `local data, form = ARGV[1], ARGV[2]
		pcall(function() cjson.encode(cjson.decode(data)) end)
		pcall(function() cmsgpack.pack(cmsgpack.unpack(data)) end)
		pcall(struct.unpack, form, data)
		pcall(struct.pack, form, 1, 2, data, 4)
		pcall(struct.size, form)
		pcall(string.find, data, form)
		pcall(string.gsub, data, form, form)
		pcall(string.format, form, 1, data, 2.5)
		pcall(tonumber, data)
		return 'end'`
	f.Fuzz(func(t *testing.T, data, form string) {
		got := string(o.do("eval", source, "0", data, form))
		if got != "$3\r\nend\r\n" && !strings.HasPrefix(got, "-"+errTime) && !strings.HasPrefix(got, "-"+errMemory) {
			t.Errorf("%q", got)
		}
	})
}
