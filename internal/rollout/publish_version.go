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
	for _, d := range r.Destinations {
		for _, v := range c.versionsFor(d) {
			if v.State == platform.AppStopped {
				continue
			}
			for _, host := range versionHosts(v.Label, r.FQDN()) {
				if taken[host] {
					continue // of the app the route led to first
				}
				taken[host] = true
				one := router.Route{
					Host: host, GUID: r.GUID,
					Destinations: []router.Destination{c.destination(d, v, platform.DefaultWeight)},
				}
				if len(r.Options) > 0 {
					one.Options = maps.Clone(r.Options)
				}
				out = append(out, entry{one, true})
			}
		}
	}
	return out
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
	if len(slug)+2+len(first) <= maxHostLabel {
		hosts = append(hosts, slug+"--"+host)
	}
	return slices.DeleteFunc(hosts, func(h string) bool { return len(h) > maxFQDN })
}
