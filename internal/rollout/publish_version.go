package rollout

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// readVersions reads the versions of the apps that q selects by one of them.
func (c *compiler) readVersions(ctx context.Context, tx *store.Tx, q store.Query) error {
	special, _, err := tx.Versions(ctx, q)
	if err != nil || len(special) == 0 {
		return err
	}
	var apps []string
	for _, v := range special {
		apps = append(apps, v.AppGUID)
	}
	slices.Sort(apps)
	for chunk := range slices.Chunk(slices.Compact(apps), 500) {
		all, _, err := tx.Versions(ctx, store.Query{In: map[string][]string{"app_guids": chunk}})
		if err != nil {
			return err
		}
		mainFirst(all)
		for _, v := range all {
			c.versions[v.AppGUID] = append(c.versions[v.AppGUID], v)
			if !v.Main {
				c.sides[v.DeploymentGUID] = v.GUID
			}
		}
	}
	return nil
}

// readPinned reads the versions of apps whose pages have to stay with theirs:
// even the only version has to be told from the one that will follow it.
func (c *compiler) readPinned(ctx context.Context, tx *store.Tx, routes map[string]platform.Route) error {
	var apps []string
	for _, r := range routes {
		if r.Options[router.OptionSkew] == "" {
			continue
		}
		for _, d := range r.Destinations {
			if c.versions[d.AppGUID] == nil {
				apps = append(apps, d.AppGUID)
			}
		}
	}
	slices.Sort(apps)
	for chunk := range slices.Chunk(slices.Compact(apps), 500) {
		if err := c.readVersions(ctx, tx, store.Query{In: map[string][]string{"app_guids": chunk}}); err != nil {
			return err
		}
	}
	return nil
}

// versionsFor returns the versions that a destination is shared out among, nil
// if there is nothing to share.
func (c *compiler) versionsFor(d platform.Destination) []platform.Version {
	if d.ProcessType != platform.WebProcess {
		return nil
	}
	return c.versions[d.AppGUID]
}

// weights returns the weight of each version of each destination. The two
// levels multiply: a destination's share of the route, and a version's share
// of the app. A destination without versions has one weight, its own.
func (c *compiler) weights(ds []platform.Destination) [][]int {
	out := make([][]int, len(ds))
	exact, parts, shared := make([][]float64, len(ds)), 0, false
	for i, d := range ds {
		versions := c.versionsFor(d)
		total := 0
		for _, v := range versions {
			total += v.Share()
		}
		if versions == nil {
			exact[i], out[i] = []float64{float64(d.EffectiveWeight())}, []int{d.EffectiveWeight()}
			parts++
			continue
		}
		shared = true
		exact[i], out[i] = make([]float64, len(versions)), make([]int, len(versions))
		for n, v := range versions {
			parts++
			if total > 0 {
				exact[i][n] = float64(d.EffectiveWeight()) * float64(v.Share()) / float64(total)
			}
			out[i][n] = v.Share()
		}
	}
	switch {
	case !shared:
	case len(ds) == 1:
		if ds[0].EffectiveWeight() == 0 {
			clear(out[0])
		}
	default:
		scale(exact, out)
	}
	return out
}

// weightScale turns shares into whole numbers; the largest, 1000, stays below
// what the router takes, and what is rounded off is less than a millionth.
const weightScale = 1_000_000

