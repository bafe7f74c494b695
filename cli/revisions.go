package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func revisionCommands() []*command {
	return []*command{
		{
			name: "revisions", args: "APP", category: catHistory,
			usage: "list what an app ran: droplet, environment, commands", examples: []string{"revisions hello"}, run: runRevisions,
		},
		{
			name: "continue-deployment", args: "APP", category: catHistory,
			usage: "take a paused canary to its next step", examples: []string{"continue-deployment hello"},
			flags: []cli.Flag{
				&cli.BoolFlag{Name: "no-wait", Usage: "do not wait for the step"},
				&cli.DurationFlag{Name: "wait-timeout", Usage: "give up waiting after `TIME`", Value: defaultWait},
			},
			run: runContinue,
		},
		{
			name: "cancel-deployment", args: "APP", category: catHistory,
			usage: "take an app back to what it ran before its deployment", examples: []string{"cancel-deployment hello"},
			run: runCancel,
		},
	}
}

// revisionView is a revision.
type revisionView struct {
	Version     int       `json:"version"`
	GUID        string    `json:"guid"`
	Description string    `json:"description"`
	Deployed    bool      `json:"deployed"`
	Deployable  bool      `json:"deployable"`
	Droplet     string    `json:"droplet"`
	CreatedAt   time.Time `json:"createdAt"`
}

// revisions lists the revisions of an app, newest first.
func (s *session) revisions(ctx context.Context, app v3.App) ([]revisionView, error) {
	list, err := s.Revisions(ctx, app.GUID, nil)
	if err != nil {
		return nil, err
	}
	deployed, err := s.DeployedRevisions(ctx, app.GUID)
	if err != nil {
		return nil, err
	}
	views := []revisionView{}
	for _, r := range list {
		views = append(views, revisionView{
			Version: r.Version, GUID: r.GUID, Description: r.Description, Deployable: r.Deployable, Droplet: r.Droplet.GUID,
			CreatedAt: r.CreatedAt.Time,
			Deployed:  slices.ContainsFunc(deployed, func(d v3.Revision) bool { return d.GUID == r.GUID }),
		})
	}
	slices.SortFunc(views, func(a, b revisionView) int { return cmp.Compare(b.Version, a.Version) })
	return views, nil
}

func runRevisions(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting revisions for app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	views, err := s.revisions(ctx, app)
	if err != nil {
		return err
	}
	var names []string
	var rows [][]string
	for _, v := range views {
		number := strconv.Itoa(v.Version)
		names = append(names, number)
		if v.Deployed {
			number += "(deployed)"
		}
		rows = append(rows, []string{number, v.Description, fmt.Sprint(v.Deployable), v.GUID, stamp(v.CreatedAt), v.Droplet})
	}
	return c.out.print("RevisionList", map[string]any{"revisions": views}, names, func(p *page) {
		if len(rows) == 0 {
			p.line("No revisions found")
			return
		}
		p.table("", append([]string{"revision", "description", "deployable", "revision guid", "created at"}, p.more("droplet")...), rows)
	})
}

// moving returns the active deployment of an app. For one that has a rollout
// instead, action says what steers that.
func (s *session) moving(ctx context.Context, app v3.App, action string) (v3.Deployment, error) {
	d, ok, err := s.ActiveDeployment(ctx, app.GUID)
	if err != nil || ok {
		return d, err
	}
	hint := "weir app " + app.Name
	if err := s.checkNoRollout(ctx, app, ""); err != nil && asFailure(err).exit == exitConflict {
		hint = "a rollout is on its way; weir rollout " + action
	}
	return d, notFound(hint, "No active deployment found for app '%s'", app.Name)
}

func runContinue(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	d, err := s.moving(ctx, app, "promote "+app.Name+" takes it to its next step")
	if err != nil {
		return err
	}
	return c.move(ctx, s, sp, app, "continue-deployment", func(ctx context.Context, p *push) error {
		if err := s.ContinueDeployment(ctx, d.GUID); err != nil {
			return err
		}
		return p.settle(ctx, app, d.GUID)
	})
}

func runCancel(ctx context.Context, c *call) error {
	s, _, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	d, err := s.moving(ctx, app, "abort "+app.Name+" takes it back")
	if err != nil {
		return err
	}
	if err := s.CancelDeployment(ctx, d.GUID); err != nil {
		return err
	}
	c.out.step("Waiting until what ran before serves again")
	if _, err := persist(ctx, func(ctx context.Context) (v3.Deployment, error) { return s.WaitDeployment(ctx, d.GUID) }); err != nil {
		return err
	}
	return c.out.done("AppAction", appAction{app.Name, app.GUID, "", true})
}
