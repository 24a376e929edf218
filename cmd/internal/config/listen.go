package config

import (
	"net"
	"path/filepath"
	"strings"
)

const defaultPGPort = "6432"

// PGSocket is the path of the Unix socket, which clients find by the port of the first TCP address; empty without
// pg_socket_dir.
func (c *Config) PGSocket() string {
	if c.PGSocketDir == "" {
		return ""
	}
	port := defaultPGPort
	if len(c.PGListen) > 0 && portOf(c.PGListen[0]) != "0" {
		port = portOf(c.PGListen[0])
	}
	return filepath.Join(c.PGSocketDir, ".s.PGSQL."+port)
}

// PGListeners are all addresses that Postgres clients connect to: those of TCP, and the socket's path.
func (c *Config) PGListeners() []string {
	all := append([]string(nil), c.PGListen...)
	if socket := c.PGSocket(); socket != "" {
		all = append(all, socket)
	}
	return all
}

// AuthFor says how clients of a listener log in: host:port, or a socket's path. What only this machine reaches is
// trusted unless client_auth says otherwise. The kernel knows a client's user on sockets alone, so that `peer` means
// scram-sha-256 elsewhere.
func (c *Config) AuthFor(listener string) string {
	socket := strings.HasPrefix(listener, "/")
	switch {
	case c.ClientAuth == "peer" && !socket:
		return "scram-sha-256"
	case c.ClientAuth != "":
		return c.ClientAuth
	case socket || Loopback(listener):
		return "trust"
	}
	return "scram-sha-256"
}

// Loopback tells whether only this machine reaches addr, host:port. A name other than localhost counts as reachable: it
// may resolve to anything.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // told already
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// exposed returns the addresses that other machines can reach.
func exposed(addrs []string) []string {
	var open []string
	for _, addr := range addrs {
		if !Loopback(addr) {
			open = append(open, addr)
		}
	}
	return open
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
