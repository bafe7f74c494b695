package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// Undo takes the newest change of an app's traffic that was not undone back; of
// a rollout all its steps. A state that somebody else changed meanwhile is a
// KindConflict error.
func (e *Engine) Undo(ctx context.Context, who platform.Actor, app string, opt platform.SplitOptions) (platform.Change, error) {
	opt.Why = verbUndo
	var last undoing
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		a, err := tx.App(ctx, app)
		if err != nil {
			return err
		}
		last, err = undoable(ctx, tx, a)
		return err
	})
	if err != nil {
		return platform.Change{}, err
	}
	return e.changeTraffic(ctx, who, opt, last.Apps, func(t *traffic) error {
		a, err := t.tx.App(ctx, app)
		if err != nil {
			return err
		}
		if now, err := undoable(ctx, t.tx, a); err != nil {
			return err
		} else if now.GUID != last.GUID {
			return overtaken(now.Change)
		}
		return t.undo(ctx, app, last)
	}, nil)
}

const verbUndo = "undo"

func overtaken(by platform.Change) error {
	return &platform.Error{
		Kind: platform.KindConflict, Msg: fmt.Sprintf("the traffic was changed meanwhile, in table %d: %s", by.Table, by.Text),
		Hint: "look again, then undo that first",
	}
}

