package command

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

var seedFlag = flag.Uint64("seed", 0, "repeat the generated commands of this `number`; 0 for others each time")

// newRandom is the source of generated commands; what it was made from is in the log of a test that fails.
func newRandom(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat: -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// realRedis is a connection to a redis-server of the test's own.
func realRedis(t *testing.T) *redistest.Client {
	t.Helper()
	return redistest.Dial(t, redistest.Start(t))
}

type ours struct {
	table *Table
	c     Context
}

func newOurs(proto int) *ours {
	table := NewTable()
	return &ours{table: table, c: Context{Store: store.New(store.Config{}), Table: table, Proto: proto}}
}

func (o *ours) do(args ...string) []byte {
	b := redistest.Args(args)
	spec := o.table.Lookup(b[0])
	if !spec.ArityOK(len(b)) {
		return AppendWrongArity(nil, spec.Name)
	}
	o.c.Args, o.c.NowMilli, o.c.Out = b, time.Now().UnixMilli(), nil
	spec.Exec(&o.c)
	return o.c.Out
}

// together runs one command as a transaction would: it does not wait.
func (o *ours) together(args ...string) []byte {
	b := redistest.Args(args)
	spec := o.table.Lookup(b[0])
	if !spec.ArityOK(len(b)) {
		return AppendWrongArity(nil, spec.Name)
	}
	o.c.NowMilli, o.c.Out = time.Now().UnixMilli(), nil
	o.c.Together(nil, 0, func() { o.c.Call(spec, b) })
	return o.c.Out
}

// comparison says what to run here and on a real server, in RESP2 and in RESP3.
type comparison struct {
	rounds int                                         // commands for each
	next   func(rnd *rand.Rand) []string               // makes one; nil for none
	alike  func(args []string, real, ours string) bool // whether different replies mean the same; nil: never
	last   [][]string                                  // commands at the end
}

// compareWithRedis holds replies to those of the real server. Commands that may wait run inside a transaction, where they
// do not.
func compareWithRedis(t *testing.T, c comparison) {
	const together = 100 // as many are on their way at a time
	real := realRedis(t)
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("proto=%d", proto), func(t *testing.T) {
			real.Do(t, "HELLO", strconv.Itoa(proto))
			real.Do(t, "FLUSHALL")
			mine := newOurs(proto)
			rnd := newRandom(t)
			var history []string
			failures, errors := 0, map[string]bool{}
			compare := func(commands [][]string) {
				var sent [][]string
				for _, args := range commands {
					if mine.waits(args) {
						sent = append(sent, []string{"MULTI"}, args, []string{"EXEC"})
					} else {
						sent = append(sent, args)
					}
				}
				replies := real.Pipeline(t, sent)
				for _, args := range commands {
					var want, got string
					if mine.waits(args) {
						want = strings.TrimPrefix(string(replies[2]), "*1\r\n")
						if replies[1][0] == '-' {
							want = string(replies[1])
						}
						got = string(mine.together(args...))
						replies = replies[3:]
					} else {
						want, got = string(replies[0]), string(mine.do(args...))
						replies = replies[1:]
					}
					if strings.Contains(want, "unknown command") {
						t.Fatalf("%q: redis does not know it", args)
					}
					if want[0] == '-' {
						errors[want] = true
					}
					history = append(history[max(0, len(history)-5):], fmt.Sprintf("%.300q -> %.300q", args, want))
					if want == got || c.alike != nil && c.alike(args, want, got) {
						continue
					}
					if failures++; failures > 8 {
						t.FailNow()
					}
					t.Errorf("%.600q:\n redis %.600q\n ours  %.600q\nbefore:\n %s", args, want, got, strings.Join(history, "\n "))
				}
			}
			for done := 0; done < c.rounds; {
				var commands [][]string
				for len(commands) < together {
					if args := c.next(rnd); args != nil && !(mine.waits(args) && slices.Contains(args, endOfTime)) {
						commands = append(commands, args)
					}
				}
				compare(commands)
				done += len(commands)
			}
			compare(c.last)
			t.Logf("%d replies compared, %d different errors", c.rounds, len(errors))
		})
	}
}

// endOfTime is a timeout that Redis 7.0 adds to its clock with wrap-around, so that it has passed.
const endOfTime = "9223372036854775"

// waits tells whether a command may wait.
func (o *ours) waits(args []string) bool {
	spec := o.table.Lookup([]byte(args[0]))
	return spec != nil && spec.Flags&Blocking != 0
}
