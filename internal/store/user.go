package store

import (
	"context"

	"weir/internal/platform"
)

var users = &table[platform.User]{
	name: "users",
	noun: "User",
	columns: func(u *platform.User) []column {
		return resource(
			&u.Resource,
			column{name: "username", value: &u.Username},
			column{name: "origin", value: &u.Origin},
			column{name: "password_hash", value: &u.PasswordHash},
			column{name: "scopes", value: asJSON{&u.Scopes}},
		)
	},
	filters: map[string]filter{
		"guids":             is("t.guid"),
		"usernames":         is("t.username"),
		"partial_usernames": contains("t.username"),
		"origins":           is("t.origin"),
	},
	orders: map[string]string{"username": "t.username"},
	unique: []unique[platform.User]{{
		key: "users_name",
		err: func(u platform.User) *platform.Error {
			return &platform.Error{Kind: platform.KindConflict, Msg: "Username already in use: " + u.Username}
		},
	}},
}

// User returns the user with the given GUID.
func (r Rows) User(ctx context.Context, guid string) (platform.User, error) {
	return users.get(ctx, r, guid)
}

// Users returns one page of the users that q selects, and how many it selects.
func (r Rows) Users(ctx context.Context, q Query) ([]platform.User, int, error) {
	return users.list(ctx, r, q)
}

// InsertUser adds a user.
func (r Rows) InsertUser(ctx context.Context, u platform.User) error {
	return users.insert(ctx, r, u)
}

// UpdateUser rewrites a user.
func (r Rows) UpdateUser(ctx context.Context, u platform.User) error {
	return users.update(ctx, r, u.GUID, u)
}

// DeleteUser removes a user.
// Their refresh tokens go with them.
func (r Rows) DeleteUser(ctx context.Context, guid string) error {
	return users.delete(ctx, r, guid)
}

// UserByName returns the user of that name and origin, whatever the case of
// the name.
func (r Rows) UserByName(ctx context.Context, name, origin string) (platform.User, error) {
	return users.one(ctx, r, "lower(t.username) = lower(?) AND t.origin = ?", name, origin)
}
