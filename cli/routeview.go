package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/api/client"
	v3 "weir/api/v3"
)

// routeView is a route.
type routeView struct {
	Route        string            `json:"route"` // host.domain/path
	GUID         string            `json:"guid"`
	Host         string            `json:"host"`
	Domain       string            `json:"domain"`
	Path         string            `json:"path"`
	URL          string            `json:"url"`
	Options      map[string]string `json:"options"`
	Destinations []destinationView `json:"destinations"`
}

// destinationView is a place a route leads to.
type destinationView struct {
	App      string  `json:"app"`
	AppGUID  string  `json:"appGuid"`
	Process  string  `json:"process"`
	Protocol string  `json:"protocol"`
	Weight   int     `json:"weight"`
	Share    float64 `json:"sharePercent"`  // of the route's requests, were all healthy
	Shadow   int     `json:"shadowPercent"` // of them that it gets copies of; it has no weight then
	// Versions are those of the app, if there are several, that get some of it.
	Versions []versionShare `json:"versions"`
}

// versionShare is what a version gets of a route's requests.
type versionShare struct {
	Version string  `json:"version"`
	Weight  int     `json:"weight"`
	Share   float64 `json:"sharePercent"` // of the route's requests: both levels multiplied
}

// defaultWeight is what a destination without a weight counts as.
const defaultWeight = 100

func weightOf(d v3.Destination) int {
	if d.Weight == nil {
		return defaultWeight
	}
	return *d.Weight
}

// viewRoutes turns routes into what is shown of them.
func (s *session) viewRoutes(ctx context.Context, routes []v3.Route) ([]routeView, error) {
	names, err := s.appNames(ctx, routes)
	if err != nil {
		return nil, err
	}
	versions, err := s.appVersions(ctx, slices.Collect(maps.Keys(names)))
	if err != nil {
		return nil, err
	}
	urls := s.appURLs(ctx, routes)
	views := []routeView{}
	for i, r := range routes {
		v := routeView{
			Route: r.URL, GUID: r.GUID, Host: r.Host, Path: r.Path, URL: urls[i], Options: r.Options,
			Domain:       strings.TrimPrefix(strings.TrimSuffix(r.URL, r.Path), r.Host+"."),
			Destinations: []destinationView{},
		}
		if v.Options == nil {
			v.Options = map[string]string{}
		}
		total := 0
		for _, d := range r.Destinations {
			total += weightOf(d) // 0 of a shadow
		}
		for _, d := range r.Destinations {
			dv := destinationView{
				App: names[d.App.GUID], AppGUID: d.App.GUID, Process: d.App.Process.Type, Protocol: d.Protocol, Weight: weightOf(d), Shadow: d.ShadowPercent,
			}
			if total > 0 {
				dv.Share = float64(dv.Weight) * 100 / float64(total)
			}
			dv.split(versions[d.App.GUID])
			v.Destinations = append(v.Destinations, dv)
		}
		views = append(views, v)
	}
	return views, nil
}

// split shares what a destination gets out among the versions of its app.
func (d *destinationView) split(versions []v3.Version) {
	d.Versions = []versionShare{}
	if len(versions) < 2 || d.Process != "web" || d.Shadow > 0 {
		return
	}
	for _, v := range versions {
		if v.SharePercent > 0 {
			d.Versions = append(d.Versions, versionShare{v.Label, v.Weight, d.Share * v.SharePercent / 100})
		}
	}
}

// appVersions returns the versions of apps, by the GUID of the app.
func (s *session) appVersions(ctx context.Context, apps []string) (map[string][]v3.Version, error) {
	byApp := map[string][]v3.Version{}
	slices.Sort(apps)
	for chunk := range slices.Chunk(apps, 100) {
		all, err := s.Versions(ctx, client.Query(nil).In("app_guids", chunk...))
		if err != nil {
			return nil, err
		}
		for _, v := range all {
			app := v.Relationships.GUID("app")
			byApp[app] = append(byApp[app], v)
		}
	}
	return byApp, nil
}

// appNames returns the names of the apps that routes lead to, by GUID.
func (s *session) appNames(ctx context.Context, routes []v3.Route) (map[string]string, error) {
	var guids []string
	for _, r := range routes {
		for _, g := range appsOf(r) {
			if !slices.Contains(guids, g) {
				guids = append(guids, g)
			}
		}
	}
	names := map[string]string{}
	for chunk := range slices.Chunk(guids, 100) {
		apps, err := s.Apps(ctx, client.Query(nil).In("guids", chunk...))
		if err != nil {
			return nil, err
		}
		for _, a := range apps {
			names[a.GUID] = a.Name
		}
	}
	return names, nil
}

// apps writes where a route leads, with shares where they differ.
func (v routeView) apps() string {
	even, first := true, -1
	for _, d := range v.Destinations {
		if d.Shadow > 0 {
			continue
		}
		if first < 0 {
			first = d.Weight
		}
		even = even && d.Weight == first && d.Weight > 0
	}
	var parts []string
	for _, d := range v.Destinations {
		text := d.App
		if d.Process != "web" {
			text += " (" + d.Process + ")"
		}
		switch {
		case d.Shadow > 0:
			text += fmt.Sprintf(" (copies of %d%%)", d.Shadow)
		case !even:
			text += " " + percent(d.Share)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// share writes what a destination gets of the requests.
func (d destinationView) share() string {
	if d.Shadow > 0 {
		return fmt.Sprintf("copies of %d%%", d.Shadow)
	}
	return percent(d.Share)
}

func percent(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + "%"
}

// optionText shows options in a line: of users their names, of pages and
// other long values the beginning. -o json has them whole.
func optionText(options map[string]string) string {
	var parts []string
	for k, v := range options {
		if k == "basic-auth" {
			users := strings.Fields(v)
			for i, u := range users {
				name, _, _ := strings.Cut(u, ":")
				users[i] = name + ":…"
			}
			v = strings.Join(users, " ")
		}
		parts = append(parts, k+"="+shorten(v))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// shorten returns the beginning of a text, on one line.
func shorten(s string) string {
	const most = 60
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}
