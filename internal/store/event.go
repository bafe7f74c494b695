package store

import (
	"context"
	"time"

	"weir/internal/platform"
)

var events = &table[platform.Event]{
	name: "events",
	noun: "Event",
	columns: func(e *platform.Event) []column {
		return append(resource(
			&e.Resource,
			column{name: "type", value: &e.Type},
			column{name: "target_guid", value: &e.TargetGUID},
			column{name: "target_type", value: &e.TargetType},
			column{name: "target_name", value: &e.TargetName},
			column{name: "data", value: asJSON{&e.Data}},
			column{name: "space_guid", value: &e.SpaceGUID},
			column{name: "org_guid", value: &e.OrgGUID},
		), actor("actor", &e.Actor)...)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"types":              is("t.type"),
		"target_guids":       is("t.target_guid"),
		"target_types":       is("t.target_type"),
		"actor_guids":        is("t.actor_guid"),
		"space_guids":        is("t.space_guid"),
		"organization_guids": is("t.org_guid"),
	},
}

// Event returns the event with the given GUID.
func (r Rows) Event(ctx context.Context, guid string) (platform.Event, error) {
	return events.get(ctx, r, guid)
}

// Events returns one page of the events that q selects, and how many it selects.
func (r Rows) Events(ctx context.Context, q Query) ([]platform.Event, int, error) {
	return events.list(ctx, r, q)
}

// InsertEvent adds an event. One of a space is of its organization too, as long
// as the space is there; whoever adds it need not say so.
func (r Rows) InsertEvent(ctx context.Context, e platform.Event) error {
	return r.run.write(ctx, func(c *conn) error {
		rows := Rows{c}
		if e.OrgGUID == "" && e.SpaceGUID != "" {
			space, err := rows.Space(ctx, e.SpaceGUID)
			if err != nil && platform.KindOf(err) != platform.KindNotFound {
				return err
			}
			e.OrgGUID = space.OrganizationGUID
		}
		return events.insert(ctx, rows, e)
	})
}

// SweepEvents removes the events from before the given time, and of each
// target those beyond its newest most, and returns how many there were.
func (r Rows) SweepEvents(ctx context.Context, before time.Time, most int) (n int, err error) {
	if n, err = r.sweep(ctx, "events", "created_at < ?", micros(before)); err != nil {
		return n, err
	}
	var noisy []string
	err = r.run.read(ctx, func(c *conn) (err error) {
		noisy, err = c.texts(ctx, "SELECT target_guid FROM events GROUP BY target_guid HAVING COUNT(*) > ?", most)
		return err
	})
	for _, target := range noisy {
		if err != nil {
			break
		}
		var some int
		some, err = r.sweep(
			ctx, "events", "target_guid = ? AND seq <= (SELECT seq FROM events WHERE target_guid = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
			target, target, most,
		)
		n += some
	}
	return n, err
}
