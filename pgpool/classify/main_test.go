package classify

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

var pg *devpg.Cluster

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(devpg.Around(m, devpg.Options{}, func(c *devpg.Cluster) { pg = c }))
}
