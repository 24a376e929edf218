package pgpool

import (
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// startSettings turns startup parameters into what the session starts with.
func (a *arrival) startSettings() (*settings, error) {
	params, err := a.parameters()
	if err != nil {
		return nil, err
	}
	list := make([]setting, 0, len(params))
	for _, v := range params {
		list = append(list, setting{name: v.Name, value: v.Value})
	}
	if a.t.AddHost {
		list = addHost(list, a.nc.RemoteAddr())
	}
	set := newSettings(list)
	if v, ok := set.find(routeSetting); ok {
		if _, err := ParseRoute(strings.ToLower(v.value)); err != nil {
			return nil, badRoute.with(v.value)
		}
	}
	return set, nil
}

// parameters are the startup parameters that are settings, with options taken apart and what is to be ignored left out.
func (a *arrival) parameters() ([]pgwire.Param, error) {
	var list []pgwire.Param
	ignored := func(name string) bool {
		return slices.ContainsFunc(a.t.IgnoreStartup, func(s string) bool { return strings.EqualFold(s, name) })
	}
	for _, v := range a.first.Params {
		switch {
		case v.Name == "user" || v.Name == "database" || v.Name == "replication" || ignored(v.Name):
		case v.Name == "options":
			options, err := pgwire.ParseOptions(v.Value)
			if err != nil {
				return nil, err
			}
			for _, o := range options {
				if !ignored(o.Name) {
					list = append(list, o)
				}
			}
		default:
			list = append(list, v)
		}
	}
	return list, nil
}

// addHost appends the client's address to the name of its application, as PgBouncer does.
func addHost(list []setting, from net.Addr) []setting {
	host := addressOf(from)
	for i := range list {
		if strings.EqualFold(list[i].name, "application_name") {
			list[i].value += hostMark + host
			return list
		}
	}
	return append(list, setting{name: "application_name", value: "app" + hostMark + host})
}

// hostMark is between the name of an application and the address of its client.
const hostMark = " - "

// addressOf is where a client is; those of a Unix socket have no address of their own.
func addressOf(client net.Addr) string {
	if client.Network() == "unix" {
		return "unix"
	}
	return client.String()
}

// maxInterned bounds the start settings that are remembered for sharing.
const maxInterned = 1024

// intern returns the settings that an earlier client with equal ones has, so that clients of one application share them.
func (p *Pooler) intern(s *settings) *settings {
	if s == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if same := p.interned[s.key]; same != nil {
		return same
	}
	if len(p.interned) >= maxInterned {
		clear(p.interned)
	}
	p.interned[s.key] = s
	return s
}

// greeting ends a login.
func greeting(values map[string]string, key *cancelKey) []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b = pgwire.AppendParameterStatus(b, name, values[name])
	}
	return pgwire.AppendReadyForQuery(key.message(b), pgwire.Idle)
}
