package pgpool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// What a client asks for at start-up may be reported in other words ("ISO, YMD" for "iso,ymd"), or be wrong, which a
// server says before it lets anybody in. So each list of start-up parameters that has not been seen yet is tried: one
// login with them, after which the connection is closed and the answer remembered.

// maxStarts bounds the lists remembered of a group.
const maxStarts = 256

// maxTrials bounds the lists of a group that are tried at the same time: the limits of the pools do not hold for trials.
const maxTrials = 4

// starts are the lists that were tried.
type starts struct {
	mu    sync.Mutex
	tried map[string]*trial // under mu, by key of the settings
	room  chan struct{}     // under mu until it is made: has room for maxTrials
}

// trial is one of them. reported and err are constant once done is closed.
type trial struct {
	done     chan struct{}
	reported map[string]string
	err      *pgwire.Error // the server refuses them
}

// reported returns what a server reports to a client that starts with set, or why it lets no such client in. When no
// server can be asked it is what the client said.
func (p *Pooler) reported(ctx context.Context, g *sharedGroup, set *settings) (map[string]string, error) {
	if e := g.refusesToken(set); e != nil {
		return nil, e
	}
	values := maps.Clone(*g.welcome.Load())
	for name := range values {
		if own, ok := set.find(name); ok {
			values[name] = own.value
		} else if name == "application_name" {
			values[name] = ""
		}
	}
	tried := set.without("application_name").without(tokenSetting)
	if tried == nil {
		return values, nil
	}
	t, first := g.starts.find(tried.key)
	if first && !p.task(func(ctx context.Context) { p.try(ctx, g, tried, t) }) {
		g.starts.forget(tried.key)
		close(t.done)
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if t.err != nil {
		return nil, t.err
	}
	for name, value := range t.reported {
		if !strings.EqualFold(name, "application_name") {
			values[name] = value
		}
	}
	return values, nil
}

// find returns the trial of a list, and whether it is the caller's to run.
func (s *starts) find(key string) (t *trial, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tried[key]; t != nil {
		return t, false
	}
	if s.room == nil {
		s.room = make(chan struct{}, maxTrials)
	}
	if s.tried == nil || len(s.tried) >= maxStarts {
		s.tried = make(map[string]*trial)
	}
	t = &trial{done: make(chan struct{})}
	s.tried[key] = t
	return t, true
}

func (s *starts) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tried, key)
}

// try logs in with the settings. What the server says of them is kept; that it could not be asked is not.
func (p *Pooler) try(ctx context.Context, g *sharedGroup, set *settings, t *trial) {
	defer close(t.done)
	ctx, cancel := context.WithTimeout(ctx, p.tuning.Load().ServerConnect)
	defer cancel()
	select {
	case g.starts.room <- struct{}{}:
		defer func() { <-g.starts.room }()
	case <-ctx.Done():
		g.starts.forget(set.key)
		return
	}
	var params []pgwire.Param
	for _, v := range set.all() {
		params = append(params, pgwire.Param{Name: v.name, Value: v.value})
	}
	session, err := g.dial(ctx, g.up.primary(), params...)
	if err != nil {
		g.starts.forget(set.key)
		if e, ok := errors.AsType[*pgwire.Error](err); ok && slices.Contains(wrongParameter, e.Code) {
			t.err = e
		}
		return
	}
	t.reported = session.Params
	session.Conn.Write(terminate) // it is no use to anybody: RESET would take it to these settings
	session.Conn.Close()
}

// wrongParameter are the codes with which PostgreSQL refuses a start-up parameter: invalid value, unknown name, not this
// user's to set, or not to be set at start-up (set_config_option in guc.c).
var wrongParameter = []string{"22023", "42704", "42501", "55P02", "42602"}
