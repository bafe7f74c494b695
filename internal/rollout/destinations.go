package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// checkDestinations completes destinations and refuses what cannot be.
func checkDestinations(ctx context.Context, tx *store.Tx, route platform.Route, dests []platform.Destination) ([]platform.Destination, error) {
	if len(dests) > maxDestinations {
		return nil, platform.Invalidf("destinations must have at most %d entries", maxDestinations)
	}
	done := make([]platform.Destination, 0, len(dests))
	var missing []string
	for i, d := range dests {
		d, err := completeDestination(d)
		if err != nil {
			return nil, platform.Invalidf("destinations[%d]: %s", i, err)
		}
		if slices.ContainsFunc(done, func(other platform.Destination) bool { return sameDestination(d, other) }) {
			return nil, platform.Invalidf("Destinations cannot contain duplicate entries")
		}
		app, err := tx.App(ctx, d.AppGUID)
		switch {
		case isNotFound(err):
			missing = append(missing, d.AppGUID)
		case err != nil:
			return nil, err
		case app.SpaceGUID != route.SpaceGUID:
			return nil, platform.Invalidf("Routes cannot be mapped to destinations in different spaces")
		}
		d.RouteGUID = route.GUID
		done = append(done, d)
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, platform.Invalidf("App(s) with guid(s) \"%s\" do not exist or you do not have access.", strings.Join(slices.Compact(missing), "\", \""))
	}
	return done, nil
}

// completeDestination fills in defaults.
func completeDestination(d platform.Destination) (platform.Destination, error) {
	if d.ProcessType == "" {
		d.ProcessType = platform.WebProcess
	}
	if d.Port == 0 {
		d.Port = 8080
	}
	if d.Protocol == "" {
		d.Protocol = router.ProtocolHTTP1
	}
	if d.Port < 1024 || d.Port > 65535 {
		return d, platform.Invalidf("port must be in the range 1024 to 65535")
	}
	d, err := completeMode(d)
	if err != nil {
		return d, err
	}
	return d, checkDestination(d)
}

// checkDestination checks what of a destination can be changed.
func checkDestination(d platform.Destination) error {
	if d.Protocol != router.ProtocolHTTP1 && d.Protocol != router.ProtocolHTTP2 {
		return platform.Invalidf("protocol must be 'http1' or 'http2'")
	}
	if d.Weight != nil && (*d.Weight < 0 || *d.Weight > platform.MaxWeight) {
		return platform.Invalidf("weight must be in the range 0 to %d", platform.MaxWeight)
	}
	return nil
}

func sameDestination(a, b platform.Destination) bool {
	return a.AppGUID == b.AppGUID && a.ProcessType == b.ProcessType && a.Port == b.Port
}

// mapped tells the audit log about a destination that came or went.
func (e *Engine) mapped(ctx context.Context, tx *store.Tx, who platform.Actor, typ string, route platform.Route, d platform.Destination) error {
	app, err := tx.App(ctx, d.AppGUID)
	if err != nil {
		return err
	}
	data := map[string]any{
		"route_guid": route.GUID, "route": route.URL(), "app_port": d.Port,
		"destination_guid": d.GUID, "process_type": d.ProcessType,
	}
	if d.Weight != nil {
		data["weight"] = *d.Weight
	}
	if d.IsShadow() {
		data["mode"], data["shadow_percent"] = d.Mode, d.ShadowPercent
	}
	return e.event(ctx, tx, who, typ, appTarget(app), data)
}

