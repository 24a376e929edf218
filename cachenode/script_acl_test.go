package cachenode

import (
	"fmt"
	"strings"
	"testing"
)

// A script can do what its caller may do, and no more; also one that is known and runs as Go. The errors are those of Redis
// 7.0.15.
func TestScriptsOfRestrictedUsers(t *testing.T) {
	n := startNode(t, "alone", 1)
	ctx := t.Context()
	c := n.client(t, 2)
	c.Set(ctx, "app:1", "v", 0)
	c.Set(ctx, "other", "v", 0)
	if err := c.Do(ctx, "ACL", "SETUSER", "eve", "on", "nopass", "~app:*", "+@all", "-publish", "-del").Err(); err != nil {
		t.Fatal(err)
	}
	eve := n.client(t, 2).Conn()
	defer eve.Close()
	if err := eve.AuthACL(ctx, "eve", "x").Err(); err != nil {
		t.Fatal(err)
	}
	const (
		release  = `if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end`
		noKey    = "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
		noRun    = "ERR The user executing the script can't run this command or subcommand"
		noneOfIt = "NOPERM "
	)
	for _, tc := range []struct {
		want string
		args []any
	}{
		{"v", []any{"return redis.pcall('get', KEYS[1])", 1, "app:1"}},
		{noKey, []any{"return redis.pcall('get', 'other')", 0}},
		{noRun, []any{"return redis.pcall('publish', 'c', 'm')", 0}},
		{noneOfIt, []any{"return redis.pcall('get', KEYS[1])", 1, "other"}},
		{"[<nil> 1 <nil>]", []any{"return {redis.acl_check_cmd('get', 'other'), redis.acl_check_cmd('get', 'app:1'), redis.acl_check_cmd('del', 'app:1')}", 0}},
		{noneOfIt, []any{release, 1, "other", "v"}},
		{noRun, []any{release, 1, "app:1", "v"}},
	} {
		v, err := eve.Do(ctx, append([]any{"EVAL"}, tc.args...)...).Result()
		got := fmt.Sprint(v)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%v: %q, want %q", tc.args, got, tc.want)
		}
	}
	if got := c.Get(ctx, "app:1").Val(); got != "v" {
		t.Errorf("the key is %q", got)
	}
}
