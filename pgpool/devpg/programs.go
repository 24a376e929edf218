package devpg

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Psql runs sql on server i as the superuser, over the socket, and returns the bare result.
func (c *Cluster) Psql(ctx context.Context, i int, sql string) (string, error) {
	c.mu.Lock()
	port := c.nodes[i].port
	c.mu.Unlock()
	out, err := c.run(ctx, filepath.Join(c.bin, "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1",
		"-h", c.dir.path, "-p", strconv.Itoa(port), "-U", User, "-d", Database, "-c", sql)
	return strings.TrimSuffix(out, "\n"), err
}

// Pgbench runs pgbench on the current primary with the given arguments.
func (c *Cluster) Pgbench(ctx context.Context, args ...string) error {
	c.mu.Lock()
	port := c.nodes[c.primary].port
	c.mu.Unlock()
	args = append(args, "-h", c.dir.path, "-p", strconv.Itoa(port), "-U", User, Database)
	_, err := c.run(ctx, filepath.Join(c.bin, "pgbench"), args...)
	return err
}

// WaitCaughtUp waits until every running replica has replayed what the primary has written by now.
func (c *Cluster) WaitCaughtUp(ctx context.Context) error {
	c.mu.Lock()
	primary, nodes := c.primary, c.nodes
	c.mu.Unlock()
	lsn, err := c.Psql(ctx, primary, "select pg_current_wal_lsn()")
	if err != nil {
		return fmt.Errorf("ask the primary for its position: %w", err)
	}
	for i := range nodes {
		for i != primary && c.Running(i) {
			reached, err := c.Psql(ctx, i, "select pg_last_wal_replay_lsn() >= '"+lsn+"'")
			if err != nil {
				return fmt.Errorf("ask replica %d for its position: %w", i, err)
			}
			if reached == "t" {
				break
			}
		}
	}
	return nil
}