func (t *traffic) undo(ctx context.Context, app string, last undoing) error {
	gone, err := t.loadRoutesOf(ctx, &last.Before, &last.After)
	if err != nil {
		return err
	}
	if err := t.checkUnchanged(last.After); err != nil {
		return err
	}
	if err := refuseFirstWay(last); err != nil {
		return err
	}
	if err := t.refuseOlder(ctx, app, last); err != nil {
		return err
	}
	t.text = "Undid " + last.what + ": " + last.Text + withoutRoutes(gone)
	how := verbRollback // what is undone is no state to go back to
	if last.Verb == verbRollback {
		how = verbUndo // and what was gone back from is one again
	}
	if err := t.bring(ctx, last.Before, how); err != nil {
		return err
	}
	for _, c := range last.parts {
		c.Undone = true
		if err := t.tx.UpdateChange(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// refuseFirstWay refuses to undo what made a route lead somewhere in the first
// place, as a push does: who wants the state before does not want the app off
// the net.
func refuseFirstWay(last undoing) error {
	for i, r := range last.Before.Routes {
		if !isAnswered(r) && i < len(last.After.Routes) && isAnswered(last.After.Routes[i]) {
			return refuse(fmt.Sprintf("weir rollback %s goes back to what it ran before, weir unmap-route takes an app off a route", last.app), "the change to undo, table %d, gave route %s its first app", last.Table, r.URL)
		}
	}
	return nil
}

// refuseOlder refuses to undo what lies behind a push, a restart with other
// settings or the like: who undoes then may mean that.
func (t *traffic) refuseOlder(ctx context.Context, app string, last undoing) error {
	a, err := t.tx.App(ctx, app)
	if err != nil {
		return err
	}
	d, err := t.tx.Deployment(ctx, a.DeploymentGUID)
	if isNotFound(err) {
		return nil // nothing runs
	}
	if err != nil || !d.CreatedAt.After(last.CreatedAt) {
		return err
	}
	all, err := promotionsOf(ctx, t.tx, app)
	if err != nil || len(all) == 0 || !all[0].CreatedAt.After(last.CreatedAt) {
		return err
	}
	return refuse(fmt.Sprintf("weir rollback %[1]s goes back to what it ran before that; weir weight and weir rollback %[1]s --table NUMBER change where requests go", last.app),
		"app %q got revision %d after the change to undo, table %d", last.app, all[0].RevisionVersion, last.Table)
}

// isAnswered reports whether a route leads to an app; copies are not enough.
func isAnswered(r platform.RouteTraffic) bool {
	return slices.ContainsFunc(r.Destinations, func(d platform.DestinationTraffic) bool { return d.Mode != platform.ModeShadow })
}

// ReturnTo gives the versions and routes that the newest change of an app's
// traffic up to a table was about what they had then; settings stay as far as
// the main version stays.
func (e *Engine) ReturnTo(ctx context.Context, who platform.Actor, app string, table uint64, opt platform.SplitOptions) (platform.Change, error) {
	opt.Why = verbRollback
	var then platform.Change
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		a, err := tx.App(ctx, app)
		if err != nil {
			return err
		}
		if newest := e.Table(); table > newest {
			return &platform.Error{
				Kind: platform.KindNotFound, Msg: fmt.Sprintf("there is no table %d: the newest is %d", table, newest),
				Hint: "weir events " + a.Name + " tells the table of each change",
			}
		}
		then, err = changeAt(ctx, tx, a, table)
		return err
	})
	if err != nil {
		return platform.Change{}, err
	}
	return e.changeTraffic(ctx, who, opt, then.Apps, func(t *traffic) error {
		gone, err := t.loadRoutesOf(ctx, &then.After)
		if err != nil {
			return err
		}
		t.text = fmt.Sprintf("Went back to table %d: %s", then.Table, then.Text) + withoutRoutes(gone)
		return t.bring(ctx, then.After, verbRollback)
	}, nil)
}

// changeAt returns the change of an app's traffic that was in force with a
// table.
func changeAt(ctx context.Context, tx *store.Tx, app platform.App, table uint64) (platform.Change, error) {
	all, _, err := tx.Changes(ctx, store.Query{In: map[string][]string{"apps": {app.GUID}}, OrderBy: "table", Desc: true})
	if err != nil {
		return platform.Change{}, err
	}
	for _, c := range all {
		if c.Table <= table {
			return c, nil
		}
	}
	return platform.Change{}, &platform.Error{
		Kind: platform.KindNotFound, Msg: fmt.Sprintf("app %q has no change of traffic up to table %d", app.Name, table),
		Hint: "weir events " + app.Name + " tells the table of each change",
	}
}

// loadRoutesOf adds the routes of states to what the change may touch. Those that
// do not exist any more are taken out of the states, and returned.
func (t *traffic) loadRoutesOf(ctx context.Context, states ...*platform.TrafficState) (gone []string, err error) {
	var routes []platform.Route
	known := map[string]bool{}
	for _, s := range states {
		var left []platform.RouteTraffic
		for _, r := range s.Routes {
			if there, asked := known[r.GUID]; asked {
				if there {
					left = append(left, r)
				}
				continue
			}
			route, err := t.tx.Route(ctx, r.GUID)
			known[r.GUID] = err == nil
			switch {
			case err == nil:
				routes, left = append(routes, route), append(left, r)
			case isNotFound(err):
				gone = append(gone, r.URL)
			default:
				return nil, err
			}
		}
		s.Routes = left
	}
	t.loadRoutes(routes)
	return gone, nil
}

// withoutRoutes says which routes a way back had to leave out.
func withoutRoutes(gone []string) string {
	switch len(gone) {
	case 0:
		return ""
	case 1:
		return "; route " + gone[0] + " does not exist any more"
	}
	return "; routes " + strings.Join(gone, ", ") + " do not exist any more"
}

// bring makes versions and routes what a state says of them. how is kept with
// a promotion that comes of it.
func (t *traffic) bring(ctx context.Context, s platform.TrafficState, how string) error {
	if err := t.restoreVersions(ctx, s.Versions, how); err != nil {
		return err
	}
	for i, r := range s.Routes {
		if err := t.restoreRoute(ctx, i, r); err != nil {
			return err
		}
	}
	return nil
}

// checkUnchanged refuses to undo a change that others have built upon.
func (t *traffic) checkUnchanged(after platform.TrafficState) error {
	now := t.state()
	for _, was := range after.Versions {
		i := slices.IndexFunc(now.Versions, func(v platform.VersionTraffic) bool { return v.GUID == was.GUID })
		if i < 0 && getsNothing(was) {
			continue
		}
		if i < 0 {
			return t.versionGone(was)
		}
		if !sameTraffic(now.Versions[i], was) {
			return &platform.Error{
				Kind: platform.KindConflict, Msg: fmt.Sprintf("version %s has another share or role by now", was.Label),
				Hint: t.hintShares(was),
			}
		}
	}
	for _, was := range after.Routes {
		i := slices.IndexFunc(now.Routes, func(r platform.RouteTraffic) bool { return r.GUID == was.GUID })
		if i < 0 || !sameWays(now.Routes[i].Destinations, was.Destinations) {
			return &platform.Error{
				Kind: platform.KindConflict, Msg: fmt.Sprintf("route %s leads elsewhere by now", was.URL),
				Hint: "map and unmap it by hand, or swap again",
			}
		}
	}
	return nil
}

// getsNothing reports whether a version had neither requests nor copies of
// them, so that its end changes nothing.
func getsNothing(v platform.VersionTraffic) bool {
	return !v.Main && v.Mode == platform.ModeLive && v.Weight == 0 && len(v.Match) == 0
}

func (t *traffic) versionGone(v platform.VersionTraffic) error {
	hint := t.hintShares(v)
	if v.Main {
		hint = fmt.Sprintf("weir rollback %s starts what it ran again", t.app(v.AppGUID).Name)
	}
	return &platform.Error{
		Kind: platform.KindConflict, Msg: fmt.Sprintf("version %s, which got requests then, does not exist any more", v.Label),
		Hint: hint,
	}
}

// hintShares says how to give versions of the same app shares by hand.
func (t *traffic) hintShares(v platform.VersionTraffic) string {
	return fmt.Sprintf("set the shares you want: weir weight %s:VERSION=SHARE ...", t.app(v.AppGUID).Name)
}

// sameWays reports whether two routes lead to the same places, in any order.
func sameWays(a, b []platform.DestinationTraffic) bool {
	same := func(x, y platform.DestinationTraffic) bool {
		return x.AppGUID == y.AppGUID && x.ProcessType == y.ProcessType && x.Port == y.Port && x.Protocol == y.Protocol &&
			x.Mode == y.Mode && x.ShadowPercent == y.ShadowPercent && (x.Weight == nil) == (y.Weight == nil) && (x.Weight == nil || *x.Weight == *y.Weight)
	}
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x platform.DestinationTraffic) bool {
		return !slices.ContainsFunc(b, func(y platform.DestinationTraffic) bool { return same(x, y) })
	})
}

