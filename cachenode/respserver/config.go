package respserver

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// parameter is a setting of CONFIG.
type parameter struct {
	name string
	get  func(*Server) string
	// set checks a value and returns what takes it over, or what is wrong with it. nil: it cannot be changed.
	set func(s *session, value string) (apply func(), problem string)
}

// maxBulk is the longest that an argument, and a string, may be.
const maxBulk = 512 << 20

const (
	errInteger = "argument couldn't be parsed into an integer"
	errMemory  = "argument must be a memory value"
)

// fixed is a parameter that is what it is.
func fixed(name, value string) parameter {
	return parameter{name: name, get: func(*Server) string { return value }}
}

// accepted is a parameter that clients may change, and that changes nothing: thresholds of encodings that are not Redis's
// own here, and the like.
func accepted(name, value string, words ...string) parameter {
	return parameter{
		name: name,
		get: func(srv *Server) string {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			if v, ok := srv.accept[name]; ok {
				return v
			}
			return value
		},
		set: func(s *session, v string) (func(), string) {
			if len(words) == 0 {
				if _, err := strconv.ParseInt(v, 10, 64); err != nil {
					return nil, errInteger
				}
			} else if v = strings.ToLower(v); !slices.Contains(words, v) {
				return nil, "argument must be '" + strings.Join(words, "' or '") + "'"
			}
			srv := s.st.srv
			return func() {
				srv.mu.Lock()
				srv.accept[name] = v
				srv.mu.Unlock()
			}, ""
		},
	}
}

// integer is a parameter that is a number.
func integer(name string, low, high int64, get func(*Server) int64, set func(*loopState, int64)) parameter {
	return parameter{
		name: name,
		get:  func(srv *Server) string { return strconv.FormatInt(get(srv), 10) },
		set: func(s *session, v string) (func(), string) {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return nil, errInteger
			}
			if n < low || n > high {
				return nil, "argument must be between " + strconv.FormatInt(low, 10) + " and " + strconv.FormatInt(high, 10) + " inclusive"
			}
			return func() { set(s.st, n) }, ""
		},
	}
}

// memory is a parameter that is a number of bytes.
func memory(name string, low, high int64, get func(*Server) int64, set func(*loopState, int64)) parameter {
	p := integer(name, low, high, get, set)
	number := p.set
	p.set = func(s *session, v string) (func(), string) {
		n, ok := parseMemory(v)
		if !ok {
			return nil, errMemory
		}
		return number(s, strconv.FormatInt(n, 10))
	}
	return p
}

// scriptLimit is how many milliseconds a script may run. It is the same under both of its names.
func scriptLimit(name string) parameter {
	return integer(name, 1, math.MaxInt32,
		func(srv *Server) int64 { return srv.cfg.Scripts.TimeLimit().Milliseconds() },
		func(st *loopState, n int64) { st.srv.cfg.Scripts.SetTimeLimit(time.Duration(n) * time.Millisecond) })
}

