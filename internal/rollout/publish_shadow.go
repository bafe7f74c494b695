package rollout

import (
	"context"
	"slices"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// liveAndShadows parts the destinations of a route that get requests from those
// that get copies of them.
func liveAndShadows(all []platform.Destination) (live, shadows []platform.Destination) {
	for _, d := range all {
		if d.IsShadow() {
			shadows = append(shadows, d)
		} else {
			live = append(live, d)
		}
	}
	return live, shadows
}

// readMains reads the main versions of the apps that are shadows of a route:
// what comparing their answers finds is kept by version.
func (c *compiler) readMains(ctx context.Context, tx *store.Tx, routes map[string]platform.Route) error {
	var apps []string
	for _, r := range routes {
		_, shadows := liveAndShadows(r.Destinations)
		for _, d := range shadows {
			apps = append(apps, d.AppGUID)
		}
	}
	slices.Sort(apps)
	for chunk := range slices.Chunk(slices.Compact(apps), 500) {
		found, _, err := tx.Versions(ctx, store.Query{In: map[string][]string{"app_guids": chunk, "main": {"true"}}})
		if err != nil {
			return err
		}
		for _, v := range found {
			c.mains[v.AppGUID] = v
		}
	}
	return nil
}

// shadow returns the way by which an app gets copies of a route's requests: to
// its main version, whichever that is.
func (c *compiler) shadow(d platform.Destination) router.Destination {
	v := c.mains[d.AppGUID]
	out := c.destination(d, v, 0)
	if c.versionsFor(d) == nil {
		out.Label = "" // nobody gave it a name
	}
	out.Shadow, out.OfRoute, out.ShadowOptions = d.ShadowPercent, true, shadowOptions(v.Shadow)
	return out
}
