package cachenode

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

var seedFlag = flag.Uint64("seed", 0, "repeat the generated commands of this `number`; 0 for others each time")

// leftOut are the rows of the table that no generated command stands for, and why.
var leftOut = map[string]string{
	"exec": "ends each transaction", "discard": "ends transactions", "quit": "closes", "reset": "goes back to RESP2", "monitor": "never ends: see respserver", "debug": "behind a setting",
	"subscribe": inPairs, "unsubscribe": inPairs, "psubscribe": inPairs, "punsubscribe": inPairs, "ssubscribe": inPairs, "sunsubscribe": inPairs,
	"digest": newer, "delex": newer, "delifeq": newer, "msetex": newer, "increx": newer, "hexpire": newer, "hpexpire": newer, "hexpireat": newer, "hpexpireat": newer, "httl": newer, "hpttl": newer,
	"hexpiretime": newer, "hpexpiretime": newer, "hpersist": newer, "hgetdel": newer, "hgetex": newer, "hsetex": newer, "client|no-touch": newer, "client|setinfo": newer,
	"x.getlease": ours, "x.setlease": ours, "x.tag": ours, "x.invalidate": ours, "readonly": differs, "readwrite": differs, "lolwut": differs, "role": differs, "script|debug": differs, "config|rewrite": differs,
	"acl": "users are this node's own: see respserver", "command": "tells of the commands that there are", "client": "tells of this connection: see respserver", "latency": "tells of times",
	"cluster": "tells of the nodes: see respserver",
	"memory":  "tells of this node's memory", "slowlog": "tells of times", "object|help": helps, "pubsub|help": helps, "config|help": helps, "script|help": helps, "info": "tells of this node",
}

const (
	newer   = "newer than Redis 7.0"
	ours    = "is our own"
	differs = "differs, as docs/commands.md says"
	helps   = "helps with what there is here"
	inPairs = "has replies of its own number: see respserver"
)

// TestEveryCommandAgainstRedis sends generated commands of all kinds to a node that is alone and to a real server: plainly,
// in transactions and by scripts. Replies are the same, byte for byte, and so is what is then stored.
func TestEveryCommandAgainstRedis(t *testing.T) {
	n := startTuned(t, "alone", 1, func(cfg *Config, _ *cluster.Config) { cfg.Peers = nil })
	compareWithRedis(t, n.addr, 30, false)
}

// compareWithRedis sends rounds of generated commands, in each way, to ours and to a real server. apart tells that other
// nodes own the keys.
func compareWithRedis(t *testing.T, ours string, rounds int, apart bool) {
	forms, allowed := readForms(t), allowances(t)
	addr := redistest.Start(t)
	for _, proto := range []string{"2", "3"} {
		for _, way := range []string{"plain", "transaction", "script"} {
			t.Run("proto="+proto+"/"+way, func(t *testing.T) {
				seed := *seedFlag
				if seed == 0 {
					seed = rand.Uint64()
				}
				t.Logf("to repeat: -seed %d", seed)
				p := &twins{t: t, real: redistest.Dial(t, addr), ours: redistest.Dial(t, ours), proto: proto, way: way, apart: apart, allowed: allowed}
				p.grammar = grammar{forms: forms, rnd: rand.New(rand.NewPCG(seed, 0))}
				p.both([][]string{{"HELLO", proto}, {"SELECT", "0"}, {"FLUSHALL"}, {"SCRIPT", "FLUSH"}})
				for range rounds {
					p.round(100)
					p.state()
				}
			})
		}
	}
}

// everyKey is each key there is, but for those that commands make up.
var everyKey = slices.Concat(anyKey, keysOf["KLEX"], keysOf["KG"])

// twins are a node and a real server that are to be the same.
type twins struct {
	t          *testing.T
	real, ours *redistest.Client
	proto, way string
	apart      bool
	grammar    grammar
	allowed    []allowance
	history    [][]string
	failures   int
}

// both sends commands and returns the replies of the two.
func (p *twins) both(commands [][]string) (real, ours [][]byte) {
	p.t.Helper()
	return p.real.Pipeline(p.t, commands), p.ours.Pipeline(p.t, commands)
}

// round sends some generated commands.
func (p *twins) round(count int) {
	var commands, sent [][]string
	for len(commands) < count {
		if args := p.grammar.command(p.way != "plain"); !unpredictable(args) && (!p.apart || !p.alone(args)) {
			commands = append(commands, args)
		}
	}
	if p.way == "transaction" {
		p.transactions(commands)
		return
	}
	for _, args := range commands {
		if p.way == "script" {
			args = p.scripted(args)
		}
		sent = append(sent, args)
	}
	real, ours := p.both(sent)
	for i, args := range commands {
		p.compare(args, string(real[i]), string(ours[i]))
	}
}

