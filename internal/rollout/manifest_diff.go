package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"weir/internal/platform"
	"weir/internal/store"
)

// DiffManifest says what ApplyManifest would change.
func (e *Engine) DiffManifest(ctx context.Context, space string, m platform.Manifest) ([]platform.ManifestDiff, error) {
	d := &differ{diffs: []platform.ManifestDiff{}}
	err := e.store.View(ctx, func(tx *store.Tx) error {
		for i, want := range m.Applications {
			d.prefix = fmt.Sprintf("/applications/%d", i)
			app, err := tx.AppByName(ctx, space, want.Name)
			switch {
			case platform.KindOf(err) == platform.KindNotFound:
				d.add("/name", want.Name)
				d.app(platform.ManifestApp{}, want)
				continue
			case err != nil:
				return err
			}
			have, err := describe(ctx, tx, app)
			if err != nil {
				return err
			}
			d.app(have, want)
		}
		return nil
	})
	return d.diffs, err
}

type differ struct {
	prefix string
	diffs  []platform.ManifestDiff
}

func (d *differ) add(path string, value any) {
	d.diffs = append(d.diffs, platform.ManifestDiff{Op: "add", Path: d.prefix + path, Value: value})
}

func (d *differ) replace(path string, was, value any) {
	d.diffs = append(d.diffs, platform.ManifestDiff{Op: "replace", Path: d.prefix + path, Was: was, Value: value})
}

// app compares the keys that want speaks about.
func (d *differ) app(have, want platform.ManifestApp) {
	if want.Buildpacks != nil && !slices.Equal(have.Buildpacks, want.Buildpacks) {
		if len(have.Buildpacks) == 0 {
			d.add("/buildpacks", want.Buildpacks)
		} else {
			d.replace("/buildpacks", have.Buildpacks, want.Buildpacks)
		}
	}
	differs(d, "/stack", have.Stack, want.Stack)
	for _, k := range slices.Sorted(maps.Keys(want.Env)) {
		v := want.Env[k]
		old, ok := have.Env[k]
		switch {
		case !ok:
			d.add("/env/"+k, v)
		case old != v:
			d.replace("/env/"+k, old, v)
		}
	}
	d.routes(have, want)
	d.processes(have, want)
}

func (d *differ) routes(have, want platform.ManifestApp) {
	known := func(r platform.ManifestRoute) func(platform.ManifestRoute) bool {
		return func(h platform.ManifestRoute) bool { return h.Route == r.Route }
	}
	if want.NoRoute {
		for i, r := range have.Routes {
			d.diffs = append(d.diffs, platform.ManifestDiff{
				Op: "remove", Path: fmt.Sprintf("%s/routes/%d", d.prefix, i), Was: map[string]any{"route": r.Route},
			})
		}
		return
	}
	for i, r := range want.Routes {
		if !slices.ContainsFunc(have.Routes, known(r)) {
			d.add(fmt.Sprintf("/routes/%d", i), map[string]any{"route": r.Route})
		}
	}
}

func (d *differ) processes(have, want platform.ManifestApp) {
	outer := d.prefix
	defer func() { d.prefix = outer }()
	for i, w := range manifestProcesses(want) {
		j := slices.IndexFunc(have.Processes, func(p platform.ManifestProcess) bool { return p.Type == w.Type })
		var h platform.ManifestProcess
		d.prefix = outer
		if slices.ContainsFunc(want.Processes, func(p platform.ManifestProcess) bool { return p.Type == w.Type }) {
			d.prefix = fmt.Sprintf("%s/processes/%d", outer, i)
			if j < 0 {
				d.add("/type", w.Type)
			}
		}
		if j >= 0 {
			h = have.Processes[j]
		}
		differs(d, "/command", h.Command, w.Command)
		differs(d, "/instances", h.Instances, w.Instances)
		sizes(d, "/memory", h.Memory, w.Memory)
		sizes(d, "/disk_quota", h.DiskQuota, w.DiskQuota)
		differs(d, "/log-rate-limit-per-second", h.LogRateLimit, w.LogRateLimit)
		differs(d, "/timeout", h.Timeout, w.Timeout)
		differs(d, "/health-check-type", h.HealthCheckType, w.HealthCheckType)
		differs(d, "/health-check-http-endpoint", h.HealthCheckHTTPEndpoint, w.HealthCheckHTTPEndpoint)
		differs(d, "/health-check-invocation-timeout", h.HealthCheckInvocationTimeout, w.HealthCheckInvocationTimeout)
		differs(d, "/health-check-interval", h.HealthCheckInterval, w.HealthCheckInterval)
		differs(d, "/readiness-health-check-type", h.ReadinessHealthCheckType, w.ReadinessHealthCheckType)
		differs(d, "/readiness-health-check-http-endpoint", h.ReadinessHealthCheckHTTPEndpoint, w.ReadinessHealthCheckHTTPEndpoint)
		differs(d, "/readiness-health-check-invocation-timeout", h.ReadinessHealthCheckInvocationTimeout, w.ReadinessHealthCheckInvocationTimeout)
		differs(d, "/readiness-health-check-interval", h.ReadinessHealthCheckInterval, w.ReadinessHealthCheckInterval)
	}
}

// differs records one key; a nil want does not speak about it.
func differs[T comparable](d *differ, path string, have, want *T) {
	switch {
	case want == nil:
	case have == nil:
		d.add(path, *want)
	case *have != *want:
		d.replace(path, *have, *want)
	}
}

// sizes is differs for texts that may write the same size in two ways.
func sizes(d *differ, path string, have, want *string) {
	if have != nil && want != nil {
		h, errH := platform.ParseMegabytes(*have)
		w, errW := platform.ParseMegabytes(*want)
		if errH == nil && errW == nil && h == w {
			return
		}
	}
	differs(d, path, have, want)
}
