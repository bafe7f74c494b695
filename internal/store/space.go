package store

import (
	"context"

	"weir/internal/platform"
)

var spaces = &table[platform.Space]{
	name: "spaces",
	noun: "Space",
	columns: func(s *platform.Space) []column {
		return resource(
			&s.Resource,
			column{name: "organization_guid", value: &s.OrganizationGUID},
			column{name: "name", value: &s.Name},
		)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"names":              is("t.name"),
		"organization_guids": is("t.organization_guid"),
	},
	orders: map[string]string{"name": "t.name"},
	unique: []unique[platform.Space]{{
		key: "organization_guid, name",
		err: func(platform.Space) *platform.Error {
			return platform.Invalidf("Name must be unique per organization")
		},
	}},
}

// Space returns the space with the given GUID.
func (r Rows) Space(ctx context.Context, guid string) (platform.Space, error) {
	return spaces.get(ctx, r, guid)
}

// Spaces returns one page of the spaces that q selects, and how many it selects.
func (r Rows) Spaces(ctx context.Context, q Query) ([]platform.Space, int, error) {
	return spaces.list(ctx, r, q)
}

// InsertSpace adds a space.
func (r Rows) InsertSpace(ctx context.Context, s platform.Space) error {
	return spaces.insert(ctx, r, s)
}

// UpdateSpace rewrites a space.
func (r Rows) UpdateSpace(ctx context.Context, s platform.Space) error {
	return spaces.update(ctx, r, s.GUID, s)
}

// DeleteSpace removes a space. It must be empty.
func (r Rows) DeleteSpace(ctx context.Context, guid string) error {
	return spaces.delete(ctx, r, guid)
}
