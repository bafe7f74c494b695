package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

// addressFlags say which route under a domain is meant.
func addressFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hostname", Aliases: []string{"n"}, Usage: "`HOST` under the domain; \"*\" for all; none for the domain itself"},
		&cli.StringFlag{Name: "path", Usage: "`PATH` that requests begin with, such as /api"},
	}
}

func optionFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "option", Usage: "set the route option `NAME=VALUE`; -o NAME=VALUE means the same"}
}

func routeCommands() []*command {
	return []*command{
		{
			name: "routes", aliases: []string{"r"}, category: catRoutes,
			usage: "list the routes of the space", examples: []string{"routes", "routes -o json"},
			about: "Where a route leads to several apps with different weights, each is shown with its share.",
			run:   runRoutes,
		},
		{
			name: "route", args: "DOMAIN", category: catRoutes,
			usage: "show where a route leads", examples: []string{"route apps.localhost -n live", "route api --from v1 --to v2"},
			about: "The share of an app goes on to its versions; what each gets of the route is shown below the app.\n\nWith --from and --to the word after route is an app, one of whose versions gets the requests of another: see " +
				"weir move-traffic.",
			flags: slices.Concat(addressFlags(), moveTrafficFlags(), trafficFlags()), run: runRoute,
		},
		{
			name: "create-route", args: "DOMAIN", category: catRoutes,
			usage: "make a route that leads nowhere yet", examples: []string{"create-route apps.localhost -n live", "create-route apps.localhost -n live --path /api"},
			about: "weir update-route --help lists the options a route has.",
			flags: append(addressFlags(), optionFlag()), dashO: "option", run: runCreateRoute,
		},
		{
			name: "delete-route", args: "DOMAIN", category: catRoutes,
			usage: "delete a route", examples: []string{"delete-route apps.localhost -n live -f"},
			flags: append(addressFlags(), forceFlag()), run: runDeleteRoute,
		},
		{
			name: "delete-orphaned-routes", category: catRoutes,
			usage: "delete the routes that lead nowhere", examples: []string{"delete-orphaned-routes -f"},
			flags: []cli.Flag{forceFlag()}, run: runDeleteOrphanedRoutes,
		},
		{
			name: "check-route", args: "DOMAIN", category: catRoutes,
			usage: "tell whether a route exists", examples: []string{"check-route apps.localhost -n live"},
			flags: addressFlags(), run: runCheckRoute,
		},
	}
}

// address is a route as it is typed.
type address struct {
	domain v3.Domain
	host   string
	path   string
}

func (a address) String() string { return hostOf(a.host, a.domain.Name) + a.path }

func hostOf(host, domain string) string {
	if host == "" {
		return domain
	}
	return host + "." + domain
}

// address reads the domain, the nth argument, and the flags.
func (c *call) address(ctx context.Context, s *session, n int) (address, error) {
	a := address{host: strings.ToLower(c.String("hostname")), path: strings.TrimRight(c.String("path"), "/")}
	if a.path != "" && !strings.HasPrefix(a.path, "/") {
		a.path = "/" + a.path
	}
	name := strings.ToLower(c.arg(n))
	var ok bool
	var err error
	if a.domain, ok, err = s.DomainByName(ctx, name); err != nil || ok {
		return a, err
	}
	all, err := s.Domains(ctx, nil)
	if err != nil {
		return a, err
	}
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.Name
		if host, ok := strings.CutSuffix(name, "."+d.Name); ok && a.host == "" {
			return a, notFound(fmt.Sprintf("%s is a domain; write %s -n %s", d.Name, d.Name, host), "Domain '%s' not found", name)
		}
	}
	return a, notFound(didYouMean(name, names, "weir domains lists them"), "Domain '%s' not found", name)
}

// find returns the route at an address.
func (s *session) find(ctx context.Context, a address) (v3.Route, bool, error) {
	return s.RouteByAddress(ctx, a.domain.GUID, a.host, a.path)
}

