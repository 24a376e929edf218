// Package pgpool is the Postgres half of the sidecar: a transaction pooler that sends reads to replicas and writes to the
// primary.
package pgpool
