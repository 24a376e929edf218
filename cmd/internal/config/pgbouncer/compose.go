package pgbouncer

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// listening composes the addresses.
func (c *composer) listening() {
	port, e, _ := c.get("listen_port")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		c.fail(e.where, "listen_port", errors.New("is no port from 1 to 65535"))
		return
	}
	var listen []string
	hosts, _, _ := c.get("listen_addr")
	for host := range strings.SplitSeq(hosts, ",") {
		if host = strings.TrimSpace(host); host == "" {
			continue
		}
		if host == "*" {
			host = ""
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			c.exposed = true
		}
		listen = append(listen, net.JoinHostPort(host, port))
	}
	c.put("pg_listen", strings.Join(listen, ", "))
	dir, e, isSet := c.get("unix_socket_dir")
	switch {
	case strings.HasPrefix(dir, "@"):
		c.note(e.where, "unix_socket_dir", "abstract sockets cannot be had: set pg_socket_dir to a directory")
	case dir != "":
		line := c.put("pg_socket_dir", dir)
		if !isSet {
			line.LineComment = "PgBouncer's default"
		}
		if len(listen) == 0 && port != "6432" {
			c.note(c.settings["listen_port"].where, "listen_port", "the socket is called .s.PGSQL.6432 without a pg_listen, whose port it takes: set one on 127.0.0.1")
		}
	}
}

// databases composes the URLs and the pools' settings.
func (c *composer) databases(entries []entry) {
	all := &yaml.Node{Kind: yaml.MappingNode}
	var forced, free []entry // log in as the user of the connection string, as the client's user
	last := lastLines(entries)
	var top []*yaml.Node // what "*" says, which stands at the top level
	for i, e := range entries {
		if last[e.key] != i {
			continue
		}
		if e.key == "pgbouncer" || e.key == "outrigger" {
			c.note(e.where, e.key, "is the console's name: give the database another")
			continue
		}
		params, err := pairs(e.value)
		if err != nil {
			c.fail(e.where, e.key, err)
			continue
		}
		d := database{entry: e}
		c.parameters(&d, params)
		primary, replicas := c.urls(&d)
		own := &yaml.Node{Kind: yaml.MappingNode}
		urls := own
		if e.key == "*" {
			urls = &yaml.Node{Kind: yaml.MappingNode}
			if d.dbname != "" {
				put(own, "dbname", d.dbname)
			}
		}
		put(urls, "primary_url", primary)
		if len(replicas) > 0 {
			put(urls, "replica_urls", strings.Join(replicas, ","))
		}
		if e.key == "*" {
			top = urls.Content
		}
		own.Content = append(own.Content, d.pool.Content...)
		if d.user != "" {
			forced = append(forced, e)
		} else {
			free = append(free, e)
		}
		if len(own.Content) > 0 {
			all.Content = append(all.Content, scalar(e.key), own)
		}
	}
	if len(entries) == 0 {
		c.note("", "[databases]", "is empty: set primary_url")
	}
	c.root.Content = append(c.root.Content, top...)
	if len(all.Content) > 0 {
		c.root.Content = append(c.root.Content, scalar("databases"), all)
	}
	if len(free) == 0 {
		return
	}
	c.put("as_client", "on")
	for _, e := range forced {
		c.note(e.where, e.key, "as_client, which other databases need, holds for all: clients log in to this one as themselves too; serve it from an Outrigger of its own to keep user=")
	}
}

// database is a line of [databases].
type database struct {
	entry
	host, port, dbname, user, password, authUser string

	size string // pool_size
	pool yaml.Node
}

