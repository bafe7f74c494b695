package cli

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func weightCommands() []*command {
	return []*command{
		{
			name: "weight", args: "APP:VERSION=WEIGHT...", category: catVersions,
			usage: "share the requests of an app out among its versions",
			examples: []string{
				"weight api:v1=95 api:v2=5",
				"weight api:v2 5%                # the others share 95% as they do now",
				"weight api:v1 80",
				"weight api:v2=5% --dry-run",
			},
			about: "Weights are relative: 95 and 5 mean the same as 950 and 50. 0 means no new request; the version keeps " +
				"running. All weights given change in one step, and when the command returns the router runs them. Versions " +
				"not named keep their weight, or with percentages their ratio. A version that gets everything becomes the main one.",
			flags: trafficFlags(), run: runWeight,
		},
		{
			name: "move-traffic", args: "APP", category: catVersions,
			usage:    "give one version the requests of another",
			examples: []string{"move-traffic api --from v1 --to v2", "move-traffic api --from v1 --to v2 --over 10m", "move-traffic api --from v1 --to v2 --dry-run"},
			about: "tenement's weir route api --from v1 --to v2 means the same. One change of the route table: the share of --from goes to --to, what other versions get stays.\n\n" +
				"With --over it takes that long, from the main version to one that runs beside it: a rollout of up to 19 even steps, which the server goes on with " +
				"when nobody watches. It waits for no usage, but the judge looks on and takes all requests back if --to is worse (exit code 6). weir rollout pause, promote, " +
				"abort and why are for it as for any other; both versions run on afterwards.",
			flags: append(moveTrafficFlags(), trafficFlags()...), run: runMoveTraffic,
		},
	}
}

func moveTrafficFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "the `VERSION` that gets none any more"},
		&cli.StringFlag{Name: "to", Usage: "the `VERSION` that gets them"},
		&cli.DurationFlag{Name: "over", Usage: "move them bit by bit within `TIME`, 5s to 24h, such as 10m"},
		&cli.BoolFlag{Name: "no-wait", Usage: "with --over: do not wait until they have moved"},
	}
}

// weightArg is a weight as it is typed.
type weightArg struct {
	label   string
	weight  int     // unless percent
	share   float64 // of 100
	percent bool
}

// parseWeights reads "api:v1=95 api:v2=5", "api:v1 80", and "api v1=95 v2=5".
func parseWeights(args []string) (app string, weights []weightArg, err error) {
	bad := func(format string, a ...any) (string, []weightArg, error) {
		return "", nil, withHint(usagef(format, a...), "write weir weight api:v1=95 api:v2=5, or weir weight api:v2 5%")
	}
	for i := 0; i < len(args); i++ {
		ref, value, ok := strings.Cut(args[i], "=")
		name, label, isRef := strings.Cut(ref, ":")
		switch {
		case !isRef && !ok && i == 0:
			app = name
			continue
		case !isRef:
			name, label = app, ref
		}
		if !ok {
			if i++; i == len(args) {
				return bad("%s lacks its weight", ref)
			}
			value = args[i]
		}
		if name == "" || label == "" {
			return bad("%q names no version of an app", args[i])
		}
		if app != "" && name != app {
			return bad("%s and %s are two apps: one change is for one", app, name)
		}
		app = name
		w, err := parseWeight(value)
		if err != nil {
			return "", nil, err
		}
		w.label = label
		if slices.ContainsFunc(weights, func(o weightArg) bool { return strings.EqualFold(o.label, label) }) {
			return bad("version %s is given twice", label)
		}
		weights = append(weights, w)
	}
	if len(weights) == 0 {
		return bad("there is no weight to set")
	}
	for _, w := range weights {
		if w.percent != weights[0].percent {
			return bad("weights and percentages cannot be mixed")
		}
	}
	return app, weights, nil
}

func parseWeight(s string) (weightArg, error) {
	if number, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || !(f >= 0 && f <= 100) {
			return weightArg{}, usagef("%q is no percentage from 0%% to 100%%", s)
		}
		return weightArg{share: f, percent: true}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return weightArg{}, withHint(usagef("%q is no weight", s), "write a number from 0 to 1000, or a percentage such as 5%")
	}
	return weightArg{weight: n}, checkWeight(n)
}

func runWeight(ctx context.Context, c *call) error {
	app, args, err := parseWeights(c.args)
	if err != nil {
		return err
	}
	s, sp, f, err := c.openFleet(ctx, app)
	if err != nil {
		return err
	}
	change := v3.SplitUpdate{Weights: map[string]int{}, Verb: "weight", TrafficOptions: c.trafficOptions()}
	if args[0].percent {
		if change.IfTable == 0 { // what the others get depends on what they have
			split, err := s.Split(ctx, f.app.GUID)
			if err != nil {
				return err
			}
			change.IfTable = split.Table
			if f, err = s.fleet(ctx, sp, app); err != nil {
				return err
			}
		}
		if change.Weights, err = f.percentages(args); err != nil {
			return err
		}
	}
	for _, a := range args {
		if a.percent {
			break
		}
		v, err := f.find(a.label)
		if err != nil {
			return err
		}
		change.Weights[v.GUID] = a.weight
	}
	c.out.banner("Setting weights of app %s in org %s / space %s as %s...", f.app.Name, sp.Org.Name, sp.Name, s.user)
	t, err := s.SetSplit(ctx, f.app.GUID, change)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(t.Versions, func(x v3.VersionChange) bool { return x.After.Weight > 0 && x.After.Mode != v3.ModeShadow }) {
		c.out.warn("with these weights no version of %s gets requests: they are answered 503", f.app.Name)
	}
	for _, v := range f.versions {
		if change.Weights[v.GUID] > 0 && v.Mode == v3.ModeLive {
			c.warnNotReady(f, v)
		}
	}
	return c.showTraffic(t, f.app.Name)
}

