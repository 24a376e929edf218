package pgpool

import (
	"testing"
)

// Two clients with different settings over one server, each with a message that has to wait for the answers before it: the
// restoring of its settings is one of them, and must not cost it the server.
func TestWaitingForOnesOwnSettingsKeepsTheServer(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	var clients []*wire
	for _, name := range []string{"one", "two"} {
		w, err := wireTo(p.addr, "postgres", "application_name", name)
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		w.play(step{parse("a", "select 1"), syncs}, whole)
		clients = append(clients, w)
	}
	done := make(chan []message, len(clients))
	for _, w := range clients {
		go func() { done <- w.play(step{parse("a", "select 2"), syncs}, whole) }()
	}
	for range clients {
		if answers := <-done; len(answers) != 2 {
			t.Errorf("answers: %v", normalise(answers))
		}
	}
}

// A statement that is prepared behind the ROLLBACK of a failed transaction, in one unit, is its client's alone.
func TestStatementBehindARollbackIsNobodyElses(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	owner, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer owner.nc.Close()
	owner.play(step{query("begin; select 1/0")}, whole)
	owner.play(join(run("rollback"), parse("mine", "select 'secret'"), syncs), whole)
	stranger, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.nc.Close()
	for _, answer := range stranger.play(step{bind("", "mine"), execute("", 0), syncs}, whole) {
		if answer.typ == 'D' {
			t.Error("a stranger ran the statement")
		}
	}
}
