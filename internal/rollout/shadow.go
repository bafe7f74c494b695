package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

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

// checkShadowOptions refuses settings that no shadow can have.
func checkShadowOptions(o platform.ShadowOptions) error {
	switch {
	case o.Noise < 0 || o.Noise > 100:
		return platform.Invalidf("noise_percent must be in the range 1 to 100 (got %d)", o.Noise)
	case len(o.Ignore) > maxIgnores:
		return platform.Invalidf("a shadow ignores at most %d fields (got %d)", maxIgnores, len(o.Ignore))
	}
	return checkCopies(o)
}

func (t *traffic) changeShadow(version string, c ShadowChange) error {
	if c.Options != nil {
		if err := checkShadowOptions(*c.Options); err != nil {
			return err
		}
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
	switch {
	case v.Shadow.AllMethods:
		text += ": requests of all methods"
	case len(v.Shadow.Methods) > 0:
		text += ": requests with " + strings.Join(v.Shadow.Methods, ", ")
	}
	if was.Mode == v.Mode && was.ShadowPercent == v.ShadowPercent {
		t.text = "" // that it is a shadow is no news
	}
	t.text = joinTexts(t.text, text)
	return nil
}

// checkCopies refuses what no request has. A shadow's methods and paths are few.
func checkCopies(o platform.ShadowOptions) error {
	if len(o.Methods) > maxIgnores || len(o.Paths)+len(o.Except) > maxIgnores {
		return platform.Invalidf("a shadow has at most %d methods and paths", maxIgnores)
	}
	for _, m := range o.Methods {
		if m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" || m == "CONNECT" {
			return platform.Invalidf("methods lists methods such as GET and POST (got %q)", m)
		}
	}
	for _, p := range slices.Concat(o.Paths, o.Except) {
		if len(p) < 2 || p[0] != '/' {
			return platform.Invalidf("paths and except_paths list paths such as /search (got %q)", p)
		}
	}
	return nil
}

// joinTexts joins what is said of the parts of a change.
func joinTexts(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// setModes makes versions, by GUID, shadows of a share in percent, or live ones
// if that is 0. Those that are so stay as they are.
func (t *traffic) setModes(percents map[string]int) error {
	text := ""
	for _, guid := range slices.Sorted(maps.Keys(percents)) {
		v, err := t.version(guid)
		if err != nil {
			return err
		}
		mode, percent := platform.ModeLive, percents[guid]
		if percent > 0 {
			mode = platform.ModeShadow
		}
		if v.Mode == mode && (percent == 0 || v.ShadowPercent == percent) {
			continue
		}
		if err := t.setMode(v, mode, percent); err != nil {
			return err
		}
		text = joinTexts(text, t.text)
	}
	t.text = text
	return nil
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
		slices.Equal(a.Methods, b.Methods) && slices.Equal(a.Paths, b.Paths) && slices.Equal(a.Except, b.Except) &&
		cmp.Or(a.Noise, platform.DefaultNoise) == cmp.Or(b.Noise, platform.DefaultNoise) && slices.Equal(a.Ignore, b.Ignore)
}

// shadowOptions returns as much of the settings as the router needs.
func shadowOptions(o platform.ShadowOptions) *router.ShadowOptions {
	return &router.ShadowOptions{
		AllMethods: o.AllMethods, StripAuth: o.StripAuth, Noise: cmp.Or(o.Noise, platform.DefaultNoise),
		Methods: o.Methods, Paths: o.Paths, Except: o.Except,
	}
}