// restoreVersions gives versions the shares and roles they had.
func (t *traffic) restoreVersions(ctx context.Context, before []platform.VersionTraffic, how string) error {
	for _, was := range before {
		v, err := t.version(was.GUID)
		if err != nil && getsNothing(was) {
			continue // nor would it by then
		}
		if err != nil {
			return t.versionGone(was)
		}
		v.Weight, v.Mode, v.ShadowPercent, v.Match, v.Shadow = was.Weight, was.Mode, was.ShadowPercent, was.Match, was.Shadow
		if was.Main && !v.Main {
			if err := t.checkReady(ctx, *v); err != nil {
				return err
			}
			if err := t.makeMain(ctx, v.GUID, how); err != nil {
				return err
			}
		}
	}
	return nil
}

// restoreRoute makes the nth route of the change lead where it did.
func (t *traffic) restoreRoute(ctx context.Context, n int, was platform.RouteTraffic) error {
	var ds []platform.Destination
	for _, d := range was.Destinations {
		if _, err := t.tx.App(ctx, d.AppGUID); isNotFound(err) {
			return &platform.Error{Kind: platform.KindConflict, Msg: fmt.Sprintf("app %q does not exist any more", d.App)}
		} else if err != nil {
			return err
		}
		ds = append(ds, platform.Destination{
			AppGUID: d.AppGUID, ProcessType: d.ProcessType, Port: d.Port, Protocol: d.Protocol, Weight: d.Weight,
			Mode: cmp.Or(d.Mode, platform.ModeLive), ShadowPercent: d.ShadowPercent,
		})
	}
	return t.lead(ctx, n, ds)
}

// lead makes the nth route of the change lead to ds; those it leads to already
// keep their rows.
func (t *traffic) lead(ctx context.Context, n int, ds []platform.Destination) error {
	r := &t.routes[n]
	now := time.Now().UTC()
	for i := range ds {
		at := slices.IndexFunc(r.Destinations, func(o platform.Destination) bool { return sameDestination(ds[i], o) })
		if at >= 0 {
			ds[i].Resource = r.Destinations[at].Resource
			continue
		}
		ds[i].Resource = platform.NewResource(now)
	}
	if err := t.tx.ReplaceDestinations(ctx, r.GUID, ds); err != nil {
		return err
	}
	var err error
	*r, err = t.tx.Route(ctx, r.GUID)
	return err
}
