package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func healthCheckCommands() []*command {
	about := func(what string) string {
		return what + " port: it takes connections; http: it answers GET of --endpoint with 200; process: it has not ended. " +
			"Times that are not given stay.\n\n" +
			"The next start takes it: weir restart APP; with --release that happens at once, as a release like any other: without losing a " +
			"request, and weir rollback takes it back. With --steps, or the strategy of a rollout, a version with it is brought in judged steps."
	}
	return []*command{
		{
			name: "set-health-check", args: "APP port|http|process", category: catApps,
			usage: "set how it is found out whether an instance is alive",
			examples: []string{
				"set-health-check hello http --endpoint /healthz", "set-health-check hello http --endpoint /healthz --invocation-timeout 5 --release",
				"set-health-check hello process --process worker",
			},
			about: about("An instance that fails this check is stopped and started anew; one that starts is healthy once it passes."),
			flags: healthCheckFlags(), run: runSetHealthCheck,
		},
		{
			name: "set-readiness-health-check", args: "APP port|http|process", category: catApps,
			usage:    "set how it is found out whether an instance may get requests",
			examples: []string{"set-readiness-health-check hello http --endpoint /ready", "set-readiness-health-check hello process --release"},
			about:    about("An instance that fails this check gets no new requests until it passes, and keeps running."),
			flags:    healthCheckFlags(), run: runSetHealthCheck,
		},
		{
			name: "get-health-check", args: "APP", category: catApps, usage: "show an app's health checks",
			examples: []string{"get-health-check hello"}, run: runGetHealthCheck,
		},
		{
			name: "get-readiness-health-check", args: "APP", category: catApps, usage: "show an app's readiness health checks",
			examples: []string{"get-readiness-health-check hello"}, run: runGetHealthCheck,
		},
	}
}

func healthCheckFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "endpoint", Usage: "`PATH` that the http check asks for", Value: "/"},
		&cli.StringFlag{Name: "invocation-timeout", Usage: "`TIME` one check may take: seconds, or 5s (default 1s)"},
		&cli.StringFlag{Name: "interval", Usage: "`TIME` from check to check: seconds, or 30s"},
		&cli.StringFlag{Name: "process", Usage: "`TYPE` of the process", Value: "web"},
	}, releaseFlags()...)
}

// checkTypes are the kinds of health checks.
var checkTypes = []string{"port", "http", "process"}

// healthCheckView is a health check of a process. Seconds are null where the
// default holds.
type healthCheckView struct {
	Process           string `json:"process"`
	Type              string `json:"type"`
	Endpoint          string `json:"endpoint"` // of an http check; else ""
	InvocationTimeout *int   `json:"invocationTimeoutSeconds"`
	Interval          *int   `json:"intervalSeconds"`
}

// viewCheck shows the check of a process that a command is about.
func (c *call) viewCheck(p v3.Process) healthCheckView {
	v := healthCheckView{p.Type, p.HealthCheck.Type, "", p.HealthCheck.Data.InvocationTimeout, p.HealthCheck.Data.Interval}
	endpoint := p.HealthCheck.Data.Endpoint
	if r := p.ReadinessHealthCheck; c.aboutReadiness() {
		v = healthCheckView{p.Type, r.Type, "", r.Data.InvocationTimeout, r.Data.Interval}
		endpoint = r.Data.Endpoint
	}
	if endpoint != nil && v.Type == "http" {
		v.Endpoint = *endpoint
	}
	return v
}

func (c *call) aboutReadiness() bool { return strings.Contains(c.cmd.name, "readiness") }

// checkNoun names the check that a command is about.
func (c *call) checkNoun() string {
	if c.aboutReadiness() {
		return "readiness health check"
	}
	return "health check"
}

// same reports whether two checks of a process are the same.
func (v healthCheckView) same(w healthCheckView) bool {
	is := func(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }
	return v.Type == w.Type && v.Endpoint == w.Endpoint && is(v.InvocationTimeout, w.InvocationTimeout) && is(v.Interval, w.Interval)
}

