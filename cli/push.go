package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func pushCommands() []*command {
	return []*command{{
		name: "push", aliases: []string{"p"}, args: "[APP]", category: catStart,
		usage: "upload, build and run an app",
		examples: []string{
			"push hello                                     # the current directory",
			"push hello -p ./dir                            # or app.zip, app.tar.gz",
			"push hello --ref v1.2                          # this repository at a tag, branch or commit",
			"push hello --git https://example.com/hello.git --ref main",
			"push hello -m 256M -i 2 -n www --env MODE=live",
			"push hello --version v2 --no-traffic           # beside what runs; weir assign hello v2 -y switches",
			"push hello --version 2.0.0 --shadow 20%        # gets copies, answers nobody",
			"push hello --version 2.0.0 --shadow --except-paths /login --ignore '$.ts'",
			"push hello --version v2 --strategy canary --steps 5,25,100 --bake 5m",
			"push -f manifest.yml --var domain=example.com  # all apps of a manifest",
		},
		about: "Detects the language, builds, starts and waits until the app is healthy. A running app goes on serving " +
			"until its new version is, and keeps serving if that never happens (exit code 6).\n\n" +
			"Ctrl-C stops watching, not the work: weir push APP --attach goes on from there.\n\n" +
			"Without APP and without a manifest the name of the directory is used. A manifest.yml in the current " +
			"directory is used unless --no-manifest is given; with --ref the one in that commit. Files listed in " +
			".cfignore and .weirignore stay here.",
		flags: pushFlags(),
		run:   runPush,
	}}
}

func pushFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "path", Aliases: []string{"p"}, Usage: "`DIR` or archive (zip, tar, tar.gz, tar.zst) to push"},
		&cli.StringFlag{Name: "ref", Usage: "push the commit that `REF` (tag, branch, commit) names, whatever the working tree holds"},
		&cli.StringFlag{Name: "git", Usage: "let the server fetch the repository at `URL`; --ref chooses the commit"},
		&cli.StringFlag{Name: "manifest", Aliases: []string{"f"}, Usage: "`FILE` that describes one or more apps"},
		&cli.BoolFlag{Name: "no-manifest", Usage: "ignore manifest.yml"},
		&cli.StringSliceFlag{Name: "var", Usage: "`NAME=VALUE` for ((NAME)) in the manifest; may be repeated"},
		&cli.StringSliceFlag{Name: "vars-file", Usage: "YAML `FILE` with values for the manifest; may be repeated"},
		&cli.StringSliceFlag{Name: "buildpack", Aliases: []string{"b"}, Usage: "`BUILDPACK` by name, git URL or directory; may be repeated; \"default\" detects again"},
		&cli.StringFlag{Name: "start-command", Aliases: []string{"c"}, Usage: "`COMMAND` to start the app with; \"default\" for the buildpack's"},
		&cli.IntFlag{Name: "instances", Aliases: []string{"i"}, Usage: "`NUMBER` of instances"},
		&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "memory limit of an instance, `SIZE` such as 256M or 1G"},
		&cli.StringFlag{Name: "disk", Aliases: []string{"k"}, Usage: "disk limit of an instance, `SIZE`"},
		&cli.StringFlag{Name: "log-rate-limit", Aliases: []string{"l"}, Usage: "log bytes per second of an instance, `SIZE` such as 16K; -1 for no limit"},
		&cli.StringFlag{Name: "app-start-timeout", Aliases: []string{"t"}, Usage: "`TIME` an instance may take to get healthy: seconds, or 90s, 2m"},
		&cli.StringFlag{Name: "health-check-type", Aliases: []string{"u"}, Usage: "`TYPE` of health check: port, http or process"},
		&cli.StringFlag{Name: "endpoint", Usage: "`PATH` that the http health check asks for"},
		&cli.StringFlag{Name: "stack", Aliases: []string{"s"}, Usage: "`STACK` to run on"},
		&cli.StringFlag{Name: "hostname", Aliases: []string{"n"}, Usage: "`HOST` of the app's route"},
		&cli.StringFlag{Name: "domain", Aliases: []string{"d"}, Usage: "`DOMAIN` of the app's route"},
		&cli.BoolFlag{Name: "no-route", Usage: "map no route, and remove those there are"},
		&cli.BoolFlag{Name: "random-route", Usage: "map a route with a made-up host"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set the environment variable `NAME=VALUE`; may be repeated"},
		&cli.StringFlag{Name: "droplet", Usage: "push the droplet in `FILE`, without a build"},
		&cli.BoolFlag{Name: "no-start", Usage: "upload only; neither build nor start"},
		&cli.BoolFlag{Name: "no-wait", Usage: "do not wait until the app is healthy"},
		&cli.StringFlag{Name: "strategy", Usage: "`STRATEGY` of the move: rolling (default) or canary as with cf, or a rollout: canary with --steps, blue-green, linear, rings, shadow, all-at-once, canary-10-5m, linear-10-1m"},
		&cli.IntFlag{Name: "max-in-flight", Usage: "`NUMBER` of instances replaced at once"},
		&cli.StringFlag{Name: "instance-steps", Usage: "canary steps in percent of the instances, `LIST` such as 20,50"},
		&cli.StringFlag{Name: "version", Usage: "call the version `LABEL`: v2, 2.0.0; without it \"v\" and the number of its revision"},
		&cli.BoolFlag{Name: "no-traffic", Usage: "start it beside the main version, without requests but those under its own address"},
		&cli.GenericFlag{Name: "shadow", Value: &percentFlag{}, Usage: "start it as a shadow that gets copies of `PERCENT` of the requests, of all without a number"},
		&cli.IntFlag{Name: "weight", Usage: "start it beside the main version with this share of the requests, `NUMBER` from 0 to 1000"},
		&cli.BoolFlag{Name: "replace", Usage: "take a version of that label away first, if it gets no requests"},
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask before requests that change things are copied to a shadow"},
		&cli.BoolFlag{Name: "attach", Usage: "go on with a push of APP that was interrupted"},
		&cli.DurationFlag{Name: "wait-timeout", Usage: "give up waiting after `TIME` (exit code 7); the work goes on", Value: defaultWait},
		&cli.StringFlag{Name: "docker-image", Hidden: true},
	}, copyFlags(), rolloutFlags())
}

