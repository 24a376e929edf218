//go:build race

package respserver

// raceEnabled: the race detector allocates, so allocation budgets are not checked under it.
const raceEnabled = true
