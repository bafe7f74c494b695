package rollout

import (
	"context"
	"slices"

	"weir/internal/platform"
	"weir/internal/store"
)

// AppManifest describes an app by a manifest with one application. Applying
// it to the same app changes nothing.
func (e *Engine) AppManifest(ctx context.Context, app string) (platform.Manifest, error) {
	m := platform.Manifest{}
	err := e.store.View(ctx, func(tx *store.Tx) error {
		a, err := tx.App(ctx, app)
		if err != nil {
			return err
		}
		described, err := describe(ctx, tx, a)
		m.Applications = []platform.ManifestApp{described}
		return err
	})
	return m, err
}

func describe(ctx context.Context, tx *store.Tx, a platform.App) (platform.ManifestApp, error) {
	m := platform.ManifestApp{
		Name: a.Name, Stack: &a.Lifecycle.Stack, Buildpacks: a.Lifecycle.Buildpacks,
		Env: a.Env, Features: a.Features,
		Labels: pointers(a.Metadata.Labels), Annotations: pointers(a.Metadata.Annotations),
	}
	of := func(key string) store.Query { return store.Query{In: map[string][]string{key: {a.GUID}}} }
	procs, _, err := tx.Processes(ctx, of("app_guids"))
	if err != nil {
		return m, err
	}
	for _, p := range procs {
		m.Processes = append(m.Processes, describeProcess(p))
	}
	routes, _, err := tx.Routes(ctx, of("live_app_guids"))
	if err != nil {
		return m, err
	}
	for _, r := range routes {
		d := r.Destinations[slices.IndexFunc(r.Destinations, func(d platform.Destination) bool { return d.AppGUID == a.GUID })]
		m.Routes = append(m.Routes, platform.ManifestRoute{Route: r.URL(), Protocol: d.Protocol, Options: r.Options, Weight: d.Weight})
	}
	bindings, _, err := tx.ServiceBindings(ctx, of("app_guids"))
	if err != nil {
		return m, err
	}
	for _, b := range bindings {
		s, err := tx.ServiceInstance(ctx, b.ServiceInstanceGUID)
		if err != nil {
			return m, err
		}
		m.Services = append(m.Services, platform.ManifestService{Name: s.Name, BindingName: b.Name})
	}
	return m, nil
}

func describeProcess(p platform.Process) platform.ManifestProcess {
	memory, disk, rate := platform.FormatMegabytes(p.MemoryMB), platform.FormatMegabytes(p.DiskMB), platform.FormatLogRate(p.LogRateLimit)
	m := platform.ManifestProcess{
		Type: p.Type, Instances: &p.Instances, Memory: &memory, DiskQuota: &disk, LogRateLimit: &rate,
		HealthCheckType: &p.Health.Type, ReadinessHealthCheckType: &p.Readiness.Type,
		Timeout:                               unlessZero(p.Health.Timeout),
		HealthCheckInvocationTimeout:          unlessZero(p.Health.InvocationTimeout),
		HealthCheckInterval:                   unlessZero(p.Health.Interval),
		ReadinessHealthCheckInvocationTimeout: unlessZero(p.Readiness.InvocationTimeout),
		ReadinessHealthCheckInterval:          unlessZero(p.Readiness.Interval),
		HealthCheckHTTPEndpoint:               unlessZero(p.Health.Endpoint),
		ReadinessHealthCheckHTTPEndpoint:      unlessZero(p.Readiness.Endpoint),
		Command:                               unlessZero(p.Command),
	}
	return m
}

func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func pointers(m map[string]string) map[string]*string {
	if len(m) == 0 {
		return nil
	}
	out := map[string]*string{}
	for k, v := range m {
		out[k] = &v
	}
	return out
}

// processes returns the process entries of a manifest's app: the keys on the
// level of the app belong to web, and an entry for web under processes goes
// before them.
func manifestProcesses(a platform.ManifestApp) []platform.ManifestProcess {
	all := slices.Clone(a.Processes)
	if a.Web == (platform.ManifestProcess{Type: a.Web.Type}) {
		return all
	}
	web := a.Web
	web.Type = platform.WebProcess
	i := slices.IndexFunc(all, func(p platform.ManifestProcess) bool { return p.Type == platform.WebProcess })
	if i < 0 {
		return append([]platform.ManifestProcess{web}, all...)
	}
	all[i] = overlay(web, all[i])
	return all
}

// overlay returns base with the keys that top speaks about.
func overlay(base, top platform.ManifestProcess) platform.ManifestProcess {
	pick(&base.Command, top.Command)
	pick(&base.Instances, top.Instances)
	pick(&base.Memory, top.Memory)
	pick(&base.DiskQuota, top.DiskQuota)
	pick(&base.LogRateLimit, top.LogRateLimit)
	pick(&base.Timeout, top.Timeout)
	pick(&base.HealthCheckType, top.HealthCheckType)
	pick(&base.HealthCheckHTTPEndpoint, top.HealthCheckHTTPEndpoint)
	pick(&base.HealthCheckInvocationTimeout, top.HealthCheckInvocationTimeout)
	pick(&base.HealthCheckInterval, top.HealthCheckInterval)
	pick(&base.ReadinessHealthCheckType, top.ReadinessHealthCheckType)
	pick(&base.ReadinessHealthCheckHTTPEndpoint, top.ReadinessHealthCheckHTTPEndpoint)
	pick(&base.ReadinessHealthCheckInvocationTimeout, top.ReadinessHealthCheckInvocationTimeout)
	pick(&base.ReadinessHealthCheckInterval, top.ReadinessHealthCheckInterval)
	return base
}

// pick replaces the pointer if there is something to replace it with.
func pick[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}

// set takes over a value the manifest speaks about.
func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// applyTo edits a process as a checked entry of a manifest says.
func applyTo(p *platform.Process, m platform.ManifestProcess) error {
	set(&p.Command, m.Command)
	set(&p.Instances, m.Instances)
	set(&p.Health.Timeout, m.Timeout)
	set(&p.Health.Type, m.HealthCheckType)
	set(&p.Health.Endpoint, m.HealthCheckHTTPEndpoint)
	set(&p.Health.InvocationTimeout, m.HealthCheckInvocationTimeout)
	set(&p.Health.Interval, m.HealthCheckInterval)
	set(&p.Readiness.Type, m.ReadinessHealthCheckType)
	set(&p.Readiness.Endpoint, m.ReadinessHealthCheckHTTPEndpoint)
	set(&p.Readiness.InvocationTimeout, m.ReadinessHealthCheckInvocationTimeout)
	set(&p.Readiness.Interval, m.ReadinessHealthCheckInterval)
	for _, check := range []*platform.HealthCheck{&p.Health, &p.Readiness} {
		if check.Type != platform.HealthHTTP {
			check.Endpoint = ""
		} else if check.Endpoint == "" {
			check.Endpoint = "/"
		}
	}
	for _, size := range []struct {
		from *string
		to   *int
		key  string
	}{{m.Memory, &p.MemoryMB, "Memory"}, {m.DiskQuota, &p.DiskMB, "Disk quota"}} {
		if size.from == nil {
			continue
		}
		n, err := platform.ParseMegabytes(*size.from)
		if err != nil {
			return platform.Invalidf("%s %v", size.key, err)
		}
		*size.to = n
	}
	if m.LogRateLimit != nil {
		n, err := platform.ParseLogRate(*m.LogRateLimit)
		if err != nil {
			return platform.Invalidf("Log rate limit per second %v", err)
		}
		p.LogRateLimit = n
	}
	return nil
}
