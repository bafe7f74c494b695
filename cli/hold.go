package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func holdCommands() []*command {
	return []*command{
		{
			name: "pause", args: "APP", category: catVersions,
			usage: "hold the requests for an app back until weir resume",
			examples: []string{
				"pause web --wait && ./migrate && weir resume web", "pause web --max 60s",
			},
			about: "New requests wait, in order; those on their way are finished. One that waited for --max is answered with 503 and " +
				"Retry-After, and so is one for which there is no room to wait.",
			flags: []cli.Flag{
				&cli.StringFlag{Name: "max", Usage: "how long a request waits, `TIME` up to 10m", Value: "30s"},
				&cli.BoolFlag{Name: "wait", Usage: "return when no request is on its way any more (exit code 7 if that takes longer than --max)"},
			},
			run: runPause,
		},
		{
			name: "resume", args: "APP", category: catVersions,
			usage: "let the requests held back by weir pause go on", examples: []string{"resume web"}, run: runResume,
		},
		{
			name: "maintenance", args: "APP [on|off]", category: catVersions,
			usage: "answer requests for an app with a page that says to come back later",
			examples: []string{
				"maintenance web on", "maintenance web on --page sorry.html --allow 192.0.2.0/24 --allow header:X-Preview=yes",
				"maintenance web off", "maintenance web",
			},
			about: "Requests get status 503, the page and Retry-After; those that --allow describes reach the app. Pushes go on " +
				"meanwhile. It lasts until it is turned off, whatever is restarted.",
			flags: []cli.Flag{
				&cli.StringFlag{Name: "page", Usage: "HTML `FILE` to answer with"},
				&cli.StringSliceFlag{Name: "allow", Usage: "who reaches the app: `CIDR`, or header:NAME=VALUE; may be repeated"},
				&cli.StringFlag{Name: "retry-after", Usage: "`TIME` to name in Retry-After", Value: "60s"},
			},
			run: runMaintenance,
		},
		{
			name: "drain", args: "APP [TIME]", category: catVersions,
			usage: "set how long instances that stop may finish their requests",
			examples: []string{
				"drain web 2m", "drain web default", "drain web",
			},
			about: "An instance that stops, or is replaced, gets no new request; those it has may take TIME, at most 24h, before it is ended. " +
				"default is the server's, 30s unless weir serve was told otherwise. What becomes of WebSockets is a route's option: websocket-drain. " +
				"Without TIME it shows what holds.",
			run: runDrain,
		},
		{
			name: "sticky", args: "APP MODE", category: catVersions,
			usage: "let a client stay with its version",
			examples: []string{
				"sticky web cookie", "sticky web header:X-Tenant --salt fixed", "sticky web ip", "sticky web off",
			},
			about: "MODE is cookie, ip, header:NAME or off. What is kept is the client's place between 0 and 100%, not its version: " +
				"who is in at 5% stays in at 25%, and a version that gets nothing any more keeps nobody. It is an option of all routes " +
				"of the app; weir update-route sets it for one.",
			flags: []cli.Flag{
				&cli.StringFlag{Name: "salt", Usage: "`SALT`: rotate makes each rollout begin with other clients, fixed with the same"},
				&cli.StringFlag{Name: "max-age", Usage: "`TIME` the cookie lasts, such as 30d, or session"},
			},
			run: runSticky,
		},
	}
}

// appTraffic is how the router treats the requests of an app.
type appTraffic struct {
	App         string           `json:"app"`
	Drain       *int             `json:"drainSeconds"` // null: the server's default
	Pause       *pauseView       `json:"pause"`        // null: nothing is held back
	Maintenance *maintenanceView `json:"maintenance"`  // null: the app answers
	Table       uint64           `json:"table"`
	// Drained says, after pause --wait, that no request is on its way.
	Drained *bool `json:"drained"`
}

type pauseView struct {
	MaxSeconds int       `json:"maxSeconds"`
	Since      time.Time `json:"since"`
}

