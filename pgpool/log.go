package pgpool

import (
	"errors"
	"log/slog"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// levelOf returns at which level the end of a server connection is worth a line.
func levelOf(err error) slog.Level {
	if e, ok := errors.AsType[*pgwire.Error](err); ok && e.Code == "57P01" {
		return slog.LevelInfo // an administrator's doing
	}
	return slog.LevelWarn
}

func serverAttrs(p *pool, s *server, err error) []slog.Attr {
	return []slog.Attr{slog.String("server", p.group.shared.up.server(p.index).label()), slog.String("database", p.group.shared.key.database),
		slog.Uint64("server_pid", uint64(s.pid)), slog.Any("error", err)}
}
