package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func envCommands() []*command {
	return []*command{
		{
			name: "env", aliases: []string{"e"}, args: "APP", category: catApps,
			usage: "show an app's environment", examples: []string{"env hello", "env hello -o json"}, run: runEnv,
		},
		{
			name: "set-env", aliases: []string{"se"}, args: "APP NAME [VALUE] [NAME=VALUE...]", category: catApps,
			usage:    "set environment variables of an app",
			examples: []string{"set-env hello MODE live", "set-env hello MODE=live LEVEL=2 --release", "set-env hello MODE live --release --steps 5,50,100 --bake 5m", "set-env hello OFFSET -- -1"},
			about: "The next start sees them: weir restart APP, or weir restage APP if the build needs them; with --release that happens " +
				"at once, as a release like any other: without losing a request, and weir rollback takes it back. With --steps, or the " +
				"strategy of a rollout, a version with them is brought in judged steps, as weir push brings code, and the app keeps what " +
				"it has until that is done. weir diff APP shows what is pending.",
			flags: releaseFlags(), run: runSetEnv,
		},
		{
			name: "unset-env", aliases: []string{"ue"}, args: "APP NAME...", category: catApps,
			usage: "remove environment variables of an app", examples: []string{"unset-env hello MODE", "unset-env hello MODE --release"},
			flags: releaseFlags(), run: runUnsetEnv,
		},
	}
}

func runEnv(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting env variables for app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	e, err := s.AppEnv(ctx, app.GUID)
	if err != nil {
		return err
	}
	if e.EnvironmentVariables == nil {
		e.EnvironmentVariables = map[string]string{}
	}
	v := map[string]any{"env": map[string]any{
		"app": app.Name, "userProvided": e.EnvironmentVariables, "system": e.SystemEnv, "application": e.ApplicationEnv,
		"running": e.RunningEnv, "staging": e.StagingEnv,
	}}
	names := slices.Sorted(maps.Keys(e.EnvironmentVariables))
	return c.out.print("Env", v, names, func(p *page) {
		p.line("System-Provided:")
		raw(p, e.SystemEnv)
		p.blank()
		raw(p, e.ApplicationEnv)
		p.blank()
		plain(p, "User-Provided:", "No user-provided env variables have been set", e.EnvironmentVariables)
		p.blank()
		plain(p, "Running Environment Variable Groups:", "No running env variables have been set", e.RunningEnv)
		p.blank()
		plain(p, "Staging Environment Variable Groups:", "No staging env variables have been set", e.StagingEnv)
	})
}

func raw(p *page, vars map[string]json.RawMessage) {
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		b, err := json.MarshalIndent(vars[k], "", "  ")
		if err != nil {
			b = vars[k]
		}
		p.line(k + ": " + string(b))
	}
}

func plain(p *page, title, none string, vars map[string]string) {
	if len(vars) == 0 {
		p.line(none)
		return
	}
	p.line(title)
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		p.line(k + ":   " + vars[k])
	}
}

// envChange is the result of set-env and unset-env.
type envChange struct {
	App     string            `json:"app"`
	Changed bool              `json:"changed"`
	Env     map[string]string `json:"env"` // all user-provided variables
}

func runSetEnv(ctx context.Context, c *call) error {
	vars, err := envArguments(c.args[1:])
	if err != nil {
		return err
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Setting env variables of app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	before, err := s.EnvVars(ctx, app.GUID)
	if err != nil {
		return err
	}
	waits, err := c.mayRelease(ctx, s, app, before, vars)
	if err != nil {
		return err
	}
	if waits && c.rollsOut() {
		return c.rollOutEnv(ctx, s, sp, app, vars)
	}
	after, err := s.SetEnv(ctx, app.GUID, vars)
	if err != nil {
		return err
	}
	return c.release(ctx, s, sp, app, waits, envChange{app.Name, !maps.Equal(before, after), after})
}

// releaseFlags are those of commands that change what the next start takes.
func releaseFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{&cli.BoolFlag{Name: "release", Usage: "release it at once"}}, moveFlags(), rolloutFlags())
}

// mayRelease refuses a change of an app's environment that is to be released
// and cannot be now, before anything is set. It reports whether there is
// anything to release: what is set already may still wait for a start.
func (c *call) mayRelease(ctx context.Context, s *session, app v3.App, before map[string]string, vars map[string]*string) (bool, error) {
	if _, err := c.strategy(); err != nil {
		return false, err
	}
	if c.rollsOut() && !c.Bool("release") {
		return false, withHint(usagef("a rollout is asked for, and no release"), "add --release")
	}
	if !c.Bool("release") || app.State != v3.AppStarted {
		return false, nil
	}
	waits := false
	for name, value := range vars {
		was, had := before[name]
		waits = waits || had != (value != nil) || had && was != *value
	}
	if !waits {
		var err error
		if waits, err = s.envWaits(ctx, app, vars); err != nil || !waits {
			return false, err
		}
	}
	if c.rollsOut() {
		plan, err := c.planBy(map[string]any{})
		if err != nil {
			return false, err
		}
		return true, s.CheckRollout(ctx, app.GUID, plan)
	}
	return true, s.checkNoRollout(ctx, app, fmt.Sprintf("; without --release it is set for the next start of %s", app.Name))
}

