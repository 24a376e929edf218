package cachenode

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// Leases and stale values in a cluster: whoever is asked, the owner decides, and after a crash its backup.
func TestLeasesInACluster(t *testing.T) {
	t.Parallel()
	nodes := startTunedCluster(t, 3, 1, quick)
	a, b, c := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		n.store.SetRules([]store.Rule{{Prefix: "k", Stale: time.Hour, Lease: time.Hour}})
	}
	tag := "{" + a.place(t, b, c) + "}"
	expired := func(key string) string {
		key = "k" + key + tag
		a.do("set", key, "old", "px", "1")
		waitFor(t, key+" to expire", func() bool { return a.do("exists", key) == ":0\r\n" })
		return key
	}
	popular, deleted, survivor := expired("popular"), expired("deleted"), expired("survivor")
	replies := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			reply := nodes[i%3].do("get", popular)
			mu.Lock()
			replies[reply]++
			mu.Unlock()
		})
	}
	all.Wait()
	if len(replies) != 2 || replies["$-1\r\n"] != 1 || replies["$3\r\nold\r\n"] != 299 {
		t.Errorf("300 readers got %v", replies)
	}
	if got := c.do("x.getlease", popular, "1000"); !strings.HasPrefix(got, "*3\r\n$4\r\nwait\r\n$3\r\nold\r\n:3") {
		t.Errorf("who comes late gets %q", got)
	}
	a.do("set", popular, "new")
	for _, n := range nodes {
		if got := n.do("get", popular); got != "$3\r\nnew\r\n" {
			t.Errorf("%s: %q", n.name, got)
		}
	}

	token := func(key string) string {
		reply := strings.Split(c.do("x.getlease", key, "60000"), "\r\n")
		return reply[len(reply)-2]
	}
	made := "made" + tag
	lease := token(made)
	if got := a.do("x.setlease", made, lease, "v"); got != "+OK\r\n" {
		t.Errorf("with the lease: %q", got)
	}
	if got := c.do("get", made); got != "$1\r\nv\r\n" {
		t.Errorf("made: %q", got)
	}
	if got := a.do("x.setlease", made, lease, "v"); got != "$-1\r\n" {
		t.Errorf("with the lease again: %q", got)
	}

	if got := c.do("del", deleted); got != ":0\r\n" {
		t.Errorf("del of what is stale: %q", got)
	}
	lost := "lost" + tag
	lease = token(lost)
	b.crash()
	waitFor(t, "the backup to own the keys", func() bool {
		return a.placement.Load().find("b") == nil && c.placement.Load().find("b") == nil && !strings.HasPrefix(a.do("get", popular), "-")
	})
	for _, step := range []struct{ args, want string }{
		{"get " + popular, "$3\r\nnew\r\n"}, {"get " + survivor, "$-1\r\n"}, {"get " + survivor, "$3\r\nold\r\n"},
		{"get " + deleted, "$-1\r\n"}, {"get " + deleted, "$-1\r\n"}, {"exists " + survivor, ":0\r\n"},
		{"x.setlease " + lost + " " + lease + " v", "$-1\r\n"}, {"get " + lost, "$-1\r\n"},
	} {
		if got := a.do(strings.Fields(step.args)...); got != step.want {
			t.Errorf("after the crash: %s: %q, want %q", step.args, got, step.want)
		}
	}
}