// openRoute connects and finds the route that domain, the nth argument, and
// flags mean. ok is false if there is none.
func (c *call) openRoute(ctx context.Context, n int) (s *session, a address, r v3.Route, ok bool, err error) {
	if s, err = c.connect(ctx); err != nil {
		return s, a, r, false, err
	}
	if a, err = c.address(ctx, s, n); err != nil {
		return s, a, r, false, err
	}
	r, ok, err = s.find(ctx, a)
	return s, a, r, ok, err
}

// noRoute is cf's sentence for a route that does not exist.
func noRoute(a address) error {
	text := "Route with "
	if a.host != "" {
		text += fmt.Sprintf("host '%s', ", a.host)
	}
	text += fmt.Sprintf("domain '%s'", a.domain.Name)
	if a.path != "" {
		text += fmt.Sprintf(", and path '%s'", a.path)
	}
	return notFound("weir routes lists them", "%s not found", text)
}

func runRoutes(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting routes for org %s / space %s as %s...", sp.Org.Name, sp.Name, s.user)
	routes, err := s.Routes(ctx, client.Query(nil).In("space_guids", sp.GUID))
	if err != nil {
		return err
	}
	slices.SortStableFunc(routes, func(a, b v3.Route) int { return strings.Compare(a.URL, b.URL) })
	views, err := s.viewRoutes(ctx, routes)
	if err != nil {
		return err
	}
	var names []string
	var rows [][]string
	for _, v := range views {
		names = append(names, v.Route)
		rows = append(rows, []string{v.Host, v.Domain, v.Path, v.apps(), optionText(v.Options), v.URL, v.GUID})
	}
	return c.out.print("RouteList", map[string]any{"routes": views}, names, func(p *page) {
		if len(rows) == 0 {
			p.line("No routes found.")
			return
		}
		p.table("", append([]string{"host", "domain", "path", "apps", "options"}, p.more("url", "guid")...), rows)
	})
}

// showRoute prints one route.
func (s *session) showRoute(ctx context.Context, r v3.Route) error {
	views, err := s.viewRoutes(ctx, []v3.Route{r})
	if err != nil {
		return err
	}
	v := views[0]
	return s.out.print("Route", map[string]any{"route": v}, []string{v.Route}, func(p *page) {
		p.pairs("domain", v.Domain, "host", v.Host, "path", v.Path, "url", v.URL, "options", optionText(v.Options))
		p.blank()
		if len(v.Destinations) == 0 {
			p.line("It leads nowhere: requests are answered with 404.")
			return
		}
		var rows [][]string
		for _, d := range v.Destinations {
			rows = append(rows, []string{d.App, d.Process, d.Protocol, fmt.Sprint(d.Weight), d.share()})
			if len(d.Versions) > 1 {
				for _, v := range d.Versions {
					rows = append(rows, []string{"  " + d.App + ":" + v.Version, "", "", fmt.Sprint(v.Weight), percent(v.Share)})
				}
			}
		}
		p.table("", []string{"app", "process", "protocol", "weight", "share"}, rows)
	})
}

func runRoute(ctx context.Context, c *call) error {
	if c.has("from") || c.has("to") || c.has("over") {
		return runMoveTraffic(ctx, c)
	}
	s, a, r, ok, err := c.openRoute(ctx, 0)
	if err != nil {
		return err
	}
	if !ok {
		return noRoute(a)
	}
	return s.showRoute(ctx, r)
}

// routeChange is the result of commands that change a route.
type routeChange struct {
	Route   string `json:"route"`
	GUID    string `json:"guid"`
	Changed bool   `json:"changed"`
}

func runCreateRoute(ctx context.Context, c *call) error {
	options, err := c.options()
	if err != nil {
		return err
	}
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	a, err := c.address(ctx, s, 0)
	if err != nil {
		return err
	}
	c.out.banner("Creating route %s for org %s / space %s as %s...", a, sp.Org.Name, sp.Name, s.user)
	r, created, err := s.ensureRoute(ctx, sp, a, options)
	if err != nil {
		return err
	}
	if err := checkOptions(r, created, options); err != nil {
		return err
	}
	note := "Route " + r.URL + " has been created."
	if !created {
		note = "Route " + r.URL + " already exists."
	}
	return c.out.done("RouteChange", routeChange{r.URL, r.GUID, created}, note)
}