// parameters are the settings that clients and tools ask for, by name.
func parameters(cfg *Config) []parameter {
	list := []parameter{
		integer("latency-monitor-threshold", 0, math.MaxInt64,
			func(srv *Server) int64 { return srv.slow.monitor.Load() }, func(st *loopState, n int64) { st.srv.slow.monitor.Store(n) }),
		integer("maxclients", 1, math.MaxUint32,
			func(srv *Server) int64 { return srv.maxClients.Load() }, func(st *loopState, n int64) { st.srv.maxClients.Store(n) }),
		integer("timeout", 0, math.MaxInt32,
			func(srv *Server) int64 { return int64((srv.IdleTimeout() + time.Second - 1) / time.Second) },
			func(st *loopState, n int64) { st.srv.SetIdleTimeout(time.Duration(n) * time.Second) }),
		memory("client-query-buffer-limit", 1<<20, math.MaxInt64,
			func(srv *Server) int64 { return srv.queryBuffer.Load() }, func(st *loopState, n int64) { st.srv.queryBuffer.Store(n) }),
		memory("proto-max-bulk-len", 1<<20, maxBulk,
			func(srv *Server) int64 { return srv.maxBulk.Load() }, func(st *loopState, n int64) { st.srv.maxBulk.Store(n) }),
		{name: "client-output-buffer-limit", get: func(srv *Server) string { return srv.outputLimits.Load().String() },
			set: func(s *session, v string) (func(), string) {
				limits, err := s.st.srv.outputLimits.Load().With(v)
				if err != nil {
					return nil, err.Error()
				}
				return func() { s.st.srv.SetOutputLimits(limits) }, ""
			}},
		{name: "port", get: func(srv *Server) string { return strconv.Itoa(srv.cfg.Port) }},
		{name: "tls-port", get: func(srv *Server) string { return strconv.Itoa(srv.cfg.TLSPort) }},
		{name: "unixsocket", get: func(srv *Server) string { return srv.cfg.Socket }},
		{name: "maxmemory", get: func(srv *Server) string { return strconv.FormatInt(srv.cfg.Store.MaxBytes(), 10) },
			set: func(s *session, v string) (func(), string) {
				n, ok := parseMemory(v)
				if !ok {
					return nil, errMemory
				}
				return func() { s.st.srv.cfg.Store.SetMaxBytes(n) }, ""
			}},
		{name: "maxmemory-policy", get: func(srv *Server) string { return srv.cfg.Store.Policy().String() },
			set: func(s *session, v string) (func(), string) {
				p, err := store.ParsePolicy(v)
				if err != nil {
					return nil, err.Error()
				}
				return func() { s.st.srv.cfg.Store.SetPolicy(p) }, ""
			}},
		{name: "notify-keyspace-events", get: func(srv *Server) string { return srv.cfg.Backend.Notifies().String() },
			set: func(s *session, v string) (func(), string) {
				classes, ok := command.ParseEvents(v)
				if !ok {
					return nil, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
				}
				return func() { s.st.srv.cfg.Backend.Notify(s.st.loop, classes) }, ""
			}},
		integer("slowlog-log-slower-than", -1, math.MaxInt64,
			func(srv *Server) int64 { return srv.slow.slowerThan.Load() }, func(st *loopState, n int64) { st.srv.slow.slowerThan.Store(n) }),
		integer("slowlog-max-len", 0, 1_000_000,
			func(srv *Server) int64 { return int64(srv.slow.maxLength()) }, func(st *loopState, n int64) { st.srv.slow.setLength(int(n)) }),
		integer("tracking-table-max-keys", 1, math.MaxInt32,
			func(srv *Server) int64 { return srv.trackers.maximum() }, (*loopState).limitTracked),
	}
	if cfg.Scripts != nil {
		list = append(list, scriptLimit("busy-reply-threshold"), scriptLimit("lua-time-limit"))
	}
	for _, p := range [][2]string{
		{"appendonly", "no"}, {"bind", ""}, {"cluster-enabled", "no"}, {"databases", "16"}, {"enable-debug-command", "no"},
		{"io-threads", "1"}, {"maxmemory-clients", "0"}, {"replica-read-only", "yes"},
		{"save", ""}, {"slave-read-only", "yes"},
	} {
		list = append(list, fixed(p[0], p[1]))
	}
	for _, p := range [][2]string{
		{"acllog-max-len", "128"}, {"active-expire-effort", "1"}, {"hash-max-listpack-entries", "128"},
		{"hash-max-listpack-value", "64"}, {"hash-max-ziplist-entries", "128"}, {"hash-max-ziplist-value", "64"},
		{"hll-sparse-max-bytes", "3000"}, {"hz", "10"}, {"lfu-decay-time", "1"}, {"lfu-log-factor", "10"}, {"list-compress-depth", "0"},
		{"list-max-listpack-size", "-2"}, {"list-max-ziplist-size", "-2"}, {"maxmemory-samples", "5"},
		{"set-max-intset-entries", "512"}, {"set-max-listpack-entries", "128"}, {"set-max-listpack-value", "64"},
		{"stream-node-max-bytes", "4096"}, {"stream-node-max-entries", "100"}, {"tcp-keepalive", "300"},
		{"zset-max-listpack-entries", "128"}, {"zset-max-listpack-value", "64"}, {"zset-max-ziplist-entries", "128"},
		{"zset-max-ziplist-value", "64"},
	} {
		list = append(list, accepted(p[0], p[1]))
	}
	for _, p := range [][2]string{
		{"activedefrag", "no"}, {"activerehashing", "yes"}, {"dynamic-hz", "yes"}, {"latency-tracking", "yes"}, {"lazyfree-lazy-eviction", "no"},
		{"lazyfree-lazy-expire", "no"}, {"lazyfree-lazy-server-del", "no"}, {"lazyfree-lazy-user-del", "no"}, {"lazyfree-lazy-user-flush", "no"},
	} {
		list = append(list, accepted(p[0], p[1], "yes", "no"))
	}
	slices.SortFunc(list, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	return list
}

// parameter finds one by its name in any case, nil if there is none.
func (srv *Server) parameter(name string) *parameter {
	for i := range srv.parameters {
		if strings.EqualFold(srv.parameters[i].name, name) {
			return &srv.parameters[i]
		}
	}
	return nil
}

func (s *session) configCommand(sub string, args [][]byte) {
	srv := s.st.srv
	switch sub {
	case "get":
		var found []*parameter
		for i := range srv.parameters {
			p := &srv.parameters[i]
			for _, pattern := range args[2:] {
				if command.Match([]byte(strings.ToLower(string(pattern))), []byte(p.name)) {
					found = append(found, p)
					break
				}
			}
		}
		s.st.w = resp.AppendMap(s.st.w, len(found), s.proto)
		for _, p := range found {
			s.text(p.name)
			s.text(p.get(srv))
		}
	case "set":
		s.configSet(args[2:])
	case "resetstat":
		srv.resetStats()
		s.ok()
	case "rewrite":
		s.fail("ERR The server is running without a config file")
	}
}

// configSet changes all settings or none. Those that cannot be changed may be set to what they are.
func (s *session) configSet(pairs [][]byte) {
	if len(pairs)%2 != 0 {
		s.fail("ERR syntax error")
		return
	}
	var apply []func()
	seen := map[*parameter]bool{}
	for i := 0; i < len(pairs); i += 2 {
		value := string(pairs[i+1])
		p := s.st.srv.parameter(string(pairs[i]))
		if p == nil {
			s.fail("ERR Unknown option or number of arguments for CONFIG SET - '" + string(pairs[i]) + "'")
			return
		}
		problem := ""
		var fn func()
		switch {
		case seen[p]:
			problem = "duplicate parameter"
		case p.set != nil:
			fn, problem = p.set(s, value)
		case value != p.get(s.st.srv):
			problem = "can't set immutable config"
		}
		if problem != "" {
			s.fail("ERR CONFIG SET failed (possibly related to argument '" + string(pairs[i]) + "') - " + problem)
			return
		}
		seen[p] = true
		if fn != nil {
			apply = append(apply, fn)
		}
	}
	for _, fn := range apply {
		fn()
	}
	s.ok()
}

// parseMemory reads sizes as redis.conf does: 1k is 1000 bytes, 1kb 1024; and as our own settings do: 1KiB.
func parseMemory(v string) (int64, bool) {
	v = strings.ToLower(v)
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}} {
		if rest, ok := strings.CutSuffix(v, u.suffix); ok {
			v, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, false
	}
	return n * unit, true
}
