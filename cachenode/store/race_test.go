//go:build race

package store

// raceEnabled: the race detector allocates, so allocation budgets are not checked under it.
const raceEnabled = true
