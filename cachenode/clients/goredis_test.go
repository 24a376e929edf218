package clients

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// eachProtocol runs a test in RESP2 and RESP3, each with a server of its own.
func eachProtocol(t *testing.T, test func(t *testing.T, s server, c *redis.Client)) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		t.Run("RESP"+strconv.Itoa(protocol), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			test(t, s, s.client(t, protocol))
		})
	}
}

func TestConnection(t *testing.T) {
	t.Parallel()
	s := startGuarded(t)
	ctx := t.Context()
	for _, protocol := range []int{2, 3} {
		options := func(user, password string) *redis.Options {
			return &redis.Options{Addr: s.addr, Protocol: protocol, MaxRetries: -1, Username: user, Password: password}
		}
		if err := connect(t, options("", "")).Ping(ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
			t.Errorf("no password: %v", err)
		}
		if err := connect(t, options("", "wrong")).Ping(ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
			t.Errorf("a wrong password: %v", err)
		}
		user := connect(t, options("app", "secret"))
		want(t, "app")(user.ACLWhoAmI(ctx).Result())
		want(t, "OK")(user.Set(ctx, "app:k", "v", 0).Result())
		if err := user.Set(ctx, "other", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("a key of others: %v", err)
		}
		if err := user.FlushAll(ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("a command of others: %v", err)
		}

		o := options("", password)
		o.ClientName, o.DB = fmt.Sprintf("name-%d", protocol), 7
		c := connect(t, o)
		want(t, o.ClientName)(c.ClientGetName(ctx).Result())
		info, err := c.ClientInfo(ctx).Result()
		if err != nil || info.DB != 7 || info.User != "default" || !*real && info.LibName == "" { // LibName is of Redis 7.2
			t.Errorf("CLIENT INFO: %+v, %v", info, err)
		}
		hello, err := c.Do(ctx, "HELLO").Result()
		if text := fmt.Sprint(hello); err != nil || !strings.Contains(text, "standalone") || !strings.Contains(text, fmt.Sprintf("proto:%d", protocol)) && protocol == 3 {
			t.Errorf("HELLO: %v, %v", hello, err)
		}
		want(t, "OK")(c.Set(ctx, "k", "in 7", 0).Result())
		other := connect(t, options("", password))
		if err := other.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("a key of another database: %v", err)
		}
		pipe := other.Pipeline()
		pipe.Select(ctx, 7)
		got := pipe.Get(ctx, "k")
		pipe.Select(ctx, 0)
		if _, err := pipe.Exec(ctx); err != nil || got.Val() != "in 7" {
			t.Errorf("SELECT: %q, %v", got.Val(), err)
		}
	}
}

