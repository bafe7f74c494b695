package store

import (
	"context"

	"weir/internal/platform"
)

var processes = &table[platform.Process]{
	name: "processes",
	noun: "Process",
	columns: func(p *platform.Process) []column {
		return resource(
			&p.Resource,
			column{name: "app_guid", value: &p.AppGUID},
			column{name: "type", value: &p.Type},
			column{name: "command", value: &p.Command},
			column{name: "instances", value: &p.Instances},
			column{name: "memory_mb", value: &p.MemoryMB},
			column{name: "disk_mb", value: &p.DiskMB},
			column{name: "log_rate_limit", value: &p.LogRateLimit},
			column{name: "health", value: asJSON{&p.Health}},
			column{name: "readiness", value: asJSON{&p.Readiness}},
		)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"types":              is("t.type"),
		"app_guids":          is("t.app_guid"),
		"space_guids":        within("t.app_guid", appsOfSpace),
		"organization_guids": within("t.app_guid", appsOfOrg),
	},
	orders: map[string]string{"type": "t.type"},
}

// Process returns the process with the given GUID.
func (r Rows) Process(ctx context.Context, guid string) (platform.Process, error) {
	return processes.get(ctx, r, guid)
}

// Processes returns one page of the processes that q selects, and how many it selects.
func (r Rows) Processes(ctx context.Context, q Query) ([]platform.Process, int, error) {
	return processes.list(ctx, r, q)
}

// InsertProcess adds a process.
func (r Rows) InsertProcess(ctx context.Context, p platform.Process) error {
	return processes.insert(ctx, r, p)
}

// UpdateProcess rewrites a process.
func (r Rows) UpdateProcess(ctx context.Context, p platform.Process) error {
	return processes.update(ctx, r, p.GUID, p)
}

// ProcessByType returns an app's process of that type.
func (r Rows) ProcessByType(ctx context.Context, appGUID, typ string) (platform.Process, error) {
	return processes.one(ctx, r, "t.app_guid = ? AND t.type = ?", appGUID, typ)
}
