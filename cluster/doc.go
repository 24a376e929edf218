// Package cluster knows who is alive and who owns what: gossip membership (memberlist) and the consistent-hash ring, both
// published as one immutable View.
//
//   - config.go: Config and its defaults
//   - cluster.go: Cluster, its life from New to Close
//   - delegate.go: what memberlist calls: our metadata, foreign clusters refused, events
//   - metadata.go: what a member tells the others about itself
//   - join.go: finding the other members, for ever
//   - conflict.go: two members with the same name
//   - view.go: View, built from the members
//   - gossiplog.go: memberlist's log lines as slog records
//   - gossiptest/: ports for members under test
//   - keyring/: the keys that members share, and TLS between them
//   - ring/: members to owner and backup of each partition
//
// Lock order: memberlist's own locks, then Cluster.mu. memberlist calls the delegate under its locks, so the delegate only
// copies, marks the view as out of date and returns. Subscribers run on one goroutine without any lock.
package cluster