const defaultWait = 20 * time.Minute

// pushed is the result of pushing one app.
type pushed struct {
	App        appView    `json:"app"`
	Upload     uploadView `json:"upload"`
	Package    string     `json:"package"`    // GUID; "" with --droplet and --attach
	Build      string     `json:"build"`      // GUID; "" if none was needed
	Droplet    string     `json:"droplet"`    // GUID
	Deployment string     `json:"deployment"` // GUID; "" with --no-start
	Rollout    string     `json:"rollout"`    // GUID; "" unless it came in judged steps
	Commit     string     `json:"commit"`     // that was pushed; "" for a directory
	Seconds    float64    `json:"seconds"`
	// Version is the one that stands beside the main one; null for a push that
	// brought the main one itself.
	Version *versionRow `json:"version"`
}

// uploadView says what went over the wire.
type uploadView struct {
	Files        int   `json:"files"`
	Bytes        int64 `json:"bytes"` // uncompressed
	MatchedFiles int   `json:"matchedFiles"`
	MatchedBytes int64 `json:"matchedBytes"`
}

func runPush(ctx context.Context, c *call) error {
	if err := c.checkPushFlags(); err != nil {
		return err
	}
	if o, err := c.copyOptions(v3.ShadowOptions{}); err != nil {
		return err
	} else if o != nil && !c.Bool("yes") {
		if err := c.confirmCopies(ctx, *o, cmp.Or(c.String("version"), "the shadow")); err != nil {
			return declined(c, err)
		}
	}
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	var results []pushed
	if c.Bool("attach") {
		p := newPush(c, s, sp, c.arg(0), "push")
		err = p.interruptible(ctx, p.attach)
		results = append(results, p.result)
	} else {
		results, err = c.pushAll(ctx, s, sp)
	}
	if err != nil {
		return err
	}
	var names []string
	for _, r := range results {
		urls := r.App.URLs
		if r.Version != nil {
			urls = r.Version.URLs
		}
		names = append(names, append(slices.Clone(urls), r.App.Name)[0])
	}
	return c.out.print("Push", map[string]any{"apps": results}, names, func(p *page) {
		for i, r := range results {
			if i > 0 {
				p.blank()
			}
			if r.Version != nil {
				drawVersions(p, []versionRow{*r.Version})
				continue
			}
			r.App.draw(p)
			if len(r.App.URLs) > 0 && r.App.State == "started" {
				p.blank()
				for _, u := range r.App.URLs {
					p.line(p.paint(green, u))
				}
			}
		}
	})
}

