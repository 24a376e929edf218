package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// failureEvery is how often it is worth a line in the log that nobody can be joined.
const failureEvery = 30 * time.Second

// joinForever looks for members that we do not know yet, until ctx ends. It never gives up: pods start in any order, names
// resolve late, and two members that both started alone must still merge.
func (c *Cluster) joinForever(ctx context.Context) {
	if len(c.cfg.Join) == 0 {
		c.endSearch()
		return
	}
	var told time.Time
	lastError := ""
	for {
		worked, failure := c.joinOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if worked {
			c.endSearch()
		}
		c.failure.Store(&failure)
		alone := len(c.View().Members) == 1
		switch now := time.Now(); {
		case failure == nil:
			lastError = ""
		case now.Sub(told) < failureEvery:
		case alone: // those to join may be a cluster without us, and nobody would notice
			told, lastError = now, failure.Error()
			c.cfg.Logger.WarnContext(ctx, "cannot join anybody yet", "error", failure)
		case failure.Error() != lastError: // the same failure again is not news
			told, lastError = now, failure.Error()
			c.cfg.Logger.InfoContext(ctx, "cannot join all yet", "error", failure)
		}
		wait := c.cfg.JoinInterval
		if alone || c.nameless() {
			wait /= 10
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Alone says why this member knows no other, although there is somebody to join; nil if it knows one, or has nobody to join but
// itself.
func (c *Cluster) Alone() error {
	failure := c.failure.Load()
	if failure == nil || len(c.View().Members) > 1 {
		return nil
	}
	return *failure
}

// joinOnce resolves the configured names and joins each address that is not a member's; members' too while they have to be
// asked whether our name is free. It tells whether anything has worked, and the last failure.
func (c *Cluster) joinOnce(ctx context.Context) (worked bool, failure error) {
	for _, entry := range c.cfg.Join {
		addrs, err := c.resolve(ctx, entry)
		if err != nil {
			failure = err
			continue
		}
		for _, addr := range addrs {
			if ctx.Err() != nil {
				return worked, ctx.Err()
			}
			// An address that is our own counts: a name that resolves to nobody else makes us the first member.
			if !c.knows(addr) || c.nameless() && addr != c.View().Me().GossipAddr {
				if err := c.joinAt(addr); err != nil {
					failure = err
					continue
				}
			}
			worked = true
		}
	}
	return worked, failure
}

// endSearch notes that whom the first search could find has been found.
func (c *Cluster) endSearch() {
	if !c.searched.Swap(true) {
		c.markChanged()
	}
}

// joinAt joins the member at an address.
func (c *Cluster) joinAt(addr string) error {
	c.setJoining(true)
	defer c.setJoining(false)
	_, err := c.gossip.Join([]string{addr})
	if list, ok := err.(interface{ WrappedErrors() []error }); ok && len(list.WrappedErrors()) == 1 {
		err = list.WrappedErrors()[0] // which is one line
	}
	if err != nil && strings.Contains(err.Error(), "crypt") {
		err = fmt.Errorf("%w: do both sides have the same key in cluster_key_file?", err)
	}
	return err
}

// setJoining tells when a join begins and ends. memberlist hears of those whom the other one knows all at once, and tells
// of them one after the other; a member that was alone makes no view of the first few, for nobody else has such a ring.
func (c *Cluster) setJoining(joining bool) {
	c.mu.Lock()
	c.joining = joining
	c.mu.Unlock()
	c.markChanged()
}

func (c *Cluster) knows(addr string) bool {
	return slices.ContainsFunc(c.View().Members, func(m Member) bool { return m.GossipAddr == addr })
}

// Resolver is what names to join are looked up with: net.DefaultResolver, but for tests.
type Resolver interface {
	LookupHost(ctx context.Context, host string) (addrs []string, err error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// resolve turns an entry of Config.Join into "ip:port" addresses.
func (c *Cluster) resolve(ctx context.Context, entry string) ([]string, error) {
	if strings.HasPrefix(entry, "_") || strings.HasPrefix(entry, srvPrefix) {
		return c.resolveSRV(ctx, strings.TrimPrefix(entry, srvPrefix))
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		host, port = entry, strconv.Itoa(defaultGossipPort)
	}
	ips, err := c.cfg.Resolver.LookupHost(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("look up member: %w", err)
	}
	for i, ip := range ips {
		ips[i] = net.JoinHostPort(ip, port)
	}
	return ips, nil
}

// srvPrefix marks names to join that have SRV records.
const srvPrefix = "srv+"

// resolveSRV looks up the SRV records of a name, and the addresses of the hosts that they name. Hosts that have none (any more)
// are left out, unless all are.
func (c *Cluster) resolveSRV(ctx context.Context, name string) (addrs []string, err error) {
	_, records, err := c.cfg.Resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, fmt.Errorf("look up SRV records of members: %w", err)
	}
	var failure error
	for _, r := range records {
		ips, err := c.cfg.Resolver.LookupHost(ctx, strings.TrimSuffix(r.Target, "."))
		if err != nil {
			failure = fmt.Errorf("look up member: %w", err)
			continue
		}
		for _, ip := range ips {
			addrs = append(addrs, joinAddr(ip, int(r.Port)))
		}
	}
	if len(addrs) == 0 {
		return nil, failure
	}
	return addrs, nil
}
