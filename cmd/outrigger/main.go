// Command outrigger is the sidecar: a Postgres pooler that splits reads from writes, and a cache that the sidecars share.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

// Set by the linker (Makefile).
var (
	version = "unknown"
	commit  string
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(run(os.Args[1:], &environment{
		environ: os.Environ(), signals: signals, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, version: version, commit: commit,
	}))
}