// envWaits reports whether the instances of an app's main version run with
// other values of some variables than the next start would.
func (s *session) envWaits(ctx context.Context, app v3.App, vars map[string]*string) (bool, error) {
	versions, err := s.AppVersions(ctx, app.GUID)
	if err != nil {
		return false, err
	}
	f := fleet{app, versions}
	main, runs := f.main()
	if !runs {
		return false, nil
	}
	number, err := f.revisionNumber(main.Label)
	if err != nil {
		return false, err
	}
	d, err := s.RevisionDiff(ctx, app.GUID, number, pending)
	return slices.ContainsFunc(d.Changes, func(ch v3.RevisionChange) bool {
		_, is := vars[ch.Name]
		return ch.What == "env" && is
	}), err
}

// release ends a change of an app's environment: by replacing the instances if
// --release asks for it and something waits for that, else with a word on how to.
func (c *call) release(ctx context.Context, s *session, sp space, app v3.App, waits bool, change envChange, notes ...string) error {
	d, err := c.strategy()
	switch {
	case err != nil:
		return err
	case !waits && (!change.Changed || app.State != v3.AppStarted):
		return c.out.done("EnvChange", change, notes...)
	case !waits:
		r, ok, err := s.rolloutOf(ctx, app)
		if err != nil {
			return err
		}
		if ok {
			c.out.step("Rollout r-%d of %s is on its way: when it is over (weir rollout watch %s), weir restart %s makes the running app see it",
				r.Number, r.To.Label, app.Name, app.Name)
			return c.out.done("EnvChange", change, notes...)
		}
		c.out.step("weir restart %s makes the running app see it; weir restage %s the build", app.Name, app.Name)
		return c.out.done("EnvChange", change, notes...)
	}
	for _, note := range notes {
		c.out.step("%s", note)
	}
	return c.move(ctx, s, sp, app, "restart", func(ctx context.Context, p *push) error {
		d.Relationships = v3.Relationships{"app": v3.To(app.GUID)}
		got, err := s.CreateDeployment(ctx, d)
		if err != nil {
			return err
		}
		c.out.step("Releasing the new environment of %s", app.Name)
		return p.settle(ctx, app, got.GUID)
	})
}

// rollOutEnv brings a version with other variables in judged steps. Those of the
// app stay as they are until it is the main version.
func (c *call) rollOutEnv(ctx context.Context, s *session, sp space, app v3.App, vars map[string]*string, notes ...string) error {
	for _, note := range notes {
		c.out.step("%s", note)
	}
	return c.move(ctx, s, sp, app, c.cmd.name, func(ctx context.Context, p *push) error {
		return p.rollOut(ctx, app, v3.VersionCreate{EnvironmentVariables: vars})
	})
}

// envArguments reads "NAME VALUE" or any number of "NAME=VALUE".
func envArguments(args []string) (map[string]*string, error) {
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		return map[string]*string{args[0]: &args[1]}, checkEnvName(args[0])
	}
	vars := map[string]*string{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			return nil, withHint(usagef("%q is not a name and a value", a), "weir set-env APP NAME VALUE, or weir set-env APP NAME=VALUE")
		}
		if err := checkEnvName(name); err != nil {
			return nil, err
		}
		vars[name] = &value
	}
	return vars, nil
}

// envName are the names of variables that a shell or a program can be expected
// to find. An environment could hold others, and the API takes them; on a
// command line they are mistakes.
var envName = regexp.MustCompile(`^[\pL_][^\s=\pC]*$`)

func checkEnvName(name string) error {
	if envName.MatchString(name) {
		return nil
	}
	return withHint(usagef("%q cannot be the name of a variable", name), "a name begins with a letter or _ and has no blank and no = in it, such as LOG_LEVEL")
}

func runUnsetEnv(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Removing env variables from app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	before, err := s.EnvVars(ctx, app.GUID)
	if err != nil {
		return err
	}
	named, vars, notes := map[string]*string{}, map[string]*string{}, []string{}
	for _, name := range c.args[1:] {
		named[name] = nil
		if _, ok := before[name]; ok {
			vars[name] = nil
		} else {
			notes = append(notes, "Env variable "+name+" was not set.")
		}
	}
	waits, err := c.mayRelease(ctx, s, app, before, named)
	if err != nil {
		return err
	}
	if waits && c.rollsOut() {
		return c.rollOutEnv(ctx, s, sp, app, vars, notes...)
	}
	after := before
	if len(vars) > 0 {
		if after, err = s.SetEnv(ctx, app.GUID, vars); err != nil {
			return err
		}
	}
	if after == nil {
		after = map[string]string{}
	}
	return c.release(ctx, s, sp, app, waits, envChange{app.Name, len(vars) > 0, after}, notes...)
}
