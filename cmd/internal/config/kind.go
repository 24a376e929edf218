package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind says what a setting's value may look like. read turns the texts of a value (one, or a list's several) into the
// field; its error is a message for the user and never repeats a value that may be secret.
type kind struct {
	name   string
	isList bool
	read   func(texts []string, field any) error
}

var (
	text      = scalar("text", func(s string) (string, error) { return s, nil })
	boolean   = scalar("on/off", parseBool)
	duration  = scalar("duration", parseDuration)
	addr      = scalar("host:port", parseAddr)
	addrOrOff = scalar("host:port", parseAddrOrOff)
	file      = scalar("file", parseFile)
	pgURL     = scalar("URL", parsePostgresURL)
	list      = listOf("list", func(s string) (string, error) { return s, nil })
	addrs     = listOf("list of host:port", parseAddr)
	members   = listOf("list of host[:port]", parseMember)
	pgURLs    = listOf("list of URLs", parsePostgresURL)
)

// scalar makes a kind from a parser of one text. An empty text is the zero value: "not set".
func scalar[T any](name string, parse func(string) (T, error)) kind {
	return kind{name: name, read: func(texts []string, field any) error {
		if len(texts) != 1 {
			return errors.New("takes one value, not a list")
		}
		var v T
		if texts[0] != "" {
			var err error
			if v, err = parse(texts[0]); err != nil {
				return err
			}
		}
		*field.(*T) = v
		return nil
	}}
}

// listOf makes a kind of comma-separated or listed texts; empty ones are dropped.
func listOf(name string, parse func(string) (string, error)) kind {
	return kind{name: name, isList: true, read: func(texts []string, field any) error {
		var all []string
		for _, t := range texts {
			for one := range strings.SplitSeq(t, ",") {
				if one = strings.TrimSpace(one); one == "" {
					continue
				}
				v, err := parse(one)
				if err != nil {
					return err
				}
				all = append(all, v)
			}
		}
		*field.(*[]string) = all
		return nil
	}}
}

func enum(values ...string) kind {
	return scalar("one of "+strings.Join(values, ", "), func(s string) (string, error) {
		if s = strings.ToLower(s); slices.Contains(values, s) {
			return s, nil
		}
		return "", fmt.Errorf("%q is not one of %s", s, strings.Join(values, ", "))
	})
}

func count(low, high int) kind {
	return scalar("number", func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", s, low, high)
		}
		return n, nil
	})
}

func size(low int64) kind {
	return scalar("size", func(s string) (int64, error) {
		n, err := parseSize(s)
		if err == nil && n < low {
			err = fmt.Errorf("%q is less than %s", s, formatSize(low))
		}
		return n, err
	})
}

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
		return 0, fmt.Errorf("%q is not a duration such as 30s, 500ms, 2m or bare seconds", s)
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
		return 0, fmt.Errorf("%q is not a size such as 64MiB, 512KiB, 2GiB or bytes", s)
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

func parseFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err
		}
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return "", fmt.Errorf("%s is a directory", path)
	}
	return path, nil
}

// errURL is all that is said about a URL that does not parse: any part of it may be part of a password with a
// character that should have been escaped.
var errURL = errors.New("is not a URL such as postgres://user:password@host:5432/database; in the password, write @ : / ? # % as %40 %3A %2F %3F %23 %25")

func parsePostgresURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Opaque != "" || u.Fragment != "" {
		return "", errURL
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", errURL
	}
	if u.Hostname() == "" && query.Get("host") == "" {
		return "", errors.New("names no host")
	}
	if u.User.Username() == "" && query.Get("user") == "" {
		return "", errors.New("names no user")
	}
	if mode := query.Get("sslmode"); mode != "" {
		var known string
		if sslModes.read([]string{mode}, &known) != nil {
			return "", errors.New("has an unknown sslmode: it is disable, allow, prefer, require, verify-ca or verify-full")
		}
	}
	return s, nil
}

// maskURL hides the password of a URL that parsePostgresURL accepted.
func maskURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "***"
	}
	if query := u.Query(); query.Has("password") {
		query.Set("password", "xxxxx")
		u.RawQuery = query.Encode()
	}
	return u.Redacted()
}
