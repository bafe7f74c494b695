package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func trafficCommands() []*command {
	return []*command{
		{
			name: "swap", args: "APP OTHER_APP", category: catVersions,
			usage: "exchange two apps on all their routes in one step",
			examples: []string{
				"swap web-blue web-green",
				"swap web-blue web-green --warm /=200 --warm /health=200,204",
				"swap web-blue web-green --route live.apps.localhost --dry-run",
			},
			about: "Requests for the one go to the other from one moment to the next. Swapping again is the way back. An app " +
				"without an instance that is ready is refused. APP is the one that is live, and --warm asks OTHER_APP first, under its " +
				"own address, and refuses if an answer is another.",
			flags: append([]cli.Flag{
				&cli.StringSliceFlag{Name: "route", Usage: "only this route, `HOST.DOMAIN/PATH`; may be repeated"},
				&cli.StringSliceFlag{Name: "warm", Usage: "ask OTHER_APP for `PATH=STATUS` first; may be repeated"},
				&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "even if the app has no instance that is ready"},
			}, trafficFlags()...),
			run: runSwap,
		},
		{
			name: "undo", args: "APP", category: catVersions,
			usage:    "take the last change of an app's traffic back",
			examples: []string{"undo web", "undo web --dry-run"},
			about: "Weights, roles of versions and routes become what they were before the last weight, route, assign, swap, " +
				"shadow or rollback; after a rollout what they were before its first step, with the settings of then. Doing it again takes the change before " +
				"that back; weir rollback APP --table NUMBER goes forth again.",
			flags: trafficFlags(), run: runUndo,
		},
	}
}

func runUndo(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Undoing the last change of traffic of app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	t, err := s.Undo(ctx, app.GUID, v3.Undo{TrafficOptions: c.trafficOptions()})
	if err != nil {
		return err
	}
	return c.printTraffic(t, "the next weir undo "+app.Name+" takes the change before that back")
}

func runSwap(ctx context.Context, c *call) error {
	if c.arg(0) == c.arg(1) {
		return withHint(usagef("an app cannot be swapped with itself"), c.cmd.usageHint())
	}
	warm, err := parseWarm(c.StringSlice("warm"))
	if err != nil {
		return err
	}
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	var apps [2]v3.App
	for i := range apps {
		if apps[i], err = s.app(ctx, sp, c.arg(i)); err != nil {
			return err
		}
	}
	routes, err := c.swapRoutes(ctx, s, apps)
	if err != nil {
		return err
	}
	if err := c.warmUp(ctx, s, apps[1], warm); err != nil {
		return err
	}
	c.out.banner("Swapping apps %s and %s in org %s / space %s as %s...", apps[0].Name, apps[1].Name, sp.Org.Name, sp.Name, s.user)
	t, err := s.Swap(ctx, sp.GUID, v3.Swap{
		Apps: []string{apps[0].GUID, apps[1].GUID}, Routes: routes, Force: c.Bool("force"), TrafficOptions: c.trafficOptions(),
	})
	if err != nil {
		return err
	}
	return c.showTraffic(t, apps[0].Name)
}

