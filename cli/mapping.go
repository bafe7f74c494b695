package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func mapCommands() []*command {
	return []*command{
		{
			name: "map-route", args: "APP DOMAIN", category: catRoutes,
			usage: "let a route lead to an app",
			examples: []string{
				"map-route web apps.localhost -n live",
				"map-route web apps.localhost -n live --path /api",
				"map-route web-v2 apps.localhost -n live --weight 5",
				"map-route web-v3 apps.localhost -n live --shadow 7%",
			},
			about: "When it returns, the router sends requests there. Weights are shares: against another app of weight 95, " +
				"--weight 5 gets 5 of 100 requests; an app without one counts as 100; 0 gets no new request.\n\n" +
				"With --shadow the app's main version gets copies of that share of the requests that the route's other apps answer. " +
				"Its answers reach nobody and are compared with theirs: weir shadow APP --report. Mapping it again without --shadow " +
				"lets it answer, with another share changes that, and unmap-route ends it.\n\n" +
				"-o json, table and the like choose the output; -o NAME=VALUE sets a route option, as with cf: weir update-route --help lists them.",
			flags: append(addressFlags(), optionFlag(),
				&cli.IntFlag{Name: "weight", Usage: "share of the route's requests, `NUMBER` from 0 to 1000"},
				&cli.GenericFlag{Name: "shadow", Value: &percentFlag{}, Usage: "copies of `PERCENT` of the route's requests instead, of all without a number; its answers are compared"},
				&cli.StringFlag{Name: "app-protocol", Usage: "`PROTOCOL` the app speaks: http1 or http2"},
				&cli.StringFlag{Name: "process", Usage: "`TYPE` of the process", Value: "web"},
			),
			dashO: "option", run: runMapRoute,
		},
		{
			name: "unmap-route", args: "APP DOMAIN", category: catRoutes,
			usage: "take an app out of a route", examples: []string{"unmap-route web apps.localhost -n live", "unmap-route web-blue apps.localhost -n live --drain 60s"},
			about: "When it returns, the router sends no new request there; those on their way are finished. With --drain it also waits " +
				"until they are, so that the app can be stopped: until no request of the app is in flight, on other routes neither. " +
				"If there still are some after that time, it ends with 7, and they go on.",
			flags: append(addressFlags(),
				&cli.StringFlag{Name: "process", Usage: "`TYPE` of the process", Value: "web"},
				&cli.StringFlag{Name: "drain", Usage: "wait at most `TIME`, 1s to 10m, until the app has no request in flight: 60s"},
			),
			run: runUnmapRoute,
		},
		{
			name: "update-route", args: "DOMAIN", category: catRoutes,
			usage: "change the weights and options of a route at once",
			examples: []string{
				"update-route apps.localhost -n live --weight web-v1=95 --weight web-v2=5",
				"update-route apps.localhost -n live --option loadbalancing=least-connection",
				"update-route apps.localhost -n live -r loadbalancing",
				"update-route apps.localhost -n live -o timeout=2m -o max-body=20M",
				"update-route apps.localhost -n live -o basic-auth=ann:HASH",
			},
			topic: drawRouteOptions,
			about: "All weights given change in one step; apps not named keep theirs.\n\n" +
				"-o json, table and the like choose the output; -o NAME=VALUE sets a route option, as with cf.",
			flags: append(addressFlags(), optionFlag(),
				&cli.StringSliceFlag{Name: "weight", Usage: "`APP=NUMBER` from 0 to 1000; may be repeated"},
				&cli.StringSliceFlag{Name: "remove-option", Aliases: []string{"r"}, Usage: "remove the route option `NAME`; may be repeated"},
			),
			dashO: "option", run: runUpdateRoute,
		},
	}
}

// maxWeight is the largest weight.
const maxWeight = 1000

func checkWeight(n int) error {
	if n < 0 || n > maxWeight {
		return usagef("a weight is a number from 0 to %d, not %d", maxWeight, n)
	}
	return nil
}

// mapping is the result of map-route and unmap-route.
type mapping struct {
	App     string `json:"app"`
	Route   string `json:"route"`
	Weight  *int   `json:"weight"`        // null: none given, counts as 100
	Shadow  int    `json:"shadowPercent"` // of the requests that it gets copies of; 0: it is no shadow
	Changed bool   `json:"changed"`
	Drained *bool  `json:"drained"` // no request is in flight any more; null but with --drain
}

