package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// outrigger status, for people and for scripts.
func TestStatusOfARunningSidecar(t *testing.T) {
	t.Parallel()
	status := func(args ...string) (code int, said, failed string) {
		p, err := start(environIn(tempDir(t)), nil, program, append([]string{"status"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		if code, err = p.wait(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		return code, p.stdout.String(), p.stderr.String()
	}
	u, err := url.Parse(shared.each("OUTRIGGER_NODES_HTTP_URLS")[1])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a healthy sidecar", func() error {
		if code, said, failed := status("--http-listen=" + u.Host); code != 0 {
			return fmt.Errorf("exit code %d\n%s%s", code, said, failed)
		}
		return nil
	})
	_, said, _ := status("--http-listen=" + u.Host)
	for _, want := range []string{"status   ok", "3 members", "this one", "primary  ", "replica  ", "cache    ", "owns "} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing from\n%s", want, said)
		}
	}
	_, said, _ = status("--http-listen="+u.Host, "--json")
	var st struct {
		Status  string
		Cluster struct {
			Members []struct{ Owned, Backed int }
		}
	}
	if err := json.Unmarshal([]byte(said), &st); err != nil || len(st.Cluster.Members) != 3 {
		t.Fatalf("%v in\n%s", err, said)
	}
	owned, backed := 0, 0
	for _, m := range st.Cluster.Members {
		owned, backed = owned+m.Owned, backed+m.Backed
	}
	if owned == 0 || owned != backed {
		t.Errorf("of %d partitions that are owned %d are backed", owned, backed)
	}
	if code, _, failed := status("--http-listen=" + freeAddrs(t, 1)[0]); code != 1 || !strings.Contains(failed, "http_listen") {
		t.Errorf("where nobody answers: exit code %d, %s", code, failed)
	}
}
