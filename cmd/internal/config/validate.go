package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
)

// validate says what no single value can tell.
func (l *loader) validate() {
	c := l.config
	l.required()
	if c.Pooler() {
		l.clientAuth()
	}
	l.pools()
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
	if c.Cache {
		l.cluster()
	}
	l.distinctListeners()
}

// cluster checks that strangers cannot join, and that the others can reach us if we can reach them.
func (l *loader) cluster() {
	c := l.config
	for _, of := range []struct{ setting, addr string }{{"gossip_listen", c.GossipListen}, {"peer_listen", c.PeerListen}} {
		if l.broken[of.setting] || l.broken["cluster_key_file"] || Loopback(of.addr) {
			continue
		}
		if c.ClusterKeyFile == "" && !c.AllowInsecure {
			l.problem(c.Origin(of.setting), of.setting, "everybody who reaches "+of.addr+" could join the cluster, and read and write the cache",
				"set cluster_key_file (`openssl rand -base64 32` makes a key), listen on loopback, or set allow_insecure: on")
		}
	}
	if !l.broken["gossip_listen"] && !l.broken["peer_listen"] && !Loopback(c.GossipListen) && Loopback(c.PeerListen) {
		l.problem(c.Origin("peer_listen"), "peer_listen", "members that gossip with "+c.GossipListen+" cannot reach "+c.PeerListen,
			"listen on the same interface with both")
	}
}

// required checks that there is something to do, and somewhere to do it.
func (l *loader) required() {
	c := l.config
	if c.ClusterName == "" && !l.broken["cluster_name"] {
		l.problem(c.Origin("cluster_name"), "cluster_name", "must not be empty", "leave it out for the default")
	}
	if len(c.PGListen) == 0 && c.PGSocketDir == "" && !l.broken["pg_listen"] && !l.broken["pg_socket_dir"] {
		l.problem(c.Origin("pg_listen"), "pg_listen", "must not be empty without pg_socket_dir", "leave it out for the default")
	}
	if c.PrimaryURL == "" && len(c.ReplicaURLs) > 0 && !l.broken["primary_url"] {
		l.problem(c.Origin("replica_urls"), "replica_urls", "needs primary_url", "writes have to go somewhere")
	}
	if !c.Pooler() && !c.Cache && !l.broken["primary_url"] && !l.broken["databases"] {
		l.problem(c.Origin("cache"), "primary_url", "is not set and the cache is off: there is nothing to serve",
			"set primary_url, or OUTRIGGER_PRIMARY_URL, or PRIMARY_DB_URL")
	}
}

// clientAuth checks that clients can log in, and that not everybody can.
func (l *loader) clientAuth() {
	c := l.config
	if l.broken["pg_listen"] || l.broken["pg_socket_dir"] || l.broken["client_auth"] {
		return
	}
	where := c.Origin("client_auth")
	problem := func(message, hint string) { l.problem(where, "client_auth", message, hint) }
	methods := map[string]string{} // → the first listener that asks for it
	for _, listener := range c.PGListeners() {
		if method := c.AuthFor(listener); methods[method] == "" {
			methods[method] = listener
		}
	}
	if open := exposed(c.PGListen); c.ClientAuth == "trust" && len(open) > 0 && !c.AllowInsecure {
		problem("trust lets everybody in who reaches "+strings.Join(open, ", "),
			"use scram-sha-256 with auth_file, listen on loopback, or set allow_insecure: on")
	}
	for _, method := range []string{"scram-sha-256", "md5"} {
		if methods[method] == "" || c.AuthFile != "" || c.LooksUpUsers() || l.broken["auth_file"] || l.broken["auth_query"] {
			continue
		}
		hint := "its lines are \"user\" \"password or SCRAM secret\""
		switch c.ClientAuth {
		case "":
			hint += "; " + method + " is the default because " + methods[method] + " is not on loopback"
		case "peer":
			hint += "; peer is for sockets, and clients of " + methods[method] + " need a password: or set pg_listen: []"
		}
		problem(method+" needs auth_file or auth_query", hint)
	}
	if methods["cert"] != "" && !l.broken["client_tls_sslmode"] && !l.broken["client_tls_ca_file"] {
		if c.ClientTLS.SSLMode == "disable" {
			problem("cert needs TLS", "set client_tls_sslmode: verify-full, client_tls_cert_file, client_tls_key_file and client_tls_ca_file")
		} else if c.ClientTLS.CAFile == "" {
			problem("cert needs client_tls_ca_file", "the authorities that sign clients' certificates")
		}
	}
	if c.ClientAuth == "peer" && c.PGSocketDir == "" {
		problem("peer needs pg_socket_dir", "the kernel knows who is at the other end of a socket, not of a TCP connection")
	}
}

