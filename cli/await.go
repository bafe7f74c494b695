package cli

import (
	"context"
	"fmt"
	"strings"

	v3 "weir/api/v3"
)

// await waits until a deployment has come to an end, shows what the instances
// say meanwhile, and judges the end.
func (p *push) await(ctx context.Context, app v3.App, deployment string) error {
	if deployment == "" { // nothing had to move
		return p.finish(ctx, app)
	}
	p.at("it is being started", p.reattach())
	p.result.Deployment = deployment
	f, err := p.startLog(ctx, app)
	if err != nil {
		return err
	}
	limited, stop := p.patience(ctx)
	defer stop()
	var d v3.Deployment
	p.c.out.setStatus("Waiting until %s is healthy…", app.Name)
	err = f.while(limited, func(ctx context.Context) (err error) {
		d, err = persist(ctx, func(ctx context.Context) (v3.Deployment, error) { return p.WaitDeployment(ctx, deployment) })
		return err
	})
	p.c.out.clearStatus()
	if err != nil {
		return p.gaveUp(ctx, err, "the start goes on")
	}
	if err := p.judge(f, app, d); err != nil {
		return err
	}
	if d.Status.Reason == v3.ReasonPaused {
		p.c.out.step("The canary runs; weir continue-deployment %s goes on, weir cancel-deployment %s goes back", app.Name, app.Name)
	}
	return p.finish(ctx, app)
}

// startLog follows what the platform and the app itself say during a start.
func (p *push) startLog(ctx context.Context, app v3.App) (*follower, error) {
	return p.newFollower(ctx, app.GUID,
		func(l v3.LogLine) bool {
			return l.SourceType == "CELL" || l.SourceType == "API" || strings.HasPrefix(l.SourceType, "APP")
		},
		func(l v3.LogLine) {
			if !p.c.out.quiet && !p.c.out.json() {
				p.c.out.say("", fmt.Sprintf("   [%s] %s", sourceOf(l), plainLine(l)))
			}
		})
}

// judge turns the end of a deployment into success or an error.
func (p *push) judge(f *follower, app v3.App, d v3.Deployment) error {
	why := "the new version did not become healthy"
	if d.Error != nil && *d.Error != "" {
		why = *d.Error
	}
	hint := "weir logs " + app.Name + " --recent shows what it said"
	switch d.Status.Reason {
	case v3.ReasonDeployed, v3.ReasonPaused:
		return nil
	case v3.ReasonSuperseded:
		return newFailure(exitConflict, "conflict", "another change of "+app.Name+" took over", "weir app "+app.Name+" shows what runs")
	case v3.ReasonCanceled, v3.ReasonCanceling:
		p.repeat(f)
		if d.PreviousDroplet != nil && app.State == v3.AppStarted {
			return newFailure(exitRolledBack, "rolled-back", why+"; the version before it serves", hint)
		}
		return newFailure(exitFailed, "start-failed", "Start unsuccessful: "+why, hint)
	}
	return newFailure(exitFailed, "failed", fmt.Sprintf("the deployment ended as %s", d.Status.Reason), hint)
}
