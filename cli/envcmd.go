package cli

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

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
	what := envSetting(before, vars)
	if what.waits, err = c.mayRelease(ctx, s, app, what); err != nil {
		return err
	}
	if what.waits && c.rollsOut() {
		return c.rollOutSetting(ctx, s, sp, app, v3.VersionCreate{EnvironmentVariables: vars})
	}
	after, err := s.SetEnv(ctx, app.GUID, vars)
	if err != nil {
		return err
	}
	what.changed = !maps.Equal(before, after)
	return c.release(ctx, s, sp, app, what, "EnvChange", envChange{app.Name, what.changed, after})
}

// envSetting is a change of an app's variables from what they are before.
func envSetting(before map[string]string, vars map[string]*string) setting {
	what := setting{noun: "environment", is: func(ch v3.RevisionChange) bool {
		_, is := vars[ch.Name]
		return ch.What == "env" && is
	}}
	for name, value := range vars {
		was, had := before[name]
		what.changed = what.changed || had != (value != nil) || had && was != *value
	}
	return what
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
	what := envSetting(before, named)
	if what.waits, err = c.mayRelease(ctx, s, app, what); err != nil {
		return err
	}
	if what.waits && c.rollsOut() {
		return c.rollOutSetting(ctx, s, sp, app, v3.VersionCreate{EnvironmentVariables: vars}, notes...)
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
	what.changed = len(vars) > 0
	return c.release(ctx, s, sp, app, what, "EnvChange", envChange{app.Name, what.changed, after}, notes...)
}
