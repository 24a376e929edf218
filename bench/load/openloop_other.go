//go:build !linux

package load

import (
	"context"
	"errors"
	"time"
)

func (OpenLoop) run(context.Context, []*Client, *book) (cpu, took time.Duration, err error) {
	return 0, 0, errors.ErrUnsupported
}
