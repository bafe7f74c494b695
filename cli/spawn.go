package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

// spawnWeight is what a version gets that is spawned or deployed without
// --weight: tenement's default, the same as everybody else's.
const spawnWeight = defaultWeight

func spawnCommands() []*command {
	return []*command{
		{
			name: "spawn", args: "APP [VERSION]", category: catVersions,
			usage: "start another version of what an app was last built from",
			examples: []string{
				"spawn api --id green", "spawn api:green --weight 0", "spawn api:big -i 3 -m 512M --env MODE=big",
			},
			about: "It gets requests as soon as it is healthy: with weight 100 beside the weights of the others, unless --weight says " +
				"otherwise; with --weight 0 none but those under its own address. The first version of an app becomes its main one.",
			flags: append([]cli.Flag{
				&cli.StringFlag{Name: "id", Usage: "the `VERSION`, as tenement writes it"},
				&cli.IntFlag{Name: "weight", Usage: "its share of the requests, `NUMBER` from 0 to 1000", Value: spawnWeight},
				&cli.IntFlag{Name: "revision", Usage: "what revision `NUMBER` ran instead of the newest build"},
			}, versionFlags()...),
			run: runSpawn,
		},
		{
			name: "deploy", args: "APP [VERSION] [SOURCE]", category: catVersions,
			usage: "start a version and give it requests once it is healthy",
			examples: []string{
				"deploy api --version v2 --weight 10 --timeout 60   # tenement's form",
				"deploy api:v2 --weight 10",
				"deploy hello 2.0.0 ./hello                         # Daeploy's form",
				"deploy hello 2.0.0 https://example.com/hello.git --git -e KEY=value",
			},
			about: "The rule: with a SOURCE (directory, archive, or with --git a repository) it builds that, and the version is the main " +
				"one if it is the first of APP, else a shadow; that is Daeploy's. Without one it starts what APP was last built from and " +
				"then sets its weight; that is tenement's. A version that is not healthy after --timeout is taken away again (exit code 6).",
			flags: append([]cli.Flag{
				&cli.StringFlag{Name: "version", Usage: "the `VERSION`"},
				&cli.IntFlag{Name: "weight", Usage: "its share once it is healthy, `NUMBER` from 0 to 1000 (without SOURCE)", Value: spawnWeight},
				&cli.StringFlag{Name: "timeout", Usage: "`TIME` it has to get healthy: seconds, or 90s, 2m", Value: "60"},
				&cli.BoolFlag{Name: "git", Aliases: []string{"g"}, Usage: "SOURCE is the URL of a git repository"},
			}, versionFlags()...),
			run: runDeploy,
		},
	}
}

// versionFlags say what is otherwise in a version.
func versionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "instances", Aliases: []string{"i"}, Usage: "`NUMBER` of instances; without it as many as the main version has"},
		&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "memory limit of an instance, `SIZE` such as 256M or 1G"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set the environment variable `NAME=VALUE`, or NAME as it is here; may be repeated"},
		&cli.BoolFlag{Name: "replace", Usage: "take a version of that name away first, if it gets no requests"},
		&cli.BoolFlag{Name: "no-wait", Usage: "do not wait until it is healthy"},
		&cli.DurationFlag{Name: "wait-timeout", Usage: "give up waiting after `TIME` (exit code 7); the work goes on", Value: defaultWait},
	}
}

// versionRequest reads the flags of versionFlags.
func (c *call) versionRequest(label string) (v3.VersionCreate, error) {
	req := v3.VersionCreate{Label: label, Replace: c.Bool("replace")}
	if label != "" {
		if err := checkLabel(label); err != nil {
			return req, err
		}
	}
	if c.has("instances") {
		n := c.Int("instances")
		if n < 1 {
			return req, usagef("--instances must be at least 1")
		}
		req.Instances = &n
	}
	if c.has("memory") {
		mb, err := parseMB("--memory", c.String("memory"))
		if err != nil {
			return req, err
		}
		req.MemoryMB = &mb
	}
	for _, e := range c.StringSlice("env") {
		name, value, ok := strings.Cut(e, "=")
		if err := checkEnvName(name); err != nil {
			return req, err
		}
		if !ok {
			if value, ok = os.LookupEnv(name); !ok {
				return req, withHint(usagef("--env %s: there is no such variable here", name), "write --env NAME=VALUE")
			}
		}
		if req.EnvironmentVariables == nil {
			req.EnvironmentVariables = map[string]*string{}
		}
		req.EnvironmentVariables[name] = &value
	}
	return req, nil
}