// pools checks what an entry's settings say together, and what the top level's do.
func (l *loader) pools() {
	c := l.config
	check := func(name string, p Pool) {
		if p.MinPoolSize > p.DefaultPoolSize {
			l.problem(c.Origin(name+"min_pool_size"), name+"min_pool_size", "is more than the pool size",
				fmt.Sprintf("it may be up to %d", p.DefaultPoolSize))
		}
	}
	if l.broken["min_pool_size"] || l.broken["default_pool_size"] {
		return
	}
	check("", c.Pool)
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		if c.Origin("databases."+name+".min_pool_size") != "" {
			check("databases."+name+".", c.PoolFor(name, ""))
		}
	}
}

// cache checks that there is a door for clients, and what its certificates need. Whether everybody may come in depends on
// users and files, which the parts read.
func (l *loader) cache() {
	c := l.config
	if c.CacheListen == "" && c.CacheSocket == "" && !l.broken["cache_listen"] && !l.broken["cache_socket"] {
		l.problem(c.Origin("cache_listen"), "cache_listen", "must not be empty without cache_socket", "leave it out for the default, or set cache: off")
	}
	l.tls("cache_tls_", c.CacheTLS, false)
	if c.CacheTLS.CAFile != "" && c.CacheTLS.CertFile == "" && !l.broken["cache_tls_cert_file"] {
		l.problem(c.Origin("cache_tls_ca_file"), "cache_tls_ca_file", "needs a certificate of our own", "set cache_tls_cert_file and cache_tls_key_file")
	}
	if c.CacheTLS.CertFile != "" && c.CacheListen == "" && !l.broken["cache_listen"] {
		l.problem(c.Origin("cache_tls_cert_file"), "cache_tls_cert_file", "is for cache_listen, which is empty", "cache_socket is without TLS")
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
	if c.Pooler() {
		for _, addr := range c.PGListen {
			check("pg_listen", addr)
		}
		check("pg_socket_dir", c.PGSocket())
	}
	if c.Cache {
		check("cache_listen", c.CacheListen)
		check("cache_socket", c.CacheSocket)
		check("gossip_listen", c.GossipListen)
		check("peer_listen", c.PeerListen)
	}
	check("http_listen", c.HTTPListen)
}

// Warnings are things that work and that an operator should know.
func (c *Config) Warnings() []string {
	var all []string
	if !c.Pooler() {
		all = append(all, "primary_url is not set: serving the cache alone")
	}
	if c.AllowInsecure {
		all = append(all, "allow_insecure is on: clients from other machines may need no password, and without cluster_key_file other members no key")
	}
	if far := slices.IndexFunc(c.Join, elsewhere); c.Cache && far >= 0 && Loopback(c.GossipListen) {
		all = append(all, fmt.Sprintf("gossip_listen is %s, which members on other machines do not reach: if %s (join) is not on this one, set gossip_listen and peer_listen, such as to 0.0.0.0:7946 and 0.0.0.0:7947",
			c.GossipListen, c.Join[far]))
	}
	return all
}

// elsewhere tells whether an entry of join may lead to another machine.
func elsewhere(member string) bool {
	if _, _, err := net.SplitHostPort(member); err != nil {
		member = net.JoinHostPort(member, "0")
	}
	return !Loopback(member)
}
