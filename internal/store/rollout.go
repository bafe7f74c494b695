package store

import (
	"context"
	"database/sql/driver"
	"encoding/base64"
	"fmt"

	"weir/internal/platform"
)

// asText keeps bytes as base64.
type asText struct{ b *[]byte }

// Value implements driver.Valuer.
func (a asText) Value() (driver.Value, error) {
	return base64.RawStdEncoding.EncodeToString(*a.b), nil
}

// Scan implements sql.Scanner.
func (a asText) Scan(src any) (err error) {
	text, ok := src.(string)
	if !ok {
		return fmt.Errorf("bytes are stored as %T", src)
	}
	*a.b = nil
	if text != "" {
		*a.b, err = base64.RawStdEncoding.DecodeString(text)
	}
	return err
}

const rolloutIsOver = "CASE WHEN t.state IN ('done', 'rolled-back', 'aborted', 'superseded') THEN 'false' ELSE 'true' END"

var rollouts = &table[platform.Rollout]{
	name: "rollouts",
	noun: "Rollout",
	columns: func(r *platform.Rollout) []column {
		return append(resource(
			&r.Resource,
			column{name: "app_guid", value: &r.AppGUID},
			column{name: "number", value: &r.Number},
			column{name: "from_guid", value: &r.FromGUID},
			column{name: "from_label", value: &r.FromLabel},
			column{name: "to_guid", value: &r.ToGUID},
			column{name: "to_label", value: &r.ToLabel},
			column{name: "droplet_guid", value: &r.DropletGUID},
			column{name: "state", value: &r.State},
			column{name: "step", value: &r.Step},
			column{name: "reason", value: &r.Reason},
			column{name: "route_table", value: &r.Table},
			column{name: "split", value: &r.Split},
			column{name: "since", value: stamp{&r.Since}},
			column{name: "plan", value: &r.Plan},
			column{name: "progress", value: &r.Progress},
			column{name: "judge", value: asText{&r.Judge}},
		), actor("by", &r.CreatedBy)...)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"app_guids":          is("t.app_guid"),
		"states":             is("t.state"),
		"active":             is(rolloutIsOver),
		"numbers":            is("CAST(t.number AS TEXT)"),
		"space_guids":        within("t.app_guid", appsOfSpace),
		"organization_guids": within("t.app_guid", appsOfOrg),
	},
	orders: map[string]string{"number": "t.number"},
}

// Rollout returns the rollout with the given GUID.
func (r Rows) Rollout(ctx context.Context, guid string) (platform.Rollout, error) {
	return rollouts.get(ctx, r, guid)
}

// Rollouts returns one page of the rollouts that q selects, and how many it
// selects. The filter "active" is "true" for those that are not over.
func (r Rows) Rollouts(ctx context.Context, q Query) ([]platform.Rollout, int, error) {
	return rollouts.list(ctx, r, q)
}

// InsertRollout adds a rollout.
func (r Rows) InsertRollout(ctx context.Context, row platform.Rollout) error {
	return rollouts.insert(ctx, r, row)
}

// UpdateRollout rewrites a rollout.
func (r Rows) UpdateRollout(ctx context.Context, row platform.Rollout) error {
	return rollouts.update(ctx, r, row.GUID, row)
}

// DeleteRollout removes a rollout with its events and its evidence.
func (r Rows) DeleteRollout(ctx context.Context, guid string) error {
	return rollouts.delete(ctx, r, guid)
}

var rolloutEvents = &table[platform.RolloutEvent]{
	name: "rollout_events",
	noun: "Rollout event",
	columns: func(e *platform.RolloutEvent) []column {
		return append(resource(
			&e.Resource,
			column{name: "rollout_guid", value: &e.RolloutGUID},
			column{name: "state", value: &e.State},
			column{name: "step", value: &e.Step},
			column{name: "route_table", value: &e.Table},
			column{name: "description", value: &e.Text},
			column{name: "data", value: asJSON{&e.Data}},
		), actor("actor", &e.Actor)...)
	},
	filters: map[string]filter{
		"guids":         is("t.guid"),
		"rollout_guids": is("t.rollout_guid"),
		"states":        is("t.state"),
	},
}

// RolloutEvents returns one page of the transitions that q selects, in order.
func (r Rows) RolloutEvents(ctx context.Context, q Query) ([]platform.RolloutEvent, int, error) {
	return rolloutEvents.list(ctx, r, q)
}

// InsertRolloutEvent adds a transition.
func (r Rows) InsertRolloutEvent(ctx context.Context, e platform.RolloutEvent) error {
	return rolloutEvents.insert(ctx, r, e)
}

var rolloutEvidence = &table[platform.RolloutEvidence]{
	name: "rollout_evidence",
	noun: "Rollout evidence",
	columns: func(e *platform.RolloutEvidence) []column {
		return resource(
			&e.Resource,
			column{name: "rollout_guid", value: &e.RolloutGUID},
			column{name: "data", value: asText{&e.Data}},
		)
	},
	filters: map[string]filter{"guids": is("t.guid"), "rollout_guids": is("t.rollout_guid")},
}

// RolloutEvidence returns the evidence that q selects, in the order in which
// the judge was told.
func (r Rows) RolloutEvidence(ctx context.Context, q Query) ([]platform.RolloutEvidence, int, error) {
	return rolloutEvidence.list(ctx, r, q)
}

// InsertRolloutEvidence adds a piece of evidence.
func (r Rows) InsertRolloutEvidence(ctx context.Context, e platform.RolloutEvidence) error {
	return rolloutEvidence.insert(ctx, r, e)
}

var freezes = &table[platform.Freeze]{
	name: "freezes",
	noun: "Freeze",
	columns: func(f *platform.Freeze) []column {
		return append(resource(
			&f.Resource,
			column{name: "space_guid", value: &f.SpaceGUID},
			column{name: "time_window", value: &f.Window},
			column{name: "reason", value: &f.Reason},
		), actor("by", &f.CreatedBy)...)
	},
	filters: map[string]filter{"guids": is("t.guid"), "space_guids": is("t.space_guid")},
}

// Freezes returns one page of the freezes that q selects.
func (r Rows) Freezes(ctx context.Context, q Query) ([]platform.Freeze, int, error) {
	return freezes.list(ctx, r, q)
}

// InsertFreeze adds a freeze.
func (r Rows) InsertFreeze(ctx context.Context, f platform.Freeze) error {
	return freezes.insert(ctx, r, f)
}

// DeleteFreeze removes a freeze.
func (r Rows) DeleteFreeze(ctx context.Context, guid string) error {
	return freezes.delete(ctx, r, guid)
}