// scale fills out with whole numbers in the ratio of exact.
func scale(exact [][]float64, out [][]int) {
	common := 0
	for i := range exact {
		for n, w := range exact[i] {
			out[i][n] = int(math.Round(w * weightScale))
			common = gcd(common, out[i][n])
		}
	}
	if common == 0 {
		return
	}
	for i := range out {
		for n := range out[i] {
			out[i][n] /= common
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// derived returns the addresses that a route gives to the versions of the apps
// it leads to: VERSION.HOST.DOMAIN, and VERSION--HOST.DOMAIN, which a
// certificate for one label covers.
func (c *compiler) derived(r platform.Route) []entry {
	if !hasVersionHosts(r) {
		return nil
	}
	var out []entry
	taken := map[string]bool{}
	live, _ := liveAndShadows(r.Destinations)
	for _, d := range live {
		for _, v := range c.versionsFor(d) {
			if v.State == platform.AppStopped {
				continue
			}
			for _, host := range versionHosts(v.Label, r.FQDN()) {
				if taken[host] {
					continue // of the app the route led to first
				}
				taken[host] = true
				out = append(out, entry{c.direct(r, host, "", d, v), true})
			}
		}
	}
	return append(out, c.services(r)...)
}

// direct returns an address of one version. What it answers is no evidence
// about the shares: nobody was assigned to it.
func (c *compiler) direct(r platform.Route, host, path string, d platform.Destination, v platform.Version) router.Route {
	one := router.Route{
		Host: host, Path: path, GUID: r.GUID, Hold: c.hold(r), Maintenance: c.maintenance(r),
		Destinations: []router.Destination{c.destination(d, v, platform.DefaultWeight)},
	}
	if len(r.Options) > 0 {
		one.Options = maps.Clone(r.Options)
	}
	return one
}

// services returns the addresses under the domain itself that a route's apps
// have if they have versions: /services/APP, shared out as the app is, and
// /services/APP_VERSION. The prefix is not passed on.
func (c *compiler) services(r platform.Route) []entry {
	host := strings.ToLower(r.DomainName)
	var out []entry
	live, _ := liveAndShadows(r.Destinations)
	for _, d := range live {
		versions := c.versionsFor(d)
		name := c.apps[d.AppGUID].Name
		if versions == nil || !isSegment(name) {
			continue
		}
		alone := r
		alone.Destinations = []platform.Destination{d}
		all := c.route(alone)
		all.Host, all.Path = host, servicesPath+name
		routes := []router.Route{all}
		for _, v := range versions {
			if v.State != platform.AppStopped {
				routes = append(routes, c.direct(r, host, servicesPath+name+"_"+v.Label, d, v))
			}
		}
		for _, one := range routes {
			one.Options = maps.Clone(one.Options)
			if one.Options == nil {
				one.Options = map[string]string{}
			}
			one.Options[router.OptionStripPrefix] = "on"
			out = append(out, entry{one, true})
		}
	}
	return out
}

const servicesPath = "/services/"

// isSegment reports whether a name can be part of a path as it is.
func isSegment(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// matches turns conditions into the router's.
func matches(all []platform.Match) []router.Match {
	var out []router.Match
	for _, m := range all {
		out = append(out, router.Match{Header: m.Header, Cookie: m.Cookie, CIDR: m.CIDR, Exact: m.Exact, Prefix: m.Prefix, Regex: m.Regex})
	}
	return out
}

// hold returns the pause of a route: it waits if an app it leads to does.
func (c *compiler) hold(r platform.Route) *router.Hold {
	for _, d := range r.Destinations {
		if p := c.apps[d.AppGUID].Traffic.Pause; p != nil && d.EffectiveWeight() > 0 {
			return &router.Hold{MaxWaitMS: int64(p.Max) * 1000}
		}
	}
	return nil
}

// maintenance returns the maintenance of a route: it is closed if every app
// that gets its requests is.
func (c *compiler) maintenance(r platform.Route) *router.Maintenance {
	var closed *platform.Maintenance
	for _, d := range r.Destinations {
		if d.EffectiveWeight() == 0 {
			continue
		}
		m := c.apps[d.AppGUID].Traffic.Maintenance
		if m == nil {
			return nil
		}
		if closed == nil {
			closed = m
		}
	}
	if closed == nil {
		return nil
	}
	return &router.Maintenance{Page: closed.Page, Allow: closed.Allow, RetryAfter: closed.RetryAfter}
}

// hasVersionHosts reports whether a route gives addresses to versions.
func hasVersionHosts(r platform.Route) bool {
	return r.Host != "" && !strings.HasPrefix(r.Host, "*") && r.Path == ""
}

// versionHosts returns the hosts of a version under that of its app.
func versionHosts(label, host string) []string {
	slug, host := platform.Slug(label), strings.ToLower(host)
	first, _, _ := strings.Cut(host, ".")
	hosts := []string{slug + "." + host}
	if len(slug)+2+len(first) <= platform.MaxHostLabel {
		hosts = append(hosts, slug+"--"+host)
	}
	return slices.DeleteFunc(hosts, func(h string) bool { return len(h) > platform.MaxFQDN })
}