func TestValues(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		every := strings.Repeat("\x00\xff\r\n$", 1000)
		want(t, "OK")(c.Set(ctx, "s", every, time.Minute).Result())
		want(t, every)(c.Get(ctx, "s").Result())
		want(t, false)(c.SetNX(ctx, "s", "x", 0).Result())
		want(t, every)(c.GetEx(ctx, "s", 2*time.Minute).Result())
		if ttl, err := c.PTTL(ctx, "s").Result(); err != nil || ttl <= time.Minute {
			t.Errorf("PTTL: %v, %v", ttl, err)
		}
		want(t, every)(c.SetArgs(ctx, "s", "y", redis.SetArgs{Get: true, KeepTTL: true}).Result())
		want(t, "y")(c.GetDel(ctx, "s").Result())
		want(t, 0.1)(c.IncrByFloat(ctx, "f", 0.1).Result())

		want(t, int64(2))(c.HSet(ctx, "h", "a", 1, "b", "two").Result())
		var fields struct {
			A int    `redis:"a"`
			B string `redis:"b"`
		}
		if err := c.HGetAll(ctx, "h").Scan(&fields); err != nil || fields.A != 1 || fields.B != "two" {
			t.Errorf("HGETALL: %+v, %v", fields, err)
		}
		if pairs, err := c.HRandFieldWithValues(ctx, "h", 2).Result(); err != nil || len(pairs) != 2 {
			t.Errorf("HRANDFIELD: %v, %v", pairs, err)
		}

		want(t, int64(2))(c.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "x"}, redis.Z{Score: math.Inf(1), Member: "y"}).Result())
		if all, err := c.ZRangeWithScores(ctx, "z", 0, -1).Result(); err != nil || !slices.Equal(all, []redis.Z{{Score: 1.5, Member: "x"}, {Score: math.Inf(1), Member: "y"}}) {
			t.Errorf("ZRANGE: %v, %v", all, err)
		}
		if rank, err := c.ZRankWithScore(ctx, "z", "y").Result(); !*real && (err != nil || rank.Rank != 1) { // of Redis 7.2
			t.Errorf("ZRANK: %v, %v", rank, err)
		}
		if m, err := c.ZPopMin(ctx, "z").Result(); err != nil || len(m) != 1 || m[0].Member != "x" {
			t.Errorf("ZPOPMIN: %v, %v", m, err)
		}

		want(t, int64(2))(c.SAdd(ctx, "set", "a", "b").Result())
		if in, err := c.SMIsMember(ctx, "set", "a", "c").Result(); err != nil || !slices.Equal(in, []bool{true, false}) {
			t.Errorf("SMISMEMBER: %v, %v", in, err)
		}
		if in, err := c.SMembersMap(ctx, "set").Result(); err != nil || len(in) != 2 {
			t.Errorf("SMEMBERS: %v, %v", in, err)
		}

		want(t, int64(1))(c.GeoAdd(ctx, "geo", &redis.GeoLocation{Name: "Palermo", Longitude: 13.361389, Latitude: 38.115556}).Result())
		query := &redis.GeoSearchLocationQuery{GeoSearchQuery: redis.GeoSearchQuery{Longitude: 15, Latitude: 37, Radius: 200, RadiusUnit: "km"}, WithCoord: true, WithDist: true}
		if found, err := c.GeoSearchLocation(ctx, "geo", query).Result(); err != nil || len(found) != 1 || math.Abs(found[0].Dist-190.4424) > 0.001 {
			t.Errorf("GEOSEARCH: %v, %v", found, err)
		}
		want(t, int64(1))(c.PFAdd(ctx, "hll", "a", "b", "a").Result())
		want(t, int64(2))(c.PFCount(ctx, "hll").Result())

		if err := c.Incr(ctx, "h").Err(); !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("INCR of a hash: %v", err)
		}
		want(t, "OK")(c.Set(ctx, "brief", "x", 20*time.Millisecond).Result())
		eventually(t, "expiry", func() bool { return c.Exists(ctx, "brief").Val() == 0 })
	})
}

func TestPipelinesAndTransactions(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		pipe := c.Pipeline()
		var got []*redis.StringCmd
		for i := range 2000 {
			pipe.Set(ctx, "k"+strconv.Itoa(i), i, 0)
			got = append(got, pipe.Get(ctx, "k"+strconv.Itoa(i)))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		for i, cmd := range got {
			want(t, strconv.Itoa(i))(cmd.Result())
		}

		var n *redis.IntCmd
		_, err := c.TxPipelined(ctx, func(tx redis.Pipeliner) error {
			tx.Set(ctx, "t", 1, 0)
			n = tx.Incr(ctx, "t")
			tx.LPush(ctx, "t", "x")
			return nil
		})
		if !redis.HasErrorPrefix(err, "WRONGTYPE") || n.Val() != 2 {
			t.Errorf("EXEC: %v, INCR %d", err, n.Val())
		}

		// Increments by WATCH, ten at a time: none is lost.
		add := func(tx *redis.Tx) error {
			n, err := tx.Get(ctx, "watched").Int()
			if err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "watched", n+1, 0).Err() })
			return err
		}
		failed := make(chan error, 10)
		for range cap(failed) {
			go func() {
				for done := 0; done < 20; {
					switch err := c.Watch(ctx, add, "watched"); {
					case err == nil:
						done++
					case !errors.Is(err, redis.TxFailedErr):
						failed <- err
						return
					}
				}
				failed <- nil
			}()
		}
		for range cap(failed) {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
		want(t, 200)(c.Get(ctx, "watched").Int())
	})
}

