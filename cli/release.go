package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

// Settings of an app wait for its next start. With --release they are sent out
// at once, as code is.

// releaseFlags are those of commands that change what the next start takes.
func releaseFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{&cli.BoolFlag{Name: "release", Usage: "release it at once"}}, moveFlags(), rolloutFlags())
}

// setting is a change of what the next start of an app takes.
type setting struct {
	noun    string // "environment"
	changed bool   // it is otherwise than what was set before
	waits   bool   // --release is given, and there is something to release
	// is finds it among what the next start would change.
	is func(v3.RevisionChange) bool
}

// mayRelease refuses a change that is to be released and cannot be now, before
// anything is set. It reports whether there is anything to release: what is set
// already may still wait for a start.
func (c *call) mayRelease(ctx context.Context, s *session, app v3.App, what setting) (waits bool, err error) {
	if _, err := c.strategy(); err != nil {
		return false, err
	}
	if c.rollsOut() && !c.Bool("release") {
		return false, withHint(usagef("a rollout is asked for, and no release"), "add --release")
	}
	if !c.Bool("release") || app.State != v3.AppStarted {
		return false, nil
	}
	if !what.changed {
		if waits, err = s.settingWaits(ctx, app, what); err != nil || !waits {
			return false, err
		}
	}
	if c.rollsOut() {
		plan, err := c.planBy(map[string]any{})
		if err != nil {
			return false, err
		}
		return true, s.CheckRollout(ctx, app.GUID, plan)
	}
	return true, s.checkNoRollout(ctx, app, fmt.Sprintf("; without --release it is set for the next start of %s", app.Name))
}

// settingWaits reports whether the instances of an app's main version run with
// another setting than the next start would.
func (s *session) settingWaits(ctx context.Context, app v3.App, what setting) (bool, error) {
	versions, err := s.AppVersions(ctx, app.GUID)
	if err != nil {
		return false, err
	}
	f := fleet{app, versions}
	main, runs := f.main()
	if !runs {
		return false, nil
	}
	number, err := f.revisionNumber(main.Label)
	if err != nil {
		return false, err
	}
	d, err := s.RevisionDiff(ctx, f.app.GUID, number, pending)
	return slices.ContainsFunc(d.Changes, what.is), err
}

// release ends a change of a setting: by replacing the instances if --release
// asks for it and something waits for that, else with a word on how to. kind and
// v are its result without a release.
func (c *call) release(ctx context.Context, s *session, sp space, app v3.App, what setting, kind string, v any, notes ...string) error {
	d, err := c.strategy()
	switch {
	case err != nil:
		return err
	case !what.waits && (!what.changed || app.State != v3.AppStarted):
		return c.out.done(kind, v, notes...)
	case !what.waits:
		r, ok, err := s.rolloutOf(ctx, app)
		if err != nil {
			return err
		}
		if ok {
			c.out.step("Rollout r-%d of %s is on its way: when it is over (weir rollout watch %s), weir restart %s makes the running app see it",
				r.Number, r.To.Label, app.Name, app.Name)
			return c.out.done(kind, v, notes...)
		}
		if what.noun == "environment" {
			c.out.step("weir restart %s makes the running app see it; weir restage %s the build", app.Name, app.Name)
		} else {
			c.out.step("weir restart %s makes it hold for the running app", app.Name)
		}
		return c.out.done(kind, v, notes...)
	}
	for _, note := range notes {
		c.out.step("%s", note)
	}
	return c.move(ctx, s, sp, app, "restart", func(ctx context.Context, p *push) error {
		d.Relationships = v3.Relationships{"app": v3.To(app.GUID)}
		got, err := s.CreateDeployment(ctx, d)
		if err != nil {
			return err
		}
		c.out.step("Releasing the new %s of %s", what.noun, app.Name)
		return p.settle(ctx, app, got.GUID)
	})
}

// rollOutSetting brings a version with another setting in judged steps. That of
// the app stays as it is until the version is the main one.
func (c *call) rollOutSetting(ctx context.Context, s *session, sp space, app v3.App, req v3.VersionCreate, notes ...string) error {
	for _, note := range notes {
		c.out.step("%s", note)
	}
	return c.move(ctx, s, sp, app, c.cmd.name, func(ctx context.Context, p *push) error { return p.rollOut(ctx, app, req) })
}
