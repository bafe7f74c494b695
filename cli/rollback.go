package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func rollbackCommands() []*command {
	return []*command{{
		name: "rollback", args: "APP", category: catVersions,
		usage: "go back to what an app served before",
		examples: []string{
			"rollback hello", "rollback hello --to v7", "rollback hello --version 3        # a revision, as with cf", "rollback hello --table 1841",
		},
		about: "Without a flag to the state that was promoted before this one. Droplet, environment, commands, bindings and sizes " +
			"are those of that state, and nothing is built. If a version with it still runs, that is one change of the route table; " +
			"one that is stopped is started first, else new instances are, and the app goes on serving meanwhile. --table sets weights and routes as they " +
			"were in that table and leaves everything else alone.",
		flags: append(append([]cli.Flag{
			&cli.IntFlag{Name: "version", Usage: "the revision with this `NUMBER`: weir revisions APP"},
			&cli.StringFlag{Name: "to", Usage: "the newest state that served as this `VERSION`"},
			&cli.Uint64Flag{Name: "table", Usage: "where requests went in table `NUMBER`"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f", "y", "yes"}, Usage: "accepted for cf's sake; nothing is asked"},
		}, trafficFlags()...), moveFlags()...),
		run: runRollback,
	}}
}

func runRollback(ctx context.Context, c *call) error {
	d, err := c.strategy()
	if err != nil {
		return err
	}
	given := 0
	for _, flag := range []string{"version", "to", "table"} {
		if c.has(flag) {
			given++
		}
	}
	if given > 1 {
		return usagef("--version, --to and --table exclude each other")
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Rolling back app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	req := v3.RollbackRequest{Label: c.String("to"), Table: c.Uint64("table"), TrafficOptions: c.trafficOptions()}
	moving := c.has("strategy") || d.Options != nil
	if c.has("version") && !moving {
		if req.Version, err = c.withRevision(ctx, s, app, c.Int("version")); err != nil {
			return err
		}
	}
	if c.has("version") && req.Version == nil || moving && !c.has("table") {
		return c.rollbackByMoving(ctx, s, sp, app, d, req)
	}
	req.Restart = !c.Bool("no-wait") // somebody has to see that it gets healthy
	r, err := s.Rollback(ctx, app.GUID, req)
	switch {
	case err != nil:
		return err
	case r.Traffic != nil:
		return c.showTraffic(*r.Traffic, app.Name)
	case r.Version != nil && req.DryRun:
		return c.would("Start version %s again, revision %d, and give it all requests", r.To.Label, revisionOf(r.To))
	case r.Version != nil:
		return c.rollbackByStarting(ctx, s, app, *r.Version, req)
	case r.Deployment == nil: // --dry-run
		return c.would("Start %s, revision %d, and give it all requests", r.To.Label, revisionOf(r.To))
	}
	return c.move(ctx, s, sp, app, "rollback", func(ctx context.Context, p *push) error {
		c.out.step("Going back to revision %d of %s (%s)", revisionOf(r.To), app.Name, r.To.Label)
		return p.settle(ctx, app, r.Deployment.GUID)
	})
}

func revisionOf(p v3.Promotion) int {
	if p.Revision == nil {
		return 0
	}
	return p.Revision.Version
}

// would says what --dry-run found.
func (c *call) would(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return c.out.print("TrafficChange", map[string]any{"traffic": viewTraffic(v3.Traffic{DryRun: true, Text: text})}, nil, func(p *page) {
		p.line(text)
		p.line("Nothing has been changed: this was --dry-run.")
	})
}

// withRevision returns a version beside the main one that has a revision and
// can take the main one's place: one that runs or, unless nobody would wait for
// it, one that is stopped. Without any it returns nil.
func (c *call) withRevision(ctx context.Context, s *session, app v3.App, number int) (*v3.Ref, error) {
	versions, err := s.AppVersions(ctx, app.GUID)
	if err != nil || app.State != v3.AppStarted {
		return nil, err
	}
	var found *v3.Ref
	for _, v := range versions {
		switch {
		case v.Role == v3.RoleMain || v.Mode == v3.ModeShadow || v.Revision == nil || v.Revision.Version != number:
		case v.Instances.Ready > 0:
			return &v3.Ref{GUID: v.GUID}, nil
		case !c.Bool("no-wait"):
			found = &v3.Ref{GUID: v.GUID}
		}
	}
	return found, nil
}

// rollbackByStarting waits until a version that was stopped is healthy and
// then gives it all requests. If it never is, it is stopped again.
func (c *call) rollbackByStarting(ctx context.Context, s *session, app v3.App, version v3.Ref, req v3.RollbackRequest) error {
	v, err := s.Version(ctx, version.GUID)
	if err != nil {
		return err
	}
	f := fleet{app, []v3.Version{v}}
	for {
		if v, err = c.awaitVersion(ctx, s, f, v, 0); err != nil {
			return c.notStarted(ctx, s, f, err)
		}
		r, err := s.Rollback(ctx, app.GUID, v3.RollbackRequest{Version: &version, Restart: true, TrafficOptions: req.TrafficOptions})
		if err != nil {
			return err
		}
		if r.Traffic != nil {
			return c.showTraffic(*r.Traffic, app.Name)
		}
	}
}

// notStarted ends a rollback whose version did not get healthy: what is known
// not to start is stopped again, what takes longer may go on.
func (c *call) notStarted(ctx context.Context, s *session, f fleet, err error) error {
	switch failed := asFailure(err); failed.code {
	case "timed-out":
		return withHint(err, "the same command again goes on with it")
	case "start-failed":
		if _, err := s.StopVersion(ctx, f.versions[0].GUID, true); err != nil {
			return err
		}
		return newFailure(exitRolledBack, "rolled-back", failed.msg+"; it is stopped again, and what served goes on", failed.hint)
	}
	return err
}

// rollbackByMoving starts a revision anew, with a strategy of the user's.
func (c *call) rollbackByMoving(ctx context.Context, s *session, sp space, app v3.App, d v3.DeploymentCreate, req v3.RollbackRequest) error {
	views, err := s.revisions(ctx, app)
	if err != nil {
		return err
	}
	number := c.Int("version")
	if !c.has("version") {
		req.DryRun = true // only to learn where it would go
		r, err := s.Rollback(ctx, app.GUID, req)
		if err != nil {
			return err
		}
		number = revisionOf(r.To)
	}
	to, err := chooseRevision(app.Name, views, number)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return c.would("Start revision %d of %s (%s) and give it all requests", to.Version, app.Name, to.Description)
	}
	return c.move(ctx, s, sp, app, "rollback", func(ctx context.Context, p *push) error {
		d.Revision = &v3.RevisionRef{GUID: to.GUID}
		d.Relationships = v3.Relationships{"app": v3.To(app.GUID)}
		got, err := s.CreateDeployment(ctx, d)
		if err != nil {
			return err
		}
		c.out.step("Going back to revision %d of %s (%s)", to.Version, app.Name, to.Description)
		return p.settle(ctx, app, got.GUID)
	})
}

// chooseRevision finds the revision with a number.
func chooseRevision(app string, views []revisionView, number int) (revisionView, error) {
	for _, v := range views {
		if v.Version == number {
			return v, nil
		}
	}
	return revisionView{}, notFound("weir revisions "+app+" lists them", "Revision '%s' not found", strconv.Itoa(number))
}