// checkPushFlags refuses what contradicts itself before anything is done.
func (c *call) checkPushFlags() error {
	for _, pair := range [][2]string{
		{"git", "path"},
		{"git", "droplet"},
		{"path", "droplet"},
		{"ref", "droplet"},
		{"no-route", "hostname"},
		{"no-route", "domain"},
		{"no-route", "random-route"},
		{"random-route", "hostname"},
		{"no-start", "no-wait"},
		{"no-start", "strategy"},
		{"manifest", "no-manifest"},
		{"attach", "no-start"},
	} {
		if c.has(pair[0]) && c.has(pair[1]) {
			return usagef("--%s and --%s exclude each other", pair[0], pair[1])
		}
	}
	switch {
	case c.has("docker-image"):
		return withHint(usagef("weir does not run container images"), "push the source: weir push APP -p DIR")
	case c.Bool("attach") && c.arg(0) == "":
		return usagef("--attach needs the name of the app")
	case c.has("instance-steps") && c.String("strategy") != "canary":
		return usagef("--instance-steps needs --strategy canary")
	case c.Int("instances") < 0:
		return usagef("--instances must not be negative")
	}
	if t := c.String("health-check-type"); t != "" && !slices.Contains(checkTypes, t) {
		return withHint(usagef("there is no health check of type %q", t), "choose port, http or process")
	}
	for _, e := range c.StringSlice("env") {
		name, _, ok := strings.Cut(e, "=")
		if !ok {
			return withHint(usagef("--env %q is not a name and a value", e), "write --env NAME=VALUE")
		}
		if err := checkEnvName(name); err != nil {
			return err
		}
	}
	if err := c.checkVersionFlags(); err != nil {
		return err
	}
	_, err := c.strategy()
	return err
}

// pushAll pushes every app of the plan, one after the other.
func (c *call) pushAll(ctx context.Context, s *session, sp space) ([]pushed, error) {
	plan, err := c.plan(ctx, s, sp)
	if err != nil {
		return nil, err
	}
	defer plan.close()
	c.out.banner("Pushing %s to org %s / space %s as %s...", strings.Join(plan.manifest.names(), ", "), sp.Org.Name, sp.Name, s.user)
	c.planRollsOut(plan)
	for _, item := range plan.apps {
		if err := c.placeItem(ctx, s, sp, plan, item); err != nil {
			return nil, err
		}
	}
	if err := c.apply(ctx, s, sp, plan); err != nil {
		return nil, err
	}
	c.warnAll(plan.notes)
	var results []pushed
	for i, item := range plan.apps {
		p := c.pushOf(s, sp, item)
		work := p.whole
		if item.beside {
			work = p.besideMain
		}
		if err := p.interruptible(ctx, work); err != nil {
			for _, left := range plan.apps[i+1:] {
				c.out.warn("%s was not pushed", left.name)
			}
			return append(results, p.result), err
		}
		results = append(results, p.result)
	}
	return results, nil
}

// pushOf begins with the push of an app of the plan.
func (c *call) pushOf(s *session, sp space, item *pushItem) *push {
	c.manifestRolls = item.rolls
	p := newPush(c, s, sp, item.name, "push")
	p.item = item
	return p
}

// placeItem finds out whether an app of the plan gets a version beside its main
// one, and refuses what cannot be now, before anything is changed or built.
func (c *call) placeItem(ctx context.Context, s *session, sp space, plan *pushPlan, item *pushItem) (err error) {
	p := c.pushOf(s, sp, item)
	if c.beside() {
		if item.beside, err = p.standsBeside(ctx); err != nil {
			return err
		}
	}
	switch {
	case item.beside && len(plan.apps) == 1:
		return nil // its plan is looked at next
	case item.beside:
		app, err := p.app(ctx, sp, item.name)
		if err != nil {
			return err
		}
		return p.checkPlan(ctx, app)
	case c.beside() && len(plan.apps) == 1:
		c.out.step("%s is the first version of the app, so it is the main one", cmp.Or(c.String("version"), "This"))
	case c.beside():
		c.out.step("The first version of %s is the main one", item.name)
	}
	return s.checkIdle(ctx, sp, item.name)
}

func (c *call) warnAll(notes []string) {
	for _, note := range notes {
		c.out.warn("%s", note)
	}
}