// parameters takes a connection string's parameters.
func (c *composer) parameters(d *database, params []pair) {
	at := func(key string) string { return d.key + "." + key }
	d.port = "5432"
	d.size, _, _ = c.get("default_pool_size")
	minimum := ""
	for _, p := range lastOfEach(params) {
		switch p.key {
		case "host":
			d.host = p.value
		case "port":
			d.port = p.value
			if n, err := strconv.ParseUint(p.value, 10, 16); err != nil || n == 0 {
				c.fail(d.where, at("port"), errors.New("is no port from 1 to 65535"))
			}
		case "dbname":
			d.dbname = p.value
		case "user":
			d.user = p.value
		case "password":
			d.password = p.value
		case "auth_user", "auth_query":
			if p.key == "auth_user" {
				d.authUser = p.value
			}
			c.authUsers = append(c.authUsers, entry{section: p.key, key: at(p.key), value: p.value, where: d.where})
		case "min_pool_size":
			minimum = p.value
		default:
			if p.key == "pool_size" && p.value != "-1" {
				d.size = p.value
			}
			c.own(&d.pool, databaseKeys, d.entry, p)
		}
	}
	if minimum != "" && minimum != "-1" {
		c.minimum(&d.pool, d.where, minimum, d.size)
	}
}

// own converts a parameter of a database or user. -1 is PgBouncer's "not set".
func (c *composer) own(to *yaml.Node, rules map[string]rule, e entry, p pair) {
	r, known := rules[p.key]
	switch name := e.key + "." + p.key; {
	case !known:
		c.fail(e.where, name, errors.New("is no parameter of PgBouncer's"))
	case r.convert == none:
		c.note(e.where, name, r.advice)
	case r.convert == word || p.value != "-1":
		c.convert(to, r, p.key, e.where, p.value)
	}
}

// lastLines finds the line that counts where a key is given again.
func lastLines(entries []entry) map[string]int {
	last := map[string]int{}
	for i, e := range entries {
		last[e.key] = i
	}
	return last
}

// lastOfEach drops parameters that are given again later.
func lastOfEach(params []pair) []pair {
	var kept []pair
	for i, p := range params {
		if !slices.ContainsFunc(params[i+1:], func(later pair) bool { return later.key == p.key }) {
			kept = append(kept, p)
		}
	}
	return kept
}

// urls are where the database is.
func (c *composer) urls(d *database) (primary string, replicas []string) {
	user := url.UserPassword(d.user, d.password)
	if d.password == "" {
		user = url.User(d.user)
	}
	if d.user == "" {
		global, _, _ := c.get("auth_user")
		name := cmp.Or(d.authUser, global, "pgbouncer")
		user = url.User(name)
		c.note(d.where, d.key, "without user=, clients log in as themselves; the URL needs a user for health checks all the same: let "+name+" connect, with its password in auth_file, or name another")
	} else if d.password == "" {
		c.note(d.where, d.key, "the password of "+d.user+" is taken from auth_file, as PgBouncer does")
	}
	path := "/" + d.dbname
	switch {
	case d.key == "*":
		path = "/postgres" // for health checks: clients name their own
	case d.dbname == "":
		path = "/" + d.key
	}
	hosts := slices.DeleteFunc(strings.Split(d.host, ","), func(h string) bool { return strings.TrimSpace(h) == "" })
	if len(hosts) == 0 { // a socket, in the directory of our own
		dir, _, _ := c.get("unix_socket_dir")
		if dir == "" {
			c.fail(d.where, d.key, errors.New("has no host, and unix_socket_dir is empty"))
			return "", nil
		}
		hosts = []string{dir}
	}
	if len(hosts) > 1 {
		c.note(d.where, d.key+".host", "PgBouncer takes the hosts for equals; here the role of each is found out, writes go to the primary and reads to replicas")
	}
	for i, host := range hosts {
		u := url.URL{Scheme: "postgres", User: user, Path: path}
		switch host = strings.TrimSpace(host); {
		case strings.HasPrefix(host, "/"):
			u.RawQuery = url.Values{"host": {host}, "port": {d.port}}.Encode()
		case strings.HasPrefix(host, "@"):
			c.fail(d.where, d.key+".host", errors.New("abstract sockets cannot be had: name a directory or a host"))
		default:
			u.Host = net.JoinHostPort(host, d.port)
			if strings.ContainsAny(host, " /?#@[]%\\\"'<>`{}|^") {
				c.fail(d.where, d.key+".host", errors.New("is no host name"))
			}
		}
		if i == 0 {
			primary = u.String()
		} else {
			replicas = append(replicas, u.String())
		}
	}
	return primary, replicas
}