type maintenanceView struct {
	Page       string    `json:"page"` // HTML; "" for the router's own
	Allow      []string  `json:"allow"`
	RetryAfter int       `json:"retryAfterSeconds"`
	Since      time.Time `json:"since"`
}

func viewAppTraffic(app string, t v3.AppTraffic) appTraffic {
	v := appTraffic{App: app, Drain: t.DrainSeconds, Table: t.Table, Drained: t.Drained}
	if t.Pause != nil {
		v.Pause = &pauseView{t.Pause.MaxSeconds, t.Pause.Since.Time}
	}
	if m := t.Maintenance; m != nil {
		v.Maintenance = &maintenanceView{m.Page, append([]string{}, m.Allow...), m.RetryAfter, m.Since.Time}
	}
	return v
}

// changeAppTraffic sends a change, or only reads if u is nil, and prints line
// and what holds now.
func (c *call) changeAppTraffic(ctx context.Context, u *v3.AppTrafficUpdate, line string) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	var t v3.AppTraffic
	if u == nil {
		t, err = s.AppTraffic(ctx, app.GUID)
	} else {
		c.out.banner("Changing traffic of app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
		t, line, err = s.updateAppTraffic(ctx, app, *u, line)
	}
	if err != nil {
		return err
	}
	v := viewAppTraffic(app.Name, t)
	if v.Drained != nil && !*v.Drained {
		return &failure{
			exit: exitTimedOut, code: "timed-out", retryable: true, hint: "weir pause " + app.Name + " --wait waits on; weir resume " + app.Name + " ends it",
			msg: "requests for " + app.Name + " are held back, and some from before are still on their way",
		}
	}
	return c.out.print("AppTraffic", map[string]any{"traffic": v}, nil, func(p *page) {
		if line != "" {
			p.line(fmt.Sprintf(line, app.Name))
		}
		v.draw(p)
	})
}

// updateAppTraffic makes a change unless that is to end what does not hold. The
// text says which.
func (s *session) updateAppTraffic(ctx context.Context, app v3.App, u v3.AppTrafficUpdate, line string) (v3.AppTraffic, string, error) {
	now, err := s.AppTraffic(ctx, app.GUID)
	switch {
	case err != nil:
		return now, "", err
	case u.Pause.Set && u.Pause.Value == nil && now.Pause == nil:
		return now, "App %s is not paused. Nothing has been updated.", nil
	case u.Maintenance.Set && u.Maintenance.Value == nil && now.Maintenance == nil:
		return now, "App %s is not in maintenance. Nothing has been updated.", nil
	}
	now, err = s.UpdateAppTraffic(ctx, app.GUID, u)
	return now, line, err
}

// held says how the requests are held back, and who is let in; empty: they are
// not.
func (v appTraffic) held() (pause, maintenance string) {
	if v.Pause != nil {
		pause = fmt.Sprintf("since %s, each request for %ds at most", stamp(v.Pause.Since), v.Pause.MaxSeconds)
	}
	if m := v.Maintenance; m != nil {
		maintenance = "since " + stamp(m.Since)
		if len(m.Allow) > 0 {
			maintenance += ", but for " + strings.Join(m.Allow, ", ")
		}
	}
	return pause, maintenance
}

func (v appTraffic) draw(p *page) {
	pause, maintenance := v.held()
	pause, maintenance = cmp.Or(pause, "no"), cmp.Or(maintenance, "off")
	drain := "the server's default"
	if v.Drain != nil {
		drain = (time.Duration(*v.Drain) * time.Second).String()
	}
	p.pairs("paused", pause, "maintenance", maintenance, "drain", drain, "table", strconv.FormatUint(v.Table, 10))
}

// maxPause is how many seconds the router holds a request back at most.
const maxPause = 600

func runPause(ctx context.Context, c *call) error {
	seconds, err := parseSeconds("--max", c.String("max"))
	if err != nil {
		return err
	}
	if seconds > maxPause {
		return withHint(usagef("--max %s is too long", c.String("max")), "write at most 10m")
	}
	u := v3.AppTrafficUpdate{Pause: v3.NullOf(v3.Pause{MaxSeconds: seconds})}
	if c.Bool("wait") {
		u.WaitDrained = seconds
	}
	return c.changeAppTraffic(ctx, &u, "Requests for %s are held back")
}

