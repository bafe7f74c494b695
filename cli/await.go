package cli

import (
	"context"
	"fmt"
	"slices"
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
	if err := p.judge(ctx, f, app, d); err != nil {
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
			p.c.out.follow(l, fmt.Sprintf("   [%s] %s", sourceOf(l), plainLine(l)))
		})
}

// judge turns the end of a deployment into success or an error.
func (p *push) judge(ctx context.Context, f *follower, app v3.App, d v3.Deployment) error {
	why := "the new version did not become healthy"
	if d.Error != nil && *d.Error != "" {
		why = *d.Error
	}
	hint := startHint(app.Name, why)
	switch d.Status.Reason {
	case v3.ReasonDeployed, v3.ReasonPaused:
		return nil
	case v3.ReasonSuperseded:
		return newFailure(exitConflict, "conflict", "another change of "+app.Name+" took over", "weir app "+app.Name+" shows what runs")
	case v3.ReasonCanceled, v3.ReasonCanceling:
		p.repeat(f)
		if d.PreviousDroplet != nil && app.State == v3.AppStarted {
			if p.serves(ctx, app) {
				return newFailure(exitRolledBack, "rolled-back", why+"; the version before it serves", hint)
			}
			why += "; the version before it does not run either"
		}
		return newFailure(exitFailed, "start-failed", "Start unsuccessful: "+why, hint)
	}
	return newFailure(exitFailed, "failed", fmt.Sprintf("the deployment ended as %s", d.Status.Reason), hint)
}

// serves reports whether an instance of the app is ready. If that cannot be
// known it is taken to be so.
func (p *push) serves(ctx context.Context, app v3.App) bool {
	versions, err := p.AppVersions(ctx, app.GUID)
	return err != nil || slices.ContainsFunc(versions, func(v v3.Version) bool { return v.Instances.Ready > 0 })
}
