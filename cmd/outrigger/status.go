package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
)

// errUnhealthy makes the exit code 1. The report has said why.
var errUnhealthy = errors.New("the sidecar is not healthy")

// statusTimeout bounds the question.
const statusTimeout = 10 * time.Second

func newStatus(env *environment) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how a running sidecar is, and its cluster as it sees it",
		Long: `Ask the operator's listener of a running sidecar (http_listen) how it is: members and balance of the ring, cache, pooler, Postgres
servers, and what is wrong. The exit code is 0 when nothing is, and 1 otherwise, also when nobody answers.` + settingsHelp,
		Example: `  outrigger status
  outrigger status --http-listen 10.0.0.7:7948 --json`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	load := settings(cmd, env)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if cfg.HTTPListen == "" {
			return usageError{errors.New("http_listen is off: there is nobody to ask")}
		}
		st, err := askStatus(cfg.HTTPListen)
		if err != nil {
			return err
		}
		if asJSON {
			encoder := json.NewEncoder(env.stdout)
			encoder.SetIndent("", "  ")
			err = encoder.Encode(st)
		} else {
			err = printStatus(env.stdout, st)
		}
		if err == nil && !st.Healthy() {
			err = errUnhealthy
		}
		return err
	}
	return cmd
}

// askStatus asks the sidecar that listens at addr.
func askStatus(addr string) (*ops.Status, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usageError{err}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	addr = net.JoinHostPort(host, port)
	client := &http.Client{Timeout: statusTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/status")
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar at %s (http_listen) how it is: %w", addr, err)
	}
	defer resp.Body.Close()
	var st ops.Status
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the sidecar at %s answers %s: is it of an older version?", addr, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&st); err != nil {
		return nil, fmt.Errorf("read what the sidecar at %s answers: %w", addr, err)
	}
	return &st, nil
}

// printStatus writes it for people.
func printStatus(out io.Writer, st *ops.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "status\t%s\tversion %s\n", st.Status, st.Version)
	for _, p := range st.Problems {
		fmt.Fprintf(w, "problem\t%s\n", p)
	}
	if p := st.Pooler; p != nil {
		fmt.Fprintf(w, "pooler\t%d clients\tof %d, %d wait, %d pinned\n", p.Clients, p.MaxClients, p.Waiting, p.Pinned)
		for _, s := range p.Servers {
			lag := ""
			if s.LagSeconds != nil {
				lag = fmt.Sprintf(", %.3f s behind", *s.LagSeconds)
			}
			fmt.Fprintf(w, "%s\t%s\t%s%s\n", s.Role, s.Address, s.State, lag)
		}
	}
	if c := st.Cache; c != nil {
		limit := ""
		if c.MaxBytes > 0 {
			limit = fmt.Sprintf(" of %.1f", float64(c.MaxBytes)/(1<<20))
		}
		fmt.Fprintf(w, "cache\t%d keys\t%.1f%s MiB, %d clients\n", c.Keys, float64(c.Bytes)/(1<<20), limit, c.Clients)
		fmt.Fprintf(w, "hits\t%.1f %%\t%d hits, %d misses, %d evicted; near: %d hits, %d copies\n", float64(c.HitPermille)/10, c.Hits, c.Misses, c.Evicted, c.NearHits, c.NearCopies)
	}
	if r := st.Cluster; r != nil {
		fmt.Fprintf(w, "cluster\t%s\t%d members, ring %s, partitions %.2f to %.2f of the mean\n", r.Name, len(r.Members), r.Epoch, r.MinToMean, r.MaxToMean)
		for _, m := range r.Members {
			var notes []string
			if m.Name == r.Node {
				notes = append(notes, "this one")
			}
			if m.Zone != "" {
				notes = append(notes, "zone "+m.Zone)
			}
			notes = append(notes, fmt.Sprintf("owns %d, backs %d", m.Owned, m.Backed), "peers "+m.Peers)
			fmt.Fprintf(w, "member\t%s\t%s, %s\n", m.Name, m.State, strings.Join(notes, ", "))
		}
	}
	return w.Flush()
}
