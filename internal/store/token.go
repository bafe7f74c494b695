package store

import (
	"context"
	"time"

	"weir/internal/platform"
)

var refreshTokens = &table[platform.RefreshToken]{
	name: "refresh_tokens",
	noun: "Refresh token",
	columns: func(t *platform.RefreshToken) []column {
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
func (r Rows) RefreshToken(ctx context.Context, hash string) (t platform.RefreshToken, err error) {
	err = r.run.read(ctx, func(c *conn) error {
		t, err = refreshToken(ctx, c, hash)
		return err
	})
	return t, err
}

func refreshToken(ctx context.Context, c *conn, hash string) (platform.RefreshToken, error) {
	found, err := refreshTokens.query(ctx, c, " WHERE t.hash = ?", hash)
	if err != nil {
		return platform.RefreshToken{}, err
	}
	if len(found) == 0 {
		return platform.RefreshToken{}, platform.NotFound(refreshTokens.noun)
	}
	return found[0], nil
}

// InsertRefreshToken adds a refresh token.
func (r Rows) InsertRefreshToken(ctx context.Context, t platform.RefreshToken) error {
	return r.quietly(ctx, func(c *conn) error { return refreshTokens.insert(ctx, Rows{c}, t) })
}

// ExchangeRefreshToken notes that the token hash is used now, and adds its
// successor unless that is there already. It returns the token as it was
// before, so that the caller sees whether it was used earlier.
func (r Rows) ExchangeRefreshToken(ctx context.Context, hash string, now time.Time, successor platform.RefreshToken) (before platform.RefreshToken, err error) {
	err = r.quietly(ctx, func(c *conn) error {
		before, err = refreshToken(ctx, c, hash)
		if err != nil {
			return err
		}
		_, err = c.exec(ctx, "UPDATE refresh_tokens SET used_at = ? WHERE hash = ? AND used_at = 0", micros(now), hash)
		if err != nil {
			return err
		}
		known, err := c.number(ctx, "SELECT COUNT(*) FROM refresh_tokens WHERE hash = ?", successor.Hash)
		if err != nil || known > 0 {
			return err
		}
		return refreshTokens.insert(ctx, Rows{c}, successor)
	})
	return before, err
}

// HasRefreshFamily reports whether there are refresh tokens of a login: whether
// it has not ended yet.
func (r Rows) HasRefreshFamily(ctx context.Context, family string) (has bool, err error) {
	err = r.run.read(ctx, func(c *conn) error {
		n, err := c.number(ctx, "SELECT COUNT(*) FROM refresh_tokens WHERE family = ?", family)
		has = n > 0
		return err
	})
	return has, err
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