// swapRoutes returns the GUIDs of the routes named by --route.
func (c *call) swapRoutes(ctx context.Context, s *session, apps [2]v3.App) (guids []string, err error) {
	wanted := c.StringSlice("route")
	if len(wanted) == 0 {
		return nil, nil
	}
	var all []v3.Route
	for _, a := range apps {
		list, err := s.AppRoutes(ctx, a.GUID)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	for _, url := range wanted {
		url = strings.TrimRight(url, "/")
		i := slices.IndexFunc(all, func(r v3.Route) bool { return strings.EqualFold(r.URL, url) })
		if i < 0 {
			return nil, notFound("weir routes lists them", "neither %s nor %s has a route %s", apps[0].Name, apps[1].Name, url)
		}
		if !slices.Contains(guids, all[i].GUID) {
			guids = append(guids, all[i].GUID)
		}
	}
	return guids, nil
}

// trafficView is the result of every change of where requests go.
type trafficView struct {
	Table    uint64          `json:"table"` // 0 if nothing was changed
	Text     string          `json:"text"`
	Changed  bool            `json:"changed"`
	DryRun   bool            `json:"dryRun"`
	Versions []versionChange `json:"versions"` // those that get something else
	Routes   []routeMove     `json:"routes"`   // those that lead elsewhere
}

// versionChange is what a change does to a version.
type versionChange struct {
	App     string       `json:"app"`
	Version string       `json:"version"`
	Before  trafficShare `json:"before"`
	After   trafficShare `json:"after"`
}

// trafficShare is what a version gets.
type trafficShare struct {
	Role   string `json:"role"` // main, live, shadow, idle
	Weight int    `json:"weight"`
	Shadow int    `json:"shadowPercent"`
}

// routeMove is where a route led and leads.
type routeMove struct {
	Route  string   `json:"route"`
	Before []string `json:"before"` // apps
	After  []string `json:"after"`
}

func viewTraffic(t v3.Traffic) trafficView {
	v := trafficView{Table: t.Table, Text: t.Text, DryRun: t.DryRun, Versions: []versionChange{}, Routes: []routeMove{}}
	for _, x := range t.Versions {
		if x.Before != x.After {
			v.Versions = append(v.Versions, versionChange{x.App, x.Label, shareOf(x.Before), shareOf(x.After)})
		}
	}
	for _, r := range t.Routes {
		before, after := waysOf(r.Before), waysOf(r.After)
		if !slices.Equal(before, after) {
			v.Routes = append(v.Routes, routeMove{r.URL, before, after})
		}
	}
	v.Changed = !t.DryRun && len(v.Versions)+len(v.Routes) > 0
	return v
}

func shareOf(t v3.VersionTraffic) trafficShare {
	s := trafficShare{Role: v3.RoleIdle, Weight: t.Weight}
	switch {
	case t.Main:
		s.Role = v3.RoleMain
	case t.Mode == v3.ModeShadow:
		s.Role, s.Shadow = v3.RoleShadow, t.ShadowPercent
	case t.Weight > 0:
		s.Role = v3.RoleLive
	}
	return s
}

func (s trafficShare) String() string {
	if s.Role == v3.RoleShadow {
		return fmt.Sprintf("shadow of %d%%", s.Shadow)
	}
	return fmt.Sprintf("%s, weight %d", s.Role, s.Weight)
}

func waysOf(ways []v3.RouteDestination) []string {
	list := []string{}
	for _, w := range ways {
		text := w.App
		if w.Process != "" && w.Process != "web" {
			text += " (" + w.Process + ")"
		}
		switch {
		case w.Mode == v3.ModeShadow:
			text += fmt.Sprintf(" shadow of %d%%", w.ShadowPercent)
		case w.Weight != nil:
			text += fmt.Sprintf(" weight %d", *w.Weight)
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

// showTraffic prints a change and how to take it back.
func (c *call) showTraffic(t v3.Traffic, app string, first ...string) error {
	return c.printTraffic(t, "weir undo "+app+" takes it back", first...)
}

// printTraffic prints a change after the lines first, and what can be done
// next.
func (c *call) printTraffic(t v3.Traffic, next string, first ...string) error {
	v := viewTraffic(t)
	var names []string
	if v.Table > 0 {
		names = append(names, strconv.FormatUint(v.Table, 10))
	}
	return c.out.print("TrafficChange", map[string]any{"traffic": v}, names, func(p *page) {
		for _, line := range first {
			p.line(line)
		}
		v.draw(p, next)
	})
}

func (v trafficView) draw(p *page, next string) {
	if len(v.Versions)+len(v.Routes) == 0 {
		p.line("It is so already. Nothing has been updated.")
		return
	}
	if v.Text != "" {
		p.line(v.Text)
	}
	for _, x := range v.Versions {
		p.line(fmt.Sprintf("  %s:%s: %s -> %s", x.App, x.Version, x.Before, x.After))
	}
	for _, r := range v.Routes {
		p.line(fmt.Sprintf("  %s: %s -> %s", r.Route, nobody(r.Before), nobody(r.After)))
	}
	switch {
	case v.DryRun:
		p.line("Nothing has been changed: this was --dry-run.")
	case v.Table > 0:
		p.line(fmt.Sprintf("table %d; %s", v.Table, next))
	}
}

func nobody(apps []string) string {
	if len(apps) == 0 {
		return "nobody"
	}
	return strings.Join(apps, ", ")
}
