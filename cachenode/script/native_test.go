package script

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// renditions do in Lua what the scripts of wellKnown do, in our own words. The texts of the libraries belong to them; by
// their SHA1 they are recognised.
var renditions = map[string]string{
	"redis-py Lock release":      `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('del', KEYS[1]) return 1`,
	"redis-py Lock extend":       `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end local left = redis.call('pttl', KEYS[1]) if left < 0 then return 0 end local ttl = ARGV[2] if ARGV[3] == '0' then ttl = left + ttl end redis.call('pexpire', KEYS[1], ttl) return 1`,
	"redis-py Lock extend, 2.10": `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end local left = redis.call('pttl', KEYS[1]) if left < 0 then return 0 end redis.call('pexpire', KEYS[1], left + ARGV[2]) return 1`,
	"redis-py Lock reacquire":    `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('pexpire', KEYS[1], ARGV[2]) return 1`,
	"node-redlock lock, 3":       `return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])`,
	"node-redlock extend, 0.2":   owned("redis.call('expire', KEYS[1], ARGV[2])", "0"),
	"redislock ttl, 0.3":         owned("redis.call('pttl', KEYS[1])", "-3"),
	"redislock release":          ownedAll + `redis.call('del', unpack(KEYS)) return {ok = 'OK'}`,
	"redislock refresh":          ownedAll + `for i = 1, #KEYS do redis.call('pexpire', KEYS[i], ARGV[2]) end return {ok = 'OK'}`,
	"redislock ttl":              ownedAll + `local least = 0 for i = 1, #KEYS do local t = redis.call('pttl', KEYS[i]) if t > 0 and (least == 0 or t < least) then least = t end end return least`,
	"redislock obtain": `local pairs_of = {} for i = 1, #KEYS do pairs_of[2 * i - 1] = KEYS[i] pairs_of[2 * i] = ARGV[1] end
		if redis.call('msetnx', unpack(pairs_of)) == 0 then
			local n = tonumber(ARGV[2])
			for i = 1, #KEYS do if redis.call('getrange', KEYS[i], 0, n - 1) ~= ARGV[1]:sub(1, n) then return false end end
			redis.call('mset', unpack(pairs_of))
		end
		for i = 1, #KEYS do redis.call('pexpire', KEYS[i], ARGV[3]) end return {ok = 'OK'}`,
	"redsync delete":         `local v = redis.call('get', KEYS[1]) if v == ARGV[1] then return redis.call('del', KEYS[1]) end if v then return 0 end return -1`,
	"redsync touch with set": `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end if redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 end return 0`,
	"Laravel lock refresh":   `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end if tonumber(ARGV[2]) > 0 then return redis.call('expire', KEYS[1], ARGV[2]) end redis.call('persist', KEYS[1]) return 1`,
	"Laravel cache add":      `if redis.call('exists', KEYS[1]) > 0 then return false end return redis.call('setex', KEYS[1], ARGV[2], ARGV[1])`,

	"rate-limit-redis increment": `local window = tonumber(ARGV[2]) local left = redis.call('pttl', KEYS[1])
		if left <= 0 then redis.call('set', KEYS[1], 1, 'PX', window) return {1, window} end
		local hits = redis.call('incr', KEYS[1]) if ARGV[1] == '1' then redis.call('pexpire', KEYS[1], window) left = window end return {hits, left}`,
	"rate-limit-redis increment, 4.1": countLua("left <= 0"),
	"rate-limit-redis increment, 4.2": countLua("left < 0"),
	"rate-limit-redis get":            `return {redis.call('get', KEYS[1]), redis.call('pttl', KEYS[1])}`,
	"rate-limiter-flexible increment": `redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX') local n = redis.call('incrby', KEYS[1], ARGV[1]) local left = redis.call('pttl', KEYS[1])
		if left == -1 then redis.call('expire', KEYS[1], ARGV[2]) left = ARGV[2] * 1000 end return {n, left}`,
	"redis_rate allow":                        gcraLua(exactLua, true),
	"redis_rate allow, 9.1":                   gcraLua(exactLua, false),
	"redis_rate allow at most":                gcraLua(atMostLua, true),
	"redis_rate allow at most, 9.1":           gcraLua(atMostLua, false),
	"fixed window of the Redis documentation": `if redis.call('incr', KEYS[1]) == 1 then redis.call('expire', KEYS[1], 1) end`,
}

func owned(then, otherwise string) string {
	return "if redis.call('get', KEYS[1]) == ARGV[1] then return " + then + " end return " + otherwise
}

func countLua(due string) string {
	return `local hits = redis.call('incr', KEYS[1]) local left = redis.call('pttl', KEYS[1])
		if ` + due + ` or ARGV[1] == '1' then left = tonumber(ARGV[2]) redis.call('pexpire', KEYS[1], left) end return {hits, left}`
}

const (
	ownedAll = `local held = redis.call('mget', unpack(KEYS)) for i = 1, #KEYS do if held[i] ~= ARGV[1] then return false end end `

	exactLua = `local next_tat = tat + step * cost
		local diff = now - (next_tat - span)
		local left = diff / step
		if left < 0 then return {0, 0, tostring(-diff), tostring(tat - now)} end`
	atMostLua = `local diff = now - (tat - span)
		local left = diff / step
		if left < 1 then return {0, 0, tostring(step - diff), tostring(tat - now)} end
		if left < cost then cost = left left = 0 else left = left - cost end
		local next_tat = tat + step * cost`
)

