package rollout

import (
	"context"

	"weir/internal/platform"
	"weir/internal/store"
)

// VersionChange is what is changed of a version at once: all of it or nothing.
// What is nil or empty stays.
type VersionChange struct {
	Shadow    ShadowChange
	Match     *[]platform.Match // all of them; none takes them away
	Instances *int
	Describe  func(*platform.Metadata) error
}

// movesTraffic reports whether the router has to know.
func (c *VersionChange) movesTraffic() bool {
	return c.Shadow.Mode != "" || c.Shadow.Options != nil || c.Match != nil
}

// ChangeVersion changes a version in one transaction and one table. It returns
// once the router runs with it, and before new instances are up.
func (e *Engine) ChangeVersion(ctx context.Context, who platform.Actor, version string, c VersionChange, opt platform.SplitOptions) error {
	v, err := e.store.Version(ctx, version)
	if err != nil {
		return err
	}
	if !c.movesTraffic() {
		err := e.store.Tx(ctx, func(tx *store.Tx) error {
			v, err := tx.Version(ctx, version)
			if err != nil {
				return err
			}
			app, err := tx.App(ctx, v.AppGUID)
			if err == nil {
				err = e.resize(ctx, tx, who, app, &v, c)
			}
			if err == nil && opt.DryRun {
				err = errDryRun
			}
			return err
		})
		if err == nil {
			e.wake(v.AppGUID)
		}
		return unlessDry(err)
	}
	if opt.Why = "shadow"; c.Shadow.Mode == "" && c.Shadow.Options == nil {
		opt.Why = "match"
	}
	_, err = e.changeTraffic(ctx, who, opt, []string{v.AppGUID}, func(t *traffic) error {
		if err := t.changeShadow(version, c.Shadow); err != nil {
			return err
		}
		v, err := t.version(version)
		if err != nil {
			return err
		}
		if c.Match != nil {
			if err := t.setMatch(map[string][]platform.Match{version: *c.Match}); err != nil {
				return err
			}
			t.text = joinTexts(t.text, "Set match rules of app "+t.app(v.AppGUID).Name)
		}
		return e.resize(ctx, t.tx, who, *t.app(v.AppGUID), v, c)
	}, nil)
	return err
}

// resize does the part of a change that is no change of traffic.
func (e *Engine) resize(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, v *platform.Version, c VersionChange) error {
	if c.Instances != nil {
		if err := e.scaleVersion(ctx, tx, who, app, v, *c.Instances); err != nil {
			return err
		}
		if err := e.versionEvent(ctx, tx, who, eventVersionScale, app, *v); err != nil {
			return err
		}
	}
	if c.Describe == nil {
		return nil
	}
	if err := c.Describe(&v.Metadata); err != nil {
		return err
	}
	return tx.UpdateVersion(ctx, *v)
}
