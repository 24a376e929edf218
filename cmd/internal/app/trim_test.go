package app

import "testing"

func TestMemoryIsGivenBackBehindACrowd(t *testing.T) {
	var clients, freed int
	tr := newTrimmer(func() int { return clients })
	tr.free = func() { freed++ }
	for i, look := range []struct{ clients, freed int }{
		{0, 0}, {100, 0}, {100, 0}, // few
		{3000, 0}, {9000, 0}, {9010, 1}, {9010, 1}, // they come
		{9300, 1}, {9300, 1}, // some more
		{5000, 1}, {200, 1}, {190, 2}, {0, 2}, {0, 2}, // they go
	} {
		clients = look.clients
		tr.look()
		if freed != look.freed {
			t.Fatalf("look %d at %d clients: given back %d times, want %d", i, clients, freed, look.freed)
		}
	}
}
