package app

import (
	"reflect"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

func TestAServerThatIsListedTwiceIsOneRow(t *testing.T) {
	p := admin.Pool{Database: "d", User: "u", Server: "s:1", Role: "replica", Counts: admin.Counts{ServersIdle: 1}, MaxWait: time.Second}
	other := p
	other.Server = "s:2"
	want := []ops.Pool{{Database: "d", User: "u", Server: "s:1", Role: "replica", ServersIdle: 2, MaxWait: time.Second},
		{Database: "d", User: "u", Server: "s:2", Role: "replica", ServersIdle: 1, MaxWait: time.Second}}
	if got := pools([]admin.Pool{p, other, p}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
