package pgbouncer

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// converter is how a value is turned into ours.
type converter uint8

const (
	none       converter = iota
	composed             // read by convert.go, together with others
	word                 // as it stands
	number               // of connections, or bytes
	seconds              // with a fraction perhaps
	lifetime             // seconds, where PgBouncer's 0 is "once" and ours is "for ever"
	onOff                // 0, or another number
	statements           // a number, where PgBouncer's 0 is "off"
	verbosity            // 0 to 3
)

// words are the values known where there are few.
var words = map[string][]string{
	"pool_mode":          {"session", "transaction", "statement"},
	"client_tls_sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
	"server_tls_sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
}

// value turns a setting's value into ours; advice, if any, says in what it differs. An empty out leaves the setting out.
func (c converter) value(name, in string) (out, advice string, err error) {
	switch c {
	case word:
		if name == "server_reset_query" && !strings.EqualFold(strings.TrimRight(in, "; "), "discard all") {
			return in, "runs besides DISCARD ALL, which always does", nil
		}
		if known := words[name]; known != nil && !slices.Contains(known, in) {
			return "", "", fmt.Errorf("%q is not one of %s", in, strings.Join(known, ", "))
		}
		return in, "", nil
	case number:
		return count(name, in)
	case statements:
		if in == "0" {
			return "", "prepared statements cannot be turned off", nil
		}
		return count(name, in)
	case seconds, lifetime:
		d, err := duration(in)
		if err != nil {
			return "", "", err
		}
		if c == lifetime && d == 0 {
			return "1s", "0 would mean for ever: each connection is closed after a second instead", nil
		}
		return formatDuration(d), "", nil
	case onOff, verbosity:
		n, err := strconv.Atoi(in)
		switch {
		case err != nil:
			return "", "", fmt.Errorf("%q is not a whole number", in)
		case c == verbosity && n > 0:
			return "debug", "", nil
		case c == verbosity:
			return "", "", nil
		case n != 0:
			return "on", "", nil
		}
		return "off", "", nil
	}
	return "", "", nil
}

// limits are how small and how large numbers may be with us.
func limits(name string) (low, high int64) {
	switch name {
	case "max_client_conn":
		return 1, 10_000_000
	case "max_db_client_connections", "max_user_client_connections":
		return 0, 10_000_000
	case "max_packet_size":
		return 64 << 10, math.MaxInt32
	case "default_pool_size", "pool_size":
		return 1, 100_000
	case "max_prepared_statements":
		return 1, 1_000_000
	}
	return 0, 100_000
}

func count(name, in string) (out, advice string, err error) {
	n, err := strconv.ParseInt(in, 10, 64)
	if err != nil {
		return "", "", fmt.Errorf("%q is not a whole number", in)
	}
	low, high := limits(name)
	if n < low || n > high {
		clamped := min(max(n, low), high)
		advice = fmt.Sprintf("%d is outside what is possible, %d to %d: taken as %d", n, low, high, clamped)
		n = clamped
	}
	return strconv.FormatInt(n, 10), advice, nil
}

func duration(in string) (time.Duration, error) {
	n, err := strconv.ParseFloat(in, 64)
	// NaN fails the comparison; the bound is what the configuration accepts.
	if err != nil || !(n >= 0 && n <= math.MaxInt32) {
		return 0, fmt.Errorf("%q is not a number of seconds", in)
	}
	return time.Duration(n * float64(time.Second)), nil
}

func formatDuration(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return d.String()
}
