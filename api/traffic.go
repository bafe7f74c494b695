package api

import (
	"context"
	"time"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
)

// trafficRoutes are weir's own: how the router treats the requests of an app.
func trafficRoutes() []route {
	return []route{
		{get, "/v3/apps/:guid/traffic", auth.Read, handle((*API).getTraffic)},
		{patch, "/v3/apps/:guid/traffic", auth.Write, handle((*API).updateTraffic)},
	}
}

func (a *API) getTraffic(ctx context.Context, _ call, req byGUID) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	return ok(presentAppTraffic(app.Traffic, a.engine.Table())), nil
}

type updateTraffic struct {
	GUID string              `path:"guid"`
	Body v3.AppTrafficUpdate `body:"json"`
}

// maxQuiet bounds how long an answer waits for requests to end, in seconds.
const maxQuiet = 600

func (a *API) updateTraffic(ctx context.Context, c call, req updateTraffic) (reply, error) {
	b := req.Body
	if b.WaitDrained < 0 || b.WaitDrained > maxQuiet {
		return reply{}, platform.Invalidf("wait_drained must be between 0 and %d seconds (got %d)", maxQuiet, b.WaitDrained)
	}
	app, table, err := a.engine.UpdateTraffic(ctx, c.actor(), req.GUID, func(t *platform.Traffic) error {
		if b.DrainSeconds.Set {
			t.Drain = 0
			set(&t.Drain, b.DrainSeconds.Value)
		}
		if b.Pause.Set {
			t.Pause = nil
			if p := b.Pause.Value; p != nil {
				t.Pause = &platform.Pause{Max: p.MaxSeconds}
			}
		}
		if b.Maintenance.Set {
			t.Maintenance = nil
			if m := b.Maintenance.Value; m != nil {
				t.Maintenance = &platform.Maintenance{Page: m.Page, Allow: m.Allow, RetryAfter: m.RetryAfter}
			}
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	out := presentAppTraffic(app.Traffic, table)
	if b.WaitDrained > 0 {
		quiet, err := a.engine.Quiesce(ctx, req.GUID, time.Duration(b.WaitDrained)*time.Second)
		if err != nil {
			return reply{}, err
		}
		out.Drained = &quiet
	}
	return ok(out), nil
}

func presentAppTraffic(t platform.Traffic, table uint64) v3.AppTraffic {
	out := v3.AppTraffic{DrainSeconds: orNullInt(t.Drain), Table: table}
	if t.Pause != nil {
		out.Pause = &v3.Pause{MaxSeconds: t.Pause.Max, Since: v3.At(t.Pause.Since)}
	}
	if m := t.Maintenance; m != nil {
		out.Maintenance = &v3.Maintenance{Page: m.Page, Allow: m.Allow, RetryAfter: m.RetryAfter, Since: v3.At(m.Since)}
	}
	return out
}

func parseMatches(in []v3.Match) []platform.Match {
	out := []platform.Match{}
	for _, m := range in {
		out = append(out, platform.Match(m))
	}
	return out
}

func presentMatches(in []platform.Match) []v3.Match {
	out := []v3.Match{}
	for _, m := range in {
		out = append(out, v3.Match(m))
	}
	return out
}
