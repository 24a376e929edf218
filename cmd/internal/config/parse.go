package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

const defaultGossipPort = "7946"

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is not on or off", s)
}

// parseDuration accepts Go's durations and bare seconds as PgBouncer does.
func parseDuration(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		// NaN fails the comparison; the bound keeps the product within int64.
		if !(seconds >= 0 && seconds <= math.MaxInt32) {
			return 0, fmt.Errorf("%q seconds is out of range", s)
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	return d, nil
}

// sizeUnits in falling order; KB and KiB both are 1024 bytes, as in PostgreSQL and Redis.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"tib", 1 << 40}, {"tb", 1 << 40}, {"gib", 1 << 30}, {"gb", 1 << 30}, {"mib", 1 << 20}, {"mb", 1 << 20},
	{"kib", 1 << 10}, {"kb", 1 << 10}, {"b", 1},
}

func parseSize(s string) (int64, error) {
	number, unit := strings.ToLower(s), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return n * unit, nil
}

// formatSize shows bytes in the largest unit that divides them.
func formatSize(n int64) string {
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

func parseAddr(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q has no port from 0 to 65535", s)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	return net.JoinHostPort(host, port), nil
}

func parseAddrOrOff(s string) (string, error) {
	if strings.EqualFold(s, "off") {
		return "", nil
	}
	return parseAddr(s)
}

// parseMember adds the default gossip port to a host alone.
func parseMember(s string) (string, error) {
	if name, srv := strings.CutPrefix(s, "srv+"); srv || strings.HasPrefix(s, "_") { // the port is in the record
		if name == "" || strings.ContainsAny(name, ": \t") {
			return "", fmt.Errorf("%q is not srv+NAME, nor _SERVICE._udp.NAME", s)
		}
		return s, nil
	}
	host := strings.Trim(s, "[]")
	if net.ParseIP(host) != nil || !strings.Contains(s, ":") {
		s = net.JoinHostPort(host, defaultGossipPort)
	}
	a, err := parseAddr(s)
	if err != nil || strings.HasPrefix(a, ":") || strings.ContainsAny(a, " \t") {
		return "", fmt.Errorf("%q is not a host or host:port", s)
	}
	return a, nil
}

// parseRoute takes name=route, the name of an application and where its units go.
func parseRoute(s string) (string, error) {
	i := strings.LastIndexByte(s, '=')
	name, route := strings.TrimSpace(s[:max(i, 0)]), strings.ToLower(strings.TrimSpace(s[i+1:]))
	if name == "" {
		return "", fmt.Errorf("%q is not name=route", s)
	}
	var known string
	if err := routes.parse([]string{route}, &known); err != nil {
		return "", err
	}
	return name + "=" + route, nil
}

func parseFile(path string) (string, error) {
	if isDir, err := stat(path); err != nil {
		return "", err
	} else if isDir {
		return "", fmt.Errorf("%s is a directory", path)
	}
	return path, nil
}

// parseFileToWrite checks the directory: the file itself may be there or not.
func parseFileToWrite(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return "", fmt.Errorf("%s is a directory", path)
	}
	if isDir, err := stat(filepath.Dir(path)); err != nil {
		return "", err
	} else if !isDir {
		return "", fmt.Errorf("%s is no directory", filepath.Dir(path))
	}
	return path, nil
}

// maxSocketPath is what sockaddr_un.sun_path holds on Linux, less the terminator.
const maxSocketPath = 107

