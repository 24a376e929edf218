// Package cmd holds the program: cmd/outrigger is its main, cmd/internal/app wires the halves together, cmd/internal/config
// reads its settings, cmd/internal/ops serves health and metrics, cmd/internal/dev is the throwaway environment. It is
// the only folder that may import both halves.
package cmd
