package rollout

import (
	"context"
	"time"

	"weir/internal/platform"
)

// ScaleRequest says what to change of a process; nil means keep.
type ScaleRequest struct {
	Instances    *int
	MemoryMB     *int
	DiskMB       *int
	LogRateLimit *int64
}

// Scale changes the number of instances at once, and memory, disk and log rate
// at the next start. It returns before new instances are up.
func (e *Engine) Scale(ctx context.Context, who platform.Actor, process string, req ScaleRequest) (platform.Process, error) {
	return platform.Process{}, errNotYet
}

// UpdateProcess lets change edit the command, the health checks and the
// metadata of a process. They act at the next start.
func (e *Engine) UpdateProcess(ctx context.Context, who platform.Actor, guid string, change func(*platform.Process) error) (platform.Process, error) {
	return platform.Process{}, errNotYet
}

// RestartInstance stops one instance and starts a new one in its place.
func (e *Engine) RestartInstance(ctx context.Context, who platform.Actor, app, typ string, index int) error {
	return errNotYet
}

// InstanceStats describes one wanted instance of a process.
type InstanceStats struct {
	Type           string
	Index          int
	InstanceGUID   string // empty while DOWN
	DeploymentGUID string
	State          platform.InstanceState
	Since          time.Time
	Routable       bool
	Host           string // where the router dials it
	IP             string // as the instance sees itself
	Port           int    // 0 when it has none
	Uptime         time.Duration
	MemoryQuota    int64 // bytes
	DiskQuota      int64 // bytes
	FDsQuota       int64
	LogRateLimit   int64 // bytes per second, -1 unlimited
	Details        string
	LastExit       *platform.Exit
	Crashes        int

	// Usage; zero unless RUNNING or STARTING.
	Time        time.Time
	CPU         float64 // cores
	MemoryBytes int64
	DiskBytes   int64
	FDs         int
}

// Stats returns one entry per wanted instance of the process, by index. While
// a start or restart is on its way these are the new instances, even if old
// ones still serve: that is what a client of Cloud Foundry waits for.
func (e *Engine) Stats(ctx context.Context, process string) ([]InstanceStats, error) {
	return nil, errNotYet
}

// InstanceStates is Stats without usage and therefore cheap; it answers for
// many processes at once, by process GUID.
func (e *Engine) InstanceStates(ctx context.Context, processes []platform.Process) (map[string][]InstanceStats, error) {
	return nil, errNotYet
}