// scripted is a script that calls the command.
func (p *twins) scripted(args []string) []string {
	call := "redis.call"
	if p.grammar.rnd.IntN(3) == 0 {
		call = "redis.pcall"
	}
	keys := []string{"0"}
	if p.apart { // where they are its keys have to be named
		keys = append([]string{strconv.Itoa(len(everyKey))}, everyKey...)
	}
	return slices.Concat([]string{"EVAL", "redis.setresp(" + p.proto + ") return " + call + "(unpack(ARGV))"}, keys, args)
}

// transactions sends the commands in groups that succeed or fail as one.
func (p *twins) transactions(commands [][]string) {
	for len(commands) > 0 {
		group := commands[:min(1+p.grammar.rnd.IntN(12), len(commands))]
		commands = commands[len(group):]
		end := []string{"EXEC"}
		if p.grammar.rnd.IntN(12) == 0 {
			end = []string{"DISCARD"}
		}
		sent := append(append([][]string{{"MULTI"}}, group...), end)
		real, ours := p.both(sent)
		last := len(sent) - 1
		for i, args := range sent[:last] {
			p.compare(args, string(real[i]), string(ours[i]))
		}
		want, got := elements(real[last]), elements(ours[last])
		if len(want) != len(got) || want == nil {
			p.compare(end, string(real[last]), string(ours[last]))
			continue
		}
		queued := slices.DeleteFunc(slices.Clone(group), func(args []string) bool {
			return strings.EqualFold(args[0], "multi") || strings.EqualFold(args[0], "watch")
		})
		if len(want) != len(queued) {
			p.t.Fatalf("%q: %d replies", group, len(want))
		}
		for i, args := range queued {
			p.compare(args, want[i], got[i])
		}
	}
}

// elements are those of an array, nil for another reply.
func elements(reply []byte) (parts []string) {
	h, err := resp.ReadHeader(reply)
	if err != nil || h.Kind != '*' || h.N < 0 {
		return nil
	}
	parts = []string{}
	for rest := reply[h.Size:]; len(rest) > 0; {
		n, _, err := resp.ReplyLen(rest)
		if err != nil || n == 0 {
			return nil
		}
		parts, rest = append(parts, string(rest[:n])), rest[n:]
	}
	return parts
}

// state compares what is stored, by the reads of each type.
func (p *twins) state() {
	keys := everyKey
	var types, reads [][]string
	for _, key := range keys {
		types = append(types, []string{"TYPE", key})
	}
	real, ours := p.both(types)
	for i, key := range keys {
		p.compare(types[i], string(real[i]), string(ours[i]))
		reads = append(reads, []string{"pexpiretime", key}, []string{"object", "encoding", key})
		switch strings.TrimSpace(string(real[i])) {
		case "+string":
			reads = append(reads, []string{"get", key})
		case "+hash":
			reads = append(reads, []string{"hgetall", key})
		case "+list":
			reads = append(reads, []string{"lrange", key, "0", "-1"})
		case "+set":
			reads = append(reads, []string{"smembers", key})
		case "+zset":
			reads = append(reads, []string{"zrange", key, "0", "-1", "withscores"})
		case "+stream":
			reads = append(reads, []string{"xinfo", "stream", key, "full", "count", "0"})
		}
	}
	reads = append(reads, []string{"dbsize"})
	real, ours = p.both(reads)
	for i, args := range reads {
		p.compare(args, string(real[i]), string(ours[i]))
	}
}

func (p *twins) compare(args []string, want, got string) {
	p.t.Helper()
	p.history = append(p.history, args)
	if want == got {
		return
	}
	if p.way == "script" && strings.Contains(got, "This Redis command is not allowed from script") && session[strings.ToLower(args[0])] {
		return
	}
	for _, a := range p.allowed {
		if strings.EqualFold(a.command, args[0]) && a.alike(lower(args), want, got) {
			return
		}
	}
	if p.way == "script" && slices.Contains([]string{"xinfo", "lcs", "xread", "xreadgroup"}, strings.ToLower(args[0])) { // tables of Lua have no order
		want, got = inOrder(want), inOrder(got)
	}
	if want, got = normal(lower(args), want), normal(lower(args), got); want == got || within(lower(args), want, got) {
		return
	}
	p.t.Errorf("%.300q:\n redis %.1500q\n ours  %.1500q\nbefore: %s", args, want, got, p.before(args))
	if p.failures++; p.failures > 8 {
		p.t.FailNow()
	}
}

func inOrder(reply string) string {
	lines := strings.Split(withoutTimes([]string{"xinfo", "", "", ""}, reply), "\r\n")
	slices.Sort(lines)
	return strings.Join(lines, "\r\n")
}