// AddDestinations maps the route to more processes and returns all
// destinations once the router sends requests there. One that exists already
// is left as it is, but takes over a weight, a protocol or a mode that was given.
func (e *Engine) AddDestinations(ctx context.Context, who platform.Actor, route string, dests []platform.Destination) ([]platform.Destination, error) {
	var r platform.Route
	var table uint64
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		before, err := tx.Route(ctx, route)
		if err != nil {
			return err
		}
		if err := e.addDestinations(ctx, tx, who, before, dests); err != nil {
			return err
		}
		if r, err = tx.Route(ctx, route); err != nil {
			return err
		}
		table, err = e.noteRoute(ctx, tx, who, "map-route", before, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Destinations, e.publishedAs(ctx, nil, []string{route}, table)
}

func (e *Engine) addDestinations(ctx context.Context, tx *store.Tx, who platform.Actor, r platform.Route, dests []platform.Destination) error {
	given, err := checkDestinations(ctx, tx, r, dests)
	if err != nil {
		return err
	}
	if len(r.Destinations)+len(given) > maxDestinations {
		return platform.Invalidf("Routes can be mapped to at most %d destinations.", maxDestinations)
	}
	after := slices.Clone(r.Destinations)
	for n, d := range given {
		i := slices.IndexFunc(r.Destinations, func(old platform.Destination) bool { return sameDestination(d, old) })
		if i < 0 {
			d.Resource = platform.NewResource(time.Now().UTC())
			after = append(after, d)
			if err := tx.InsertDestination(ctx, d); err != nil {
				return err
			}
			if err := e.mapped(ctx, tx, who, "audit.app.map-route", r, d); err != nil {
				return err
			}
			continue
		}
		old, err := updated(r.Destinations[i], dests[n])
		if err != nil {
			return err
		}
		if sameSettings(old, r.Destinations[i]) {
			continue
		}
		after[i] = old
		if err := tx.UpdateDestination(ctx, old); err != nil {
			return err
		}
		if err := e.mapped(ctx, tx, who, "audit.app.map-route", r, old); err != nil {
			return err
		}
	}
	return e.checkShadows(ctx, tx, after)
}

// updated returns a destination with what was given of another like it.
func updated(d, given platform.Destination) (platform.Destination, error) {
	if given.Mode != "" || given.ShadowPercent != 0 {
		d = d.WithMode(given.Mode, given.ShadowPercent)
	}
	if given.Weight != nil {
		d.Weight = given.Weight
	}
	if given.Protocol != "" {
		d.Protocol = given.Protocol
	}
	return completeDestination(d)
}

// sameSettings reports whether two destinations get the same.
func sameSettings(a, b platform.Destination) bool {
	return a.Protocol == b.Protocol && a.IsShadow() == b.IsShadow() && a.ShadowPercent == b.ShadowPercent &&
		(a.Weight == nil) == (b.Weight == nil) && (a.Weight == nil || *a.Weight == *b.Weight)
}

// ReplaceDestinations makes dests all destinations of the route, weights
// included, in one change of the table.
func (e *Engine) ReplaceDestinations(ctx context.Context, who platform.Actor, route string, dests []platform.Destination) ([]platform.Destination, error) {
	var r platform.Route
	var table uint64
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		if r, err = tx.Route(ctx, route); err != nil {
			return err
		}
		before := r
		given, err := checkDestinations(ctx, tx, r, dests)
		if err != nil {
			return err
		}
		old := r.Destinations
		for i := range given {
			n := slices.IndexFunc(old, func(o platform.Destination) bool { return sameDestination(given[i], o) })
			if n >= 0 {
				if given[i], err = replaced(old[n], given[i], dests[i].Mode); err != nil {
					return err
				}
				continue
			}
			given[i].Resource = platform.NewResource(time.Now().UTC())
			if err := e.mapped(ctx, tx, who, "audit.app.map-route", r, given[i]); err != nil {
				return err
			}
		}
		for _, o := range old {
			if slices.ContainsFunc(given, func(d platform.Destination) bool { return d.GUID == o.GUID }) {
				continue
			}
			if err := e.mapped(ctx, tx, who, "audit.app.unmap-route", r, o); err != nil {
				return err
			}
		}
		if err := e.checkShadows(ctx, tx, given); err != nil {
			return err
		}
		if err := tx.ReplaceDestinations(ctx, route, given); err != nil {
			return err
		}
		if r, err = tx.Route(ctx, route); err != nil {
			return err
		}
		table, err = e.noteRoute(ctx, tx, who, "map-route", before, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Destinations, e.publishedAs(ctx, nil, []string{route}, table)
}

// destination finds a destination of a route.
func destination(r platform.Route, guid string) (platform.Destination, error) {
	i := slices.IndexFunc(r.Destinations, func(d platform.Destination) bool { return d.GUID == guid })
	if i < 0 {
		return platform.Destination{}, platform.Invalidf("Unable to unmap route from destination. Ensure the route has a destination with this guid.")
	}
	return r.Destinations[i], nil
}

// UpdateDestination lets change edit the protocol, the weight and the mode of a
// destination and returns once the router runs with them.
func (e *Engine) UpdateDestination(ctx context.Context, who platform.Actor, route, dest string, change func(*platform.Destination) error) (d platform.Destination, err error) {
	var table uint64
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		r, err := tx.Route(ctx, route)
		if err != nil {
			return err
		}
		was := r
		before, err := destination(r, dest)
		if err != nil {
			return platform.NotFound("Destination")
		}
		d = before
		if err := change(&d); err != nil {
			return err
		}
		after := before
		after.Protocol, after.Weight, after.Mode, after.ShadowPercent = d.Protocol, d.Weight, d.Mode, d.ShadowPercent
		if after, err = completeDestination(after); err != nil {
			return err
		}
		if err := tx.UpdateDestination(ctx, after); err != nil {
			return err
		}
		if r, err = tx.Route(ctx, route); err != nil {
			return err
		}
		if d, err = destination(r, dest); err != nil {
			return err
		}
		if err := e.checkShadows(ctx, tx, r.Destinations); err != nil {
			return err
		}
		if table, err = e.noteRoute(ctx, tx, who, "weight", was, r); err != nil {
			return err
		}
		return e.mapped(ctx, tx, who, "audit.app.map-route", r, d)
	})
	if err != nil {
		return platform.Destination{}, err
	}
	return d, e.publishedAs(ctx, nil, []string{route}, table)
}

