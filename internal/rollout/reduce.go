package rollout

import (
	"context"

	"weir/internal/platform"
	"weir/internal/store"
)

// enough is how many web instances of a version are to run.
func enough(v platform.Version) int {
	if v.Reduced > 0 && v.Reduced < v.Instances {
		return v.Reduced
	}
	return v.Instances
}

// ReduceVersion lets the main version run with n of its web instances while
// others answer a part of its requests, or with all of them again if n is 0. The
// app's scale stays what it is: when another version becomes the main one it has
// as many, and this one what it has then. It returns before instances come or go.
// also runs in the same transaction and may be nil.
func (e *Engine) ReduceVersion(ctx context.Context, who platform.Actor, version string, n int, also func(*store.Tx) error) (platform.Version, error) {
	return e.editVersion(ctx, who, version, eventVersionScale, func(tx *store.Tx, app platform.App, v *platform.Version) error {
		switch {
		case n < 0 || n > maxInstances:
			return platform.Invalidf("instances must be in the range 0 to %d (got %d)", maxInstances, n)
		case !v.Main && n > 0:
			return refuse("weir scale "+app.Name+":"+v.Label, "version %s of app %q is not the main one", v.Label, app.Name)
		}
		v.Reduced = n
		if err := tx.UpdateVersion(ctx, *v); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
}

// reduceWeb has the web process among all as many instances as are enough of its
// app's main version.
func reduceWeb(ctx context.Context, tx *store.Tx, all []platform.Process) error {
	apps := make([]string, 0, len(all))
	for _, p := range all {
		if p.Type == platform.WebProcess {
			apps = append(apps, p.AppGUID)
		}
	}
	if len(apps) == 0 {
		return nil
	}
	mains, _, err := tx.Versions(ctx, store.Query{In: map[string][]string{"app_guids": apps, "main": {"true"}}})
	if err != nil {
		return err
	}
	for _, v := range mains {
		for i := range all {
			if all[i].AppGUID == v.AppGUID && all[i].Type == platform.WebProcess {
				all[i].Instances = enough(v)
			}
		}
	}
	return nil
}
