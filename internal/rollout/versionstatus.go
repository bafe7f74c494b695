package rollout

import (
	"context"
	"net"
	"slices"
	"strconv"

	"weir/internal/platform"
	"weir/internal/store"
)

// Versions returns the versions of an app with what their instances do, the
// main one first.
func (e *Engine) Versions(ctx context.Context, app string) ([]platform.VersionStatus, error) {
	if _, err := e.store.App(ctx, app); err != nil {
		return nil, err
	}
	all, _, err := e.FindVersions(ctx, store.Query{In: map[string][]string{"app_guids": {app}}})
	return all, err
}

// Version returns a version with what its instances do.
func (e *Engine) Version(ctx context.Context, guid string) (platform.VersionStatus, error) {
	all, _, err := e.FindVersions(ctx, store.Query{In: map[string][]string{"guids": {guid}}})
	if err == nil && len(all) == 0 {
		err = platform.NotFound("Version")
	}
	if err != nil {
		return platform.VersionStatus{}, err
	}
	return all[0], nil
}

// FindVersions returns one page of the versions that q selects with what their
// instances do, main ones first, and how many it selects.
func (e *Engine) FindVersions(ctx context.Context, q store.Query) (all []platform.VersionStatus, total int, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) error {
		var versions []platform.Version
		if versions, total, err = tx.Versions(ctx, q); err != nil {
			return err
		}
		if q.OrderBy == "" {
			mainFirst(versions)
		}
		all, err = e.statusesOf(ctx, tx, versions)
		return err
	})
	return all, total, err
}

// statusView is what the states of some versions are made of.
type statusView struct {
	apps      map[string]platform.App
	instances map[string][]platform.Instance // of the web process, by app
	routes    map[string][]platform.Route    // by app
	all       map[string][]platform.Version  // by app
	sides     map[string]bool                // deployments of versions beside the main one
}

// statusesOf adds what the web instances of versions do.
func (e *Engine) statusesOf(ctx context.Context, tx *store.Tx, versions []platform.Version) ([]platform.VersionStatus, error) {
	view := &statusView{
		apps: map[string]platform.App{}, instances: map[string][]platform.Instance{},
		routes: map[string][]platform.Route{}, all: map[string][]platform.Version{}, sides: map[string]bool{},
	}
	var guids []string
	for _, v := range versions {
		guids = append(guids, v.AppGUID)
	}
	slices.Sort(guids)
	for chunk := range slices.Chunk(slices.Compact(guids), 500) {
		if err := view.read(ctx, tx, chunk); err != nil {
			return nil, err
		}
	}
	out := make([]platform.VersionStatus, 0, len(versions))
	for _, v := range versions {
		s := view.status(v)
		s.URLs = view.urls(v)
		out = append(out, s)
	}
	return out, nil
}

func (w *statusView) read(ctx context.Context, tx *store.Tx, apps []string) error {
	byApp := map[string][]string{"app_guids": apps}
	found, _, err := tx.Apps(ctx, store.Query{In: map[string][]string{"guids": apps}})
	if err != nil {
		return err
	}
	for _, a := range found {
		w.apps[a.GUID] = a
	}
	instances, _, err := tx.Instances(ctx, store.Query{In: map[string][]string{"app_guids": apps, "types": {platform.WebProcess}}})
	if err != nil {
		return err
	}
	for _, i := range instances {
		w.instances[i.AppGUID] = append(w.instances[i.AppGUID], i)
	}
	versions, _, err := tx.Versions(ctx, store.Query{In: byApp})
	if err != nil {
		return err
	}
	for _, v := range versions {
		w.all[v.AppGUID] = append(w.all[v.AppGUID], v)
		if !v.Main {
			w.sides[v.DeploymentGUID] = true
		}
	}
	routes, _, err := tx.Routes(ctx, store.Query{In: map[string][]string{"live_app_guids": apps}})
	for _, r := range routes {
		seen := map[string]bool{}
		for _, d := range r.Destinations {
			if !d.IsShadow() && !seen[d.AppGUID] {
				seen[d.AppGUID] = true
				w.routes[d.AppGUID] = append(w.routes[d.AppGUID], r)
			}
		}
	}
	return err
}

func (w *statusView) status(v platform.Version) platform.VersionStatus {
	s := platform.VersionStatus{Version: v, Wanted: enough(v)}
	if w.apps[v.AppGUID].State != platform.AppStarted {
		s.State = platform.AppStopped
	}
	if s.State == platform.AppStopped {
		s.Wanted = 0
	}
	for _, i := range w.instances[v.AppGUID] {
		mine := i.DeploymentGUID == v.DeploymentGUID
		if v.Main {
			mine = !w.sides[i.DeploymentGUID]
		}
		if mine && i.State != platform.InstanceStopping {
			count(&s, i)
		}
	}
	if s.Health = healthOf(s); s.Health == platform.HealthStopped && s.State != platform.AppStopped {
		s.Details = "it is scaled to 0 instances"
	}
	return s
}

// count adds one instance to what is said of its version.
func count(s *platform.VersionStatus, i platform.Instance) {
	if i.State == platform.InstanceRunning {
		s.Running++
	}
	if isServing(i) {
		s.Ready++
		s.Addresses = append(s.Addresses, net.JoinHostPort(i.Host, strconv.Itoa(i.Port)))
		if i.Since.After(s.Newest) {
			s.Newest = i.Since
		}
	}
	if i.Crashes >= s.Crashes && i.LastExit != nil {
		s.LastExit = i.LastExit
	}
	s.Crashes = max(s.Crashes, i.Crashes)
	if i.Details != "" {
		s.Details = i.Details
	}
	if s.Since.IsZero() || i.Since.Before(s.Since) {
		s.Since = i.Since
	}
}

func healthOf(s platform.VersionStatus) string {
	switch {
	case s.State == platform.AppStopped || s.Wanted == 0:
		return platform.HealthStopped
	case s.Wanted > 0 && s.Ready >= s.Wanted:
		return platform.HealthHealthy
	case s.Ready > 0:
		return platform.HealthDegraded
	case s.Crashes >= failAfter:
		return platform.HealthFailed
	case s.Crashes > 0 || s.Running > 0:
		return platform.HealthUnhealthy
	}
	return platform.HealthStarting
}

// urls returns the addresses that lead to a version alone. The only version of
// an app that nobody named has none of its own.
func (w *statusView) urls(v platform.Version) []string {
	if v.State == platform.AppStopped || v.Main && !v.Labelled && len(w.all[v.AppGUID]) == 1 {
		return nil
	}
	var urls []string
	for _, r := range w.routes[v.AppGUID] {
		if hasVersionHosts(r) {
			urls = append(urls, versionHosts(v.Label, r.FQDN())...)
		}
	}
	return urls
}

// Traffic returns the table of the newest change of an app's traffic, the one
// that runs before the first, and the number of the shares of its versions.
func (e *Engine) Traffic(ctx context.Context, app string) (table, split uint64, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) error {
		a, err := tx.App(ctx, app)
		if err != nil {
			return err
		}
		last, err := lastChange(ctx, tx, app)
		table, split = last.Table, a.Split
		if table == 0 {
			table = e.Table()
		}
		return err
	})
	return table, split, err
}
