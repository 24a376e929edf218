package pgwire

import (
	"net/url"
	"strings"
)

// ParseURL takes a connection URI apart (PostgreSQL documentation, "Connection URIs"). The directory of a Unix socket, which
// may stand percent-encoded in place of the host, is moved to the parameter host, its port to the parameter port. The error
// may quote a password.
func ParseURL(s string) (*url.URL, error) {
	scheme, rest, _ := strings.Cut(s, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	host, port, _ := strings.Cut(rest[at:end], ":")
	if len(host) < 3 || !strings.EqualFold(host[:3], "%2f") {
		return url.Parse(s)
	}
	dir, err := url.PathUnescape(host)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(scheme + "://" + rest[:at] + rest[end:])
	if err != nil {
		return nil, err
	}
	query := u.Query()
	query.Set("host", dir)
	if port != "" {
		query.Set("port", port)
	}
	u.RawQuery = query.Encode()
	return u, nil
}

// SplitHosts returns a URI for each host of one that names several, separated by commas, each with a port of its own or
// without (PostgreSQL documentation, "Specifying Multiple Hosts"). It returns any other text as it is.
func SplitHosts(s string) []string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return []string{s}
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	var all []string
	for host := range strings.SplitSeq(rest[at:end], ",") {
		all = append(all, scheme+"://"+rest[:at]+host+rest[end:])
	}
	return all
}
