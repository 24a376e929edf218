package ring

import (
	"testing"

	"github.com/cespare/xxhash/v2"
)

func TestPartitionOfHashesTheTag(t *testing.T) {
	tests := []struct{ key, hashed string }{
		{"", ""},
		{"plain", "plain"},
		{"user:{42}:name", "42"},
		{"{42}", "42"},
		{"foo{}{bar}", "foo{}{bar}"},
		{"foo{{bar}}zap", "{bar"},
		{"foo{bar}{zap}", "bar"},
		{"open{only", "open{only"},
		{"close}only", "close}only"},
		{"}{", "}{"},
		{"}a{b}", "b"},
	}
	for _, tt := range tests {
		want := int(xxhash.Sum64String(tt.hashed) % Partitions)
		if got := PartitionOf([]byte(tt.key)); got != want {
			t.Errorf("PartitionOf(%q) = %d, want the partition of %q, %d", tt.key, got, tt.hashed, want)
		}
	}
}

// The numbers are part of the protocol between nodes: a change moves every key of every running cluster.
func TestPartitionOfIsStable(t *testing.T) {
	tests := []struct {
		key  string
		want int
	}{
		{"", 2457},
		{"a", 3675},
		{"user:1", 243},
		{"session:{42}", 697},
	}
	for _, tt := range tests {
		if got := PartitionOf([]byte(tt.key)); got != tt.want {
			t.Errorf("PartitionOf(%q) = %d, want %d", tt.key, got, tt.want)
		}
	}
}

func TestPartitionOfDoesNotAllocate(t *testing.T) {
	key := []byte("user:{42}:name")
	if n := testing.AllocsPerRun(100, func() { PartitionOf(key) }); n != 0 {
		t.Errorf("PartitionOf allocates %v times", n)
	}
}
