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

// ShadowChange is what is changed of a version in one table. What is empty stays.
type ShadowChange struct {
	// Mode is ModeShadow or ModeLive. With a mode Percent is the share of the
	// requests that a shadow gets copies of.
	Mode    string
	Percent int

	// Options say what is copied and how it is compared; of a version that is
	// no shadow, what holds once it is one.
	Options *platform.ShadowOptions
}

func (c *ShadowChange) check() error {
	o := c.Options
	if o != nil && (o.Noise < 0 || o.Noise > 100) {
		return platform.Invalidf("noise_percent must be in the range 1 to 100 (got %d)", o.Noise)
	}
	if o != nil && len(o.Ignore) > maxIgnores {
		return platform.Invalidf("a shadow ignores at most %d fields (got %d)", maxIgnores, len(o.Ignore))
	}
	return nil
}

// SetMode makes a version a shadow that gets copies of percent of the
// requests, or a live version again, and returns once the router runs with it.
func (e *Engine) SetMode(ctx context.Context, who platform.Actor, version, mode string, percent int, opt platform.SplitOptions) (platform.Change, error) {
	return e.ChangeShadow(ctx, who, version, ShadowChange{Mode: mode, Percent: percent}, opt)
}

// ChangeShadow makes a version a shadow, or one no more, and changes how it is
// compared, all in one table. It returns once the router runs with it.
func (e *Engine) ChangeShadow(ctx context.Context, who platform.Actor, version string, c ShadowChange, opt platform.SplitOptions) (platform.Change, error) {
	opt.Why = "shadow"
	v, err := e.store.Version(ctx, version)
	if err != nil {
		return platform.Change{}, err
	}
	return e.changeTraffic(ctx, who, opt, []string{v.AppGUID}, func(t *traffic) error { return t.changeShadow(version, c) }, nil)
}

func (t *traffic) changeShadow(version string, c ShadowChange) error {
	if err := c.check(); err != nil {
		return err
	}
	v, err := t.version(version)
	if err != nil {
		return err
	}
	was := *v
	if c.Mode != "" {
		if err := t.setMode(v, c.Mode, c.Percent); err != nil {
			return err
		}
	}
	if c.Options == nil || sameShadow(was.Shadow, *c.Options) {
		return nil
	}
	v.Shadow = *c.Options
	text := fmt.Sprintf("Set what version %s of app %s is compared by", v.Label, t.app(v.AppGUID).Name)
	if v.Shadow.AllMethods {
		text += ": requests of all methods"
	}
	if was.Mode == v.Mode && was.ShadowPercent == v.ShadowPercent {
		t.text = "" // that it is a shadow is no news
	}
	t.text = joinTexts(t.text, text)
	return nil
}

// joinTexts joins what is said of the parts of a change.
func joinTexts(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

func (t *traffic) setMode(v *platform.Version, mode string, percent int) error {
	name := t.app(v.AppGUID).Name
	switch {
	case mode == platform.ModeLive:
		if v.Mode == platform.ModeShadow {
			v.Weight = 0 // going live is one thing, getting requests another
		}
		v.Mode = mode
		t.text = fmt.Sprintf("Version %s of app %s is no shadow", v.Label, name)
		return nil
	case mode != platform.ModeShadow:
		return platform.Invalidf("mode must be 'live' or 'shadow' (got %q)", mode)
	case v.Main:
		return refuse(fmt.Sprintf("make another one the main version first: weir assign %s VERSION", name), "version %s is the main version of app %q and cannot be a shadow", v.Label, name)
	case percent < 1 || percent > 100:
		return platform.Invalidf("shadow_percent must be in the range 1 to 100 (got %d)", percent)
	}
	v.Mode, v.ShadowPercent = mode, percent
	t.text = fmt.Sprintf("Version %s of app %s is a shadow of %d %% of its requests", v.Label, name, percent)
	return nil
}

func sameShadow(a, b platform.ShadowOptions) bool {
	return a.AllMethods == b.AllMethods && a.StripAuth == b.StripAuth &&
		cmp.Or(a.Noise, platform.DefaultNoise) == cmp.Or(b.Noise, platform.DefaultNoise) && slices.Equal(a.Ignore, b.Ignore)
}

// shadowOptions returns as much of the settings as the router needs.
func shadowOptions(o platform.ShadowOptions) *router.ShadowOptions {
	return &router.ShadowOptions{
		AllMethods: o.AllMethods, StripAuth: o.StripAuth, Noise: cmp.Or(o.Noise, platform.DefaultNoise),
	}
}
