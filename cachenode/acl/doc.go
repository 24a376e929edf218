// Package acl says who may run which command on which keys and channels: Redis's access control lists (Redis documentation,
// "ACL"), with its rules, their order and its words.
//
//   - user.go: User, what one may do, and the rules that change it
//   - check.go: whether a command is allowed
//   - describe.go: a user as text
//   - users.go: Users, all there are, and who logs in
//
// A User is never changed once it can be seen by others: a rule makes a new one. So a session checks a command without a
// lock. Passwords are kept as SHA-256 only, and compared in a time that does not depend on where they differ.
package acl
