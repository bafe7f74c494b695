package store

import (
	"context"

	"weir/internal/platform"
)

var domains = &table[platform.Domain]{
	name: "domains",
	noun: "Domain",
	columns: func(d *platform.Domain) []column {
		return resource(
			&d.Resource,
			column{name: "name", value: &d.Name},
			column{name: "internal", value: &d.Internal},
			column{name: "organization_guid", value: optional{&d.OrganizationGUID}},
		)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"names":              is("t.name"),
		"organization_guids": is("COALESCE(t.organization_guid, '')"), // "" is shared
	},
	orders: map[string]string{"name": "t.name"},
	unique: []unique[platform.Domain]{{
		key: "name",
		err: func(d platform.Domain) *platform.Error {
			return platform.Invalidf("The domain name \"%s\" is already in use", d.Name)
		},
	}},
}

// Domain returns the domain with the given GUID.
func (r Rows) Domain(ctx context.Context, guid string) (platform.Domain, error) {
	return domains.get(ctx, r, guid)
}

// Domains returns one page of the domains that q selects, and how many it selects.
func (r Rows) Domains(ctx context.Context, q Query) ([]platform.Domain, int, error) {
	return domains.list(ctx, r, q)
}

// InsertDomain adds a domain.
func (r Rows) InsertDomain(ctx context.Context, d platform.Domain) error {
	return domains.insert(ctx, r, d)
}

// UpdateDomain rewrites a domain.
func (r Rows) UpdateDomain(ctx context.Context, d platform.Domain) error {
	return domains.update(ctx, r, d.GUID, d)
}

// DeleteDomain removes a domain. It must have no routes.
func (r Rows) DeleteDomain(ctx context.Context, guid string) error {
	return domains.delete(ctx, r, guid)
}
