package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// DefaultQuery is the query that PgBouncer would ask, and besides for how many seconds the secret stays valid.
const DefaultQuery = `SELECT rolname,
 CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword END,
 CASE WHEN pg_catalog.isfinite(rolvaliduntil) THEN EXTRACT(epoch FROM rolvaliduntil - pg_catalog.now()) END
 FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin`

// QueryConfig configures auth_query: who is not in auth_file is looked up in the database.
type QueryConfig struct {
	// SQL takes the user's name as $1 and returns no row, or one: the name, its secret (SCRAM verifier, MD5 hash, password,
	// or NULL for none) and, if there is a third column, for how many seconds the secret is valid (NULL: for ever). It runs
	// with search_path = pg_catalog: names of other schemas have to be qualified. Default: DefaultQuery.
	SQL string

	// TTL is for how long an answer is used; default a minute. That there is no such user is believed for a tenth of it.
	TTL time.Duration

	// Dial logs in, as auth_user, to the server that knows who may use database; the session belongs to the caller. What
	// the client asked for, apart from the database's name, must not reach it.
	Dial func(ctx context.Context, database string) (Session, error)
}

const (
	maxEntries    = 10_000           // users remembered, those that do not exist included
	maxLookups    = 4                // connections that ask at the same time
	lookupTimeout = 15 * time.Second // for connection and answer
	renewAge      = time.Second      // answers younger than this are not asked for again
)

// query is auth_query with its cache. For each user one client at a time asks, in its own goroutine; others that want to
// know the same wait for it.
type query struct {
	// Constant.
	cfg        QueryConfig
	newAccount func(user string, s Secret) (*account, error)
	room       chan struct{} // maxLookups

	hashes atomic.Bool // the last secret that was found is no SCRAM verifier

	mu      sync.Mutex
	entries map[lookup]*entry
}

// lookup is what is asked for. Two databases may be of two servers, on which one name is two users.
type lookup struct{ database, user string }

// entry is an answer, or the place where it will be.
type entry struct {
	// Constant.
	asked  time.Time
	before *account // what was known then
	done   chan struct{}

	// Constant once done is closed.
	acc   *account // nil: no such user
	until time.Time
	err   error
}

func newQuery(cfg QueryConfig, newAccount func(string, Secret) (*account, error)) *query {
	if cfg.SQL == "" {
		cfg.SQL = DefaultQuery
	}
	if cfg.TTL <= 0 {
		cfg.TTL = time.Minute
	}
	return &query{cfg: cfg, newAccount: newAccount, room: make(chan struct{}, maxLookups), entries: map[lookup]*entry{}}
}

// find returns the account of a user, nil when there is none. renew asks again unless that was done just now.
func (q *query) find(ctx context.Context, key lookup, renew bool) (*account, error) {
	for {
		e, ours := q.entry(key, renew)
		if ours {
			q.ask(ctx, key, e)
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if errors.Is(e.err, errAskerLeft) && ctx.Err() == nil {
			continue // it was not the server that failed
		}
		return e.acc, e.err
	}
}

// entry returns the answer to use, or to wait for; ours means that the caller has to ask.
func (q *query) entry(key lookup, renew bool) (e *entry, ours bool) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	var before *account
	if e = q.entries[key]; e != nil {
		select {
		case <-e.done:
			before = e.acc
			if now.Before(e.until) && (!renew || now.Sub(e.asked) < renewAge) {
				return e, false
			}
		default:
			return e, false
		}
	} else if len(q.entries) >= maxEntries {
		q.evict(now)
	}
	e = &entry{asked: now, before: before, done: make(chan struct{})}
	q.entries[key] = e
	return e, true
}

// evict makes room for one: of a few answers an old one goes, or any.
func (q *query) evict(now time.Time) {
	looked := 0
	for key, e := range q.entries { // in no order
		looked++
		old := false
		select {
		case <-e.done:
			old = now.After(e.until)
		default:
		}
		if old || looked == 16 {
			delete(q.entries, key) // those who wait for it hold it themselves
			return
		}
	}
}

// noSuchDatabase is ERRCODE_UNDEFINED_DATABASE.
const noSuchDatabase = "3D000"

var errAskerLeft = errors.New("the client that asked has left")

// ask fills in e. Failures are not remembered: whoever waits meets them too, the next one asks again.
func (q *query) ask(ctx context.Context, key lookup, e *entry) {
	defer close(e.done)
	var valid time.Duration
	e.acc, valid, e.err = q.lookUp(ctx, key, e.before)
	if e.err == nil {
		e.until = e.asked.Add(valid)
		return
	}
	refused, _ := errors.AsType[*pgwire.Error](e.err)
	switch {
	case ctx.Err() != nil:
		e.err = fmt.Errorf("%w: %w", errAskerLeft, e.err)
	case refused != nil && refused.Code == noSuchDatabase: // that is the client's mistake
		e.err = fmt.Errorf("auth_query: %w", e.err)
	default:
		e.err = fmt.Errorf("%w: auth_query: %w", lookupFailed.with(), e.err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.entries[key] == e {
		delete(q.entries, key)
	}
}

// lookUp asks the server, and says for how long the answer is good. It returns before if that still is the answer, so
// that the keys which its credentials have learnt stay.
func (q *query) lookUp(ctx context.Context, key lookup, before *account) (acc *account, valid time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := q.row(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	var secret Secret
	if found.secret != "" {
		if secret, err = ParseSecret(found.secret); err != nil {
			return nil, 0, fmt.Errorf("secret of user %q: %w", key.user, err)
		}
		q.hashes.Store(secret.Kind != SecretSCRAM)
	}
	// A verifier is derived whatever was found, so that the time it takes tells nothing.
	plain := secret
	if secret.Kind != SecretPassword || secret.text == "" {
		plain = Secret{Kind: SecretPassword, text: "nobody's"}
	}
	if waited := compute(ctx, func() { acc, err = q.newAccount(key.user, plain) }); waited != nil {
		return nil, 0, waited
	}
	switch {
	case found.secret == "":
		return nil, q.cfg.TTL / 10, nil
	case before != nil && before.secret.text == secret.text:
		acc, err = before, nil
	case secret.Kind != SecretPassword:
		acc, err = q.newAccount(key.user, secret)
	}
	return acc, min(q.cfg.TTL, found.valid), err
}

// row asks when there is room.
func (q *query) row(ctx context.Context, key lookup) (row, error) {
	select {
	case q.room <- struct{}{}:
	case <-ctx.Done():
		return row{}, fmt.Errorf("wait for other lookups: %w", context.Cause(ctx))
	}
	defer func() { <-q.room }()
	session, err := q.cfg.Dial(ctx, key.database)
	if err != nil {
		return row{}, err
	}
	return ask(ctx, session.Conn, q.cfg.SQL, key.user)
}
