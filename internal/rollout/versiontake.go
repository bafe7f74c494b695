package rollout

import (
	"context"
	"fmt"

	"weir/internal/platform"
	"weir/internal/store"
)

// takeVersion is StartVersion for a version that is there already.
func (e *Engine) takeVersion(ctx context.Context, req platform.VersionRequest, also func(*store.Tx, platform.Version) error) (v platform.Version, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, req.AppGUID)
		if err != nil {
			return err
		}
		if v, err = mayTake(ctx, tx, app, req.VersionGUID); err != nil || also == nil {
			return err
		}
		return also(tx, v)
	})
	return v, err
}

// mayTake returns a version that can get requests from the main one, and refuses
// others.
func mayTake(ctx context.Context, tx *store.Tx, app platform.App, guid string) (platform.Version, error) {
	v, err := tx.Version(ctx, guid)
	switch {
	case isNotFound(err) || err == nil && v.AppGUID != app.GUID:
		return v, platform.Invalidf("The version does not exist")
	case err != nil:
		return v, err
	case v.Main:
		return v, refuse("name another one: weir versions "+app.Name, "version %s is the main version of app %q already", v.Label, app.Name)
	case v.Mode == platform.ModeShadow:
		return v, refuse(fmt.Sprintf("weir shadow %s:%s --off", app.Name, v.Label), "version %s of app %q is a shadow: its answers reach nobody", v.Label, app.Name)
	}
	t := &traffic{tx: tx, apps: []platform.App{app}}
	return v, t.checkReady(ctx, v)
}
