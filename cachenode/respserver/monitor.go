package respserver

import (
	"fmt"
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
)

// monitorCommand is MONITOR: from now on the session is sent each command that this node's clients give.
func (s *session) monitorCommand() {
	s.ok()
	if s.monitors {
		return
	}
	s.monitors = true
	s.update(func(i *clientInfo) { i.monitors = true })
	srv := s.st.srv
	srv.mu.Lock()
	srv.monitors[s] = struct{}{}
	srv.monitoring.Store(int64(len(srv.monitors)))
	srv.mu.Unlock()
}

func (s *session) stopMonitoring() {
	if !s.monitors {
		return
	}
	s.monitors = false
	srv := s.st.srv
	srv.mu.Lock()
	delete(srv.monitors, s)
	srv.monitoring.Store(int64(len(srv.monitors)))
	srv.mu.Unlock()
}

// feed sends a command to the sessions that monitor. Commands of administrators are not shown, passwords neither.
// What MULTI has queued is shown when EXEC sends it.
func (s *session) feed(spec *command.Spec, args [][]byte) {
	if spec.Flags&command.Admin != 0 {
		return
	}
	now := time.Now()
	line := fmt.Appendf(nil, "+%d.%06d [%d %s]", now.Unix(), now.Nanosecond()/1000, s.db, s.address())
	for i, a := range args {
		line = append(line, ' ')
		if i > 0 && secret(spec) {
			line = append(line, `"(redacted)"`...)
			continue
		}
		line = appendQuoted(line, a)
	}
	line = append(line, '\r', '\n')
	srv := s.st.srv
	srv.mu.Lock()
	var all []*session
	for m := range srv.monitors {
		all = append(all, m)
	}
	srv.mu.Unlock()
	for _, m := range all {
		if m.st == s.st {
			m.show(line)
		} else {
			m.st.loop.Post(func() { m.show(line) })
		}
	}
}

func (s *session) show(line []byte) {
	if s.monitors && !s.closed {
		s.push(line)
	}
}

// appendQuoted writes a string as Redis does (sdscatrepr).
func appendQuoted(b, s []byte) []byte {
	b = append(b, '"')
	for _, c := range s {
		switch c {
		case '\\', '"':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		case '\a':
			b = append(b, `\a`...)
		case '\b':
			b = append(b, `\b`...)
		default:
			if c >= ' ' && c <= '~' {
				b = append(b, c)
			} else {
				b = append(b, `\x`...)
				if c < 16 {
					b = append(b, '0')
				}
				b = strconv.AppendUint(b, uint64(c), 16)
			}
		}
	}
	return append(b, '"')
}