// weightedRequest reads --weight as well.
func (c *call) weightedRequest(label string) (v3.VersionCreate, error) {
	req, err := c.versionRequest(label)
	if err != nil {
		return req, err
	}
	req.Weight = c.Int("weight")
	return req, checkWeight(req.Weight)
}

func runSpawn(ctx context.Context, c *call) error {
	name, label, err := c.refArguments()
	if err != nil {
		return err
	}
	req, err := c.weightedRequest(label)
	if err != nil {
		return err
	}
	s, sp, f, err := c.openFleet(ctx, name)
	if err != nil {
		return err
	}
	if c.has("revision") {
		if req.Revision, err = s.revisionRef(ctx, f.app, c.Int("revision")); err != nil {
			return err
		}
	}
	c.out.banner("Spawning %s:%s in org %s / space %s as %s...", name, orDash(label), sp.Org.Name, sp.Name, s.user)
	if _, runs := f.main(); !runs || f.app.State != v3.AppStarted {
		return c.spawnFirst(ctx, s, sp, f.app, req)
	}
	v, err := s.CreateVersion(ctx, f.app.GUID, req)
	if err != nil {
		return err
	}
	return c.settleVersion(ctx, s, f, v, 0)
}

// spawnFirst starts an app that does not run, under a label.
func (c *call) spawnFirst(ctx context.Context, s *session, sp space, app v3.App, req v3.VersionCreate) error {
	if req.Instances != nil || req.MemoryMB != nil || len(req.EnvironmentVariables) > 0 {
		return withHint(usagef("the first version of %s is the app as it is set up", app.Name), "weir scale, weir set-env, then weir spawn")
	}
	if req.Revision != nil {
		return withHint(usagef("%s does not run, so there is nothing to stand beside", app.Name), "weir rollback "+app.Name+" --version N, then weir start")
	}
	return c.move(ctx, s, sp, app, "spawn", func(ctx context.Context, p *push) error {
		_, deployment, err := s.StartAppAs(ctx, app.GUID, req.Label)
		if err != nil {
			return hintForStart(err, app.Name)
		}
		return p.settle(ctx, app, deployment)
	})
}

// hintForStart tells who would start what was never pushed what to do.
func hintForStart(err error, app string) error {
	return withHint(err, hintOf(err, "if there is nothing to run yet: weir push "+app))
}

func (s *session) revisionRef(ctx context.Context, app v3.App, number int) (*v3.RevisionRef, error) {
	views, err := s.revisions(ctx, app)
	if err != nil {
		return nil, err
	}
	r, err := chooseRevision(app.Name, views, number)
	return &v3.RevisionRef{GUID: r.GUID}, err
}

func runDeploy(ctx context.Context, c *call) error {
	if c.arg(2) != "" {
		return c.deploySource(ctx)
	}
	name, label, err := c.refArguments()
	if err != nil {
		return err
	}
	if label == "" {
		return withHint(usagef("VERSION is missing"), "weir deploy APP:VERSION, weir deploy APP --version VERSION or weir deploy APP VERSION SOURCE")
	}
	seconds, err := parseSeconds("--timeout", c.String("timeout"))
	if err != nil {
		return err
	}
	req, err := c.weightedRequest(label)
	if err != nil {
		return err
	}
	s, sp, f, err := c.openFleet(ctx, name)
	if err != nil {
		return err
	}
	c.out.banner("Deploying %s:%s in org %s / space %s as %s...", name, label, sp.Org.Name, sp.Name, s.user)
	if _, runs := f.main(); !runs || f.app.State != v3.AppStarted {
		return c.spawnFirst(ctx, s, sp, f.app, req)
	}
	v, err := s.CreateVersion(ctx, f.app.GUID, req)
	if err != nil {
		return err
	}
	return c.settleVersion(ctx, s, f, v, time.Duration(seconds)*time.Second)
}

// deploySource is Daeploy's deploy: a push whose version is a shadow unless it
// is the first.
func (c *call) deploySource(ctx context.Context) error {
	name, label := c.arg(0), c.arg(1)
	if strings.Contains(name, ":") || c.has("version") {
		return withHint(usagef("with a SOURCE the version is the second word"), "weir deploy NAME VERSION SOURCE")
	}
	if c.has("weight") {
		return withHint(usagef("with a SOURCE the version is a shadow and has no weight"), "weir push "+name+" --version "+label+" --weight N -p SOURCE")
	}
	args := []string{"push", name, "--no-manifest", "--version", label, "--shadow", "--app-start-timeout", c.String("timeout")}
	if c.Bool("git") {
		args = append(args, "--git", c.arg(2))
	} else {
		args = append(args, "--path", c.arg(2))
	}
	req, err := c.versionRequest(label)
	if err != nil {
		return err
	}
	for k, v := range req.EnvironmentVariables {
		args = append(args, "--env", k+"="+*v)
	}
	for _, flag := range []string{"instances", "memory", "wait-timeout"} {
		if c.has(flag) {
			args = append(args, "--"+flag+"="+fmt.Sprint(c.Value(flag)))
		}
	}
	for _, flag := range []string{"replace", "no-wait"} {
		if c.Bool(flag) {
			args = append(args, "--"+flag)
		}
	}
	return c.again(ctx, args...)
}