// before are the last commands that had to do with the keys of one.
func (p *twins) before(args []string) (lines string) {
	n := 0
	for _, h := range slices.Backward(p.history) {
		if slices.ContainsFunc(h, func(a string) bool { return slices.Contains(anyKey, a) && slices.Contains(args, a) }) && !slices.Contains(stateReads, h[0]) {
			lines = fmt.Sprintf("\n %.200q", h) + lines
			if n++; n > 12 {
				break
			}
		}
	}
	return lines
}

// stateReads are what state sends most.
var stateReads = []string{"TYPE", "pexpiretime", "object"}

// lower has the name of the command, and of a subcommand, in lower case.
func lower(args []string) []string {
	args = slices.Clone(args)
	for i := range min(2, len(args)) {
		if i == 0 || containers[args[0]] {
			args[i] = strings.ToLower(args[i])
		}
	}
	return args
}

var containers = map[string]bool{"object": true, "xinfo": true, "client": true, "command": true}

// session are the commands that concern a session, of which scripts may call those only that docs/commands.md names.
var session = func() map[string]bool {
	names := map[string]bool{}
	for _, s := range command.NewTable().All() {
		names[s.Name] = s.Scope == command.InSession
	}
	return names
}()

// unpredictable commands give other replies each time.
func unpredictable(args []string) bool {
	args = lower(args)
	switch args[0] {
	case "randomkey", "time", "hello":
		return len(args) == 1
	case "spop", "slowlog":
		return len(args) == 2
	case "acl":
		return len(args) > 3 && unpredictable(args[3:])
	case "sort", "sort_ro": // by number Redis now and then fails for an earlier number: see TestSortAgainstRedis of command
		return !slices.Contains(args, "ALPHA")
	case "config":
		return slices.Contains(args, "*")
	case "client": // options that are left over are looked at in another order
		return len(args) > 1 && args[1] == "kill" && len(args)%2 == 1
	case "zrank", "zrevrank": // take one argument more
		return len(args) == 4
	case "srandmember", "hrandfield", "zrandmember":
		return len(args) == 2 && args[1] != "nokey"
	}
	return false
}

// normal sorts what has no order, and leaves out what depends on the moment.
func normal(args []string, reply string) string {
	h, err := resp.ReadHeader([]byte(reply))
	if err != nil || h.N < 0 {
		return reply
	}
	switch args[0] {
	case "keys", "smembers", "sunion", "sinter", "sdiff", "spop", "hkeys", "hvals":
		return sorted(reply, 1)
	case "hgetall":
		return sorted(reply, 2)
	case "hscan", "zscan":
		return sortedScan(reply, 2)
	case "sscan":
		return sortedScan(reply, 1)
	case "xinfo", "xpending":
		return withoutTimes(args, reply)
	}
	return reply
}

// sorted is an array, set or map with its elements, of so many parts each, in order.
func sorted(reply string, parts int) string {
	h, _ := resp.ReadHeader([]byte(reply))
	if !strings.ContainsRune("*~%", rune(h.Kind)) {
		return reply
	}
	list := elements([]byte("*1\r\n" + reply[h.Size:]))
	var groups []string
	for ; len(list) >= parts && len(list) > 0; list = list[parts:] {
		groups = append(groups, strings.Join(list[:parts], ""))
	}
	slices.Sort(groups)
	return reply[:h.Size] + strings.Join(groups, "")
}

func sortedScan(reply string, parts int) string {
	if two := elements([]byte(reply)); len(two) == 2 {
		return two[0] + sorted(two[1], parts)
	}
	return reply
}

// withoutTimes masks what streams tell of times, and of how they are laid out.
func withoutTimes(args []string, reply string) string {
	lines := strings.Split(reply, "\r\n")
	for i := range lines {
		number := strings.HasPrefix(lines[i], ":")
		switch {
		case i == 0 || !number:
		case slices.Contains([]string{"radix-tree-keys", "radix-tree-nodes", "idle", "seen-time"}, lines[i-1]),
			(args[0] == "xpending" && len(args) > 3 || len(args) > 3) && i+1 < len(lines) && strings.HasPrefix(lines[i+1], ":") && !strings.HasPrefix(lines[i-1], ":"):
			lines[i] = ":?"
		}
	}
	return strings.Join(lines, "\r\n")
}

// within tells whether the replies are times that differ by no more than the two servers' turns may be apart.
func within(args []string, want, got string) bool {
	switch args[0] {
	case "ttl", "pttl", "expiretime", "pexpiretime":
		a, err1 := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(want, ":")), 10, 64)
		b, err2 := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(got, ":")), 10, 64)
		return err1 == nil && err2 == nil && min(a, b) > 500 && max(a, b)-min(a, b) < 100_000
	}
	return false
}

// allowance is a difference that docs/commands.md tells of.
type allowance struct {
	command string
	says    string // what the document has in its last column
	alike   func(args []string, want, got string) bool
}

