package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// errDryRun ends a transaction whose outcome was only asked for.
var errDryRun = errors.New("rollout: nothing was to be changed")

// also is what a caller adds to the transaction of a change of traffic; split
// numbers the app's shares from then on, table is the first route table with
// them.
type also = func(tx *store.Tx, split, table uint64) error

// traffic is one change of where requests go, while its transaction runs.
type traffic struct {
	e    *Engine
	tx   *store.Tx
	who  platform.Actor
	opt  platform.SplitOptions
	apps []platform.App // those it may touch; filled as they are changed
	// versions are those of the apps, as they are and as they will be.
	versions []platform.Version
	routes   []platform.Route
	before   platform.TrafficState
	table    uint64
	text     string
}

// unlessDry takes the end of a dry run for success.
func unlessDry(err error) error {
	if errors.Is(err, errDryRun) {
		return nil
	}
	return err
}

// changeTraffic runs change in a transaction, writes down what it altered so
// that it can be undone, and returns once the router runs a table with it. If
// everything was so already it returns the table of the newest change.
func (e *Engine) changeTraffic(ctx context.Context, who platform.Actor, opt platform.SplitOptions, apps []string, change func(*traffic) error, and also) (platform.Change, error) {
	var done platform.Change
	var touched []string
	var table uint64
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		t := &traffic{e: e, tx: tx, who: who, opt: opt}
		for _, guid := range apps {
			if err := t.load(ctx, guid); err != nil {
				return err
			}
		}
		if err := t.checkTable(ctx); err != nil {
			return err
		}
		t.before = t.state()
		var err error
		if t.table, err = tx.NextTableNumber(ctx); err != nil {
			return err
		}
		table = t.table
		if err := change(t); err != nil {
			return err
		}
		if done, err = t.store(ctx, and); err != nil {
			return err
		}
		for _, r := range t.routes {
			touched = append(touched, r.GUID)
		}
		if opt.DryRun {
			return errDryRun
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		done.Table = 0
		return done, nil
	}
	if err != nil {
		return platform.Change{}, err
	}
	for _, app := range apps {
		if done.Table == table {
			e.line(app, "API", "%s (table %d)", done.Text, done.Table)
		}
		e.wake(app)
	}
	return done, e.publishedAs(ctx, apps, touched, table)
}

// load reads an app and its versions.
func (t *traffic) load(ctx context.Context, guid string) error {
	app, err := t.tx.App(ctx, guid)
	if err != nil {
		return err
	}
	all, err := versionsOf(ctx, t.tx, guid)
	if err != nil {
		return err
	}
	t.apps = append(t.apps, app)
	t.versions = append(t.versions, all...)
	return nil
}

// loadRoutes adds routes to what the change may touch. It must come before
// anything is changed.
func (t *traffic) loadRoutes(routes []platform.Route) {
	t.routes = routes
	t.before = t.state()
}

// checkTable refuses the change if the traffic of an app was changed after the
// table that the caller has seen.
func (t *traffic) checkTable(ctx context.Context) error {
	if t.opt.IfTable == 0 {
		return nil
	}
	for _, app := range t.apps {
		last, err := lastChange(ctx, t.tx, app.GUID)
		if err != nil {
			return err
		}
		if last.Table > t.opt.IfTable {
			return &platform.Error{
				Kind: platform.KindConflict,
				Msg:  fmt.Sprintf("the traffic of app %q was changed in table %d (%s), after table %d", app.Name, last.Table, last.Text, t.opt.IfTable),
				Hint: "look again: weir versions " + app.Name,
			}
		}
	}
	return nil
}

// lastChange returns the newest change of an app's traffic.
func lastChange(ctx context.Context, tx *store.Tx, app string) (platform.Change, error) {
	found, _, err := tx.Changes(ctx, store.Query{In: map[string][]string{"apps": {app}}, OrderBy: "table", Desc: true, PerPage: 1})
	if err != nil || len(found) == 0 {
		return platform.Change{}, err
	}
	return found[0], nil
}

