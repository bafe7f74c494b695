package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

// moveFlags are those of all commands that bring new instances up.
func moveFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "no-wait", Usage: "do not wait until the app is healthy"},
		&cli.StringFlag{Name: "strategy", Usage: "`STRATEGY` of the move: rolling (default) or canary"},
		&cli.IntFlag{Name: "max-in-flight", Usage: "`NUMBER` of instances replaced at once"},
		&cli.StringFlag{Name: "instance-steps", Usage: "canary steps in percent of the instances, `LIST` such as 20,50"},
		&cli.DurationFlag{Name: "wait-timeout", Usage: "give up waiting after `TIME` (exit code 7); the work goes on", Value: defaultWait},
	}
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Aliases: []string{"f", "y", "yes"}, Usage: "do not ask"}
}

func lifecycleCommands() []*command {
	return []*command{
		{
			name: "start", aliases: []string{"st"}, args: "APP [VERSION]", category: catApps,
			usage: "start an app, or a version that was stopped", examples: []string{"start hello", "start hello v2", "start hello:v2"},
			flags: moveFlags(), run: runStart,
		},
		{
			name: "stop", aliases: []string{"sp"}, args: "APP [VERSION]", category: catApps,
			usage: "stop an app, or a version of it that is not the main one", examples: []string{"stop hello", "stop hello v2", "stop hello:v2 -f"},
			about: "A version that gets requests is refused (exit code 4) unless -f is given.",
			flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f", "y", "yes"}, Usage: "even if the version gets requests"}},
			run:   runStop,
		},
		{
			name: "restart", aliases: []string{"rs"}, args: "APP [VERSION]", category: catApps,
			usage: "replace the instances of an app by new ones", examples: []string{"restart hello", "restart hello v2", "restart hello:v2"},
			about: "The new instances take over before the old ones stop: no request fails. A version that is not the main one is " +
				"stopped and started; others get its requests meanwhile.",
			flags: moveFlags(), run: runRestart,
		},
		{
			name: "restage", aliases: []string{"rg"}, args: "APP", category: catApps,
			usage: "build an app again from its newest package", examples: []string{"restage hello"},
			about: "Buildpacks and the build's environment are those of now. The app goes on serving until the new build does.",
			flags: moveFlags(), run: runRestage,
		},
		{
			name: "restart-app-instance", args: "APP INDEX", category: catApps,
			usage: "stop one instance, to be started anew", examples: []string{"restart-app-instance hello 0"},
			flags: []cli.Flag{&cli.StringFlag{Name: "process", Usage: "`TYPE` of the process", Value: "web"}},
			run:   runRestartInstance,
		},
		{
			name: "rename", args: "APP NEW_NAME", category: catApps,
			usage: "rename an app", examples: []string{"rename hello hello-old"},
			about: "Its routes stay as they are.", run: runRename,
		},
		{
			name: "delete", aliases: []string{"d"}, args: "APP", category: catApps,
			usage: "delete an app", examples: []string{"delete hello", "delete hello -r -f"},
			flags: []cli.Flag{forceFlag(), &cli.BoolFlag{Name: "routes", Aliases: []string{"r"}, Usage: "delete its routes too"}},
			run:   runDelete,
		},
	}
}

// appAction is the result of commands that do one thing to an app.
type appAction struct {
	App     string `json:"app"`
	GUID    string `json:"guid"`
	State   string `json:"state,omitempty"`
	Changed bool   `json:"changed"`
}

func runStart(ctx context.Context, c *call) error {
	if s, f, v, ok, err := c.onlyVersion(ctx); ok {
		return c.startVersion(ctx, s, f, v, err)
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Starting app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	if app.State == v3.AppStarted {
		return c.out.done("AppAction", appAction{app.Name, app.GUID, "started", false}, "App '"+app.Name+"' is already started.")
	}
	return c.move(ctx, s, sp, app, "start", func(ctx context.Context, p *push) error {
		_, err := s.CurrentDroplet(ctx, app.GUID)
		if client.IsNotFound(err) { // uploaded and never built
			if err := p.buildNewest(ctx, app); err != nil {
				return err
			}
			return p.run(ctx, app)
		}
		if err != nil {
			return err
		}
		_, deployment, err := s.StartApp(ctx, app.GUID)
		if err != nil {
			return err
		}
		return p.settle(ctx, app, deployment)
	})
}

// move runs work, which brings new instances up, and shows the app.
func (c *call) move(ctx context.Context, s *session, sp space, app v3.App, verb string, work func(context.Context, *push) error) error {
	p := newPush(c, s, sp, app.Name, verb)
	if err := p.interruptible(ctx, func(ctx context.Context) error { return work(ctx, p) }); err != nil {
		return err
	}
	v := p.result.App
	return c.out.print("App", map[string]any{"app": v}, []string{v.Name}, v.draw)
}

// settle waits for a deployment, unless that is not wanted.
func (p *push) settle(ctx context.Context, app v3.App, deployment string) error {
	if p.c.Bool("no-wait") {
		return p.finish(ctx, app)
	}
	return p.await(ctx, app, deployment)
}

// buildNewest stages the newest package of the app.
func (p *push) buildNewest(ctx context.Context, app v3.App) error {
	list, err := p.Packages(ctx, client.Query(nil).In("app_guids", app.GUID).In("states", v3.PackageReady).Newest())
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return notFound("weir push "+app.Name, "App '%s' has no package to build", app.Name)
	}
	p.result.Package = list[0].GUID
	return p.stage(ctx, app, list[0].GUID)
}

