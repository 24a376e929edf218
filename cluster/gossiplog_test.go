package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Strangers must not fill the log: memberlist writes a line for each of their packets.
func TestGossipLogIsBounded(t *testing.T) {
	var out bytes.Buffer
	w := &gossipWriter{to: slog.New(slog.NewTextHandler(&out, nil))}
	line := func(text string) {
		if _, err := w.Write([]byte("[ERR] memberlist: " + text + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		line(fmt.Sprintf("failed to receive: no key from=10.0.0.1:%d", i))
	}
	for i := range 1000 {
		line(fmt.Sprintf("of kind %d", i))
	}
	if n := strings.Count(out.String(), "\n"); n != maxGossipLines {
		t.Errorf("%d lines, want %d:\n%s", n, maxGossipLines, out.String())
	}
	out.Reset()
	w.since = w.since.Add(-gossipWindow - time.Second)
	line("failed to receive: no key from=10.0.0.1:7")
	if want := fmt.Sprintf("skipped=%d", 1000-maxGossipLines+1); !strings.Contains(out.String(), want) {
		t.Errorf("no %s in %s", want, out.String())
	}
}
