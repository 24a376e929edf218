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
	client      *load.Client // of the primary
}

// OfServers finds the processes of a cluster that runs, and keeps a connection to its primary.
func OfServers(ctx context.Context, servers *devpg.Cluster) (*Postgres, error) {
	p := &Postgres{}
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
	}
	var err error
	if p.client, err = load.Connect(ctx, servers.Addr(0), auth.NewCredentials(User, Password)); err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return p, nil
}

// Close ends the connection.
func (p *Postgres) Close() { p.client.Close() }

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

// Busy counts the primary's connections of clients on which something ran since a moment, but for Outrigger's health probes,
// which go on beside whoever is measured.
func (p *Postgres) Busy(since time.Time) (int, error) {
	text, err := p.client.Value(fmt.Sprintf("select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"+
		" and query not like 'select pg_is_in_recovery()%%' and query_start >= '%s'", since.UTC().Format("2006-01-02 15:04:05.999999Z")), startTimeout)
	if err != nil {
		return 0, fmt.Errorf("count PostgreSQL's connections: %w", err)
	}
	return strconv.Atoi(text)
}
