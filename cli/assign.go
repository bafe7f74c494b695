package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

func assignCommands() []*command {
	return []*command{
		{
			name: "assign", args: "APP [VERSION]", category: catVersions,
			usage: "make a version the main one, with all requests",
			examples: []string{
				"assign hello 2.0.0", "assign hello:2.0.0 -y", "assign hello 2.0.0 -y --if-table 41",
			},
			about: "One change of the route table. The former main version keeps running without requests, or as a shadow if the " +
				"new one was a shadow. The app's settings become those of the version; what was set for the next start since it was made stays set. weir undo and weir rollback go back.",
			flags: append([]cli.Flag{forceFlag()}, trafficFlags()...), run: runAssign,
		},
		{
			name: "kill", args: "[APP] [VERSION]", category: catVersions,
			usage: "stop versions and forget them",
			examples: []string{
				"kill hello 1.0.0 -y", "kill hello:1.0.0 -y", "kill hello -y                   # all of it, the main version last",
				"kill hello --idle -y            # those without requests", "kill --all -y",
			},
			about: "The main version cannot be killed while there are others (exit code 4): assign another one first. Nor can one " +
				"that gets requests: weir weight APP:VERSION 0. --idle takes away all versions of APP that have no requests and are no shadows. Killing all of an app stops it; its routes, builds and revisions stay: weir start " +
				"brings it back, weir delete forgets it.",
			flags: []cli.Flag{forceFlag(), &cli.BoolFlag{Name: "idle", Usage: "the versions of APP that have no requests"}, &cli.BoolFlag{Name: "all", Usage: "all versions of all apps of the space"}},
			run:   runKill,
		},
	}
}

func runAssign(ctx context.Context, c *call) error {
	name, label, err := c.refArguments()
	if err != nil {
		return err
	}
	if label == "" {
		return withHint(usagef("VERSION is missing"), c.cmd.usageHint())
	}
	s, sp, f, err := c.openFleet(ctx, name)
	if err != nil {
		return err
	}
	v, err := f.find(label)
	if err != nil {
		return err
	}
	if !c.Bool("force") && !c.Bool("dry-run") {
		err := c.out.confirm(ctx, "-y", "Change %s %s to main?", name, v.Label)
		if errors.Is(err, errDeclined) {
			c.out.say("", "Assign cancelled.")
			return nil
		}
		if err != nil {
			return err
		}
	}
	c.out.banner("Assigning version %s of app %s in org %s / space %s as %s...", v.Label, name, sp.Org.Name, sp.Name, s.user)
	t, err := s.PromoteVersion(ctx, v.GUID, v3.Promote{How: "assign", TrafficOptions: c.trafficOptions()})
	if err != nil {
		return err
	}
	if t.DryRun || !viewTraffic(t).Changed {
		return c.showTraffic(t, name)
	}
	return c.showTraffic(t, name, fmt.Sprintf("Changed main version to %s %s", name, v.Label))
}

// killed is the result of kill.
type killed struct {
	Killed []string `json:"killed"` // app:version
	// Stopped are the apps of which nothing runs any more.
	Stopped []string `json:"stopped"`
}

func runKill(ctx context.Context, c *call) error {
	if c.arg(0) == "" && !c.Bool("all") {
		return c.killNothing(ctx)
	}
	switch {
	case c.arg(0) != "" && c.Bool("all"):
		return usagef("APP and --all exclude each other")
	case c.Bool("idle") && c.Bool("all"):
		return usagef("--idle and --all exclude each other")
	}
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	var result killed
	if c.Bool("all") {
		result, err = c.killAll(ctx, s, sp)
	} else {
		result, err = c.killNamed(ctx, s, sp)
	}
	if err != nil {
		return declined(c, err)
	}
	return c.out.print("Kill", result, result.Killed, func(p *page) {
		for _, ref := range result.Killed {
			p.line("Killed " + ref)
		}
		for _, app := range result.Stopped {
			p.line("App " + app + " is stopped: weir start " + app + " brings it back")
		}
		p.line("OK")
	})
}

// killNothing lists what could be killed, as Daeploy does, and fails.
func (c *call) killNothing(ctx context.Context) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	rows, err := c.spaceVersions(ctx, s, sp, "")
	if err != nil {
		return err
	}
	if !c.out.machine() {
		if err := c.printLs(rows); err != nil {
			return err
		}
	}
	return newFailure(exitFailed, "usage", "nothing was named to be killed", "weir kill APP VERSION, weir kill APP, or weir kill --all")
}

