package rollout

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/store"
)

// ScaleRequest says what to change of a process; nil means keep.
type ScaleRequest struct {
	Instances    *int
	MemoryMB     *int
	DiskMB       *int
	LogRateLimit *int64
}

func (r ScaleRequest) isEmpty() bool {
	return r.Instances == nil && r.MemoryMB == nil && r.DiskMB == nil && r.LogRateLimit == nil
}

// maxInstances bounds a slip of the finger.
const maxInstances = 10_000

func (r ScaleRequest) check() error {
	switch {
	case r.Instances != nil && *r.Instances < 0:
		return platform.Invalidf("Instances must be greater than or equal to 0")
	case r.Instances != nil && *r.Instances > maxInstances:
		return platform.Invalidf("Instances must be less than or equal to %d", maxInstances)
	case r.MemoryMB != nil && *r.MemoryMB <= 0:
		return platform.Invalidf("Memory in mb must be greater than 0")
	case r.DiskMB != nil && *r.DiskMB <= 0:
		return platform.Invalidf("Disk in mb must be greater than 0")
	case r.LogRateLimit != nil && *r.LogRateLimit < -1:
		return platform.Invalidf("Log rate limit in bytes per second must be greater than or equal to -1")
	}
	return nil
}

func (r ScaleRequest) apply(p *platform.Process) {
	if r.Instances != nil {
		p.Instances = *r.Instances
	}
	if r.MemoryMB != nil {
		p.MemoryMB = *r.MemoryMB
	}
	if r.DiskMB != nil {
		p.DiskMB = *r.DiskMB
	}
	if r.LogRateLimit != nil {
		p.LogRateLimit = *r.LogRateLimit
	}
}

// request is the event's view of it.
func (r ScaleRequest) request() map[string]any {
	m := map[string]any{}
	if r.Instances != nil {
		m["instances"] = *r.Instances
	}
	if r.MemoryMB != nil {
		m["memory_in_mb"] = *r.MemoryMB
	}
	if r.DiskMB != nil {
		m["disk_in_mb"] = *r.DiskMB
	}
	if r.LogRateLimit != nil {
		m["log_rate_limit_in_bytes_per_second"] = *r.LogRateLimit
	}
	return m
}

// Scale changes the number of instances at once, and memory, disk and log rate
// at the next start. It returns before new instances are up.
func (e *Engine) Scale(ctx context.Context, who platform.Actor, process string, req ScaleRequest) (p platform.Process, err error) {
	if err := req.check(); err != nil {
		return platform.Process{}, err
	}
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if p, err = tx.Process(ctx, process); err != nil {
			return err
		}
		app, err := tx.App(ctx, p.AppGUID)
		if err != nil {
			return err
		}
		if err := refuseInFlight(ctx, tx, p, "scale"); err != nil {
			return err
		}
		p, err = e.scale(ctx, tx, who, app, p, req)
		return err
	})
	if err != nil {
		return platform.Process{}, err
	}
	if req.Instances != nil {
		e.line(p.AppGUID, "API", "Scaled process %s to %d instances", p.Type, p.Instances)
	}
	e.wake(p.AppGUID)
	return p, nil
}

// scale changes the row and says so.
func (e *Engine) scale(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, p platform.Process, req ScaleRequest) (platform.Process, error) {
	req.apply(&p)
	if err := tx.UpdateProcess(ctx, p); err != nil {
		return p, err
	}
	p, err := tx.Process(ctx, p.GUID)
	if err != nil {
		return p, err
	}
	return p, e.event(ctx, tx, who, "audit.app.process.scale", appTarget(app), map[string]any{
		"process_guid": p.GUID, "process_type": p.Type, "request": req.request(),
	})
}