// allowances are the differences that are put up with. Each must be in the document.
func allowances(t *testing.T) []allowance {
	list := []allowance{
		{"object", "`listpack`, as from Redis 7.2 on", func(args []string, want, got string) bool {
			return strings.HasSuffix(got, "\nlistpack\r\n") && (strings.HasSuffix(want, "\nhashtable\r\n") || strings.HasSuffix(want, "\nquicklist\r\n"))
		}},
		{"object", "What INCRBYFLOAT leaves is `int` where it can be; SETBIT and BITFIELD that change no bit leave", func(args []string, want, got string) bool {
			return strings.HasSuffix(want, "\nembstr\r\n") && strings.HasSuffix(got, "\nint\r\n") ||
				strings.HasSuffix(want, "\nraw\r\n") && (strings.HasSuffix(got, "\nint\r\n") || strings.HasSuffix(got, "\nembstr\r\n"))
		}},
		{"command", "GETKEYS may find other keys, or none, in what the command itself refuses", func(args []string, want, got string) bool {
			return len(args) > 2 && args[1] == "getkeys" && (strings.HasSuffix(args[2], "store") || strings.HasPrefix(want, "-ERR Invalid") || strings.HasPrefix(got, "-ERR Invalid"))
		}},
		{"object", "stays `listpack` after SORT: there ZSCAN writes large scores out, and zero has no sign", func(args []string, want, got string) bool {
			return strings.HasSuffix(got, "\nlistpack\r\n") && strings.HasSuffix(want, "\nskiplist\r\n")
		}},
	}
	for _, name := range []string{"sort", "sort_ro"} {
		list = append(list, allowance{name, map[string]string{"sort": "ALPHA compares bytes", "sort_ro": "As SORT"}[name], func(args []string, want, got string) bool {
			return len(elements([]byte(want))) == len(elements([]byte(got))) && (slices.Contains(args, "LIMIT") || sorted(want, 1) == sorted(got, 1))
		}})
	}
	for _, s := range command.NewTable().All() {
		if s.Group == "sorted-set" {
			list = append(list, allowance{s.Name, "", func(args []string, want, got string) bool { // see OBJECT
				return numbers(normal(args, want)) == numbers(normal(args, got))
			}})
		}
	}
	cells := documented(t)
	for _, a := range list {
		if !strings.Contains(cells[a.command], a.says) {
			t.Errorf("docs/commands.md does not say of %s: %s", a.command, a.says)
		}
	}
	if says := "Of what sessions answer it may call PING, ECHO, SELECT, PUBLISH."; !strings.Contains(cells["eval"], says) {
		t.Errorf("docs/commands.md does not say of eval: %s", says)
	}
	return list
}

// numbers writes those in a reply in one way.
func numbers(reply string) string {
	lines := strings.Split(reply, "\r\n")
	for i := 1; i < len(lines); i++ {
		if v, err := strconv.ParseFloat(strings.TrimPrefix(lines[i], ","), 64); err == nil {
			if lines[i] = fmt.Sprint(v + 0); strings.HasPrefix(lines[i-1], "$") { // zero has no sign any more
				lines[i-1] = "$"
			}
		}
	}
	return strings.Join(lines, "\r\n")
}

// documented reads in what commands are unlike Redis's.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cols := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|"); len(cols) == 7 && strings.Contains(cols[1], "`") {
			cells[strings.ToLower(strings.Trim(cols[1], "` "))] = strings.TrimSpace(cols[5])
		}
	}
	return cells
}

// TestEveryRowIsCompared looks for the rows of the table that no generated command stands for.
func TestEveryRowIsCompared(t *testing.T) {
	compared := map[string]bool{}
	for _, f := range readForms(t) {
		compared[f.words[0]] = true
		if len(f.words) > 1 {
			compared[strings.ToLower(f.words[0]+"|"+f.words[1])] = true
			if f.words[1] == "(" {
				for _, w := range f.words[2:] {
					compared[f.words[0]+"|"+w] = true
				}
			}
		}
	}
	unused := maps.Clone(leftOut)
	for _, s := range command.NewTable().ByID() {
		reason := leftOut[s.Name]
		if c, _, sub := strings.Cut(s.Name, "|"); sub && reason == "" {
			reason = leftOut[c]
		}
		delete(unused, s.Name)
		switch known := compared[s.Name] && len(s.Subs) == 0; {
		case len(s.Subs) > 0:
		case !known && reason == "":
			t.Errorf("%s is not compared with Redis's, and there is no reason", s.Name)
		case known && leftOut[s.Name] != "":
			t.Errorf("%s is compared and is said to be left out", s.Name)
		}
	}
	for name := range unused {
		t.Errorf("%s is said to be left out and is no command", name)
	}
}
