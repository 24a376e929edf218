package auth

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

var pg *devpg.Cluster

// The method md5 of pg_hba.conf lets each user log in by what is stored: MD5 or SCRAM.
func TestMain(m *testing.M) {
	opts := devpg.Options{Auth: "md5", Password: "top secret", TLS: true}
	goleak.VerifyTestMain(devpg.Around(m, opts, func(c *devpg.Cluster) { pg = c }))
}
