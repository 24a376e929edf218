package script

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// realRedis is a connection to a redis-server of the test's own.
func realRedis(t *testing.T) *redistest.Client {
	t.Helper()
	return redistest.Dial(t, redistest.Start(t))
}

// ours is a store with scripts.
type ours struct {
	table *command.Table
	c     command.Context
	now   func() int64
}

func newOurs(cfg Config) *ours {
	table := command.NewTable()
	cfg.Table = table
	o := &ours{table: table, now: func() int64 { return time.Now().UnixMilli() }}
	o.c = command.Context{Store: store.New(store.Config{}), Proto: 2, Scripts: New(cfg).NewRunner(),
		Publish: func(bool, []byte, []byte) int { return 0 }}
	return o
}

func (o *ours) do(args ...string) []byte {
	b := redistest.Args(args)
	spec := o.table.Lookup(b[0])
	if spec == nil {
		return command.AppendUnknown(nil, b)
	}
	if !spec.ArityOK(len(b)) {
		return command.AppendWrongArity(nil, spec.Name)
	}
	o.c.Args, o.c.NowMilli, o.c.Out = b, o.now(), nil
	spec.Exec(&o.c)
	return o.c.Out
}

// scriptCases are one script a line; "\n" in it is a line break.
func scriptCases(t *testing.T) (scripts []string) {
	b, err := os.ReadFile("testdata/scripts.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && !strings.HasPrefix(line, "--") {
			scripts = append(scripts, strings.ReplaceAll(line, "⏎", "\n"))
		}
	}
	return scripts
}

func TestScriptsAgainstRedis(t *testing.T) {
	scripts := scriptCases(t)
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("proto=%d", proto), func(t *testing.T) {
			real, mine := realRedis(t), newOurs(Config{})
			real.Do(t, "HELLO", strconv.Itoa(proto))
			mine.c.Proto = proto
			for _, s := range scripts {
				args := []string{"EVAL", s, "2", "key1", "{key1}2", "first", "2", "3.5", "a b"}
				want, got := real.Do(t, args...), mine.do(args...)
				if string(want) != string(got) {
					t.Errorf("%s\n redis %q\n ours  %q", s, want, got)
				}
			}
			t.Logf("%d replies compared", len(scripts))
		})
	}
}