// methods are how clients log in, by PgBouncer's auth_type.
var methods = map[string]struct{ method, advice string }{
	"trust":         {"trust", ""},
	"any":           {"trust", "there is no `any`: with trust, clients keep the names that they give, and admin_users names who may use the console"},
	"md5":           {"md5", ""},
	"scram-sha-256": {"scram-sha-256", ""},
	"cert":          {"cert", ""},
	"plain":         {"scram-sha-256", "passwords are never asked for in clear: scram-sha-256 works with the same auth_file"},
	"hba":           {"scram-sha-256", "one client_auth holds for all listeners; without it, loopback and sockets are trusted and others give a password"},
	"ldap":          {"scram-sha-256", "there is no LDAP: use auth_file or auth_query"},
	"pam":           {"scram-sha-256", "there is no PAM: use auth_file or auth_query"},
}

// login composes who may come in.
func (c *composer) login() {
	name, e, isSet := c.get("auth_type")
	m, known := methods[name]
	if !known {
		c.fail(e.where, "auth_type", errors.New("is none of PgBouncer's"))
		return
	}
	line := c.put("client_auth", m.method)
	if !isSet {
		line.LineComment = "PgBouncer's default"
	}
	if m.advice != "" {
		c.note(e.where, "auth_type", m.advice)
	}
	if m.method == "trust" {
		if name == "trust" {
			c.note(e.where, "auth_type", "PgBouncer trusts users of auth_file alone, here everybody is trusted")
		}
		if c.exposed {
			c.put("allow_insecure", "on")
			c.note(e.where, "auth_type", "trust on an address that other machines reach takes allow_insecure: on; scram-sha-256 is better")
		}
	}
	user := c.authSetting("auth_user")
	query := c.authSetting("auth_query")
	if user != "" {
		c.put("auth_user", user)
		if query != "" && query != defaultQuery {
			c.put("auth_query", query)
			c.note("", "auth_query", "runs with search_path = pg_catalog: write functions and tables of other schemas as schema.name")
		}
	}
	if file, _, _ := c.get("auth_file"); file == "" && user == "" && (m.method == "md5" || m.method == "scram-sha-256") {
		c.note(e.where, "auth_type", m.method+" needs auth_file or auth_user: nobody can log in without, and outrigger does not start")
	}
}

// authSetting is the global value of auth_user or auth_query, or the one on which all databases agree that have one.
func (c *composer) authSetting(name string) string {
	value, _, isSet := c.get(name)
	if name == "auth_query" && !isSet {
		value = ""
	}
	for _, own := range c.authUsers {
		switch {
		case own.section != name || own.value == value:
		case value == "":
			value = own.value
		default:
			c.note(own.where, own.key, "one "+name+" holds for all databases")
		}
	}
	return value
}

// users composes the users' settings.
func (c *composer) users(entries []entry) {
	all := &yaml.Node{Kind: yaml.MappingNode}
	last := lastLines(entries)
	for i, e := range entries {
		if last[e.key] != i {
			continue
		}
		params, err := pairs(e.value)
		if err != nil {
			c.fail(e.where, e.key, err)
			continue
		}
		if e.key == "*" {
			c.note(e.where, e.key, "is no user: settings at the top level are everybody's")
			continue
		}
		own := &yaml.Node{Kind: yaml.MappingNode}
		for _, p := range lastOfEach(params) {
			c.own(own, userKeys, e, p)
		}
		if len(own.Content) > 0 {
			all.Content = append(all.Content, scalar(e.key), own)
		}
	}
	if len(all.Content) > 0 {
		c.root.Content = append(c.root.Content, scalar("users"), all)
	}
}
