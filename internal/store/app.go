package store

import (
	"context"

	"weir/internal/platform"
)

var apps = &table[platform.App]{
	name: "apps",
	noun: "App",
	columns: func(a *platform.App) []column {
		cols := resource(
			&a.Resource,
			column{name: "space_guid", value: &a.SpaceGUID},
			column{name: "name", value: &a.Name},
			column{name: "state", value: &a.State},
			column{name: "env", value: asJSON{&a.Env}},
			column{name: "droplet_guid", value: &a.DropletGUID},
			column{name: "deployment_guid", value: &a.DeploymentGUID},
			column{name: "features", value: asJSON{&a.Features}},
			column{name: "split", value: &a.Split},
			column{name: "traffic", value: asJSON{&a.Traffic}},
		)
		return append(cols, lifecycle(&a.Lifecycle)...)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"names":              is("t.name"),
		"states":             is("t.state"),
		"space_guids":        is("t.space_guid"),
		"organization_guids": within("t.space_guid", spacesOfOrg),
		"stacks":             is("t.stack"),
		"lifecycle_type":     is("t.lifecycle_type"),
		"droplet_guids":      is("t.droplet_guid"),
	},
	orders: map[string]string{"name": "t.name", "state": "t.state"},
	unique: []unique[platform.App]{{
		key: "space_guid, name",
		err: func(a platform.App) *platform.Error {
			return platform.Invalidf("App with the name '%s' already exists.", a.Name)
		},
	}},
}

// lifecycle returns the columns of how something is staged.
func lifecycle(l *platform.Lifecycle) []column {
	return []column{
		{name: "lifecycle_type", value: &l.Type},
		{name: "buildpacks", value: asJSON{&l.Buildpacks}},
		{name: "stack", value: &l.Stack},
	}
}

// App returns the app with the given GUID.
func (r Rows) App(ctx context.Context, guid string) (platform.App, error) {
	return apps.get(ctx, r, guid)
}

// Apps returns one page of the apps that q selects, and how many it selects.
func (r Rows) Apps(ctx context.Context, q Query) ([]platform.App, int, error) {
	return apps.list(ctx, r, q)
}

// InsertApp adds an app.
func (r Rows) InsertApp(ctx context.Context, a platform.App) error {
	return apps.insert(ctx, r, a)
}

// UpdateApp rewrites an app.
func (r Rows) UpdateApp(ctx context.Context, a platform.App) error {
	return apps.update(ctx, r, a.GUID, a)
}

// DeleteApp removes an app.
// Everything that belongs to it goes with it, except events.
func (r Rows) DeleteApp(ctx context.Context, guid string) error {
	return apps.delete(ctx, r, guid)
}

// AppByName returns the app of that name in a space.
func (r Rows) AppByName(ctx context.Context, spaceGUID, name string) (platform.App, error) {
	return apps.one(ctx, r, "t.space_guid = ? AND t.name = ?", spaceGUID, name)
}
