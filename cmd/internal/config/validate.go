package config

import (
	"fmt"
	"net"
	"strings"
)

// validate says what no single value can tell.
func (l *loader) validate() {
	c := l.config
	l.required()
	if c.PrimaryURL != "" {
		l.clientAuth()
	}
	if c.Cache {
		l.cache()
	}
	l.tls("client_tls_", c.ClientTLS, true)
	l.tls("server_tls_", c.ServerTLS, false)
	if c.AdvertiseAddr != "" && net.ParseIP(c.AdvertiseAddr) == nil && !l.broken["advertise_addr"] {
		l.problem(c.Origin("advertise_addr"), "advertise_addr", fmt.Sprintf("%q is not an IP address", c.AdvertiseAddr), "without a port")
	}
	if host, _, err := net.SplitHostPort(c.GossipListen); err == nil && host != "" && net.ParseIP(host) == nil {
		l.problem(c.Origin("gossip_listen"), "gossip_listen", fmt.Sprintf("%q is not an IP address", host), "gossip binds to an address, not to a name")
	}
	l.distinctListeners()
}

// required checks what must not be empty, and that there is something to do.
func (l *loader) required() {
	c := l.config
	for _, r := range []struct {
		name  string
		empty bool
	}{
		{"pg_listen", len(c.PGListen) == 0}, {"cache_listen", c.CacheListen == ""}, {"gossip_listen", c.GossipListen == ""},
		{"peer_listen", c.PeerListen == ""}, {"pool_mode", c.PoolMode == ""}, {"cluster_name", c.ClusterName == ""},
		{"max_memory", c.MaxMemory == 0}, {"max_memory_policy", c.MaxMemoryPolicy == ""}, {"default_pool_size", c.DefaultPoolSize == 0},
		{"max_client_conn", c.MaxClientConn == 0}, {"max_prepared_statements", c.MaxPreparedStatements == 0},
		{"client_tls_sslmode", c.ClientTLS.SSLMode == ""}, {"server_tls_sslmode", c.ServerTLS.SSLMode == ""},
		{"log_level", c.LogLevel == ""}, {"log_format", c.LogFormat == ""},
	} {
		if r.empty && !l.broken[r.name] {
			l.problem(c.Origin(r.name), r.name, "must not be empty", "leave it out for the default")
		}
	}
	if c.PrimaryURL == "" && !l.broken["primary_url"] {
		if len(c.ReplicaURLs) > 0 {
			l.problem(c.Origin("replica_urls"), "replica_urls", "needs primary_url", "writes have to go somewhere")
		}
		if !c.Cache {
			l.problem(c.Origin("cache"), "primary_url", "is not set and the cache is off: there is nothing to serve",
				"set primary_url, or OUTRIGGER_PRIMARY_URL, or PRIMARY_DB_URL")
		}
	}
}

func (l *loader) clientAuth() {
	c := l.config
	if l.broken["pg_listen"] || l.broken["client_auth"] {
		return
	}
	switch open := exposed(c.PGListen); {
	case c.ClientAuth == "trust" && len(open) > 0 && !c.AllowInsecure:
		l.problem(c.Origin("client_auth"), "client_auth", "trust lets everybody in who reaches "+strings.Join(open, ", "),
			"use scram-sha-256 with auth_file, listen on loopback, or set allow_insecure: on")
	case c.ClientAuth == "scram-sha-256" && c.AuthFile == "" && !l.broken["auth_file"]:
		hint := "its lines are \"user\" \"password or SCRAM secret\""
		if c.Origin("client_auth") == "" {
			hint += "; scram-sha-256 is the default because pg_listen is not on loopback"
		}
		l.problem(c.Origin("client_auth"), "client_auth", "scram-sha-256 needs auth_file", hint)
	}
}

func (l *loader) cache() {
	c := l.config
	if l.broken["cache_listen"] || l.broken["cache_password_file"] {
		return
	}
	if open := exposed([]string{c.CacheListen}); len(open) > 0 && c.CachePasswordFile == "" && !c.AllowInsecure {
		l.problem(c.Origin("cache_listen"), "cache_listen", "everybody who reaches "+open[0]+" could read and write the cache",
			"set cache_password_file, listen on loopback, or set allow_insecure: on")
	}
}

// tls checks that files come together. A side that serves TLS needs a certificate; one that dials does not.
func (l *loader) tls(prefix string, t TLS, serves bool) {
	c := l.config
	where := func(name string) string { return c.Origin(prefix + name) }
	if (t.KeyFile == "") != (t.CertFile == "") && !l.broken[prefix+"key_file"] && !l.broken[prefix+"cert_file"] {
		l.problem(where("key_file")+where("cert_file"), prefix+"cert_file", "a certificate and its key go together",
			"set both "+prefix+"cert_file and "+prefix+"key_file")
	} else if serves && t.SSLMode != "disable" && t.CertFile == "" && !l.broken[prefix+"sslmode"] && !l.broken[prefix+"cert_file"] {
		l.problem(where("sslmode"), prefix+"sslmode", t.SSLMode+" needs a certificate",
			"set "+prefix+"cert_file and "+prefix+"key_file")
	}
	if strings.HasPrefix(t.SSLMode, "verify-") && t.CAFile == "" && serves && !l.broken[prefix+"ca_file"] {
		l.problem(where("sslmode"), prefix+"sslmode", t.SSLMode+" needs "+prefix+"ca_file", "the authorities that sign the other side's certificate")
	}
}

// distinctListeners finds two listeners on one address. Port 0, any free one, cannot collide.
func (l *loader) distinctListeners() {
	c := l.config
	taken := map[string]string{}
	check := func(setting, addr string) {
		if addr == "" || portOf(addr) == "0" {
			return
		}
		if first, ok := taken[addr]; ok {
			l.problem(c.Origin(setting), setting, addr+" is taken by "+first, "give each its own port")
			return
		}
		taken[addr] = setting
	}
	if c.PrimaryURL != "" {
		for _, addr := range c.PGListen {
			check("pg_listen", addr)
		}
	}
	if c.Cache {
		check("cache_listen", c.CacheListen)
		check("gossip_listen", c.GossipListen)
		check("peer_listen", c.PeerListen)
	}
	check("http_listen", c.HTTPListen)
}

// exposed returns the addresses that other machines can reach. A name other than localhost counts: it may resolve to
// anything.
func exposed(addrs []string) []string {
	var open []string
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			continue // told already
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			open = append(open, addr)
		}
	}
	return open
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// Warnings are things that work and that an operator should know.
func (c *Config) Warnings() []string {
	var all []string
	if c.PrimaryURL == "" {
		all = append(all, "primary_url is not set: serving the cache alone")
	}
	if c.Cache && c.ClusterKeyFile == "" && len(exposed([]string{c.GossipListen, c.PeerListen})) > 0 {
		all = append(all, "gossip_listen or peer_listen is reachable from other machines and cluster_key_file is not set: whoever reaches them can join")
	}
	if c.AllowInsecure {
		all = append(all, "allow_insecure is on: clients from other machines may need no password")
	}
	return all
}
