// Package auth knows who may do what: users and their passwords, the tokens
// that stand for a login, and the table of permissions.
//
// Access tokens are JWTs of twenty minutes, signed with a key that lives in
// the store; they end early when their user goes, changes the password or logs
// out. Refresh tokens are opaque, kept as hashes, and good for one exchange.
package auth