// state returns where requests go as far as the change is concerned.
func (t *traffic) state() platform.TrafficState {
	var s platform.TrafficState
	names := map[string]string{}
	for _, a := range t.apps {
		names[a.GUID] = a.Name
	}
	for _, v := range t.versions {
		s.Versions = append(s.Versions, platform.VersionTraffic{
			GUID: v.GUID, AppGUID: v.AppGUID, Label: v.Label, Weight: v.Weight, Mode: v.Mode, ShadowPercent: v.ShadowPercent, Main: v.Main,
			Match: v.Match, Shadow: v.Shadow,
		})
	}
	for _, r := range t.routes {
		one := platform.RouteTraffic{GUID: r.GUID, URL: r.URL()}
		for _, d := range r.Destinations {
			way := platform.DestinationTraffic{
				AppGUID: d.AppGUID, App: names[d.AppGUID], ProcessType: d.ProcessType, Protocol: d.Protocol, Port: d.Port, Weight: d.Weight,
			}
			if d.IsShadow() {
				way.Mode, way.ShadowPercent = d.Mode, d.ShadowPercent
			}
			one.Destinations = append(one.Destinations, way)
		}
		s.Routes = append(s.Routes, one)
	}
	return s
}

// version returns the version with that GUID, to be changed.
func (t *traffic) version(guid string) (*platform.Version, error) {
	for i := range t.versions {
		if t.versions[i].GUID == guid {
			return &t.versions[i], nil
		}
	}
	return nil, platform.NotFound("Version")
}

// app returns the app a version belongs to, to be changed.
func (t *traffic) app(guid string) *platform.App {
	i := slices.IndexFunc(t.apps, func(a platform.App) bool { return a.GUID == guid })
	return &t.apps[i]
}

// main returns the main version of an app, to be changed.
func (t *traffic) main(app string) (*platform.Version, error) {
	for i := range t.versions {
		if t.versions[i].AppGUID == app && t.versions[i].Main {
			return &t.versions[i], nil
		}
	}
	return nil, platform.Invalidf("app %q never ran", t.app(app).Name)
}

// store writes down the versions, a new number of the shares of each app whose
// shares changed, the change itself and its event.
func (t *traffic) store(ctx context.Context, and also) (platform.Change, error) {
	c := platform.Change{
		Resource: platform.NewResource(time.Now().UTC()), Verb: t.opt.Why, Text: t.text,
		Before: t.before, After: t.state(), Table: t.table, By: t.who, RolloutGUID: t.opt.RolloutGUID,
		Undone: t.opt.Why == verbUndo, // the next undo goes further back
	}
	if c.RolloutGUID != "" && c.Verb == verbRolloutRollback {
		c.Undone = true
		if err := passOver(ctx, t.tx, c.RolloutGUID); err != nil {
			return c, err
		}
	}
	if sameState(c.Before, c.After) {
		c.Undone = true                       // it left nothing to undo
		if and == nil && c.Verb != verbUndo { // nor does it overtake anybody
			last, err := lastChange(ctx, t.tx, t.apps[0].GUID)
			c.Table = last.Table
			return c, err
		}
	}
	moved := map[string]bool{}
	for i, v := range c.After.Versions {
		if !sameTraffic(c.Before.Versions[i], v) {
			moved[v.AppGUID] = true
			t.noteLeaving(&t.versions[i], c.Before.Versions[i], c.CreatedAt)
			if err := t.tx.UpdateVersion(ctx, t.versions[i]); err != nil {
				return c, err
			}
		}
	}
	split := uint64(0)
	for i := range t.apps {
		a := &t.apps[i]
		c.Apps = append(c.Apps, a.GUID)
		c.SpaceGUID = a.SpaceGUID
		if moved[a.GUID] {
			a.Split++
			if err := t.tx.UpdateApp(ctx, *a); err != nil {
				return c, err
			}
		}
		split = max(split, a.Split)
		err := t.e.event(ctx, t.tx, t.who, "audit.app.traffic."+t.opt.Why, appTarget(*a), map[string]any{"text": t.text, "table": t.table, "split": a.Split})
		if err != nil {
			return c, err
		}
	}
	if err := t.tx.InsertChange(ctx, c); err != nil {
		return c, err
	}
	if err := pruneChanges(ctx, t.tx, c.SpaceGUID); err != nil || and == nil {
		return c, err
	}
	return c, and(t.tx, split, t.table)
}

