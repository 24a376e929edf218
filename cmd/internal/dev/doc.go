// Package dev is `outrigger dev`: a throwaway primary with replicas (pgpool/devpg), pgbench's tables, and sidecars in front
// of them. The sidecars are processes of the same program, as in production, so a script can kill one by its id.
//
// Whatever ends the environment (Ctrl-C, SIGTERM, the end of --exec's command, a failure), the same way out is taken: the
// command, the sidecars, the servers, the directory.
//
// # Files
//
//	dev.go       Options, Run: the order of things
//	sidecar.go   the sidecars' addresses, start, readiness, end
//	ready.go     the question to /health/ready
//	exec.go      the command of --exec
//	environ.go   what the sidecars and the command find in their environment
//	progress.go  what a person sees meanwhile
package dev
