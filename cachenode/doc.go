// Package cachenode is the cache half of the sidecar: a Redis-compatible store whose partitions are spread over the ring.
package cachenode
