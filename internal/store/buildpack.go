package store

import (
	"context"

	"weir/internal/platform"
)

var buildpacks = &table[platform.Buildpack]{
	name: "buildpacks",
	noun: "Buildpack",
	columns: func(b *platform.Buildpack) []column {
		return resource(
			&b.Resource,
			column{name: "name", value: &b.Name},
			column{name: "position", value: &b.Position},
			column{name: "enabled", value: &b.Enabled},
			column{name: "locked", value: &b.Locked},
			column{name: "stack", value: &b.Stack},
			column{name: "filename", value: &b.Filename},
			column{name: "state", value: &b.State},
			column{name: "digest", value: &b.Digest},
			column{name: "built_in", value: &b.BuiltIn},
		)
	},
	filters: map[string]filter{
		"guids":     is("t.guid"),
		"names":     is("t.name"),
		"stacks":    is("t.stack"),
		"states":    is("t.state"),
		"lifecycle": is("'buildpack'"), // the only one there is
	},
	orders: map[string]string{"name": "t.name", "position": "t.position"},
	unique: []unique[platform.Buildpack]{{
		key: "name, stack",
		err: func(b platform.Buildpack) *platform.Error {
			e := platform.Invalidf("Buildpack with name '%s' and stack '%s' already exists", b.Name, b.Stack)
			if b.Stack == "" {
				e.Msg = "Buildpack with name '" + b.Name + "' and an unassigned stack already exists"
			}
			return e
		},
	}},
}

// Buildpack returns the buildpack with the given GUID.
func (r Rows) Buildpack(ctx context.Context, guid string) (platform.Buildpack, error) {
	return buildpacks.get(ctx, r, guid)
}

// Buildpacks returns one page of the buildpacks that q selects, and how many it selects.
func (r Rows) Buildpacks(ctx context.Context, q Query) ([]platform.Buildpack, int, error) {
	return buildpacks.list(ctx, r, q)
}

// InsertBuildpack adds a buildpack.
func (r Rows) InsertBuildpack(ctx context.Context, b platform.Buildpack) error {
	return buildpacks.insert(ctx, r, b)
}

// UpdateBuildpack rewrites a buildpack.
func (r Rows) UpdateBuildpack(ctx context.Context, b platform.Buildpack) error {
	return buildpacks.update(ctx, r, b.GUID, b)
}

// DeleteBuildpack removes a buildpack.
func (r Rows) DeleteBuildpack(ctx context.Context, guid string) error {
	return buildpacks.delete(ctx, r, guid)
}
