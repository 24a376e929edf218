package admin

import "context"

// Control is what the console does. Its methods are called by the goroutines of several consoles at once, for users who
// may. An empty database means all; the console's own never reaches a Control. Errors that are a *pgwire.Error reach the
// client as they are: NoDatabase, AlreadyPaused, NotPaused and NoClient make the usual ones.
type Control interface {
	// Pause stops handing out the servers of the database, and waits until none of them is in use and all are closed. It
	// returns early, with ctx's error, when the client has left: the pause itself stays until Resume.
	Pause(ctx context.Context, database string) error
	// Resume ends Pause, Kill and, without a database, Suspend.
	Resume(database string) error
	// Disable refuses new clients of the database.
	Disable(database string) error
	Enable(database string) error
	// Reconnect closes each server connection as soon as it is free, and lets new ones take their places.
	Reconnect(database string) error
	// Kill closes the connections of clients and servers at once, and pauses the database.
	Kill(database string) error
	// KillClient closes the connection of the client that has this ID in SHOW CLIENTS, with 57P01.
	KillClient(id uint64) error
	// Suspend stops reading from everybody, and waits until all that was read is sent on. It returns early, with ctx's
	// error, when the client has left. The console calls Resume when the client that suspended leaves.
	Suspend(ctx context.Context) error
	// Shutdown begins to end the program, and does not wait for it.
	Shutdown(mode ShutdownMode) error
	// Reload reads the configuration again. An error means that the old one is still in use.
	Reload() error
	// WaitClose waits until the server connections that were there at the latest Reconnect or Reload are closed, or ctx
	// ends.
	WaitClose(ctx context.Context, database string) error
	// Set changes a setting until the next Reload. The value is as in the configuration file, without quotes.
	Set(name, value string) error
}

// ShutdownMode says what Shutdown waits for.
type ShutdownMode uint8

// The modes.
const (
	ShutdownNow            ShutdownMode = iota
	ShutdownWaitForServers              // servers are free: like PAUSE, then end
	ShutdownWaitForClients              // clients have left
)

// IsConsole tells whether a client that asks for the database gets the console.
func IsConsole(database string) bool { return database == "outrigger" || database == "pgbouncer" }

// NoDatabase is the error for a database that is not known.
func NoDatabase(name string) error {
	return noDatabase.with(name)
}

// SeveralDatabases is the error of Source.Route for a question that leaves open which database it is about.
func SeveralDatabases() error { return severalDatabases.with() }

// AlreadyPaused is the error of Pause, Kill and Suspend for what is paused or suspended as a whole.
func AlreadyPaused() error {
	return alreadyPaused.with()
}

// NotPaused is the error of Resume. The database may be empty.
func NotPaused(database string) error {
	if database == "" {
		return notPaused.with()
	}
	return databaseNotPaused.with(database)
}

// NoClient is the error of KillClient.
func NoClient(id uint64) error {
	return noClient.with(id)
}
