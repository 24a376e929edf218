package cluster

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// newGossipLogger gives memberlist the logger it wants: its lines, "[WARN] memberlist: text", become slog records.
func newGossipLogger(to *slog.Logger) *log.Logger {
	return log.New(gossipWriter{to}, "", 0)
}

type gossipWriter struct{ to *slog.Logger }

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
func (w gossipWriter) Write(line []byte) (int, error) {
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
	if ctx := context.Background(); w.to.Enabled(ctx, level) {
		w.to.Log(ctx, level, "gossip", "detail", string(text))
	}
	return len(line), nil
}
