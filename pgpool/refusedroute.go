package pgpool

import (
	"bytes"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Servers take any value for a setting that they do not know. So SET outrigger.route with a wrong one is replaced by a
// statement that every server refuses, where and as it would refuse the SET: the transaction fails, the unit is skipped.
// Its error becomes the one that PostgreSQL has for a wrong value.

// refusedMark begins the name of the statement that is asked for in vain. What is left of the value follows.
const refusedMark = statementPrefix + "route:"

// maxRefused bounds what is quoted of a wrong value, so that the name is not cut (NAMEDATALEN).
const maxRefused = 40

// refuseRoute replaces a SET of the route to what is none.
func (s *statement) refuseRoute() {
	if s.class.Class != classify.Session || s.class.Value.End == 0 || s.settingName() != routeSetting {
		return
	}
	v := setting{value: s.body[s.class.Value.Start:s.class.Value.End], sql: true}
	if _, err := ParseRoute(strings.ToLower(v.plain())); err == nil {
		return
	}
	s.reword(`DEALLOCATE "` + refusedMark + quotable(v.plain()) + `"`)
}

// quotable makes a value fit for a name and for an error in any encoding.
func quotable(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, value[:min(len(value), maxRefused)])
}

// wrongRoute returns what a client is told in place of a server's error, if that is about a SET that was replaced.
func wrongRoute(frame []byte) (replaced []byte, ok bool) {
	i := bytes.Index(frame, []byte(refusedMark))
	if i < 0 {
		return nil, false
	}
	value := frame[i+len(refusedMark):]
	if end := bytes.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' || r == '"' }); end >= 0 {
		value = value[:end]
	}
	return pgwire.AppendErrorResponse(nil, badRoute.with(string(value))), true
}
