//go:build !linux

package load

import (
	"context"
	"errors"
	"net"
	"time"
)

func converse(context.Context, []net.Conn, dialogue, *book) (cpu, took time.Duration, err error) {
	return 0, 0, errors.ErrUnsupported
}
