package contender

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// Postgres tells what the servers behind the contenders do. It belongs to one goroutine at a time.
type Postgres struct {
	postmasters []int
	clients     []*load.Client // one of each server
}

// OfServers finds the processes of a cluster that runs, and keeps a connection to each of its servers.
func OfServers(ctx context.Context, servers *devpg.Cluster) (*Postgres, error) {
	p := &Postgres{}
	done := false
	defer func() {
		if !done {
			p.Close()
		}
	}()
	for i := range servers.Len() {
		dir, err := servers.Psql(ctx, i, "show data_directory")
		if err != nil {
			return nil, fmt.Errorf("find PostgreSQL's processes: %w", err)
		}
		file, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
		if err != nil {
			return nil, fmt.Errorf("find PostgreSQL's processes: %w", err)
		}
		first, _, _ := strings.Cut(string(file), "\n") // LOCK_FILE_LINE_PID in miscadmin.h
		pid, err := strconv.Atoi(strings.TrimSpace(first))
		if err != nil {
			return nil, fmt.Errorf("find PostgreSQL's processes: %w", err)
		}
		p.postmasters = append(p.postmasters, pid)
		client, err := load.Connect(ctx, servers.Addr(i), auth.NewCredentials(User, Password))
		if err != nil {
			return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
		}
		p.clients = append(p.clients, client)
	}
	done = true
	return p, nil
}

// Close ends the connections.
func (p *Postgres) Close() {
	for _, c := range p.clients {
		c.Close()
	}
}

// CPU is the time that all their processes have used, also those that have ended.
func (p *Postgres) CPU() (time.Duration, error) {
	var total time.Duration
	for _, postmaster := range p.postmasters {
		t, err := cpuTimeWithEnded(postmaster)
		if err != nil {
			return 0, err
		}
		total += t
		for _, pid := range devpg.ChildrenOf(postmaster) {
			t, err := cpuTime(pid)
			if err != nil && !ended(err) {
				return 0, err
			}
			total += t // of one that ended meanwhile nothing is missing for long: the postmaster has its time
		}
	}
	return total, nil
}

// Busy counts the connections of clients on which something ran since a moment, but for Outrigger's health probes and
// its looks at log positions, which go on beside whoever is measured.
func (p *Postgres) Busy(since time.Time) (int, error) {
	sql := fmt.Sprintf("select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"+
		" and query !~ '^select .*(pg_is_in_recovery|_wal_)' and query_start >= '%s'", since.UTC().Format("2006-01-02 15:04:05.999999Z"))
	total := 0
	for _, c := range p.clients {
		text, err := c.Value(sql, startTimeout)
		if err != nil {
			return 0, fmt.Errorf("count PostgreSQL's connections: %w", err)
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, fmt.Errorf("count PostgreSQL's connections: %w", err)
		}
		total += n
	}
	return total, nil
}