// apply sends the manifest and waits until the server has done what it says.
// What it says of an app that gets a version beside its main one is for that
// version alone.
func (c *call) apply(ctx context.Context, s *session, sp space, plan *pushPlan) error {
	m := manifest{path: plan.manifest.path}
	for _, item := range plan.apps {
		if !item.beside {
			m.apps = append(m.apps, item.entry)
		}
	}
	if len(m.apps) == 0 {
		return nil
	}
	yml, err := m.encode()
	if err != nil {
		return err
	}
	job, err := s.ApplyManifest(ctx, sp.GUID, yml)
	if err == nil {
		var done v3.Job
		done, err = persist(ctx, func(ctx context.Context) (v3.Job, error) { return s.WaitJob(ctx, job) })
		for _, w := range done.Warnings {
			c.out.warn("%s", w.Detail)
		}
	}
	if err != nil && plan.manifest.path != "" && asFailure(err).exit == exitFailed && asFailure(err).code != "unreachable" {
		return manifestError(plan.manifest.path, err)
	}
	return err
}

// push is one app on its way to running something new: by a push, or by a
// start, restart, restage or rollback, which share its later steps.
type push struct {
	*session
	c      *call
	space  space
	name   string
	verb   string    // "push", "restart" …
	item   *pushItem // nil with --attach
	began  time.Time
	result pushed
	// lifecycle is how to build, if not as the app is set up.
	lifecycle *v3.LifecycleInput
	// state says what stands on the server now, and hint how to go on, should
	// the push be interrupted.
	state, hint string
}

func newPush(c *call, s *session, sp space, name, verb string) *push {
	return &push{session: s, c: c, space: sp, name: name, verb: verb, began: time.Now()}
}

// at notes how far the push is.
func (p *push) at(state, hint string) { p.state, p.hint = state, hint }

// interruptible runs work; when that ends because of Ctrl-C it explains what
// goes on without us.
func (p *push) interruptible(ctx context.Context, work func(context.Context) error) error {
	p.at("nothing was changed", "weir "+p.verb+" "+p.name+" begins again")
	err := work(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &failure{
		exit: exitInterrupted, code: "interrupted", err: err, hint: p.hint,
		msg: fmt.Sprintf("stopped watching the %s of %s: %s", p.verb, p.name, p.state),
	}
}

func (p *push) reattach() string { return "weir push " + p.name + " --attach goes on watching" }

// whole is a push from beginning to end.
func (p *push) whole(ctx context.Context) error {
	app, err := p.app(ctx, p.space, p.name)
	if err != nil {
		return err
	}
	p.at("the app's settings are applied, nothing was uploaded", "weir push "+p.name+" begins again")
	if err := p.checkPlan(ctx, app); err != nil {
		return err
	}
	if p.item.droplet != "" {
		if err := p.uploadDroplet(ctx, app); err != nil {
			return err
		}
		return p.run(ctx, app)
	}
	if err := p.upload(ctx, app); err != nil {
		return err
	}
	if p.c.Bool("no-start") {
		if app.State == v3.AppStarted {
			if _, err := p.StopApp(ctx, app.GUID); err != nil {
				return err
			}
		}
		return p.finish(ctx, app)
	}
	p.at("its files are uploaded, nothing was built", "weir restage "+p.name+" builds and starts them")
	if err := p.stage(ctx, app, p.result.Package); err != nil {
		return err
	}
	return p.run(ctx, app)
}

// attach goes on with a push whose watcher went away: it waits for the newest
// build, makes its droplet run, and waits for that.
func (p *push) attach(ctx context.Context) error {
	app, err := p.app(ctx, p.space, p.name)
	if err != nil {
		return err
	}
	p.at("it goes on", p.reattach())
	build, ok, err := p.newestBuild(ctx, app.GUID)
	if err != nil {
		return err
	}
	moving, moves, err := p.MovingDeployment(ctx, app.GUID)
	switch {
	case err != nil:
		return err
	case moves:
		p.c.out.step("App %s is on its way", app.Name)
		p.result.Droplet = guidOf(moving.Droplet)
		return p.await(ctx, app, moving.GUID)
	case !ok:
		return notFound("weir push "+app.Name, "there is no push of %s to go on with", app.Name)
	}
	if err := p.watchBuild(ctx, app, build); err != nil {
		return err
	}
	current, err := p.CurrentDroplet(ctx, app.GUID)
	if err == nil && current.GUID == p.result.Droplet && app.State == v3.AppStarted {
		p.c.out.step("App %s runs the newest build already", app.Name)
		return p.finish(ctx, app)
	}
	return p.run(ctx, app)
}

func guidOf(r *v3.Ref) string {
	if r == nil {
		return ""
	}
	return r.GUID
}

// finish gathers the result.
func (p *push) finish(ctx context.Context, app v3.App) error {
	v, err := p.view(ctx, p.space, app.GUID)
	p.result.App = v
	p.result.Seconds = float64(time.Since(p.began).Milliseconds()) / 1000
	return err
}