func runStop(ctx context.Context, c *call) error {
	if s, f, v, ok, err := c.onlyVersion(ctx); ok {
		return c.stopVersion(ctx, s, f, v, err)
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Stopping app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	if app.State == v3.AppStopped {
		return c.out.done("AppAction", appAction{app.Name, app.GUID, "stopped", false}, "App '"+app.Name+"' is already stopped.")
	}
	if _, err := s.StopApp(ctx, app.GUID); err != nil {
		return err
	}
	return c.out.done("AppAction", appAction{app.Name, app.GUID, "stopped", true})
}

func runRestart(ctx context.Context, c *call) error {
	d, err := c.strategy()
	if err != nil {
		return err
	}
	name, label, err := c.refArguments()
	if err != nil {
		return err
	}
	s, sp, f, err := c.openFleet(ctx, name)
	if err != nil {
		return err
	}
	if label != "" {
		if v, err := f.find(label); err != nil || v.Role != v3.RoleMain {
			return c.restartVersion(ctx, s, f, v, err)
		}
	}
	app := f.app
	c.out.banner("Restarting app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	return c.move(ctx, s, sp, app, "restart", func(ctx context.Context, p *push) error {
		if c.has("strategy") || d.Options != nil {
			d.Relationships = v3.Relationships{"app": v3.To(app.GUID)}
			got, err := s.CreateDeployment(ctx, d)
			if err != nil {
				return err
			}
			return p.settle(ctx, app, got.GUID)
		}
		_, deployment, err := s.RestartApp(ctx, app.GUID)
		if err != nil {
			return err
		}
		return p.settle(ctx, app, deployment)
	})
}

func runRestage(ctx context.Context, c *call) error {
	if _, err := c.strategy(); err != nil {
		return err
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	if app.State == v3.AppStarted {
		if err := s.checkNoRollout(ctx, app, ""); err != nil {
			return err
		}
	}
	c.out.banner("Restaging app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	return c.move(ctx, s, sp, app, "restage", func(ctx context.Context, p *push) error {
		if err := p.buildNewest(ctx, app); err != nil {
			return err
		}
		return p.run(ctx, app)
	})
}

func runRestartInstance(ctx context.Context, c *call) error {
	if n, err := strconv.Atoi(c.arg(1)); err != nil || n < 0 {
		return usagef("instance index %q is not a number", c.arg(1))
	}
	s, _, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	if err := s.RestartInstance(ctx, app.GUID, c.String("process"), c.arg(1)); err != nil {
		if client.IsNotFound(err) {
			return notFound("weir app "+app.Name+" lists them", "App '%s' has no instance %s of process %s", app.Name, c.arg(1), c.String("process"))
		}
		return err
	}
	return c.out.done("AppAction", appAction{app.Name, app.GUID, "", true})
}

func runRename(ctx context.Context, c *call) error {
	s, _, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	name := c.arg(1)
	c.out.banner("Renaming app %s to %s as %s...", app.Name, name, s.user)
	if _, err := s.UpdateApp(ctx, app.GUID, v3.AppUpdate{Name: &name}); err != nil {
		return err
	}
	return c.out.done("AppAction", appAction{name, app.GUID, "", name != app.Name})
}

func runDelete(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	name := c.arg(0)
	app, ok, err := s.AppByName(ctx, sp.GUID, name)
	if err != nil {
		return err
	}
	if !ok { // deleting twice is deleted
		return c.out.done("AppAction", appAction{name, "", "", false}, "App '"+name+"' does not exist.")
	}
	var routes []v3.Route
	if c.Bool("routes") {
		if routes, err = s.AppRoutes(ctx, app.GUID); err != nil {
			return err
		}
		for _, r := range routes {
			if others := slices.DeleteFunc(appsOf(r), func(g string) bool { return g == app.GUID }); len(others) > 0 {
				return refusedf("unmap it first: weir unmap-route "+name+" …, or delete without -r",
					"route %s also leads to other apps", r.URL)
			}
		}
	}
	if !c.Bool("force") {
		if err := c.out.confirm(ctx, "-f", "Really delete the app %s?", name); err != nil {
			return declined(c, err)
		}
	}
	c.out.banner("Deleting app %s in org %s / space %s as %s...", name, sp.Org.Name, sp.Name, s.user)
	job, err := s.DeleteApp(ctx, app.GUID)
	if err == nil {
		err = s.waitJob(ctx, job)
	}
	for _, r := range routes {
		if err != nil {
			break
		}
		if job, err = s.DeleteRoute(ctx, r.GUID); err == nil {
			err = s.waitJob(ctx, job)
		}
	}
	if err != nil {
		return err
	}
	return c.out.done("AppAction", appAction{name, app.GUID, "", true})
}

// declined turns an answer of no into success with a word about it.
func declined(c *call, err error) error {
	if errors.Is(err, errDeclined) {
		c.out.say("", "Cancelled: nothing was changed.")
		return nil
	}
	return err
}

// waitJob waits until a job is done.
func (s *session) waitJob(ctx context.Context, guid string) error {
	_, err := persist(ctx, func(ctx context.Context) (v3.Job, error) { return s.WaitJob(ctx, guid) })
	return err
}
