package pgpool

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A token is a point in the primary's log as text. SHOW outrigger.token gives it out, and SET outrigger.token takes it, in
// whatever session, behind whatever sidecar: replicas that have not come as far are not read there.
//
// The setting is like any other a.b that servers know: it follows the client, and RESET, SET LOCAL, set_config, a
// transaction that fails and DISCARD ALL do with it what they always do. What a session has seen and written by itself
// holds besides, and is not lowered by a token.

// tokenSetting is its name.
const tokenSetting = "outrigger.token"

// tokenVersion is the first field of a token. The others are those of a Position, in decimal.
const tokenVersion = "1"

// maxToken bounds the text of a token, in bytes.
const maxToken = 64

// tokenSQL is what a server answers in place of SHOW: where its log ends now, behind all that has been committed. On
// a server that is no primary it fails.
var tokenSQL = `SELECT pg_catalog.format('` + tokenVersion + `.%s.%s.%s', (SELECT system_identifier FROM pg_catalog.pg_control_system()),` +
	` ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int, ` +
	health.InsertPosition + `) AS "` + tokenSetting + `"`

// showTag is the end of an answer to SHOW.
var showTag = append(pgwire.AppendHeader(nil, pgwire.CommandComplete, len("SHOW\x00")), "SHOW\x00"...)

// parseToken reads a token.
func parseToken(s string) (at Position, ok bool) {
	fields := strings.Split(s, ".")
	if len(s) > maxToken || len(fields) != 4 || fields[0] != tokenVersion {
		return Position{}, false
	}
	system, err1 := strconv.ParseInt(fields[1], 10, 64)
	timeline, err2 := strconv.ParseUint(fields[2], 10, 31)
	lsn, err3 := strconv.ParseUint(fields[3], 10, 64)
	at = Position{System: uint64(system), Timeline: uint32(timeline), LSN: lsn}
	if err1 != nil || err2 != nil || err3 != nil || system == 0 || timeline == 0 || lsn == 0 || formatToken(at) != s {
		return Position{}, false
	}
	return at, true
}

// formatToken is what tokenSQL does.
func formatToken(at Position) string {
	return fmt.Sprintf("%s.%d.%d.%d", tokenVersion, int64(at.System), at.Timeline, at.LSN)
}

// nowhereYet is where no replica ever is: the place of a token that came in a way in which it could not be refused.
var nowhereYet = Position{LSN: 1<<64 - 1}

// tokenOf is the position that a value of the setting names; none is nil.
func tokenOf(v *setting) *Position {
	text := v.plain()
	if text == "" {
		return nil
	}
	at, ok := parseToken(text)
	if !ok {
		at = nowhereYet
	}
	return &at
}

// tokenUse is what a statement has to do with the token.
type tokenUse struct {
	shows bool // it is SHOW outrigger.token or, if route is set, outrigger.route
	route bool
	at    Position // what it sets
}

// shows tells whether it is SHOW outrigger.token or outrigger.route, which servers know as something else.
func (s *statement) shows() bool { return s.token != nil && s.token.shows }

// useToken looks for the token in a new statement.
func (s *statement) useToken() {
	r := &s.class
	if r.Statements != 1 || r.Name.End == r.Name.Start || s.settingName() != tokenSetting {
		return
	}
	if r.Class != classify.Session { // of the others only SHOW has the name of a setting
		s.token = &tokenUse{shows: true}
		s.reword(tokenSQL)
		return
	}
	v := setting{value: s.body[r.Value.Start:r.Value.End], sql: true}
	if v.plain() == "" { // none, or RESET
		return
	}
	at, ok := parseToken(v.plain())
	if !ok {
		s.reword(refuseMalformed)
		return
	}
	s.token = &tokenUse{at: at}
}

// Statements that servers refuse, in place of those that we do: see routesetting.go. badToken then tells the client why.
const (
	refuseMalformed = "SET outrigger_malformed_token TO x"
	refuseForeign   = "SET outrigger_foreign_token TO x"
)

// vetToken returns what stands for a statement that sets a token of other servers than the client's, or the statement.
func (c *client) vetToken(st *statement, scope string) *statement {
	system := c.group.shared.up.roles.System()
	if st.token.shows || system == 0 || st.token.at.System == system {
		return st
	}
	text := len(textOf([]byte(st.body)))
	refused := c.w.texts.find([]byte(refuseForeign+st.body[text:]), scope)
	refused.reworded = true
	return refused
}

// badToken returns what a client is told in place of a server's error, or nil.
func badToken(frame []byte) *pgwire.Error {
	switch text := string(frame); {
	case strings.Contains(text, `"outrigger_malformed_token"`):
		return malformedToken.with()
	case strings.Contains(text, `"outrigger_foreign_token"`):
		return foreignToken.with()
	}
	return nil
}

// refusesToken looks at a token among startup parameters.
func (g *sharedGroup) refusesToken(set *settings) *pgwire.Error {
	v, ok := set.find(tokenSetting)
	if !ok || v.plain() == "" {
		return nil
	}
	at, ok := parseToken(v.plain())
	switch system := g.up.roles.System(); {
	case !ok:
		return malformedToken.with()
	case system != 0 && at.System != system:
		return foreignToken.with()
	}
	return nil
}
