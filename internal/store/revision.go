package store

import (
	"context"

	"weir/internal/platform"
)

var revisions = &table[platform.Revision]{
	name: "revisions",
	noun: "Revision",
	columns: func(v *platform.Revision) []column {
		return resource(
			&v.Resource,
			column{name: "app_guid", value: &v.AppGUID},
			column{name: "version", value: &v.Version},
			column{name: "droplet_guid", value: &v.DropletGUID},
			column{name: "env", value: asJSON{&v.Env}},
			column{name: "processes", value: asJSON{&v.Processes}},
			column{name: "services", value: exactJSON{&v.Services}},
			column{name: "description", value: &v.Description},
			column{name: "deployable", value: &v.Deployable},
		)
	},
	filters: map[string]filter{
		"guids":         is("t.guid"),
		"app_guids":     is("t.app_guid"),
		"droplet_guids": is("t.droplet_guid"),
		"versions":      is("CAST(t.version AS TEXT)"),
		"deployable":    is("CASE WHEN t.deployable THEN 'true' ELSE 'false' END"),
	},
	orders: map[string]string{"version": "t.version"},
}

// Revision returns the revision with the given GUID.
func (r Rows) Revision(ctx context.Context, guid string) (platform.Revision, error) {
	return revisions.get(ctx, r, guid)
}

// Revisions returns one page of the revisions that q selects, and how many it selects.
func (r Rows) Revisions(ctx context.Context, q Query) ([]platform.Revision, int, error) {
	return revisions.list(ctx, r, q)
}

// InsertRevision adds a revision.
func (r Rows) InsertRevision(ctx context.Context, v platform.Revision) error {
	return revisions.insert(ctx, r, v)
}

// UpdateRevision rewrites a revision.
func (r Rows) UpdateRevision(ctx context.Context, v platform.Revision) error {
	return revisions.update(ctx, r, v.GUID, v)
}

// DeleteRevision removes a revision.
func (r Rows) DeleteRevision(ctx context.Context, guid string) error {
	return revisions.delete(ctx, r, guid)
}

// NextRevisionVersion returns the number the app's next revision gets. Ask
// for it in the transaction that inserts the revision.
func (r Rows) NextRevisionVersion(ctx context.Context, appGUID string) (version int, err error) {
	err = r.run.read(ctx, func(c *conn) error {
		version, err = c.number(ctx, "SELECT COALESCE(MAX(version), 0) + 1 FROM revisions WHERE app_guid = ?", appGUID)
		return err
	})
	return version, err
}