// again runs another command line with the global flags of this one.
func (c *call) again(ctx context.Context, args ...string) error {
	args = append(args, "--output="+c.out.format)
	for _, flag := range []string{"quiet", "verbose", "no-color"} {
		if c.Bool(flag) {
			args = append(args, "--"+flag)
		}
	}
	return c.shell.run(ctx, args)
}

// settleVersion waits until a new version is healthy and shows the app's. After
// limit, unless that is 0, the version is taken away again.
func (c *call) settleVersion(ctx context.Context, s *session, f fleet, v v3.Version, limit time.Duration) error {
	v, err := c.awaitVersion(ctx, s, f, v, limit)
	if err != nil {
		return err
	}
	if f.versions, err = s.AppVersions(ctx, f.app.GUID); err != nil {
		return err
	}
	rows := s.versionRows(ctx, f.app.Name, []v3.Version{v})
	return c.out.print("AppVersion", map[string]any{"version": rows[0]}, []string{f.ref(v)}, func(p *page) {
		drawVersions(p, s.versionRows(ctx, f.app.Name, f.versions))
	})
}

// awaitVersion waits until a version is healthy, and takes it away if it is
// not after limit.
func (c *call) awaitVersion(ctx context.Context, s *session, f fleet, v v3.Version, limit time.Duration) (v3.Version, error) {
	c.out.step("Starting %s, %s", f.ref(v), plural(v.Instances.Wanted, "instance"))
	if c.Bool("no-wait") {
		return v, nil
	}
	wait := c.Duration("wait-timeout")
	if limit > 0 {
		wait = limit
	}
	limited, stop := context.WithTimeout(ctx, wait)
	defer stop()
	c.out.setStatus("Waiting until %s is healthy…", f.ref(v))
	now, err := persist(limited, func(ctx context.Context) (v3.Version, error) { return s.WaitVersion(ctx, v.GUID) })
	c.out.clearStatus()
	switch {
	case err == nil && now.Health == v3.HealthHealthy:
		return now, nil
	case err == nil || limit > 0 && ctx.Err() == nil && limited.Err() != nil:
		return v, c.unhealthy(ctx, s, f, v, limit)
	case ctx.Err() == nil && limited.Err() != nil:
		return v, &failure{
			exit: exitTimedOut, code: "timed-out", retryable: true, err: err, hint: "weir versions " + f.app.Name + " shows how far it is",
			msg: fmt.Sprintf("gave up watching %s after %s; it goes on starting", f.ref(v), wait),
		}
	case ctx.Err() != nil:
		return v, detached(f, v, limit, err)
	}
	return v, err
}

// detached says what becomes of a version that nobody waits for any more.
func detached(f fleet, v v3.Version, limit time.Duration, err error) error {
	msg := fmt.Sprintf("stopped watching %s, which goes on starting", f.ref(v))
	if limit > 0 {
		msg += fmt.Sprintf(" and is not taken away after %s", limit)
	}
	return &failure{
		exit: exitInterrupted, code: "interrupted", msg: msg, err: err,
		hint: fmt.Sprintf("weir versions %s shows it; weir kill %s %s takes it away", f.app.Name, f.app.Name, v.Label),
	}
}

// unhealthy says why a version did not come up; with a limit it is taken away.
func (c *call) unhealthy(ctx context.Context, s *session, f fleet, v v3.Version, limit time.Duration) error {
	now, err := s.Version(ctx, v.GUID)
	if err != nil {
		return err
	}
	why := now.Details
	if now.LastExit != nil {
		why = now.LastExit.Reason
	}
	if why == "" {
		why = "it is " + now.Health
	}
	hint := startHint(f.app.Name, why)
	if limit == 0 {
		return newFailure(exitFailed, "start-failed", fmt.Sprintf("%s did not become healthy: %s", f.ref(v), why), hint)
	}
	if err := s.DeleteVersion(ctx, v.GUID, true); err != nil {
		return err
	}
	return newFailure(exitRolledBack, "rolled-back",
		fmt.Sprintf("%s was not healthy after %s and was taken away: %s", f.ref(v), limit, why), hint)
}
