package command

import (
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func TestGiveBack(t *testing.T) {
	table := NewTable()
	bulk := func(s string) string { return string(resp.AppendBulkString(nil, s)) }
	for _, tt := range []struct{ command, reply, want string }{
		{"BLPOP k j 0", "*2\r\n" + bulk("k") + bulk("v"), "lpush k v"},
		{"BRPOP k 0", "*2\r\n" + bulk("k") + bulk("v"), "rpush k v"},
		{"BLMPOP 0 1 k LEFT COUNT 3", "*2\r\n" + bulk("k") + "*3\r\n" + bulk("1") + bulk("2") + bulk("3"), "lpush k 3 2 1"},
		{"BLMPOP 0 2 j k right", "*2\r\n" + bulk("k") + "*2\r\n" + bulk("3") + bulk("2"), "rpush k 2 3"},
		{"BZPOPMIN k 0", "*3\r\n" + bulk("k") + bulk("m") + bulk("1.5"), "zadd k nx 1.5 m"},
		{"BZPOPMAX k 0", "*3\r\n" + bulk("k") + bulk("m") + ",inf\r\n", "zadd k nx inf m"},
		{"BZMPOP 0 1 k MIN COUNT 2", "*2\r\n" + bulk("k") + "*2\r\n*2\r\n" + bulk("m") + ",1\r\n*2\r\n" + bulk("n") + ",2.5\r\n", "zadd k nx 1 m 2.5 n"},
		{"BLPOP k 0", "*-1\r\n", ""},
		{"BLPOP k 0", "_\r\n", ""},
		{"BLPOP k 0", "-WRONGTYPE no list\r\n", ""},
		{"BLPOP k 0", "*2\r\n$1\r\nk\r\n$5\r\nv", ""},
		{"BLMOVE k j LEFT LEFT 0", bulk("v"), ""},
		{"XREADGROUP GROUP g c BLOCK 0 STREAMS k >", "*1\r\n" + bulk("k"), ""},
	} {
		var args [][]byte
		for _, word := range strings.Fields(tt.command) {
			args = append(args, []byte(word))
		}
		var got []string
		for _, arg := range GiveBack(table.Lookup(args[0]), args, []byte(tt.reply)) {
			got = append(got, string(arg))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s, %q: %q, want %q", tt.command, tt.reply, got, tt.want)
		}
	}
}