func (c *call) killNamed(ctx context.Context, s *session, sp space) (killed, error) {
	name, label, err := c.refArguments()
	if err != nil {
		return killed{}, err
	}
	f, err := s.fleet(ctx, sp, name)
	if err != nil {
		return killed{}, err
	}
	if c.Bool("idle") {
		return c.killIdle(ctx, s, f, label)
	}
	if label == "" {
		if err := c.agree(ctx, "Kill all versions of %s?", name); err != nil {
			return killed{}, err
		}
		return s.killFleet(ctx, f)
	}
	v, err := f.find(label)
	if err != nil {
		return killed{}, err
	}
	if v.Role == v3.RoleMain && len(f.versions) == 1 {
		if err := c.agree(ctx, "%s is all there is of %s. Kill it?", f.ref(v), name); err != nil {
			return killed{}, err
		}
		return s.killFleet(ctx, f)
	}
	if v.Role == v3.RoleLive {
		return killed{}, refusedf("take them away first: weir weight "+f.ref(v)+" 0", "version %s of app '%s' gets requests", v.Label, name)
	}
	if v.Role != v3.RoleMain { // a refusal comes before a question
		if err := c.agree(ctx, "Kill %s (%s)?", f.ref(v), v.Role); err != nil {
			return killed{}, err
		}
	}
	if err := s.DeleteVersion(ctx, v.GUID, true); err != nil {
		return killed{}, err
	}
	return killed{Killed: []string{f.ref(v)}, Stopped: []string{}}, nil
}

func (c *call) killIdle(ctx context.Context, s *session, f fleet, label string) (killed, error) {
	k := killed{Killed: []string{}, Stopped: []string{}}
	if label != "" {
		return k, withHint(usagef("--idle means all versions without requests"), c.cmd.usageHint())
	}
	idle := slices.DeleteFunc(slices.Clone(f.versions), func(v v3.Version) bool { return v.Role != v3.RoleIdle })
	if len(idle) == 0 {
		return k, nil
	}
	if err := c.agree(ctx, "Kill the %d versions of %s without requests?", len(idle), f.app.Name); err != nil {
		return k, err
	}
	for _, v := range idle {
		if err := s.DeleteVersion(ctx, v.GUID, false); err != nil { // it may have got requests meanwhile
			return k, err
		}
		k.Killed = append(k.Killed, f.ref(v))
	}
	return k, nil
}

func (c *call) killAll(ctx context.Context, s *session, sp space) (killed, error) {
	result := killed{Killed: []string{}, Stopped: []string{}}
	if err := c.agree(ctx, "Kill all versions of all apps of space %s?", sp.Name); err != nil {
		return result, err
	}
	apps, err := s.Apps(ctx, client.Query(nil).In("space_guids", sp.GUID).Set("order_by", "name"))
	if err != nil {
		return result, err
	}
	for _, app := range apps {
		f, err := s.fleet(ctx, sp, app.Name)
		if err != nil {
			return result, err
		}
		one, err := s.killFleet(ctx, f)
		result.Killed, result.Stopped = append(result.Killed, one.Killed...), append(result.Stopped, one.Stopped...)
		if err != nil {
			return result, err
		}
	}
	return result, nil
}

// agree asks, unless the answer was given with -y.
func (c *call) agree(ctx context.Context, format string, args ...any) error {
	if c.Bool("force") {
		return nil
	}
	return c.out.confirm(ctx, "-y", format, args...)
}

// killFleet ends the versions of an app: shadows first, the main one last.
func (s *session) killFleet(ctx context.Context, f fleet) (killed, error) {
	k := killed{Killed: []string{}, Stopped: []string{}}
	order := slices.Clone(f.versions)
	rank := map[string]int{v3.RoleShadow: 0, v3.RoleIdle: 1, v3.RoleLive: 2, v3.RoleMain: 3}
	slices.SortStableFunc(order, func(a, b v3.Version) int { return rank[a.Role] - rank[b.Role] })
	for _, v := range order {
		if v.Role == v3.RoleMain {
			continue
		}
		if err := s.DeleteVersion(ctx, v.GUID, true); err != nil {
			return k, err
		}
		k.Killed = append(k.Killed, f.ref(v))
	}
	if f.app.State != v3.AppStarted {
		return k, nil
	}
	if _, err := s.StopApp(ctx, f.app.GUID); err != nil {
		return k, err
	}
	if main, ok := f.main(); ok {
		k.Killed = append(k.Killed, f.ref(main))
	}
	k.Stopped = append(k.Stopped, f.app.Name)
	return k, nil
}
