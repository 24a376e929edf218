// Package cluster knows who is alive and who owns what: gossip membership (memberlist) and the consistent-hash ring, both
// published as one immutable View.
package cluster