func parseDir(path string) (string, error) {
	if isDir, err := stat(path); err != nil {
		return "", err
	} else if !isDir {
		return "", fmt.Errorf("%s is no directory", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(path)+len("/.s.PGSQL.65535") > maxSocketPath {
		return "", fmt.Errorf("%s is too long for a socket's path", path)
	}
	return path, nil
}

func parseSocketPath(path string) (string, error) {
	path, err := parseFileToWrite(path)
	if err != nil {
		return "", err
	}
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("%s is too long for a socket's path, which has at most %d bytes", path, maxSocketPath)
	}
	return path, nil
}

// parseFileMode takes what chmod(1) does in octal, permissions only.
func parseFileMode(s string) (string, error) {
	mode, err := strconv.ParseUint(s, 8, 32)
	if err != nil || mode > 0o777 {
		return "", fmt.Errorf("%q is not an octal number up to 0777", s)
	}
	return fmt.Sprintf("%04o", mode), nil
}

// stat opens path, which tells more than stat(2): whether this process may read it.
func stat(path string) (isDir bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err
		}
		return false, fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}

// tlsNames are the protocol versions in rising order.
var tlsNames = []string{"tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"}

// parseProtocols takes PgBouncer's names; legacy is its other name for all.
func parseProtocols(texts []string, field any) error {
	wanted := [4]bool{}
	for one := range parts(texts) {
		switch one = strings.ToLower(one); one {
		case "secure", "default":
			wanted[2], wanted[3] = true, true
		case "all", "legacy":
			wanted = [4]bool{true, true, true, true}
		default:
			i := slices.Index(tlsNames, one)
			if i < 0 {
				return unlike(one, "a protocol version", append([]string{"secure", "all"}, tlsNames...))
			}
			wanted[i] = true
		}
	}
	first := slices.Index(wanted[:], true)
	if first < 0 {
		return errEmpty
	}
	var names []string
	for i := first; i < len(wanted) && wanted[i]; i++ {
		names = append(names, tlsNames[i])
	}
	if slices.Contains(wanted[first+len(names):], true) {
		return errors.New("has a gap between versions")
	}
	*field.(*[]string) = names
	return nil
}

// errURL is all that is said about a URL that does not parse: any part of it may be part of a password with a
// character that should have been escaped.
var errURL = errors.New("is not a Postgres URL")

const hintURL = "such as postgres://user:password@host:5432/database; in the password, write @ : / ? # % , as %40 %3A %2F %3F %23 %25 %2C"

// parsePostgresHosts takes a URL that may name several hosts.
func parsePostgresHosts(s string) (string, error) {
	for _, one := range pgwire.SplitHosts(s) {
		if _, err := parsePostgresURL(one); err != nil {
			return "", err
		}
	}
	return s, nil
}

func parsePostgresURL(s string) (string, error) {
	u, err := pgwire.ParseURL(s)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Opaque != "" || u.Fragment != "" {
		return "", errURL
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", errURL
	}
	for _, port := range []string{u.Port(), query.Get("port")} {
		if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
			return "", errors.New("has no port from 1 to 65535")
		}
	}
	if u.Hostname() == "" && query.Get("host") == "" {
		return "", errors.New("names no host")
	}
	if u.User.Username() == "" && query.Get("user") == "" {
		return "", errors.New("names no user")
	}
	if mode := query.Get("sslmode"); mode != "" {
		var known string
		if sslModes.parse([]string{mode}, &known) != nil {
			return "", errors.New("has an unknown sslmode: use " + sslModes.hint)
		}
	}
	return s, nil
}

// databaseOf is the database that a URL names; empty for none.
func databaseOf(s string) string {
	u, err := pgwire.ParseURL(pgwire.SplitHosts(s)[0])
	if err != nil {
		return ""
	}
	if name := strings.TrimPrefix(u.Path, "/"); name != "" {
		return name
	}
	return u.Query().Get("dbname")
}

// maskURL hides the password of a URL that parsePostgresURL accepted.
func maskURL(s string) string {
	if hosts := pgwire.SplitHosts(s); len(hosts) > 1 {
		for i, one := range hosts {
			hosts[i] = maskURL(one)
		}
		return strings.Join(hosts, " ")
	}
	u, err := pgwire.ParseURL(s)
	if err != nil {
		return "***"
	}
	if query := u.Query(); query.Has("password") {
		query.Set("password", "xxxxx")
		u.RawQuery = query.Encode()
	}
	return u.Redacted()
}
