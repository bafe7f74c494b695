package store

import (
	"context"

	"weir/internal/platform"
)

var packages = &table[platform.Package]{
	name: "packages",
	noun: "Package",
	columns: func(p *platform.Package) []column {
		return resource(
			&p.Resource,
			column{name: "app_guid", value: &p.AppGUID},
			column{name: "type", value: &p.Type},
			column{name: "state", value: &p.State},
			column{name: "error", value: &p.Error},
			column{name: "digest", value: &p.Digest},
			column{name: "size", value: &p.Size},
			column{name: "git", value: asJSON{&p.Git}},
		)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"types":              is("t.type"),
		"states":             is("t.state"),
		"app_guids":          is("t.app_guid"),
		"space_guids":        within("t.app_guid", appsOfSpace),
		"organization_guids": within("t.app_guid", appsOfOrg),
	},
}

// Package returns the package with the given GUID.
func (r Rows) Package(ctx context.Context, guid string) (platform.Package, error) {
	return packages.get(ctx, r, guid)
}

// Packages returns one page of the packages that q selects, and how many it selects.
func (r Rows) Packages(ctx context.Context, q Query) ([]platform.Package, int, error) {
	return packages.list(ctx, r, q)
}

// InsertPackage adds a package.
func (r Rows) InsertPackage(ctx context.Context, p platform.Package) error {
	return packages.insert(ctx, r, p)
}

// UpdatePackage rewrites a package.
func (r Rows) UpdatePackage(ctx context.Context, p platform.Package) error {
	return packages.update(ctx, r, p.GUID, p)
}

// DeletePackage removes a package.
func (r Rows) DeletePackage(ctx context.Context, guid string) error {
	return packages.delete(ctx, r, guid)
}
