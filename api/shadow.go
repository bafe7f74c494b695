package api

import (
	"cmp"
	"context"
	"maps"
	"slices"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/judge"
	"weir/internal/platform"
	"weir/internal/rollout"
	"weir/internal/shadow"
)

func shadowRoutes() []route {
	return []route{
		{get, "/v3/versions/:guid/shadow_report", auth.Read, handle((*API).getShadowReport)},
		{post, "/v3/versions/:guid/actions/reset_shadow_report", auth.Write, handle((*API).resetShadowReport)},
	}
}

type shadowOf struct {
	GUID string `path:"guid"`
}

// getShadowReport shows what was found so far, also for a version that is no
// shadow any more; nothing, for one that never was.
func (a *API) getShadowReport(ctx context.Context, _ call, req shadowOf) (reply, error) {
	v, err := a.store.Version(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	r, err := a.cfg.Shadows.Report(ctx, v.AppGUID, v.GUID)
	if err != nil {
		return reply{}, err
	}
	return ok(presentShadow(r)), nil
}

// resetShadowReport begins the report anew; it reads the rules of what to
// ignore again.
func (a *API) resetShadowReport(ctx context.Context, c call, req shadowOf) (reply, error) {
	v, err := a.store.Version(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	if err := a.cfg.Shadows.Reset(ctx, v.AppGUID, v.GUID); err != nil {
		return reply{}, err
	}
	return a.getShadowReport(ctx, c, req)
}

// shadowChange is what of an update is about being a shadow. With other fields
// to ignore the report of v begins anew.
func shadowChange(v platform.Version, b v3.VersionUpdate) (change rollout.ShadowChange, err error) {
	if b.Mode != nil || b.ShadowPercent != nil {
		change.Mode, change.Percent = v.Mode, v.ShadowPercent
		set(&change.Mode, b.Mode)
		set(&change.Percent, b.ShadowPercent)
		if change.Percent == 0 && change.Mode == platform.ModeShadow {
			change.Percent = 100
		}
		if change.Mode == "" {
			return change, platform.Invalidf("mode must be 'live' or 'shadow' (got '')")
		}
	}
	if o := b.Shadow; o != nil {
		options, err := parseShadowOptions(*o)
		if err != nil {
			return change, err
		}
		change.Options = &options
	}
	return change, nil
}

// parseShadowOptions reads a shadow's settings, and refuses fields to ignore
// that cannot be read.
func parseShadowOptions(o v3.ShadowOptions) (platform.ShadowOptions, error) {
	_, err := shadow.ParseIgnores(o.Ignore)
	return platform.ShadowOptions{
		AllMethods: o.AllMethods, StripAuth: o.StripAuth, Noise: o.Noise,
		Methods: o.Methods, Paths: o.Paths, Except: o.Except, Ignore: o.Ignore,
	}, err
}

func presentShadowOptions(o platform.ShadowOptions) v3.ShadowOptions {
	return v3.ShadowOptions{
		AllMethods: o.AllMethods, StripAuth: o.StripAuth, Noise: cmp.Or(o.Noise, platform.DefaultNoise),
		Methods: orEmptyList(o.Methods), Paths: orEmptyList(o.Paths), Except: orEmptyList(o.Except),
		Ignore: append([]string{}, o.Ignore...),
	}
}

func presentShadow(r *shadow.Report) v3.ShadowReport {
	out := v3.ShadowReport{
		AppGUID: r.App, VersionGUID: r.Version, Since: r.Since,
		Copied: r.Copied, Dropped: r.Dropped, Compared: r.Compared, Probed: r.Probed,
		Equal: r.Equal, EqualPercent: 100,
		Endpoints: []v3.ShadowEndpoint{}, Statuses: []v3.ShadowStatuses{},
		Latency: v3.ShadowLatency{
			MainP50: quantile(&r.Main, 0.5), MainP95: quantile(&r.Main, 0.95),
			ShadowP50: quantile(&r.Shadow, 0.5), ShadowP95: quantile(&r.Shadow, 0.95),
		},
	}
	if r.Compared > 0 {
		out.EqualPercent = 100 * float64(r.Equal) / float64(r.Compared)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Endpoints)) {
		out.Endpoints = append(out.Endpoints, presentEndpoint(name, r.Endpoints[name]))
	}
	slices.SortStableFunc(out.Endpoints, func(a, b v3.ShadowEndpoint) int { return cmp.Compare(surest(b), surest(a)) })
	for _, s := range slices.Sorted(maps.Keys(r.Statuses)) {
		out.Statuses = append(out.Statuses, v3.ShadowStatuses{Statuses: s, Count: r.Statuses[s]})
	}
	slices.SortStableFunc(out.Statuses, func(a, b v3.ShadowStatuses) int { return cmp.Compare(b.Count, a.Count) })
	return out
}

// quantile is in milliseconds; 0 if nothing was counted.
func quantile(h *judge.Histogram, q float64) float64 {
	if h.Total() == 0 {
		return 0
	}
	return float64(h.Quantile(q).Microseconds()) / 1000
}

func presentEndpoint(name string, e *shadow.Endpoint) v3.ShadowEndpoint {
	out := v3.ShadowEndpoint{Endpoint: name, Compared: e.Compared, Equal: e.Equal, Fields: []v3.ShadowField{}}
	for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
		f := e.Fields[field]
		p := v3.ShadowField{
			Field: field, Differs: f.Differs, OnlyShadow: uint64(f.Test.Shadow), OnlyNoise: uint64(f.Test.Noise), Noisy: f.Noisy,
			Evidence: max(f.Test.Peak, 1), Threshold: shadow.Threshold, IsDifferent: f.IsFound(),
			Examples: []v3.ShadowExample{},
		}
		for _, x := range f.Examples {
			p.Examples = append(p.Examples, v3.ShadowExample{
				At: x.At, RequestID: x.RequestID, Request: x.Request, Main: x.Main, Shadow: x.Shadow, Again: x.Probe,
			})
		}
		out.Fields = append(out.Fields, p)
	}
	slices.SortStableFunc(out.Fields, func(a, b v3.ShadowField) int {
		return cmp.Or(cmp.Compare(b.Evidence, a.Evidence), cmp.Compare(b.Differs, a.Differs))
	})
	return out
}

// surest ranks endpoints: by evidence, then by how often they differ.
func surest(e v3.ShadowEndpoint) float64 {
	best := 0.0
	for _, f := range e.Fields {
		best = max(best, f.Evidence+float64(f.Differs)/1e9)
	}
	return best
}
