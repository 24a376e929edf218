package cluster

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"slices"
	"time"
)

const (
	// gossipWindow is how long the same line is not written again, and maxGossipLines how many are written in that time:
	// whoever reaches our port makes memberlist write one for each packet.
	gossipWindow   = 10 * time.Second
	maxGossipLines = 10
)

// newGossipLogger gives memberlist the logger it wants: its lines, "[WARN] memberlist: text", become slog records.
func newGossipLogger(to *slog.Logger) *log.Logger {
	return log.New(&gossipWriter{to: to}, "", 0)
}

// gossipWriter is called for one line at a time.
type gossipWriter struct {
	to      *slog.Logger
	since   time.Time // when the window began
	written []string  // since then, without the address that follows
	skipped int       // since the last one that was written
}

// gossipLevels maps memberlist's tags. Its errors are about single packets and peers that come back, so none of them is
// an error of this process.
var gossipLevels = []struct {
	tag   string
	level slog.Level
}{
	{"[DEBUG] ", slog.LevelDebug},
	{"[INFO] ", slog.LevelDebug},
	{"[WARN] ", slog.LevelInfo},
	{"[ERR] ", slog.LevelWarn},
}

// Write takes one line.
func (w *gossipWriter) Write(line []byte) (int, error) {
	text, level := bytes.TrimSpace(line), slog.LevelInfo
	for _, l := range gossipLevels {
		if rest, found := bytes.CutPrefix(text, []byte(l.tag)); found {
			text, level = rest, l.level
			break
		}
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	if bytes.HasPrefix(text, []byte("Conflicting address")) {
		level = slog.LevelDebug // conflict.go tells of it, once
	}
	ctx := context.Background()
	switch {
	case !w.to.Enabled(ctx, level):
	case level == slog.LevelDebug:
		w.to.Log(ctx, level, "gossip", "detail", string(text))
	case w.news(text, time.Now()):
		w.to.Log(ctx, level, "gossip", "detail", string(text), "skipped", w.skipped)
		w.skipped = 0
	}
	return len(line), nil
}

// news tells whether a line is to be written.
func (w *gossipWriter) news(text []byte, now time.Time) bool {
	if now.Sub(w.since) >= gossipWindow {
		w.since, w.written = now, w.written[:0]
	}
	kind, _, _ := bytes.Cut(text, []byte(" from=")) // and an address, with another port each time
	if len(w.written) >= maxGossipLines || slices.Contains(w.written, string(kind)) {
		w.skipped++
		return false
	}
	w.written = append(w.written, string(kind))
	return true
}
