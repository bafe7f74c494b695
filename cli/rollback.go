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
			"else its instances are started first and the app goes on serving meanwhile. --table sets weights and routes as they " +
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
	if c.has("version") || moving && !c.has("table") {
		return c.rollbackByMoving(ctx, s, sp, app, d, req)
	}
	r, err := s.Rollback(ctx, app.GUID, req)
	if err != nil {
		return err
	}
	if r.Traffic != nil {
		return c.showTraffic(*r.Traffic, app.Name)
	}
	if r.Deployment == nil { // --dry-run
		text := fmt.Sprintf("Start %s, revision %d, and give it all requests", r.To.Label, revisionOf(r.To))
		return c.out.print("TrafficChange", map[string]any{"traffic": viewTraffic(v3.Traffic{DryRun: true, Text: text})}, nil, func(p *page) {
			p.line(text)
			p.line("Nothing has been changed: this was --dry-run.")
		})
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
		text := fmt.Sprintf("Start revision %d of %s (%s) and give it all requests", to.Version, app.Name, to.Description)
		return c.out.print("TrafficChange", map[string]any{"traffic": viewTraffic(v3.Traffic{DryRun: true, Text: text})}, nil, func(p *page) {
			p.line(text)
			p.line("Nothing has been changed: this was --dry-run.")
		})
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