// sameState reports whether requests go where they went.
func sameState(a, b platform.TrafficState) bool {
	for i := range a.Versions {
		if !sameTraffic(a.Versions[i], b.Versions[i]) {
			return false
		}
	}
	for i := range a.Routes {
		if !sameWays(a.Routes[i].Destinations, b.Routes[i].Destinations) {
			return false
		}
	}
	return true
}

// noteLeaving writes down when a version lost the last of its share, unless it
// was for its faults: pages that came from it may ask it for more.
func (t *traffic) noteLeaving(v *platform.Version, before platform.VersionTraffic, now time.Time) {
	had := before.Mode == platform.ModeLive && before.Weight > 0
	switch {
	case v.Share() > 0:
		v.LeftAt = time.Time{}
	case had && isTakingBack(t.opt.Why):
		v.LeftAt = time.Time{}
	case had:
		v.LeftAt = now
	}
}

// isTakingBack reports whether a verb takes something away because it was bad.
func isTakingBack(verb string) bool {
	return verb == verbRollback || verb == verbUndo || verb == verbRolloutRollback
}

// verbRolloutRollback is what an engine that judges says when it goes back.
const verbRolloutRollback = "rollout-rollback"

// sameTraffic reports whether a version gets the same; its name says nothing
// about that.
func sameTraffic(a, b platform.VersionTraffic) bool {
	return a.Weight == b.Weight && a.Mode == b.Mode && a.ShadowPercent == b.ShadowPercent && a.Main == b.Main &&
		slices.Equal(a.Match, b.Match) && sameShadow(a.Shadow, b.Shadow)
}

// keptChanges bounds what a space remembers of changes of traffic.
const keptChanges = 1000

func pruneChanges(ctx context.Context, tx *store.Tx, space string) error {
	in := map[string][]string{"space_guids": {space}}
	_, n, err := tx.Changes(ctx, store.Query{In: in, PerPage: 1})
	if err != nil || n <= keptChanges+100 {
		return err
	}
	old, _, err := tx.Changes(ctx, store.Query{In: in, PerPage: n - keptChanges, Page: 1})
	for _, c := range old {
		if err := tx.DeleteChange(ctx, c.GUID); err != nil {
			return err
		}
	}
	return err
}

// SetShares gives versions of an app, by GUID, new weights in one change of
// the route table; those not named keep theirs. It returns once the router
// runs it. If that leaves the main version without requests and one other
// with all of them, that becomes the main one, unless opt.Keep.
func (e *Engine) SetShares(ctx context.Context, who platform.Actor, app string, shares map[string]int, opt platform.SplitOptions, and also) (platform.Change, error) {
	if opt.Why == "" {
		opt.Why = "weight"
	}
	return e.changeTraffic(ctx, who, opt, []string{app}, func(t *traffic) error {
		t.app(app).Traffic.Counting = opt.Counting
		if err := t.setModes(opt.Shadow); err != nil {
			return err
		}
		if err := t.setShares(shares); err != nil {
			return err
		}
		if err := t.setMatch(opt.Match); err != nil {
			return err
		}
		t.text = joinTexts(t.text, "Set the weights of app "+t.app(app).Name+" to "+sharesText(t.versions, shares))
		next, ok := soleVersion(t.versions)
		if opt.Keep || !ok || next.Main {
			return nil
		}
		t.text += "; " + next.Label + " is the main version now"
		return t.makeMain(ctx, next.GUID, opt.Why)
	}, and)
}

// sharesText writes weights as "v1 95, v2 5", without versions that have none
// and were given none.
func sharesText(all []platform.Version, given map[string]int) string {
	var parts []string
	for _, v := range all {
		if _, meant := given[v.GUID]; v.Mode == platform.ModeLive && (meant || v.Weight > 0) {
			parts = append(parts, fmt.Sprintf("%s %d", v.Label, v.Weight))
		}
	}
	return strings.Join(parts, ", ")
}