// DeleteDestination unmaps; it returns once no new request takes that way.
func (e *Engine) DeleteDestination(ctx context.Context, who platform.Actor, route, dest string) error {
	var table uint64
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		r, err := tx.Route(ctx, route)
		if err != nil {
			return err
		}
		d, err := destination(r, dest)
		if err != nil {
			return err
		}
		if err := tx.DeleteDestination(ctx, dest); err != nil {
			return err
		}
		after, err := tx.Route(ctx, route)
		if err != nil {
			return err
		}
		if table, err = e.noteRoute(ctx, tx, who, "unmap-route", r, after); err != nil {
			return err
		}
		return e.mapped(ctx, tx, who, "audit.app.unmap-route", r, d)
	})
	if err != nil {
		return err
	}
	return e.publishedAs(ctx, nil, []string{route}, table)
}

// noteRoute writes down where a route led before and leads now, so that it can
// be undone, and returns the number it reserved for the table with it; 0 if
// nothing changed.
func (e *Engine) noteRoute(ctx context.Context, tx *store.Tx, who platform.Actor, verb string, before, after platform.Route) (uint64, error) {
	t := &traffic{e: e, tx: tx, who: who, opt: platform.SplitOptions{Why: verb}, routes: []platform.Route{before}}
	c := platform.Change{Resource: platform.NewResource(time.Now().UTC()), SpaceGUID: after.SpaceGUID, Verb: verb, By: who, Before: t.state()}
	t.routes[0] = after
	c.After = t.state()
	if sameWays(c.Before.Routes[0].Destinations, c.After.Routes[0].Destinations) {
		return 0, nil
	}
	names := map[string]string{}
	for _, d := range slices.Concat(before.Destinations, after.Destinations) {
		if names[d.AppGUID] != "" {
			continue
		}
		app, err := tx.App(ctx, d.AppGUID)
		if err != nil {
			return 0, err
		}
		names[d.AppGUID] = app.Name
		c.Apps = append(c.Apps, d.AppGUID)
	}
	var ways, copies []string
	for _, d := range after.Destinations {
		if d.IsShadow() {
			copies = append(copies, fmt.Sprintf("; %s gets copies of %d %%", names[d.AppGUID], d.ShadowPercent))
			continue
		}
		ways = append(ways, fmt.Sprintf("%s %d", names[d.AppGUID], d.EffectiveWeight()))
	}
	c.Text = fmt.Sprintf("Let route %s lead to %s", after.URL(), strings.Join(ways, ", "))
	if len(ways) == 0 {
		c.Text = fmt.Sprintf("Let route %s lead nowhere", after.URL())
	}
	c.Text += strings.Join(copies, "")
	var err error
	if c.Table, err = tx.NextTableNumber(ctx); err != nil {
		return 0, err
	}
	if err := tx.InsertChange(ctx, c); err != nil {
		return 0, err
	}
	return c.Table, pruneChanges(ctx, tx, c.SpaceGUID)
}