func TestScripts(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		add := redis.NewScript(`return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1], {1.9, true, false, redis.status_reply('FINE')}}`)
		for i := range 4 {
			if i == 2 {
				want(t, "OK")(c.ScriptFlush(ctx).Result())
			}
			got, err := add.Run(ctx, c, []string{"n"}, 5).Result() // EVALSHA, and EVAL after NOSCRIPT
			if want := fmt.Sprintf("[%d n [1 1 <nil> FINE]]", 5*(i+1)); err != nil || fmt.Sprint(got) != want {
				t.Errorf("got %v, %v; want %s", got, err, want)
			}
		}
		if err := redis.NewScript(`return redis.call('GET', KEYS[1], 'too many')`).Run(ctx, c, []string{"n"}).Err(); err == nil || !strings.Contains(err.Error(), "Wrong number of args") {
			t.Errorf("a wrong call: %v", err)
		}
		if err := redis.NewScript(`redis.call('SET', KEYS[1], 1)`).RunRO(ctx, c, []string{"n"}).Err(); err == nil || !strings.Contains(err.Error(), "Write commands are not allowed") {
			t.Errorf("a write of a script that reads: %v", err)
		}
		sha, err := c.ScriptLoad(ctx, "return 1").Result()
		if exists := c.ScriptExists(ctx, sha, strings.Repeat("f", 40)).Val(); err != nil || !slices.Equal(exists, []bool{true, false}) {
			t.Errorf("SCRIPT EXISTS: %v, %v", exists, err)
		}
	})
}

func TestIterators(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		pipe := c.Pipeline()
		for i := range 500 {
			pipe.Set(ctx, "k"+strconv.Itoa(i), i, 0)
			pipe.HSet(ctx, "h", "f"+strconv.Itoa(i), i)
			pipe.SAdd(ctx, "s", i)
			pipe.ZAdd(ctx, "z", redis.Z{Score: float64(i), Member: i})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		for what, scan := range map[string]struct {
			it   *redis.ScanIterator
			step int // of what the iterator gives, how many make one
			want int
		}{
			"SCAN":      {c.Scan(ctx, 0, "k*", 20).Iterator(), 1, 500},
			"SCAN TYPE": {c.ScanType(ctx, 0, "*", 20, "zset").Iterator(), 1, 1},
			"HSCAN":     {c.HScan(ctx, "h", 0, "f*", 20).Iterator(), 2, 500},
			"SSCAN":     {c.SScan(ctx, "s", 0, "", 20).Iterator(), 1, 500},
			"ZSCAN":     {c.ZScan(ctx, "z", 0, "", 20).Iterator(), 2, 500},
		} {
			seen := map[string]bool{}
			for i := 0; scan.it.Next(ctx); i++ {
				if i%scan.step == 0 {
					seen[scan.it.Val()] = true
				}
			}
			if err := scan.it.Err(); err != nil || len(seen) != scan.want {
				t.Errorf("%s finds %d, %v; want %d", what, len(seen), err, scan.want)
			}
		}
		info, err := c.Info(ctx, "keyspace").Result()
		if err != nil || !strings.Contains(info, "db0:keys=503,") {
			t.Errorf("INFO: %q, %v", info, err)
		}
	})
}

// A client whose connections are cut asks again by itself.
func TestReconnection(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := connect(t, &redis.Options{Addr: s.addr})
	want(t, "OK")(c.Set(ctx, "k", "v", 0).Result())
	if n, err := s.client(t, 3).ClientKillByFilter(ctx, "TYPE", "normal").Result(); err != nil || n == 0 {
		t.Errorf("CLIENT KILL: %d, %v", n, err)
	}
	want(t, "v")(c.Get(ctx, "k").Result())
}
