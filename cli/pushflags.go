package cli

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	v3 "weir/api/v3"
)

// applyFlags writes what the flags say into the manifest: a flag goes before
// the manifest, and only what was given is sent at all.
func (c *call) applyFlags(ctx context.Context, s *session, sp space, m *manifest) error {
	if len(m.apps) > 1 {
		for _, f := range c.cmd.flags {
			if name := f.Names()[0]; c.has(name) && !forAllApps[name] {
				return withHint(usagef("--%s is for one app, and %s has %d", name, m.path, len(m.apps)), "name the app: weir push APP")
			}
		}
	}
	for _, app := range m.apps {
		if err := c.setProcess(app.web()); err != nil {
			return err
		}
		if err := c.setRoutes(ctx, s, sp, app); err != nil {
			return err
		}
		base := filepath.Dir(m.path)
		if list := c.StringSlice("buildpack"); len(list) > 0 {
			base = "."
			if len(list) == 1 && (list[0] == "default" || list[0] == "null") {
				list = []string{}
			}
			app.remove("buildpack")
			app.set("buildpacks", list)
		}
		if err := app.wholePaths(base); err != nil {
			return err
		}
		if c.has("stack") {
			app.set("stack", c.String("stack"))
		}
		for _, e := range c.StringSlice("env") {
			name, value, _ := strings.Cut(e, "=")
			app.setEnv(name, value)
		}
	}
	return nil
}

// wholePaths makes the paths of buildpack directories absolute: they are meant
// relative to base, and the server, which reads them, runs somewhere else.
func (a *manifestApp) wholePaths(base string) error {
	nodes := []*yaml.Node{lookup(a.node, "buildpack")}
	if list := lookup(a.node, "buildpacks"); list != nil && list.Kind == yaml.SequenceNode {
		nodes = append(nodes, list.Content...)
	}
	for _, n := range nodes {
		if n == nil || n.Kind != yaml.ScalarNode || !strings.HasPrefix(n.Value, "./") && !strings.HasPrefix(n.Value, "../") {
			continue
		}
		path, err := filepath.Abs(filepath.Join(base, n.Value))
		if err != nil {
			return err
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return usagef("buildpack %s: there is no directory %s", n.Value, filepath.Join(base, n.Value))
		}
		*n = *textNode(path)
	}
	return nil
}

// forAllApps are the flags that make sense for a manifest with several apps.
var forAllApps = map[string]bool{
	"manifest": true, "no-manifest": true, "var": true, "vars-file": true, "env": true, "ref": true, "stack": true,
	"no-start": true, "no-wait": true, "no-route": true, "random-route": true,
	"strategy": true, "max-in-flight": true, "instance-steps": true, "wait-timeout": true,
}

// setProcess writes the flags that are about the web process.
func (c *call) setProcess(web *manifestApp) error {
	if c.has("start-command") {
		if cmd := c.String("start-command"); cmd == "default" || cmd == "null" {
			web.set("command", nil)
		} else {
			web.set("command", cmd)
		}
	}
	if c.has("instances") {
		web.set("instances", c.Int("instances"))
	}
	for flag, key := range map[string]string{"memory": "memory", "disk": "disk_quota"} {
		if c.has(flag) {
			mb, err := parseMB("--"+flag, c.String(flag))
			if err != nil {
				return err
			}
			web.set(key, strconv.Itoa(mb)+"M")
		}
	}
	if c.has("log-rate-limit") {
		web.set("log-rate-limit-per-second", c.String("log-rate-limit"))
	}
	if c.has("app-start-timeout") {
		seconds, err := parseSeconds("--app-start-timeout", c.String("app-start-timeout"))
		if err != nil {
			return err
		}
		web.set("timeout", seconds)
	}
	if c.has("health-check-type") {
		web.set("health-check-type", c.String("health-check-type"))
	}
	if c.has("endpoint") {
		web.set("health-check-http-endpoint", c.String("endpoint"))
	}
	return nil
}

// setRoutes writes the route flags; without any, and without routes in the
// manifest, the app gets the default route.
func (c *call) setRoutes(ctx context.Context, s *session, sp space, app *manifestApp) error {
	switch {
	case c.Bool("no-route"):
		app.remove("routes", "random-route", "default-route")
		app.set("no-route", true)
	case c.Bool("random-route"):
		app.remove("no-route", "default-route")
		app.set("random-route", true)
	case c.has("hostname") || c.has("domain"):
		domain := c.String("domain")
		if domain == "" {
			d, err := s.DefaultDomain(ctx, sp.Org.GUID)
			if err != nil {
				return err
			}
			domain = d.Name
		}
		host := c.String("hostname")
		if host == "" {
			host = appName(app.name())
		}
		app.remove("no-route", "random-route", "default-route", "routes")
		app.set("routes", []map[string]string{{"route": host + "." + domain}})
	case !app.has("no-route") && !app.has("random-route") && !app.has("routes"):
		app.set("default-route", true)
	}
	return nil
}

// strategy returns the deployment the flags ask for.
func (c *call) strategy() (v3.DeploymentCreate, error) {
	d := v3.DeploymentCreate{Strategy: "rolling"}
	switch name := c.String("strategy"); name {
	case "", "null", "rolling":
	case "canary":
		d.Strategy = name
	default:
		if c.cmd.canRollOut() && isRollout(name) {
			break
		}
		hint := "choose rolling or canary"
		if c.cmd.canRollOut() {
			hint = "choose rolling or canary as with cf, or a rollout: canary with --steps, " + strings.Join(rolloutPresets, ", ")
		}
		return d, withHint(usagef("there is no strategy %q", name), hint)
	}
	var o v3.DeploymentOptions
	if c.has("max-in-flight") {
		n := c.Int("max-in-flight")
		if n < 1 {
			return d, usagef("--max-in-flight must be at least 1")
		}
		o.MaxInFlight, d.Options = &n, &o
	}
	if c.has("instance-steps") {
		o.Canary, d.Options = &v3.CanaryOptions{}, &o
		last := 0
		for part := range strings.SplitSeq(c.String("instance-steps"), ",") {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(part), "%"))
			if err != nil || n <= last || n > 100 {
				return d, withHint(usagef("--instance-steps %q are no steps", c.String("instance-steps")), "write rising percentages: 20,50")
			}
			last = n
			o.Canary.Steps = append(o.Canary.Steps, v3.CanaryStep{InstanceWeight: n})
		}
	}
	return d, nil
}