// ensureRoute returns the route at an address and makes it if need be.
func (s *session) ensureRoute(ctx context.Context, sp space, a address, options map[string]*string) (r v3.Route, created bool, err error) {
	r, ok, err := s.find(ctx, a)
	if err != nil || ok {
		return r, false, err
	}
	create := v3.RouteCreate{
		Options:       options,
		Relationships: v3.Relationships{"space": v3.To(sp.GUID), "domain": v3.To(a.domain.GUID)},
	}
	if a.host != "" {
		create.Host = &a.host
	}
	if a.path != "" {
		create.Path = &a.path
	}
	if r, err = s.CreateRoute(ctx, create); err == nil {
		return r, true, nil
	}
	if strings.Contains(err.Error(), "Route already exists") { // made by another meanwhile
		if r, ok, again := s.find(ctx, a); again == nil && ok {
			return r, false, nil
		}
	}
	return r, false, err
}

// checkOptions reports options asked for that a route from before does not have.
func checkOptions(r v3.Route, created bool, options map[string]*string) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if has, ok := r.Options[name]; !created && (!ok || has != *options[name]) {
			return withHint(usagef("route %s exists already, with another %s", r.URL, name), "its options are changed with weir update-route")
		}
	}
	return nil
}

// options reads --option NAME=VALUE.
func (c *call) options() (map[string]*string, error) {
	list := c.StringSlice("option")
	if len(list) == 0 {
		return nil, nil
	}
	options := map[string]*string{}
	for _, o := range list {
		name, value, ok := strings.Cut(o, "=")
		if !ok || name == "" {
			return nil, withHint(usagef("route option %q is not a name and a value", o), "write --option loadbalancing=least-connection")
		}
		options[name] = &value
	}
	return options, nil
}

func runDeleteRoute(ctx context.Context, c *call) error {
	s, a, r, ok, err := c.openRoute(ctx, 0)
	if err != nil {
		return err
	}
	if !ok {
		return c.out.done("RouteChange", routeChange{a.String(), "", false},
			strings.Replace(noRoute(a).Error(), " not found", " does not exist.", 1))
	}
	if !c.Bool("force") {
		if err := c.out.confirm(ctx, "-f", "Really delete the route %s?", r.URL); err != nil {
			return declined(c, err)
		}
	}
	c.out.banner("Deleting route %s as %s...", r.URL, s.user)
	job, err := s.DeleteRoute(ctx, r.GUID)
	if err == nil {
		err = s.waitJob(ctx, job)
	}
	if err != nil {
		return err
	}
	return c.out.done("RouteChange", routeChange{r.URL, r.GUID, true})
}

func runDeleteOrphanedRoutes(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	if !c.Bool("force") {
		if err := c.out.confirm(ctx, "-f", "Really delete the routes that lead nowhere?"); err != nil {
			return declined(c, err)
		}
	}
	job, err := s.DeleteUnmappedRoutes(ctx, sp.GUID)
	if err == nil {
		err = s.waitJob(ctx, job)
	}
	if err != nil {
		return err
	}
	return c.out.done("RouteCleanup", struct{}{})
}

func runCheckRoute(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	a, err := c.address(ctx, s, 0)
	if err != nil {
		return err
	}
	exists, err := s.CheckRoute(ctx, a.domain.GUID, a.host, a.path)
	if err != nil {
		return err
	}
	text := "Route '" + a.String() + "' does not exist."
	if exists {
		text = "Route '" + a.String() + "' does exist."
	}
	return c.out.print("RouteCheck", map[string]any{"route": a.String(), "exists": exists}, []string{fmt.Sprint(exists)}, func(p *page) {
		p.line(text)
		p.line("OK")
	})
}
