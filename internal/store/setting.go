package store

import (
	"context"
	"time"

	"weir/internal/platform"
)

// Setting returns a value kept under a name; ok is false if there is none.
func (r Rows) Setting(ctx context.Context, name string) (value string, ok bool, err error) {
	err = r.run.read(ctx, func(c *conn) error {
		values, err := c.texts(ctx, "SELECT value FROM settings WHERE name = ?", name)
		if len(values) > 0 {
			value, ok = values[0], true
		}
		return err
	})
	return value, ok, err
}

// SetSetting keeps a value under a name.
func (r Rows) SetSetting(ctx context.Context, name, value string) error {
	return r.quietly(ctx, func(c *conn) error {
		_, err := c.exec(
			ctx,
			"INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			name, value,
		)
		return err
	})
}

// KeepSetting keeps value under name unless there is one already, and returns
// the one that is there now.
func (r Rows) KeepSetting(ctx context.Context, name, value string) (kept string, err error) {
	err = r.quietly(ctx, func(c *conn) error {
		if _, err := c.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, value); err != nil {
			return err
		}
		values, err := c.texts(ctx, "SELECT value FROM settings WHERE name = ?", name)
		if err == nil {
			kept = values[0]
		}
		return err
	})
	return kept, err
}

// NextTableNumber returns a number larger than all it returned before, also
// before the last restart. Route tables are numbered with it.
func (r Rows) NextTableNumber(ctx context.Context) (number uint64, err error) {
	err = r.quietly(ctx, func(c *conn) error {
		n, err := c.number(
			ctx,
			`INSERT INTO counters (name, value) VALUES ('table', 1)
			 ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value`,
		)
		number = uint64(n)
		return err
	})
	return number, err
}

// The names of the first org and space.
const (
	DefaultOrganization = "default"
	DefaultSpace        = "default"
)

// EnsureDefaults makes what a beginner should not have to: an organization
// and a space, if there is no organization at all, and the shared domain.
func (r Rows) EnsureDefaults(ctx context.Context, domain string) error {
	now := time.Now()
	return r.run.write(ctx, func(c *conn) error {
		rows := Rows{c}
		orgs, err := c.number(ctx, "SELECT COUNT(*) FROM organizations")
		if err != nil {
			return err
		}
		if orgs == 0 {
			org := platform.Organization{Resource: platform.NewResource(now), Name: DefaultOrganization}
			if err := rows.InsertOrganization(ctx, org); err != nil {
				return err
			}
			space := platform.Space{Resource: platform.NewResource(now), OrganizationGUID: org.GUID, Name: DefaultSpace}
			if err := rows.InsertSpace(ctx, space); err != nil {
				return err
			}
		}
		known, err := c.number(ctx, "SELECT COUNT(*) FROM domains WHERE name = ?", domain)
		if err != nil || known > 0 {
			return err
		}
		return rows.InsertDomain(ctx, platform.Domain{Resource: platform.NewResource(now), Name: domain})
	})
}