func gcraLua(middle string, guarded bool) string {
	keep := `redis.call('set', KEYS[1], next_tat, 'EX', math.ceil(reset))`
	if guarded {
		keep = "if reset > 0 then " + keep + " end"
	}
	return `local cost, step = tonumber(ARGV[4]), ARGV[3] / ARGV[2]
		local span = step * ARGV[1]
		local t = redis.call('time')
		local now = (t[1] - 1483228800) + (t[2] / 1000000)
		local tat = math.max(tonumber(redis.call('get', KEYS[1]) or now), now)
		` + middle + `
		local reset = next_tat - now
		` + keep + `
		return {cost, left, tostring(-1), tostring(reset)}`
}

// TestNativesAgainstScripts runs each native and the script it stands for on the same random calls.
func TestNativesAgainstScripts(t *testing.T) {
	for _, known := range wellKnown {
		t.Run(known.name, func(t *testing.T) {
			source := renditions[known.name]
			switch {
			case source != "":
			case known.run == nil:
				t.Fatal("no native")
			case strings.Contains(known.name, "acquire") || strings.Contains(known.name, " lock, 4"):
				source = `for i = 1, #KEYS do if redis.call('exists', KEYS[i]) == 1 then return 0 end end for i = 1, #KEYS do redis.call('set', KEYS[i], ARGV[1], 'PX', ARGV[2]) end return #KEYS`
			case strings.Contains(known.name, "node-redlock extend"):
				source = `for i = 1, #KEYS do if redis.call('get', KEYS[i]) ~= ARGV[1] then return 0 end end for i = 1, #KEYS do redis.call('set', KEYS[i], ARGV[1], 'PX', ARGV[2]) end return #KEYS`
			case strings.Contains(known.name, "node-redlock"):
				source = `local n = 0 for i = 1, #KEYS do if redis.call('get', KEYS[i]) == ARGV[1] then redis.call('del', KEYS[i]) n = n + 1 end end return n`
			case strings.Contains(known.name, "touch") || strings.Contains(known.name, "refresh"):
				source = owned("redis.call('pexpire', KEYS[1], ARGV[2])", "0")
			default:
				source = owned("redis.call('del', KEYS[1])", "0")
			}
			compareNative(t, source, known.run)
		})
	}
}

// compareNative runs source as a script and as a native, on two stores with one clock, and compares replies and stores.
func compareNative(t *testing.T, source string, run native) {
	t.Helper()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	now := int64(1_800_000_000_000)
	stores := [2]*ours{newOurs(Config{}), newOurs(Config{})}
	natively := 0
	for i, o := range stores {
		o.now = func() int64 { return now }
		o.c.Clock = func() time.Time { return time.UnixMicro(now*1000 + now%997) }
		r := o.c.Scripts.(*Runner)
		p, err := r.e.load(source)
		if err != nil {
			t.Fatal(err)
		}
		p.native = nil
		if i == 1 {
			p.native = func(a *act) bool {
				done := run(a)
				if done {
					natively++
				}
				return done
			}
		}
	}
	id := sha(source)
	keys := []string{"a", "b", "c", "list"}
	words := []string{"token1", "token2", "token", "1", "0", "2", "5", "100", "1000", "60000", "-1", "", "abc", "1.5", "9999999999999999999", " 7", "10"}
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	both := func(args ...string) {
		t.Helper()
		want, got := stores[0].do(args...), stores[1].do(args...)
		if string(want) != string(got) {
			t.Fatalf("seed %d, %q: script %q, native %q", seed, args, want, got)
		}
	}
	both("hset", "list", "f", "v")
	for range 1000 {
		now += int64(rnd.IntN(3)) * int64(rnd.IntN(700))
		proto := 2 + rnd.IntN(2)
		stores[0].c.Proto, stores[1].c.Proto = proto, proto
		switch rnd.IntN(6) {
		case 0:
			both("set", pick(keys[:3]), pick(words), "px", strconv.Itoa(1+rnd.IntN(3000)))
		case 1:
			both("set", pick(keys[:3]), pick(words[:3]))
		case 2:
			both("del", pick(keys[:3]))
		}
		n := 1
		if rnd.IntN(3) == 0 {
			n = rnd.IntN(4)
		}
		args := []string{"evalsha", id, strconv.Itoa(n)}
		for range n {
			key := pick(keys[:3])
			if rnd.IntN(20) == 0 {
				key = "list"
			}
			args = append(args, key)
		}
		likely := [][]string{{"token1", "token2"}, {"1000", "60000", "5", "10"}, {"0", "1", "1000"}, {"1", "2"}}
		if rnd.IntN(2) == 0 {
			likely = [][]string{{"1", "0", "10", "3"}, {"1000", "10", "1"}, {"60", "1", "1000"}, {"1", "2", "0"}}
		}
		for i := range 4 - rnd.IntN(8)/7*rnd.IntN(4) {
			if rnd.IntN(10) == 0 {
				args = append(args, pick(words))
			} else {
				args = append(args, pick(likely[i]))
			}
		}
		both(args...)
		for _, k := range keys[:3] {
			both("get", k)
			both("pexpiretime", k)
		}
	}
	if natively < 100 {
		t.Errorf("only %d calls ran natively", natively)
	}
}

func TestWellKnownAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range wellKnown {
		if len(k.sha) != 40 || seen[k.sha] || seen[k.name] {
			t.Errorf("%s: malformed or twice", k.name)
		}
		seen[k.sha], seen[k.name] = true, true
		if fmt.Sprintf("%p", nativeOf(k.sha)) != fmt.Sprintf("%p", k.run) {
			t.Errorf("%s is not found", k.name)
		}
	}
}
