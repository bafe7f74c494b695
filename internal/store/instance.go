package store

import (
	"context"
	"time"

	"weir/internal/platform"
)

var instances = &table[platform.Instance]{
	name: "instances",
	noun: "Instance",
	columns: func(i *platform.Instance) []column {
		var created, updated time.Time // kept for ordering, not shown
		return []column{
			{name: "guid", value: &i.GUID},
			{name: "created_at", value: stamp{&created}},
			{name: "updated_at", value: stamp{&updated}},
			{name: "app_guid", value: &i.AppGUID},
			{name: "process_guid", value: &i.ProcessGUID},
			{name: "process_type", value: &i.ProcessType},
			{name: "deployment_guid", value: &i.DeploymentGUID},
			{name: "position", value: &i.Index},
			{name: "state", value: &i.State},
			{name: "since", value: stamp{&i.Since}},
			{name: "ready", value: &i.Ready},
			{name: "host", value: &i.Host},
			{name: "port", value: &i.Port},
			{name: "crashes", value: &i.Crashes},
			{name: "next_start", value: stamp{&i.NextStart}},
			{name: "last_exit", value: asJSON{&i.LastExit}},
			{name: "details", value: &i.Details},
		}
	},
	filters: map[string]filter{
		"guids":            is("t.guid"),
		"app_guids":        is("t.app_guid"),
		"process_guids":    is("t.process_guid"),
		"types":            is("t.process_type"),
		"deployment_guids": is("t.deployment_guid"),
		"states":           is("t.state"),
		"ready":            is("CASE WHEN t.ready THEN 'true' ELSE 'false' END"),
	},
	orders: map[string]string{"": "t.position", "index": "t.position", "state": "t.state"},
}

// Instance returns the instance with the given GUID.
func (r Rows) Instance(ctx context.Context, guid string) (platform.Instance, error) {
	return instances.get(ctx, r, guid)
}

// Instances returns one page of the instances that q selects, by default in
// order of their index, and how many it selects.
func (r Rows) Instances(ctx context.Context, q Query) ([]platform.Instance, int, error) {
	return instances.list(ctx, r, q)
}

// InsertInstance adds an instance.
func (r Rows) InsertInstance(ctx context.Context, i platform.Instance) error {
	return instances.insert(ctx, r, i)
}

// UpdateInstance rewrites an instance.
func (r Rows) UpdateInstance(ctx context.Context, i platform.Instance) error {
	return instances.update(ctx, r, i.GUID, i)
}

// DeleteInstance removes an instance.
func (r Rows) DeleteInstance(ctx context.Context, guid string) error {
	return instances.delete(ctx, r, guid)
}

// RenewInstance rewrites the row of the instance guid as i, whose GUID may be
// a new one: the copy that takes the place of one that ended.
func (r Rows) RenewInstance(ctx context.Context, guid string, i platform.Instance) error {
	return instances.update(ctx, r, guid, i)
}
