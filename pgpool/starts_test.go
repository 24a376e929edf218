package pgpool

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What a client is told at login is what it would be told directly, however it words its parameters.
func TestStartupParametersAreReportedAsTheServerSeesThem(t *testing.T) {
	p := start(t, 2, nil)
	ctx := context.Background()
	names := []string{"DateStyle", "TimeZone", "client_encoding", "IntervalStyle", "application_name", "standard_conforming_strings",
		"default_transaction_read_only", "server_version", "is_superuser", "session_authorization"}
	for _, query := range []string{
		"",
		"&options=" + "-c%20datestyle%3DISO,YMD",
		"&timezone=utc&application_name=starts",
		"&client_encoding=latin1&options=" + "-c%20default_transaction_read_only%3Dyes%20-c%20intervalstyle%3DISO_8601",
	} {
		reported := make([]map[string]string, 2)
		for i, at := range []string{pg.URL(0), p.url("")} {
			base, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			c, err := pgx.Connect(ctx, base.Scheme+"://postgres@"+base.Host+"/postgres?sslmode=disable"+query)
			if err != nil {
				t.Fatalf("%q at %d: %v", query, i, err)
			}
			reported[i] = make(map[string]string)
			for _, name := range names {
				reported[i][name] = c.PgConn().ParameterStatus(name)
			}
			c.Close(ctx)
		}
		if !maps.Equal(reported[0], reported[1]) {
			t.Errorf("%q: direct %v\npooled %v", query, reported[0], reported[1])
		}
	}
}

// A parameter that is wrong ends the login, as it would directly, and is tried anew each time.
func TestWrongStartupParametersEndTheLogin(t *testing.T) {
	p := start(t, 1, nil)
	for _, query := range []string{"&timezone=nowhere", "&no_such_setting=1", "&work_mem=lots", "&shared_buffers=1GB"} {
		for range 2 {
			var codes []string
			for _, at := range []string{pg.URL(0), p.url("")} {
				base, _ := url.Parse(at)
				c, err := pgx.Connect(context.Background(), base.Scheme+"://postgres@"+base.Host+"/postgres?sslmode=disable"+query)
				var e *pgconn.PgError
				if !errors.As(err, &e) {
					t.Fatalf("%q let in: %v, %v", query, c, err)
				}
				codes = append(codes, e.Severity+e.Code+e.Message)
			}
			if codes[0] != codes[1] {
				t.Errorf("%q: directly %q, pooled %q", query, codes[0], codes[1])
			}
		}
	}
	p.settled(t, 0)
}

func TestTrialsAreBounded(t *testing.T) {
	var s starts
	for i := range 3 * maxStarts {
		s.find(string(rune(i)))
	}
	if len(s.tried) > maxStarts {
		t.Errorf("%d lists are remembered", len(s.tried))
	}
}

// Clients with start-up parameters of their own do not open any number of connections beyond the limits of the pools.
func TestFewTrialsRunAtTheSameTime(t *testing.T) {
	const lists = 20
	p := start(t, 1, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, lists)
	go func() {
		defer close(accepted)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- nc
		}
	}()
	silent := testServer(t, 0)
	silent.Addr = ln.Addr().String()
	g := &sharedGroup{up: newUpstream(alone{}, []Server{silent})}
	var trials sync.WaitGroup
	for i := range lists {
		set := newSettings([]setting{{name: "a.b", value: strconv.Itoa(i)}})
		trial, _ := g.starts.find(set.key)
		trials.Go(func() { p.try(context.Background(), g, set, trial) })
	}
	var open []net.Conn
	for range lists {
		open = append(open, <-accepted)
		if len(open) == maxTrials {
			if n := len(accepted); n > 0 {
				t.Errorf("%d more trials than %d run", n, maxTrials)
			}
			open[0].Close()
			open = open[1:]
		}
	}
	for _, nc := range open {
		nc.Close()
	}
	trials.Wait()
	ln.Close()
	for range accepted {
		t.Error("more trials than lists")
	}
	if len(g.starts.tried) > 0 {
		t.Errorf("%d lists are remembered that no server has seen", len(g.starts.tried))
	}
}