// refuseInFlight refuses to touch the web process while a deployment moves it.
func refuseInFlight(ctx context.Context, tx *store.Tx, p platform.Process, verb string) error {
	if p.Type != platform.WebProcess {
		return nil
	}
	moving, err := isMoving(ctx, tx, p.AppGUID)
	if err != nil || !moving {
		return err
	}
	app, err := tx.App(ctx, p.AppGUID)
	if err != nil {
		return err
	}
	return &platform.Error{
		Kind: platform.KindInvalid, Msg: "Cannot " + verb + " this process while a deployment is in flight.",
		Hint: "try again when it is over (weir app " + app.Name + "), or end it: weir cancel-deployment " + app.Name,
	}
}

// UpdateProcess lets change edit the command, the health checks and the
// metadata of a process. They act at the next start.
func (e *Engine) UpdateProcess(ctx context.Context, who platform.Actor, guid string, change func(*platform.Process) error) (p platform.Process, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		before, err := tx.Process(ctx, guid)
		if err != nil {
			return err
		}
		p = before
		if err := change(&p); err != nil {
			return err
		}
		p.AppGUID, p.Type, p.Instances = before.AppGUID, before.Type, before.Instances
		if p.Command != before.Command || p.Health != before.Health || p.Readiness != before.Readiness {
			if err := refuseInFlight(ctx, tx, p, "update"); err != nil {
				return err
			}
		}
		if err := checkHealth(p); err != nil {
			return err
		}
		if err := tx.UpdateProcess(ctx, p); err != nil {
			return err
		}
		app, err := tx.App(ctx, p.AppGUID)
		if err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.process.update", appTarget(app), map[string]any{
			"process_guid": p.GUID, "process_type": p.Type, "request": processRequest(before, p),
		})
	})
	if err != nil {
		return platform.Process{}, err
	}
	return p, nil
}

// processRequest is what an update of a process changed.
func processRequest(before, after platform.Process) map[string]any {
	m := map[string]any{}
	if before.Command != after.Command {
		m["command"] = "[PRIVATE DATA HIDDEN]"
	}
	if before.Health != after.Health {
		m["health_check"] = map[string]any{"type": after.Health.Type}
	}
	if before.Readiness != after.Readiness {
		m["readiness_health_check"] = map[string]any{"type": after.Readiness.Type}
	}
	return m
}

// checkHealth refuses health checks that cannot be.
func checkHealth(p platform.Process) error {
	for _, c := range []struct {
		name string
		h    platform.HealthCheck
	}{{"Health check", p.Health}, {"Readiness health check", p.Readiness}} {
		switch c.h.Type {
		case platform.HealthPort, platform.HealthProcess:
			if c.h.Endpoint != "" {
				return platform.Invalidf("%s endpoint can only be set for type http", c.name)
			}
		case platform.HealthHTTP:
			if c.h.Endpoint != "" && c.h.Endpoint[0] != '/' {
				return platform.Invalidf("%s endpoint must be a valid URI path", c.name)
			}
		default:
			return platform.Invalidf("%s type must be \"port\", \"process\", or \"http\"", c.name)
		}
		if c.h.Timeout < 0 || c.h.InvocationTimeout < 0 || c.h.Interval < 0 {
			return platform.Invalidf("%s timeout, invocation timeout and interval must be greater than or equal to 1", c.name)
		}
	}
	return nil
}

// RestartInstance stops one instance and starts a new one in its place.
func (e *Engine) RestartInstance(ctx context.Context, who platform.Actor, app, typ string, index int) error {
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		a, err := tx.App(ctx, app)
		if err != nil {
			return err
		}
		p, err := tx.ProcessByType(ctx, app, typ)
		if err != nil {
			return err
		}
		all, _, err := tx.Instances(ctx, store.Query{In: map[string][]string{"process_guids": {p.GUID}}})
		if err != nil {
			return err
		}
		active, _, err := tx.ActiveDeployment(ctx, app)
		if err != nil {
			return err
		}
		i, ok := currentInstance(all, index, active.GUID, a.DeploymentGUID)
		if !ok {
			return platform.NotFound("Instance")
		}
		i.State, i.Since, i.Ready = platform.InstanceStopping, time.Now().UTC(), false
		if err := tx.UpdateInstance(ctx, i); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.process.terminate_instance", appTarget(a), map[string]any{
			"process_guid": p.GUID, "process_type": typ, "process_index": index,
		})
	})
	if err != nil {
		return err
	}
	e.line(app, "API", "Restarting instance %s", nameInstance(platform.Instance{ProcessType: typ, Index: index}))
	e.wake(app)
	return nil
}

