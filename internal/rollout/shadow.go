package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"weir/internal/platform"
	"weir/router"
)

// maxIgnores bounds the fields that the comparison of a shadow leaves out.
const maxIgnores = 100

// SetShadow changes what a shadow gets copies of and how it is compared; for a
// version that is none, what it will once it is.
func (e *Engine) SetShadow(ctx context.Context, who platform.Actor, version string, o platform.ShadowOptions, opt platform.SplitOptions) (platform.Change, error) {
	opt.Why = "shadow"
	v, err := e.store.Version(ctx, version)
	if err != nil {
		return platform.Change{}, err
	}
	if o.Noise < 0 || o.Noise > 100 {
		return platform.Change{}, platform.Invalidf("noise_percent must be in the range 1 to 100 (got %d)", o.Noise)
	}
	if len(o.Ignore) > maxIgnores {
		return platform.Change{}, platform.Invalidf("a shadow ignores at most %d fields (got %d)", maxIgnores, len(o.Ignore))
	}
	return e.changeTraffic(ctx, who, opt, []string{v.AppGUID}, func(t *traffic) error {
		v, err := t.version(version)
		if err != nil {
			return err
		}
		v.Shadow = o
		t.text = fmt.Sprintf("Set what version %s of app %s is compared by", v.Label, t.app(v.AppGUID).Name)
		if o.AllMethods {
			t.text += ": requests of all methods"
		}
		return nil
	}, nil)
}

func sameShadow(a, b platform.ShadowOptions) bool {
	return a.AllMethods == b.AllMethods && a.StripAuth == b.StripAuth && a.Noise == b.Noise && slices.Equal(a.Ignore, b.Ignore)
}

// shadowOptions returns as much of the settings as the router needs.
func shadowOptions(o platform.ShadowOptions) *router.ShadowOptions {
	return &router.ShadowOptions{
		AllMethods: o.AllMethods, StripAuth: o.StripAuth, Noise: cmp.Or(o.Noise, platform.DefaultNoise),
	}
}