func runGetHealthCheck(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting %s type for app %s in org %s / space %s as %s...", c.checkNoun(), app.Name, sp.Org.Name, sp.Name, s.user)
	all, err := s.Processes(ctx, app.GUID)
	if err != nil {
		return err
	}
	views, names, rows := []healthCheckView{}, []string{}, [][]string{}
	seconds := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	for _, p := range all {
		v := c.viewCheck(p)
		if slices.Contains(names, v.Process) { // of another version
			continue
		}
		views, names = append(views, v), append(names, v.Process)
		rows = append(rows, []string{v.Process, v.Type, v.Endpoint, seconds(v.InvocationTimeout), seconds(v.Interval)})
	}
	return c.out.print("HealthCheckList", map[string]any{"healthChecks": views}, names, func(p *page) {
		p.table("", []string{"process", c.checkNoun(), "endpoint (for http)", "invocation timeout", "interval"}, rows)
	})
}

// healthCheckChange is the result of set-health-check and of its sister.
type healthCheckChange struct {
	App         string          `json:"app"`
	Changed     bool            `json:"changed"`
	HealthCheck healthCheckView `json:"healthCheck"`
}

func runSetHealthCheck(ctx context.Context, c *call) error {
	update, err := c.healthUpdate()
	if err != nil {
		return err
	}
	process := c.String("process")
	if c.rollsOut() && process != "web" {
		return withHint(usagef("a rollout judges requests, and process %s gets none", process), "leave --steps and the like away")
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Updating %s type for app %s process %s in org %s / space %s as %s...", c.checkNoun(), app.Name, process, sp.Org.Name, sp.Name, s.user)
	p, err := s.Process(ctx, app.GUID, process)
	if err != nil {
		return err
	}
	before := c.viewCheck(p)
	what := setting{
		noun: c.checkNoun(), changed: !before.same(before.with(update)),
		is: func(d v3.RevisionChange) bool {
			return d.Name == process && d.What == map[bool]string{false: "health-check", true: "readiness"}[c.aboutReadiness()]
		},
	}
	if what.waits, err = c.mayRelease(ctx, s, app, what); err != nil {
		return err
	}
	if what.waits && c.rollsOut() {
		req := v3.VersionCreate{HealthCheck: update}
		if c.aboutReadiness() {
			req = v3.VersionCreate{ReadinessHealthCheck: update}
		}
		return c.rollOutSetting(ctx, s, sp, app, req)
	}
	change := v3.ProcessUpdate{HealthCheck: update}
	if c.aboutReadiness() {
		change = v3.ProcessUpdate{ReadinessHealthCheck: update}
	}
	if p, err = s.UpdateProcess(ctx, p.GUID, change); err != nil {
		return err
	}
	return c.release(ctx, s, sp, app, what, "HealthCheckChange", healthCheckChange{app.Name, what.changed, c.viewCheck(p)})
}

// healthUpdate reads the arguments of set-health-check.
func (c *call) healthUpdate() (*v3.HealthCheckUpdate, error) {
	kind := c.arg(1)
	if kind == "none" { // cf's old word
		kind = "process"
	}
	if !slices.Contains(checkTypes, kind) {
		return nil, withHint(usagef("there is no health check of type %q", kind), "choose port, http or process")
	}
	var data v3.HealthCheckDataUpdate
	endpoint := c.String("endpoint")
	switch {
	case kind != "http" && c.has("endpoint"):
		return nil, withHint(usagef("--endpoint is for the type http"), c.cmd.usageHint())
	case kind == "http" && !strings.HasPrefix(endpoint, "/"):
		return nil, usagef("--endpoint %q does not begin with /", endpoint)
	case kind == "http":
		data.Endpoint = v3.NullOf(endpoint)
	}
	for flag, field := range map[string]*v3.Null[int]{"invocation-timeout": &data.InvocationTimeout, "interval": &data.Interval} {
		if c.has(flag) {
			n, err := parseSeconds("--"+flag, c.String(flag))
			if err != nil {
				return nil, err
			}
			*field = v3.NullOf(n)
		}
	}
	return &v3.HealthCheckUpdate{Type: &kind, Data: &data}, nil
}

// with is what a check is after an update.
func (v healthCheckView) with(u *v3.HealthCheckUpdate) healthCheckView {
	v.Type, v.Endpoint = *u.Type, ""
	if u.Data.Endpoint.Set {
		v.Endpoint = *u.Data.Endpoint.Value
	}
	if u.Data.InvocationTimeout.Set {
		v.InvocationTimeout = u.Data.InvocationTimeout.Value
	}
	if u.Data.Interval.Set {
		v.Interval = u.Data.Interval.Value
	}
	return v
}
