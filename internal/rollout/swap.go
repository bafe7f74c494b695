package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"weir/internal/platform"
	"weir/internal/store"
)

// SwapRequest names two apps that exchange the routes they stand behind.
type SwapRequest struct {
	A, B string // GUIDs
	// Routes are the routes to exchange, by GUID; none means all of both.
	Routes  []string
	Options platform.SplitOptions
	// Force swaps even if an app that comes to a route has nothing ready.
	Force bool
}

// Swap exchanges two apps on their routes in one change of the route table and
// returns once the router runs it. Swapping again is the way back. Where one of
// them is the shadow of the other they exchange that as well.
func (e *Engine) Swap(ctx context.Context, who platform.Actor, req SwapRequest) (platform.Change, error) {
	req.Options.Why = "swap"
	if req.A == req.B {
		return platform.Change{}, platform.Invalidf("An app cannot be swapped with itself")
	}
	return e.changeTraffic(ctx, who, req.Options, []string{req.A, req.B}, func(t *traffic) error {
		return t.swap(ctx, req)
	}, nil)
}

func (t *traffic) swap(ctx context.Context, req SwapRequest) error {
	a, b := t.app(req.A), t.app(req.B)
	if a.SpaceGUID != b.SpaceGUID {
		return platform.Invalidf("Apps in different spaces cannot be swapped")
	}
	found, _, err := t.tx.Routes(ctx, store.Query{In: map[string][]string{"live_app_guids": {req.A, req.B}}})
	if err != nil {
		return err
	}
	if len(req.Routes) > 0 {
		found = slices.DeleteFunc(found, func(r platform.Route) bool { return !slices.Contains(req.Routes, r.GUID) })
	}
	if len(found) == 0 {
		return &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("neither %q nor %q has a route to swap", a.Name, b.Name),
			Hint: "weir map-route APP DOMAIN -n HOST",
		}
	}
	t.loadRoutes(slices.Clone(found))
	for _, app := range []*platform.App{a, b} {
		other := a
		if app == a {
			other = b
		}
		gets := slices.ContainsFunc(found, func(r platform.Route) bool {
			return slices.ContainsFunc(r.Destinations, func(d platform.Destination) bool { return d.AppGUID == other.GUID && !d.IsShadow() })
		})
		if !gets || req.Force {
			continue
		}
		if err := t.checkAppReady(ctx, app, other); err != nil {
			return err
		}
	}
	var urls []string
	for n, r := range t.routes {
		urls = append(urls, r.URL())
		ds := slices.Clone(r.Destinations)
		both := standsOn(r, req.A) && standsOn(r, req.B)
		for i := range ds {
			switch {
			case ds[i].IsShadow() && !both: // it stays one of what answers there now
			case ds[i].AppGUID == req.A:
				ds[i].AppGUID = req.B
			case ds[i].AppGUID == req.B:
				ds[i].AppGUID = req.A
			}
		}
		if err := t.lead(ctx, n, ds); err != nil {
			return err
		}
	}
	t.text = fmt.Sprintf("Swapped %s and %s on %s", a.Name, b.Name, strings.Join(urls, ", "))
	return nil
}

// standsOn reports whether a route leads to an app, or copies to it.
func standsOn(r platform.Route, app string) bool {
	return slices.ContainsFunc(r.Destinations, func(d platform.Destination) bool { return d.AppGUID == app })
}

// checkAppReady refuses to put an app that cannot answer in the place of one
// that can.
func (t *traffic) checkAppReady(ctx context.Context, app, inPlaceOf *platform.App) error {
	ready := func(a *platform.App) (int, error) {
		_, n, err := t.tx.Instances(ctx, store.Query{In: map[string][]string{
			"app_guids": {a.GUID}, "types": {platform.WebProcess}, "states": {string(platform.InstanceRunning)}, "ready": {"true"},
		}, PerPage: 1})
		return n, err
	}
	n, err := ready(app)
	if err != nil || n > 0 {
		return err
	}
	if n, err = ready(inPlaceOf); err != nil || n == 0 {
		return err
	}
	return refuse(fmt.Sprintf("weir start %s, or -f", app.Name), "app %q has no instance that is ready to take the place of %q", app.Name, inPlaceOf.Name)
}
