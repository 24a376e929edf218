package command

import (
	"slices"
	"sort"
	"strings"
	"testing"
)

// ofRedis reads one element of COMMAND's reply by RESP2.
type ofRedis struct {
	name              string
	arity             int
	flags, categories []string
	first, last, step int
	subs              []ofRedis
}

func asOfRedis(s *Spec) ofRedis {
	o := ofRedis{name: s.Name, arity: s.Arity, flags: s.FlagNames(), categories: s.Categories().Names(),
		first: s.FirstKey, last: s.LastKey, step: s.KeyStep}
	if len(s.Subs) > 0 {
		o.first, o.last, o.step = 0, 0, 0
	}
	sort.Strings(o.flags)
	sort.Strings(o.categories)
	return o
}

// values turns a reply into Go values: int64, string, []any, nil.
func values(b []byte) (v any, rest []byte) {
	end := strings.Index(string(b), "\r\n")
	head, rest := string(b[1:end]), b[end+2:]
	switch b[0] {
	case ':', '+', '-':
		if b[0] == ':' {
			n := 0
			sign := 1
			for _, c := range head {
				if c == '-' {
					sign = -1
					continue
				}
				n = n*10 + int(c-'0')
			}
			return int64(sign * n), rest
		}
		return head, rest
	case '$':
		n, _ := values([]byte(":" + head + "\r\n"))
		if n.(int64) < 0 {
			return nil, rest
		}
		return string(rest[:n.(int64)]), rest[n.(int64)+2:]
	}
	n, _ := values([]byte(":" + head + "\r\n"))
	var list []any
	for range max(n.(int64), 0) {
		var one any
		one, rest = values(rest)
		list = append(list, one)
	}
	return list, rest
}

func fromRedis(v any) ofRedis {
	f := v.([]any)
	words := func(v any) (list []string) {
		for _, w := range v.([]any) {
			list = append(list, w.(string))
		}
		sort.Strings(list)
		return list
	}
	o := ofRedis{name: f[0].(string), arity: int(f[1].(int64)), flags: words(f[2]), first: int(f[3].(int64)), last: int(f[4].(int64)),
		step: int(f[5].(int64)), categories: words(f[6])}
	for _, sub := range f[9].([]any) {
		o.subs = append(o.subs, fromRedis(sub))
	}
	return o
}

// The table says of each command what Redis says: arity, flags, keys, categories.
func TestTableAgainstRedis(t *testing.T) {
	real := realRedis(t)
	reply, _ := values(real.Do(t, "COMMAND"))
	theirs := map[string]ofRedis{}
	var collect func(o ofRedis)
	collect = func(o ofRedis) {
		theirs[o.name] = o
		for _, sub := range o.subs {
			collect(sub)
		}
	}
	for _, v := range reply.([]any) {
		collect(fromRedis(v))
	}
	compared := 0
	for _, s := range NewTable().ByID() {
		want, there := theirs[s.Name]
		if !there {
			continue // newer than the server that is installed
		}
		compared++
		got := asOfRedis(s)
		if newer := []string{"zrank", "zrevrank"}; got.arity != want.arity && !slices.Contains(newer, s.Name) {
			t.Errorf("%s: arity %d, Redis's is %d", s.Name, got.arity, want.arity)
		}
		if !slices.Equal(got.flags, want.flags) {
			t.Errorf("%s: flags %v, Redis's are %v", s.Name, got.flags, want.flags)
		}
		if !slices.Equal(got.categories, want.categories) {
			t.Errorf("%s: categories %v, Redis's are %v", s.Name, got.categories, want.categories)
		}
		// To Redis shard channels are a kind of keys.
		shards := []string{"ssubscribe", "sunsubscribe", "spublish"}
		if s.keys == nil && !slices.Contains(shards, s.Name) && [3]int{got.first, got.last, got.step} != [3]int{want.first, want.last, want.step} {
			t.Errorf("%s: keys %d %d %d, Redis's are %d %d %d", s.Name, got.first, got.last, got.step, want.first, want.last, want.step)
		}
	}
	if compared < 100 {
		t.Errorf("only %d commands were compared", compared)
	}
}