func runMapRoute(ctx context.Context, c *call) error {
	shadow := c.shadowPercent()
	if shadow > 0 && c.has("weight") {
		return usagef("--shadow and --weight exclude each other: a shadow gets copies, and no share of the requests")
	}
	var weight *int
	if c.has("weight") {
		n := c.Int("weight")
		if err := checkWeight(n); err != nil {
			return err
		}
		weight = &n
	}
	if p := c.String("app-protocol"); p != "" && p != "http1" && p != "http2" {
		return usagef("--app-protocol is http1 or http2, not %q", p)
	}
	options, err := c.options()
	if err != nil {
		return err
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	a, err := c.address(ctx, s, 1)
	if err != nil {
		return err
	}
	route, created, err := s.ensureRoute(ctx, sp, a, options)
	if err != nil {
		return err
	}
	if err := checkOptions(route, created, options); err != nil {
		return err
	}
	c.out.banner("Mapping route %s to app %s in org %s / space %s as %s...", route.URL, app.Name, sp.Org.Name, sp.Name, s.user)
	have, mapped := destination(route, app.GUID, c.String("process"))
	change, changes := c.destinationUpdate(have, weight, shadow)
	switch {
	case !mapped:
		err = c.addDestination(ctx, s, route, app, weight, shadow)
	case changes:
		_, err = s.UpdateDestination(ctx, route.GUID, have.GUID, change)
	default:
		return c.out.done("RouteMapping", mapping{App: app.Name, Route: route.URL, Weight: have.Weight, Shadow: have.ShadowPercent},
			fmt.Sprintf("App '%s' is already mapped to route '%s'. Nothing has been updated.", app.Name, route.URL))
	}
	if err != nil {
		return err
	}
	done := mapping{App: app.Name, Route: route.URL, Weight: weight, Shadow: shadow, Changed: true}
	switch {
	case shadow > 0:
		none := 0
		done.Weight = &none
		return c.out.done("RouteMapping", done, fmt.Sprintf("App '%s' gets copies of %d%% of the requests. weir shadow %s --report shows how its answers differ.", app.Name, shadow, app.Name))
	case weight == nil && mapped && !isShadow(have):
		done.Weight = have.Weight
	}
	return c.out.done("RouteMapping", done)
}

// isShadow reports whether a destination gets copies instead of requests.
func isShadow(d v3.Destination) bool { return d.Mode == v3.ModeShadow }

func (c *call) addDestination(ctx context.Context, s *session, route v3.Route, app v3.App, weight *int, shadow int) error {
	d := v3.DestinationInput{App: v3.DestinationAppInput{GUID: app.GUID}, Weight: weight}
	if shadow > 0 {
		d.Mode, d.ShadowPercent = v3.ModeShadow, shadow
	}
	if p := c.String("process"); p != "web" {
		d.App.Process = &v3.DestinationProcess{Type: p}
	}
	if p := c.String("app-protocol"); p != "" {
		d.Protocol = &p
	}
	_, err := s.AddDestinations(ctx, route.GUID, d)
	return err
}

// destinationUpdate returns what of a destination is to be otherwise, if
// anything is.
func (c *call) destinationUpdate(have v3.Destination, weight *int, shadow int) (change v3.DestinationUpdate, changes bool) {
	if shadow != have.ShadowPercent {
		mode := v3.ModeLive
		if shadow > 0 {
			mode = v3.ModeShadow
			change.ShadowPercent = &shadow
		}
		change.Mode, changes = &mode, true
	}
	if weight != nil && (isShadow(have) || weightOf(have) != *weight) {
		change.Weight, changes = v3.NullOf(*weight), true
	}
	if p := c.String("app-protocol"); p != "" && p != have.Protocol {
		change.Protocol, changes = &p, true
	}
	return change, changes
}

// destination finds the destination of a route that is a process of an app.
func destination(r v3.Route, app, process string) (v3.Destination, bool) {
	for _, d := range r.Destinations {
		if d.App.GUID == app && d.App.Process.Type == process {
			return d, true
		}
	}
	return v3.Destination{}, false
}

// maxUnmapDrain is as long as the server waits for requests to end.
const maxUnmapDrain = 600

func runUnmapRoute(ctx context.Context, c *call) error {
	wait := 0
	if c.has("drain") {
		var err error
		if wait, err = parseSeconds("--drain", c.String("drain")); err != nil {
			return err
		}
		if wait > maxUnmapDrain {
			return withHint(usagef("--drain %s is too long", c.String("drain")), "write at most 10m")
		}
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	a, err := c.address(ctx, s, 1)
	if err != nil {
		return err
	}
	route, ok, err := s.find(ctx, a)
	if err != nil {
		return err
	}
	if !ok {
		return noRoute(a)
	}
	c.out.banner("Removing route %s from app %s in org %s / space %s as %s...", route.URL, app.Name, sp.Org.Name, sp.Name, s.user)
	have, mapped := destination(route, app.GUID, c.String("process"))
	result, notes := mapping{App: app.Name, Route: route.URL, Changed: mapped}, []string{}
	if mapped {
		if err := s.DeleteDestination(ctx, route.GUID, have.GUID); err != nil {
			return err
		}
	} else {
		notes = append(notes, "Route to be unmapped is not currently mapped to the application.")
	}
	if wait > 0 {
		if result.Drained, err = s.drained(ctx, app, route, wait); err != nil {
			return err
		}
		notes = append(notes, "No request of "+app.Name+" is in flight any more.")
	}
	return c.out.done("RouteMapping", result, notes...)
}

// drained waits until no request of an app is in flight.
func (s *session) drained(ctx context.Context, app v3.App, route v3.Route, seconds int) (*bool, error) {
	s.out.setStatus("Waiting for the requests of %s that are on their way…", app.Name)
	defer s.out.clearStatus()
	t, err := s.UpdateAppTraffic(ctx, app.GUID, v3.AppTrafficUpdate{WaitDrained: seconds})
	switch {
	case ctx.Err() != nil:
		return nil, newFailure(exitInterrupted, "interrupted", "route "+route.URL+" does not lead to "+app.Name+" any more; stopped waiting for the requests on their way", "")
	case err != nil:
		return nil, err
	case t.Drained == nil || !*t.Drained:
		return nil, newFailure(exitTimedOut, "timed-out", fmt.Sprintf("route %s does not lead to %s any more, but after %ds there still are requests on their way", route.URL, app.Name, seconds),
			"they go on; those of other routes of "+app.Name+" count as well: weir app "+app.Name+" shows them")
	}
	return t.Drained, nil
}

func runUpdateRoute(ctx context.Context, c *call) error {
	options, err := c.options()
	if err != nil {
		return err
	}
	for _, name := range c.StringSlice("remove-option") {
		if options == nil {
			options = map[string]*string{}
		}
		options[name] = nil
	}
	weights, err := c.weights()
	if err != nil {
		return err
	}
	if options == nil && len(weights) == 0 {
		return withHint(usagef("nothing to change"), "give --weight APP=NUMBER, --option NAME=VALUE or -r NAME")
	}
	s, a, route, ok, err := c.openRoute(ctx, 0)
	if err != nil {
		return err
	}
	if !ok {
		return noRoute(a)
	}
	sp, err := s.space(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Updating route %s in org %s / space %s as %s...", route.URL, sp.Org.Name, sp.Name, s.user)
	if len(weights) > 0 {
		if err := s.setWeights(ctx, sp, route, weights); err != nil {
			return err
		}
	}
	for name, value := range options {
		if _, has := route.Options[name]; value == nil && !has {
			c.out.warn("route %s has no option %q to remove", route.URL, name)
		}
	}
	if options != nil {
		if _, err := s.UpdateRoute(ctx, route.GUID, v3.RouteUpdate{Options: options}); err != nil {
			return err
		}
	}
	if route, err = s.Route(ctx, route.GUID); err != nil {
		return err
	}
	return s.showRoute(ctx, route)
}

// weights reads --weight APP=NUMBER.
func (c *call) weights() (map[string]int, error) {
	weights := map[string]int{}
	for _, w := range c.StringSlice("weight") {
		name, number, ok := strings.Cut(w, "=")
		n, err := strconv.Atoi(strings.TrimSuffix(number, "%"))
		if !ok || name == "" || err != nil {
			return nil, withHint(usagef("--weight %q is not an app and a number", w), "write --weight web-v2=5")
		}
		if err := checkWeight(n); err != nil {
			return nil, err
		}
		weights[name] = n
	}
	return weights, nil
}

// setWeights replaces the destinations of a route by the same ones with the
// given weights: one change of the route table.
func (s *session) setWeights(ctx context.Context, sp space, route v3.Route, weights map[string]int) error {
	byGUID := map[string]int{}
	for name, n := range weights {
		app, err := s.app(ctx, sp, name)
		if err != nil {
			return err
		}
		switch d, ok := destination(route, app.GUID, "web"); {
		case !ok:
			return notFound(fmt.Sprintf("weir map-route %s … --weight %d", name, n), "route %s does not lead to app '%s'", route.URL, name)
		case isShadow(d):
			return withHint(usagef("app '%s' is a shadow on route %s, which has no weight", name, route.URL), fmt.Sprintf("weir map-route %s … --weight %d lets it answer", name, n))
		}
		byGUID[app.GUID] = n
	}
	all := make([]v3.DestinationInput, len(route.Destinations))
	for i, d := range route.Destinations {
		all[i] = v3.DestinationInput{
			App:    v3.DestinationAppInput{GUID: d.App.GUID, Process: &v3.DestinationProcess{Type: d.App.Process.Type}},
			Weight: d.Weight, Port: &d.Port, Protocol: &d.Protocol, Mode: d.Mode, ShadowPercent: d.ShadowPercent,
		}
		if n, ok := byGUID[d.App.GUID]; ok && d.App.Process.Type == "web" {
			all[i].Weight = &n
		}
	}
	_, err := s.ReplaceDestinations(ctx, route.GUID, all...)
	return err
}
