package store

import (
	"context"

	"weir/internal/platform"
)

var builds = &table[platform.Build]{
	name: "builds",
	noun: "Build",
	columns: func(b *platform.Build) []column {
		cols := resource(
			&b.Resource,
			column{name: "app_guid", value: &b.AppGUID},
			column{name: "package_guid", value: &b.PackageGUID},
			column{name: "droplet_guid", value: &b.DropletGUID},
			column{name: "state", value: &b.State},
			column{name: "error", value: &b.Error},
			column{name: "memory_mb", value: &b.MemoryMB},
			column{name: "disk_mb", value: &b.DiskMB},
		)
		cols = append(cols, lifecycle(&b.Lifecycle)...)
		return append(cols, actor("created_by", &b.CreatedBy)...)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"states":             is("t.state"),
		"app_guids":          is("t.app_guid"),
		"package_guids":      is("t.package_guid"),
		"droplet_guids":      is("t.droplet_guid"),
		"space_guids":        within("t.app_guid", appsOfSpace),
		"organization_guids": within("t.app_guid", appsOfOrg),
	},
}

// Build returns the build with the given GUID.
func (r Rows) Build(ctx context.Context, guid string) (platform.Build, error) {
	return builds.get(ctx, r, guid)
}

// Builds returns one page of the builds that q selects, and how many it selects.
func (r Rows) Builds(ctx context.Context, q Query) ([]platform.Build, int, error) {
	return builds.list(ctx, r, q)
}

// InsertBuild adds a build.
func (r Rows) InsertBuild(ctx context.Context, b platform.Build) error {
	return builds.insert(ctx, r, b)
}

// UpdateBuild rewrites a build.
func (r Rows) UpdateBuild(ctx context.Context, b platform.Build) error {
	return builds.update(ctx, r, b.GUID, b)
}
