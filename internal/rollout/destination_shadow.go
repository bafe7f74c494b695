package rollout

import (
	"context"
	"slices"

	"weir/internal/platform"
	"weir/internal/store"
)

// completeMode fills in the mode of a destination, and refuses what a shadow
// cannot have.
func completeMode(d platform.Destination) (platform.Destination, error) {
	switch d.Mode {
	case "", platform.ModeLive:
		d.Mode = platform.ModeLive
		if d.ShadowPercent != 0 {
			return d, platform.Invalidf("shadow_percent is for destinations of mode 'shadow'")
		}
		return d, nil
	case platform.ModeShadow:
	default:
		return d, platform.Invalidf("mode must be 'live' or 'shadow' (got %q)", d.Mode)
	}
	if d.ShadowPercent == 0 {
		d.ShadowPercent = 100
	}
	switch {
	case d.ShadowPercent < 1 || d.ShadowPercent > 100:
		return d, platform.Invalidf("shadow_percent must be in the range 1 to 100 (got %d)", d.ShadowPercent)
	case d.ProcessType != platform.WebProcess:
		return d, platform.Invalidf("only the process 'web' of an app can be a shadow (got %q)", d.ProcessType)
	case d.Weight != nil && *d.Weight != 0:
		return d, &platform.Error{
			Kind: platform.KindInvalid, Msg: "a shadow gets no requests and has no weight",
			Hint: "with the mode 'live' it gets requests: weir map-route APP DOMAIN -n HOST --weight NUMBER",
		}
	}
	d.Weight = nil
	return d, nil
}

// replaced returns what a destination is from now on: given, but it stays a
// shadow unless a mode was said. Clients that know nothing of shadows write
// back what they read.
func replaced(old, given platform.Destination, mode string) (platform.Destination, error) {
	given.Resource = old.Resource
	if mode == "" && old.IsShadow() {
		given.Mode = old.Mode
		if given.ShadowPercent == 0 {
			given.ShadowPercent = old.ShadowPercent
		}
	}
	return completeDestination(given)
}

// checkShadows refuses a route on which an app is the shadow of itself.
func (e *Engine) checkShadows(ctx context.Context, tx *store.Tx, all []platform.Destination) error {
	_, shadows := liveAndShadows(all)
	for _, s := range shadows {
		if !slices.ContainsFunc(all, func(d platform.Destination) bool { return d.AppGUID == s.AppGUID && !sameDestination(d, s) }) {
			continue
		}
		app, err := tx.App(ctx, s.AppGUID)
		if err != nil {
			return err
		}
		return platform.Invalidf("app %q cannot be a shadow on a route that leads to it as well", app.Name)
	}
	return nil
}

// takeCopies has a version that becomes the main one get copies as the one did
// that was it, if their app is the shadow of a route and nobody said anything
// else of the version: credentials that were left out stay out.
func (t *traffic) takeCopies(ctx context.Context, v *platform.Version, old platform.Version) error {
	if !sameShadow(v.Shadow, platform.ShadowOptions{}) {
		return nil
	}
	routes, _, err := t.tx.Routes(ctx, store.Query{In: map[string][]string{"app_guids": {v.AppGUID}}})
	for _, r := range routes {
		_, shadows := liveAndShadows(r.Destinations)
		if slices.ContainsFunc(shadows, func(d platform.Destination) bool { return d.AppGUID == v.AppGUID }) {
			v.Shadow = old.Shadow
		}
	}
	return err
}
