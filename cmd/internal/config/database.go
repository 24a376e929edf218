package config

import "maps"

// anyDatabase is the entry for databases that have none of their own.
const anyDatabase = "*"

// Database says where a database is that clients ask for, and what differs in its pools.
type Database struct {
	Name        string // as clients ask for it; "*" for all that have no entry
	DBName      string // its name on the servers; empty, in "*" alone: the name that the client asks for
	PrimaryURL  string // never empty after Load
	ReplicaURLs []string

	own own
}

// User says what differs for a user.
type User struct {
	Name string

	own own
}

// own is what an entry of databases or users says for itself.
type own struct {
	values map[string][]string // every key given → its texts
	pool   []ownValue          // those that are pool settings, in the order given
}

// ownValue is a setting's value that has been read once without a complaint.
type ownValue struct {
	setting Setting
	texts   []string
}

// Database finds the entry for a client's database, "*" if it has none of its own. DBName is filled in, unless the client
// names no database.
func (c *Config) Database(name string) (Database, bool) {
	d, ok := c.Databases[name]
	if !ok {
		d, ok = c.Databases[anyDatabase]
	}
	if ok && d.DBName == "" {
		d.DBName = name
	}
	return d, ok
}

// PoolFor gives the pool settings for a database and a user: the user's own come before the database's, and those before
// the top level's. What concerns clients (timeouts, max_user_client_connections) is asked for the client's user; what
// concerns servers (sizes, lifetimes) for the user that logs in to the server.
func (c *Config) PoolFor(database, user string) Pool {
	merged := Config{Pool: c.Pool}
	if d, ok := c.Database(database); ok {
		d.own.overlay(&merged)
	}
	c.Users[user].own.overlay(&merged)
	return merged.Pool
}

func (o own) overlay(c *Config) {
	for _, v := range o.pool {
		// It has been read before: there is no error left to have.
		_ = v.setting.kind.read(v.texts, v.setting.field(c))
	}
}

// resolve gives each database its servers, and primary_url its place as the fallback.
func (l *loader) resolve() {
	c := l.config
	databases := maps.Clone(c.Databases)
	if databases == nil {
		databases = map[string]Database{}
	}
	if _, ok := databases[anyDatabase]; !ok && c.PrimaryURL != "" {
		databases[anyDatabase] = Database{Name: anyDatabase}
	}
	for name, d := range databases {
		d.Name = name
		d.DBName = d.own.first("dbname")
		ownURL := d.own.first("primary_url")
		d.PrimaryURL = ownURL
		if ownURL == "" {
			d.PrimaryURL, d.ReplicaURLs = c.PrimaryURL, c.ReplicaURLs
		}
		if texts, ok := d.own.values["replica_urls"]; ok {
			_ = pgURLs.read(texts, &d.ReplicaURLs) // has been read before
		}
		if d.DBName == "" && name != anyDatabase {
			if d.DBName = databaseOf(ownURL); d.DBName == "" {
				d.DBName = name
			}
		}
		databases[name] = d
		if d.PrimaryURL == "" && !l.broken["primary_url"] && !l.broken["databases"] {
			l.problem(c.Origin("databases."+name), "databases."+name, "has no primary_url, and there is none at the top level",
				"give it one of its own, or set the top-level primary_url, whose server it then uses")
		}
	}
	c.Databases = databases
}

func (o own) first(name string) string {
	if texts := o.values[name]; len(texts) > 0 {
		return texts[0]
	}
	return ""
}