func runResume(ctx context.Context, c *call) error {
	return c.changeAppTraffic(ctx, &v3.AppTrafficUpdate{Pause: v3.Null[v3.Pause]{Set: true}}, "Requests for %s go on")
}

// maxPage is the largest page that a route table carries.
const maxPage = 64 << 10

func runMaintenance(ctx context.Context, c *call) error {
	switch c.arg(1) {
	case "":
		return c.changeAppTraffic(ctx, nil, "")
	case "off":
		return c.changeAppTraffic(ctx, &v3.AppTrafficUpdate{Maintenance: v3.Null[v3.Maintenance]{Set: true}}, "App %s answers again")
	case "on":
	default:
		return withHint(usagef("%q is neither on nor off", c.arg(1)), c.cmd.usageHint())
	}
	m := v3.Maintenance{Allow: c.StringSlice("allow")}
	var err error
	if m.RetryAfter, err = parseSeconds("--retry-after", c.String("retry-after")); err != nil {
		return err
	}
	if file := c.String("page"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return usagef("page %s: %v", file, unwrapPath(err))
		}
		if len(b) > maxPage {
			return usagef("page %s is larger than %s", file, formatBytes(maxPage))
		}
		m.Page = string(b)
	}
	return c.changeAppTraffic(ctx, &v3.AppTrafficUpdate{Maintenance: v3.NullOf(m)}, "App %s is under maintenance")
}

func runDrain(ctx context.Context, c *call) error {
	switch text := c.arg(1); text {
	case "":
		return c.changeAppTraffic(ctx, nil, "")
	case "default":
		return c.changeAppTraffic(ctx, &v3.AppTrafficUpdate{DrainSeconds: v3.Null[int]{Set: true}}, "Instances of %s drain as the server has it")
	default:
		seconds, err := parseSeconds("TIME", text)
		if err != nil {
			return err
		}
		return c.changeAppTraffic(ctx, &v3.AppTrafficUpdate{DrainSeconds: v3.NullOf(seconds)}, "Instances of %s drain for "+(time.Duration(seconds)*time.Second).String())
	}
}

func runSticky(ctx context.Context, c *call) error {
	mode := strings.ToLower(c.arg(1))
	if name, ok := strings.CutPrefix(mode, "header:"); !slices.Contains([]string{"off", "cookie", "ip"}, mode) && (!ok || name == "") {
		return withHint(usagef("there is no stickiness by %q", c.arg(1)), "choose cookie, ip, header:NAME or off")
	}
	s, _, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	routes, err := s.AppRoutes(ctx, app.GUID)
	if err != nil {
		return err
	}
	if len(routes) == 0 {
		return notFound("weir map-route "+app.Name+" DOMAIN -n HOST", "App '%s' has no routes", app.Name)
	}
	arg := c.arg(1)
	options := map[string]*string{"sticky": &arg}
	if mode == "off" {
		options["sticky"] = nil
	}
	for flag, key := range map[string]string{"salt": "sticky-salt", "max-age": "sticky-max-age"} {
		if c.has(flag) {
			value := c.String(flag)
			options[key] = &value
		}
	}
	for i, r := range routes {
		if routes[i], err = s.UpdateRoute(ctx, r.GUID, v3.RouteUpdate{Options: options}); err != nil {
			return err
		}
	}
	views, err := s.viewRoutes(ctx, routes)
	if err != nil {
		return err
	}
	return c.out.print("RouteList", map[string]any{"routes": views}, namesOfRoutes(views), func(p *page) {
		for _, v := range views {
			p.line(v.Route + ": " + orDash(optionText(v.Options)))
		}
	})
}

func namesOfRoutes(views []routeView) (names []string) {
	for _, v := range views {
		names = append(names, v.Route)
	}
	return names
}
