package store

import (
	"context"

	"weir/internal/platform"
)

var droplets = &table[platform.Droplet]{
	name: "droplets",
	noun: "Droplet",
	columns: func(d *platform.Droplet) []column {
		cols := resource(
			&d.Resource,
			column{name: "app_guid", value: &d.AppGUID},
			column{name: "package_guid", value: &d.PackageGUID},
			column{name: "build_guid", value: &d.BuildGUID},
			column{name: "state", value: &d.State},
			column{name: "error", value: &d.Error},
			column{name: "digest", value: &d.Digest},
			column{name: "size", value: &d.Size},
			column{name: "process_types", value: asJSON{&d.ProcessTypes}},
			column{name: "droplet_buildpacks", value: asJSON{&d.Buildpacks}},
			column{name: "sidecars", value: asJSON{&d.Sidecars}},
			column{name: "droplet_stack", value: &d.Stack},
		)
		return append(cols, lifecycle(&d.Lifecycle)...)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"states":             is("t.state"),
		"app_guids":          is("t.app_guid"),
		"package_guids":      is("t.package_guid"),
		"build_guids":        is("t.build_guid"),
		"digests":            is("t.digest"),
		"space_guids":        within("t.app_guid", appsOfSpace),
		"organization_guids": within("t.app_guid", appsOfOrg),
		"current":            is("CASE WHEN EXISTS (SELECT 1 FROM apps a WHERE a.droplet_guid = t.guid) THEN 'true' ELSE 'false' END"),
	},
}

// Droplet returns the droplet with the given GUID.
func (r Rows) Droplet(ctx context.Context, guid string) (platform.Droplet, error) {
	return droplets.get(ctx, r, guid)
}

// Droplets returns one page of the droplets that q selects, and how many it selects.
func (r Rows) Droplets(ctx context.Context, q Query) ([]platform.Droplet, int, error) {
	return droplets.list(ctx, r, q)
}

// InsertDroplet adds a droplet.
func (r Rows) InsertDroplet(ctx context.Context, d platform.Droplet) error {
	return droplets.insert(ctx, r, d)
}

// UpdateDroplet rewrites a droplet.
func (r Rows) UpdateDroplet(ctx context.Context, d platform.Droplet) error {
	return droplets.update(ctx, r, d.GUID, d)
}

// DeleteDroplet removes a droplet.
func (r Rows) DeleteDroplet(ctx context.Context, guid string) error {
	return droplets.delete(ctx, r, guid)
}