// currentInstance returns the instance with that index that belongs to the
// first of the deployments that has one.
func currentInstance(all []platform.Instance, index int, deployments ...string) (platform.Instance, bool) {
	for _, d := range deployments {
		i := slices.IndexFunc(all, func(i platform.Instance) bool {
			return i.DeploymentGUID == d && i.Index == index && i.State != platform.InstanceStopping
		})
		if i >= 0 {
			return all[i], true
		}
	}
	return platform.Instance{}, false
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
	LogRate     int64 // bytes per second
}

// failedFor is how long the failure of a restart is shown in place of the
// instances it left serving. A client of Cloud Foundry asks for stats every
// three seconds and knows no other way to learn that its push has failed.
const failedFor = 10 * time.Second

// Stats returns one entry per wanted instance of the process, by index. While
// a start or restart is on its way these are the new instances, even if old
// ones still serve, and for some seconds after one failed they are CRASHED:
// that is what a client of Cloud Foundry waits for.
func (e *Engine) Stats(ctx context.Context, process string) ([]InstanceStats, error) {
	p, err := e.store.Process(ctx, process)
	if err != nil {
		return nil, err
	}
	byProcess, err := e.InstanceStates(ctx, []platform.Process{p})
	if err != nil {
		return nil, err
	}
	stats := byProcess[p.GUID]
	e.addUsage(ctx, stats)
	return stats, nil
}

// addUsage asks the runner what instances use.
func (e *Engine) addUsage(ctx context.Context, stats []InstanceStats) {
	var wg sync.WaitGroup
	limit := make(chan struct{}, 8)
	for i := range stats {
		s := &stats[i]
		if s.State != platform.InstanceRunning && s.State != platform.InstanceStarting {
			continue
		}
		if q, ok := e.meters.Load(s.InstanceGUID); ok {
			s.LogRate = q.(*logs.Quota).Rate()
		}
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			use, err := e.runner.Stats(ctx, s.InstanceGUID)
			if err != nil {
				return // it may just have ended
			}
			s.CPU, s.MemoryBytes, s.DiskBytes, s.FDs = use.CPU, use.MemoryBytes, use.DiskBytes, use.FDs
		})
	}
	wg.Wait()
}

