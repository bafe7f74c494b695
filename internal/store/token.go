package store

import (
	"context"
	"time"

	"weir/internal/platform"
)

// RefreshToken is a refresh token as it is kept: without the token itself.
type RefreshToken struct {
	Hash      string // of the token; the key
	Family    string // shared by all tokens that descend from one login
	UserGUID  string
	Client    string
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    time.Time // when it was first exchanged; zero if it was not
}

var refreshTokens = &table[RefreshToken]{
	name: "refresh_tokens",
	noun: "Refresh token",
	columns: func(t *RefreshToken) []column {
		return []column{
			{name: "hash", value: &t.Hash},
			{name: "family", value: &t.Family},
			{name: "user_guid", value: &t.UserGUID},
			{name: "client", value: &t.Client},
			{name: "created_at", value: stamp{&t.CreatedAt}},
			{name: "expires_at", value: stamp{&t.ExpiresAt}},
			{name: "used_at", value: stamp{&t.UsedAt}},
		}
	},
}

// RefreshToken returns the refresh token with the given hash.
func (r Rows) RefreshToken(ctx context.Context, hash string) (t RefreshToken, err error) {
	err = r.run.read(ctx, func(c *conn) error {
		found, err := refreshTokens.query(ctx, c, " WHERE t.hash = ?", hash)
		if err == nil && len(found) == 0 {
			err = platform.NotFound(refreshTokens.noun)
		}
		if err == nil {
			t = found[0]
		}
		return err
	})
	return t, err
}

// InsertRefreshToken adds a refresh token.
func (r Rows) InsertRefreshToken(ctx context.Context, t RefreshToken) error {
	return r.quietly(ctx, func(c *conn) error { return refreshTokens.insert(ctx, Rows{c}, t) })
}

// UseRefreshToken notes that a refresh token was exchanged. The first time
// stays.
func (r Rows) UseRefreshToken(ctx context.Context, hash string, at time.Time) error {
	return r.quietly(ctx, func(c *conn) error {
		_, err := c.exec(ctx, "UPDATE refresh_tokens SET used_at = ? WHERE hash = ? AND used_at = 0", micros(at), hash)
		return err
	})
}

// DeleteRefreshFamily removes all refresh tokens that descend from one login.
func (r Rows) DeleteRefreshFamily(ctx context.Context, family string) error {
	return r.quietly(ctx, func(c *conn) error {
		_, err := c.exec(ctx, "DELETE FROM refresh_tokens WHERE family = ?", family)
		return err
	})
}

// DeleteUserRefreshTokens removes all refresh tokens of a user.
func (r Rows) DeleteUserRefreshTokens(ctx context.Context, userGUID string) error {
	return r.quietly(ctx, func(c *conn) error {
		_, err := c.exec(ctx, "DELETE FROM refresh_tokens WHERE user_guid = ?", userGUID)
		return err
	})
}

// DeleteExpiredRefreshTokens removes the refresh tokens that expired before now.
func (r Rows) DeleteExpiredRefreshTokens(ctx context.Context, now time.Time) error {
	return r.quietly(ctx, func(c *conn) error {
		_, err := c.exec(ctx, "DELETE FROM refresh_tokens WHERE expires_at < ?", micros(now))
		return err
	})
}
