package store

import (
	"context"

	"weir/internal/platform"
)

var organizations = &table[platform.Organization]{
	name: "organizations",
	noun: "Organization",
	columns: func(o *platform.Organization) []column {
		return resource(
			&o.Resource,
			column{name: "name", value: &o.Name},
			column{name: "suspended", value: &o.Suspended},
		)
	},
	filters: map[string]filter{
		"guids": is("t.guid"),
		"names": is("t.name"),
	},
	orders: map[string]string{"name": "t.name"},
	unique: []unique[platform.Organization]{{
		key: "name",
		err: func(o platform.Organization) *platform.Error {
			return platform.Invalidf("Organization '%s' already exists.", o.Name)
		},
	}},
}

// Organization returns the organization with the given GUID.
func (r Rows) Organization(ctx context.Context, guid string) (platform.Organization, error) {
	return organizations.get(ctx, r, guid)
}

// Organizations returns one page of the organizations that q selects, and how many it selects.
func (r Rows) Organizations(ctx context.Context, q Query) ([]platform.Organization, int, error) {
	return organizations.list(ctx, r, q)
}

// InsertOrganization adds an organization.
func (r Rows) InsertOrganization(ctx context.Context, o platform.Organization) error {
	return organizations.insert(ctx, r, o)
}

// UpdateOrganization rewrites an organization.
func (r Rows) UpdateOrganization(ctx context.Context, o platform.Organization) error {
	return organizations.update(ctx, r, o.GUID, o)
}

// DeleteOrganization removes an organization. It must be empty.
func (r Rows) DeleteOrganization(ctx context.Context, guid string) error {
	return organizations.delete(ctx, r, guid)
}
