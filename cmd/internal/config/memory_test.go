package config

import (
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/pressure"
)

func TestDefaultMaxMemory(t *testing.T) {
	for _, tt := range []struct{ limit, want int64 }{
		{0, 256 << 20}, {16 << 30, 1 << 30}, {4 << 30, 1 << 30}, {1 << 30, 256 << 20}, {64 << 20, 16 << 20}, {1 << 20, 1 << 20},
	} {
		if got := defaultMaxMemory(tt.limit); got != tt.want {
			t.Errorf("of %d: %d, want %d", tt.limit, got, tt.want)
		}
	}
	c, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if want := defaultMaxMemory(pressure.Own().Limit()); c.MaxMemory != want {
		t.Errorf("max_memory is %d, want %d", c.MaxMemory, want)
	}
}
