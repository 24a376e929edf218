package cachenode

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// What comes from the future is counted, shown by INFO, and logged once.
func TestClocksThatDisagreeAreTold(t *testing.T) {
	t.Parallel()
	n := lonelyNode(t, 0, store.AllKeysS3FIFO)
	var log strings.Builder
	n.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	now := time.Now()
	e := store.Entry{Key: []byte("k"), Kind: store.KindString, Version: store.VersionAt(now.Add(time.Hour).UnixMilli()), Value: []byte("v")}
	if _, err := n.store.Apply(&e, now.UnixMilli()); err != nil {
		t.Fatal(err)
	}
	if known := n.warnOfClocks(0); known != 1 || n.warnOfClocks(known) != 1 || strings.Count(log.String(), "ahead_by=1h0m0s") != 1 {
		t.Errorf("%d known, the log says %q", known, log.String())
	}
	if info := string(n.Info(nil)); !strings.Contains(info, "outrigger_clock_ahead:1\r\noutrigger_clock_ahead_ms:3600000\r\n") {
		t.Errorf("INFO says %q", info)
	}
}
