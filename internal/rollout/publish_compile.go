package rollout

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// compile reads the routes that lead to one of the apps or are named, or all
// if both are nil, from one snapshot of the rows.
func (p *publisher) compile(ctx context.Context, apps, routes []string) (map[string][]entry, error) {
	compiled := map[string][]entry{}
	err := p.store.View(ctx, func(tx *store.Tx) error {
		found, err := findRoutes(ctx, tx, apps, routes)
		if err != nil {
			return err
		}
		c, err := newCompiler(ctx, tx, found, apps == nil && routes == nil)
		if err != nil {
			return err
		}
		for guid, r := range found {
			// A route that leads nowhere is unknown to the router, as in Cloud
			// Foundry: 404, or whatever a wildcard or a shorter path answers.
			if len(r.Destinations) > 0 {
				compiled[guid] = append([]entry{{route: c.route(r)}}, c.derived(r)...)
			}
		}
		return nil
	})
	return compiled, err
}

func findRoutes(ctx context.Context, tx *store.Tx, apps, routes []string) (map[string]platform.Route, error) {
	var queries []store.Query
	switch {
	case apps == nil && routes == nil:
		queries = []store.Query{{}}
	default:
		for key, values := range map[string][]string{"app_guids": apps, "guids": routes} {
			for chunk := range slices.Chunk(values, 500) {
				queries = append(queries, store.Query{In: map[string][]string{key: chunk}})
			}
		}
	}
	all := map[string]platform.Route{}
	for _, q := range queries {
		found, _, err := tx.Routes(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			all[r.GUID] = r
		}
	}
	return all, nil
}

// compiler turns routes as stored into routes as the router wants them.
type compiler struct {
	apps      map[string]platform.App
	processes map[processKey]string
	backends  map[processKey][]router.Backend
	// versions are those of the apps that have more to them than one version
	// nobody gave a name, the main one first.
	versions map[string][]platform.Version
	sides    map[string]string // the version beside the main one that a deployment is
	// mains are the main versions of the apps that routes have for a shadow.
	mains map[string]platform.Version
}

// processKey names the instances of a process; version is empty for those of
// the main version.
type processKey struct{ app, typ, version string }

// newCompiler reads what the routes lead to.
func newCompiler(ctx context.Context, tx *store.Tx, routes map[string]platform.Route, all bool) (*compiler, error) {
	c := &compiler{
		apps: map[string]platform.App{}, processes: map[processKey]string{}, backends: map[processKey][]router.Backend{},
		versions: map[string][]platform.Version{}, sides: map[string]string{}, mains: map[string]platform.Version{},
	}
	apps := map[string]bool{}
	for _, r := range routes {
		for _, d := range r.Destinations {
			apps[d.AppGUID] = true
		}
	}
	if len(apps) == 0 {
		return c, nil
	}
	// One query for all rows is quicker than naming thousands of them.
	chunks := [][]string{nil}
	if !all {
		chunks = slices.Collect(slices.Chunk(slices.Collect(maps.Keys(apps)), 500))
	}
	for _, chunk := range chunks {
		if err := c.read(ctx, tx, chunk); err != nil {
			return nil, err
		}
	}
	if err := c.readPinned(ctx, tx, routes); err != nil {
		return nil, err
	}
	if err := c.readMains(ctx, tx, routes); err != nil {
		return nil, err
	}
	for _, b := range c.backends {
		slices.SortFunc(b, func(a, b router.Backend) int {
			if a.Index != b.Index {
				return a.Index - b.Index
			}
			return strings.Compare(a.InstanceGUID, b.InstanceGUID)
		})
	}
	return c, nil
}

// read reads the apps named, or all of them.
func (c *compiler) read(ctx context.Context, tx *store.Tx, apps []string) error {
	query := func(key string, more map[string][]string) store.Query {
		q := store.Query{In: map[string][]string{}}
		maps.Copy(q.In, more)
		if apps != nil {
			q.In[key] = apps
		}
		return q
	}
	found, _, err := tx.Apps(ctx, query("guids", nil))
	if err != nil {
		return err
	}
	for _, a := range found {
		c.apps[a.GUID] = a
	}
	processes, _, err := tx.Processes(ctx, query("app_guids", nil))
	if err != nil {
		return err
	}
	for _, p := range processes {
		c.processes[processKey{app: p.AppGUID, typ: p.Type}] = p.GUID
	}
	if err := c.readVersions(ctx, tx, query("app_guids", map[string][]string{"plain": {"false"}})); err != nil {
		return err
	}
	running, _, err := tx.Instances(ctx, query("app_guids", map[string][]string{
		"states": {string(platform.InstanceRunning)}, "ready": {"true"},
	}))
	if err != nil {
		return err
	}
	for _, i := range running {
		key := processKey{i.AppGUID, i.ProcessType, c.sides[i.DeploymentGUID]}
		c.backends[key] = append(c.backends[key], router.Backend{
			InstanceGUID: i.GUID, Index: i.Index, Addr: net.JoinHostPort(i.Host, strconv.Itoa(i.Port)),
		})
	}
	return nil
}

func (c *compiler) route(r platform.Route) router.Route {
	out := router.Route{
		Host: strings.ToLower(r.FQDN()), Path: r.Path, GUID: r.GUID,
	}
	if len(r.Options) > 0 {
		out.Options = maps.Clone(r.Options)
	}
	out.Hold, out.Maintenance = c.hold(r), c.maintenance(r)
	live, shadows := liveAndShadows(r.Destinations)
	weights := c.weights(live)
	for i, d := range live {
		versions := c.versionsFor(d)
		if versions == nil {
			out.Destinations = append(out.Destinations, c.destination(d, platform.Version{}, weights[i][0]))
			continue
		}
		for n, v := range versions {
			one := c.destination(d, v, weights[i][n])
			one.Split = c.apps[d.AppGUID].Split
			if n := c.apps[d.AppGUID].Traffic.Counting; n != nil {
				one.Counting = &router.Counting{Statuses: n.Statuses, Exclude: n.Exclude, Events: n.Events}
			}
			if !v.LeftAt.IsZero() {
				one.LeftAt = v.LeftAt.Unix()
			}
			if v.State != platform.AppStopped {
				one.Match = matches(v.Match)
				if v.Mode == platform.ModeShadow {
					one.Shadow, one.ShadowOptions = v.ShadowPercent, shadowOptions(v.Shadow)
				}
			}
			out.Destinations = append(out.Destinations, one)
		}
	}
	for _, d := range shadows {
		out.Destinations = append(out.Destinations, c.shadow(d))
	}
	return out
}

// destination returns the way to one version of an app; the zero Version is
// the only one.
func (c *compiler) destination(d platform.Destination, v platform.Version, weight int) router.Destination {
	key := processKey{d.AppGUID, d.ProcessType, ""}
	out := router.Destination{
		Version: v.GUID, Label: v.Label,
		AppGUID: d.AppGUID, AppName: c.apps[d.AppGUID].Name, Process: d.ProcessType, ProcessGUID: c.processes[key],
		Weight: weight, Protocol: d.Protocol,
	}
	if v.GUID != "" && !v.Main {
		key.version = v.GUID
		out.ProcessGUID = v.GUID
	}
	out.Backends = c.backends[key]
	return out
}