// soleVersion returns the only version that gets requests.
func soleVersion(all []platform.Version) (platform.Version, bool) {
	var sole platform.Version
	n := 0
	for _, v := range all {
		if v.Share() > 0 {
			sole = v
			n++
		}
	}
	return sole, n == 1
}

func (t *traffic) setShares(shares map[string]int) error {
	for _, guid := range slices.Sorted(maps.Keys(shares)) {
		weight := shares[guid]
		v, err := t.version(guid)
		if err != nil {
			return err
		}
		name := t.app(v.AppGUID).Name
		switch {
		case weight < 0 || weight > platform.MaxWeight:
			return platform.Invalidf("weight must be in the range 0 to %d (got %d)", platform.MaxWeight, weight)
		case v.Mode == platform.ModeShadow:
			return refuse(fmt.Sprintf("weir shadow %s:%s --off makes it an ordinary version, weir assign %s %s the main one", name, v.Label, name, v.Label),
				"version %s of app %q is a shadow: its answers reach nobody", v.Label, name)
		case v.State == platform.AppStopped && weight > 0:
			return refuse(fmt.Sprintf("weir start %s:%s", name, v.Label), "version %s of app %q is stopped", v.Label, name)
		}
		v.Weight = weight
	}
	return nil
}

// makeMain makes a version the main one: its deployment becomes the app's, and
// the app's settings become those of its revision.
func (t *traffic) makeMain(ctx context.Context, guid, how string) error {
	v, err := t.version(guid)
	if err != nil {
		return err
	}
	app := t.app(v.AppGUID)
	old, err := t.main(app.GUID)
	if err != nil {
		return err
	}
	if err := checkNotMoving(ctx, t.tx, *app); err != nil {
		return err
	}
	old.Instances, old.Reduced = enough(*old), 0 // it runs on with what it has
	rev, err := t.tx.Revision(ctx, v.RevisionGUID)
	if err == nil && how != verbRollback && how != verbUndo {
		rev, err = t.withPending(ctx, rev, *app, *v, *old)
	}
	if err != nil {
		return err
	}
	if err := t.takeCopies(ctx, v, *old); err != nil {
		return err
	}
	old.Main, old.Labelled = false, true                  // its number may come again
	if err := t.tx.UpdateVersion(ctx, *old); err != nil { // there is never more than one
		return err
	}
	v.Main, v.State = true, platform.AppStarted
	app.DeploymentGUID = v.DeploymentGUID
	if err := t.tx.UpdateVersion(ctx, *v); err != nil {
		return err
	}
	if err := restore(ctx, t.tx, app, rev); err != nil {
		return err
	}
	if err := t.noteSettings(ctx, *app, old); err != nil {
		return err
	}
	if err := t.tx.UpdateApp(ctx, *app); err != nil {
		return err
	}
	return t.e.promoted(ctx, t.tx, t.who, *v, how, t.table)
}

// noteSettings writes down beside which settings the former main version stands
// from now on, and reads what that has changed of the others.
func (t *traffic) noteSettings(ctx context.Context, app platform.App, old *platform.Version) error {
	all, err := versionsOf(ctx, t.tx, app.GUID)
	if err != nil {
		return err
	}
	for _, now := range all {
		if v, err := t.version(now.GUID); err == nil {
			v.MadeBeside = now.MadeBeside
		}
	}
	if old.MadeBeside, err = settingsOf(ctx, t.tx, app); err != nil {
		return err
	}
	return t.tx.UpdateVersion(ctx, *old)
}

// checkNotMoving refuses to make another version the main one while a
// deployment replaces it.
func checkNotMoving(ctx context.Context, tx *store.Tx, app platform.App) error {
	moving, ok, err := tx.ActiveDeployment(ctx, app.GUID)
	if err != nil || !ok {
		return err
	}
	return &platform.Error{
		Kind: platform.KindConflict, Msg: fmt.Sprintf("app %q has a deployment in progress (%s)", app.Name, moving.Reason),
		Hint: fmt.Sprintf("wait for it, or take it back: weir cancel-deployment %s", app.Name),
	}
}
