package cli

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
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
			examples: []string{"set-env hello MODE live", "set-env hello MODE=live LEVEL=2", "set-env hello OFFSET -- -1"},
			about:    "The next start sees them: weir restart APP, or weir restage APP if the build needs them.",
			run:      runSetEnv,
		},
		{
			name: "unset-env", aliases: []string{"ue"}, args: "APP NAME...", category: catApps,
			usage: "remove environment variables of an app", examples: []string{"unset-env hello MODE"}, run: runUnsetEnv,
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
	after, err := s.SetEnv(ctx, app.GUID, vars)
	if err != nil {
		return err
	}
	if changed := !maps.Equal(before, after); changed {
		c.out.step("weir restart %s makes the running app see it; weir restage %s the build", app.Name, app.Name)
	}
	return c.out.done("EnvChange", envChange{app.Name, !maps.Equal(before, after), after})
}

// envArguments reads "NAME VALUE" or any number of "NAME=VALUE".
func envArguments(args []string) (map[string]*string, error) {
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		return map[string]*string{args[0]: &args[1]}, nil
	}
	vars := map[string]*string{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return nil, withHint(usagef("%q is not a name and a value", a), "weir set-env APP NAME VALUE, or weir set-env APP NAME=VALUE")
		}
		vars[name] = &value
	}
	return vars, nil
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
	vars, notes := map[string]*string{}, []string{}
	for _, name := range c.args[1:] {
		if _, ok := before[name]; ok {
			vars[name] = nil
		} else {
			notes = append(notes, "Env variable "+name+" was not set.")
		}
	}
	after := before
	if len(vars) > 0 {
		if after, err = s.SetEnv(ctx, app.GUID, vars); err != nil {
			return err
		}
		c.out.step("weir restart %s makes the running app see it; weir restage %s the build", app.Name, app.Name)
	}
	if after == nil {
		after = map[string]string{}
	}
	return c.out.done("EnvChange", envChange{app.Name, len(vars) > 0, after}, notes...)
}