// InstanceStates is Stats without usage and therefore cheap; it answers for
// many processes at once, by process GUID.
func (e *Engine) InstanceStates(ctx context.Context, processes []platform.Process) (map[string][]InstanceStats, error) {
	out := map[string][]InstanceStats{}
	for chunk := range slices.Chunk(processes, 500) {
		err := e.store.View(ctx, func(tx *store.Tx) error {
			wanted := slices.Clone(chunk)
			if err := reduceWeb(ctx, tx, wanted); err != nil {
				return err
			}
			v, err := newStatsView(ctx, tx, wanted)
			if err != nil {
				return err
			}
			for _, p := range wanted {
				out[p.GUID] = v.process(p)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// statsView is what the states of some processes are made of.
type statsView struct {
	now       time.Time
	apps      map[string]platform.App
	active    map[string]platform.Deployment // by app
	failed    map[string]platform.Deployment // by app: a restart that failed just now
	instances map[string][]platform.Instance // by process
}

func newStatsView(ctx context.Context, tx *store.Tx, processes []platform.Process) (*statsView, error) {
	v := &statsView{
		now: time.Now().UTC(), apps: map[string]platform.App{}, active: map[string]platform.Deployment{},
		failed: map[string]platform.Deployment{}, instances: map[string][]platform.Instance{},
	}
	var guids []string
	for _, p := range processes {
		guids = append(guids, p.AppGUID)
	}
	slices.Sort(guids)
	guids = slices.Compact(guids)
	apps, _, err := tx.Apps(ctx, store.Query{In: map[string][]string{"guids": guids}})
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		v.apps[a.GUID] = a
	}
	moving, _, err := tx.Deployments(ctx, store.Query{In: map[string][]string{
		"app_guids": guids, "status_values": {platform.DeploymentActive},
	}})
	if err != nil {
		return nil, err
	}
	for _, d := range moving {
		v.active[d.AppGUID] = d
	}
	failed, _, err := tx.Deployments(ctx, store.Query{
		In: map[string][]string{
			"app_guids": guids, "strategies": {platform.StrategyStart}, "status_reasons": {platform.ReasonCanceled},
		},
		Updated: []store.TimeFilter{{Op: "gt", Time: v.now.Add(-failedFor)}},
	})
	if err != nil {
		return nil, err
	}
	for _, d := range failed {
		if d.PreviousGUID != "" && v.apps[d.AppGUID].DeploymentGUID == d.PreviousGUID && v.now.Sub(d.StatusChanged) < failedFor {
			v.failed[d.AppGUID] = d
		}
	}
	instances, _, err := tx.Instances(ctx, store.Query{In: map[string][]string{"app_guids": guids}})
	for _, i := range instances {
		v.instances[i.ProcessGUID] = append(v.instances[i.ProcessGUID], i)
	}
	return v, err
}

// process returns the states of one process.
func (v *statsView) process(p platform.Process) []InstanceStats {
	app := v.apps[p.AppGUID]
	deployments := []string{app.DeploymentGUID}
	active, moving := v.active[p.AppGUID]
	switch {
	case moving && active.Strategy == platform.StrategyStart:
		deployments = []string{active.GUID}
	case moving:
		deployments = []string{active.GUID, app.DeploymentGUID}
	}
	failed, isFailed := v.failed[p.AppGUID]
	isFailed = isFailed && !moving && app.State == platform.AppStarted
	stats := make([]InstanceStats, 0, p.Instances)
	for n := range p.Instances {
		s := v.wanted(p, n)
		if i, ok := currentInstance(v.instances[p.GUID], n, deployments...); ok && app.State == platform.AppStarted {
			s.fill(i, v.now)
		} else if app.State == platform.AppStarted {
			s.Details = "waiting to be started"
		}
		if isFailed {
			s.State, s.Routable, s.Since = platform.InstanceCrashed, false, failed.StatusChanged
			s.Details = fmt.Sprintf("%s; the previous instances keep serving", failed.Error)
		}
		stats = append(stats, s)
	}
	return stats
}

// wanted is what is said of the nth instance of a process before it is there.
func (v *statsView) wanted(p platform.Process, n int) InstanceStats {
	return InstanceStats{
		Type: p.Type, Index: n, State: platform.InstanceDown, Since: p.UpdatedAt, Time: v.now,
		MemoryQuota: int64(p.MemoryMB) << 20, DiskQuota: int64(p.DiskMB) << 20,
		FDsQuota: fdsLimit, LogRateLimit: p.LogRateLimit,
	}
}

func (s *InstanceStats) fill(i platform.Instance, now time.Time) {
	s.InstanceGUID, s.DeploymentGUID, s.State, s.Since = i.GUID, i.DeploymentGUID, i.State, i.Since
	s.Routable = isServing(i)
	s.Host, s.IP, s.Port = i.Host, i.Host, i.Port
	s.Details, s.LastExit, s.Crashes = i.Details, i.LastExit, i.Crashes
	if i.State == platform.InstanceRunning || i.State == platform.InstanceStarting {
		s.Uptime = max(0, now.Sub(i.Since))
	}
}