// warnNotReady says what becomes of the requests of a version that has a share
// and no instance for them.
func (c *call) warnNotReady(f fleet, v v3.Version) {
	if v.Instances.Ready > 0 {
		return
	}
	c.out.warn("version %s has no instance that is ready: until it has one the others with a share get its requests, or they are answered 503; weir versions %s shows why, weir logs %s what it says",
		v.Label, f.app.Name, f.ref(v))
}

// perMille is what weights that come of percentages add up to.
const perMille = 1000

// percentages turns shares in percent into weights of all versions that share
// the requests: those not named divide the rest in their present ratio.
func (f fleet) percentages(args []weightArg) (map[string]int, error) {
	weights, rest := map[string]int{}, perMille
	for _, a := range args {
		v, err := f.find(a.label)
		if err != nil {
			return nil, err
		}
		w := int(math.Round(a.share * perMille / 100))
		if w == 0 && a.share > 0 {
			return nil, usagef("%g%% is less than the smallest share, 0.1%%", a.share)
		}
		weights[v.GUID] = w
		rest -= w
	}
	if rest < 0 {
		return nil, usagef("the percentages add up to more than 100%%")
	}
	var others []v3.Version
	total := 0
	for _, v := range f.versions {
		if _, named := weights[v.GUID]; !named && v.Mode == v3.ModeLive && v.State != v3.AppStopped && v.Weight > 0 {
			others = append(others, v)
			total += v.Weight
		}
	}
	if total == 0 && rest > 0 {
		return nil, withHint(usagef("%s%% would be for nobody: no other version of %s has a share", strconv.FormatFloat(float64(rest)*100/perMille, 'g', -1, 64), f.app.Name),
			"name another version too, or give a weight without %")
	}
	given := 0
	for i, v := range others {
		// Each gets what is due to all up to it, less what those before it got.
		total -= v.Weight
		w := rest - given
		if i < len(others)-1 {
			w = int(math.Round(float64(rest-given) * float64(v.Weight) / float64(v.Weight+total)))
		}
		weights[v.GUID] = w
		given += w
	}
	return weights, nil
}

// moveTraffic gives the share of one version to another: tenement's route.
func runMoveTraffic(ctx context.Context, c *call) error {
	from, to := c.String("from"), c.String("to")
	name, _ := splitRef(c.arg(0))
	if from == "" || to == "" {
		return withHint(usagef("--from and --to are both needed"), "weir move-traffic "+name+" --from v1 --to v2")
	}
	d, err := c.over()
	if err != nil {
		return err
	}
	s, sp, f, err := c.openFleet(ctx, name)
	if err != nil {
		return err
	}
	old, err := f.find(trimRef(name, from))
	if err != nil {
		return err
	}
	next, err := f.find(trimRef(name, to))
	if err != nil {
		return err
	}
	if old.GUID == next.GUID {
		return usagef("--from and --to are the same version")
	}
	if next.Instances.Ready == 0 {
		return refusedf("weir versions "+name+" shows why", "version %s of %s has no instance that is ready", next.Label, name)
	}
	c.out.banner("Moving traffic of app %s in org %s / space %s as %s...", name, sp.Org.Name, sp.Name, s.user)
	if d > 0 {
		return c.moveOver(ctx, s, f, old, next, d)
	}
	t, err := s.SetSplit(ctx, f.app.GUID, v3.SplitUpdate{
		Weights: map[string]int{old.GUID: 0, next.GUID: f.movedWeight(old, next)}, Verb: "route", TrafficOptions: c.trafficOptions(),
	})
	if err != nil {
		return err
	}
	return c.showTraffic(t, f.app.Name)
}

// movedWeight is what a version has after it got the share of another: both
// together or, if nobody else gets anything, 100 as in tenement.
func (f fleet) movedWeight(from, to v3.Version) int {
	others := slices.ContainsFunc(f.versions, func(v v3.Version) bool {
		return v.GUID != from.GUID && v.GUID != to.GUID && v.SharePercent > 0
	})
	if w := from.Weight + to.Weight; others && w > 0 {
		return min(w, maxWeight)
	}
	return defaultWeight
}

// trimRef lets a version be written as app:version where the app is known.
func trimRef(app, s string) string { return strings.TrimPrefix(s, app+":") }
