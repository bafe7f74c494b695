package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

// copyFlags say which requests a shadow gets copies of and what of its answers
// is compared: of shadow, and of push --shadow.
func copyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "ignore", Usage: "leave a `FIELD` out: '$.ts', '$.items[*].at', '$..ts', header:NAME, status, body; may be repeated; replaces former ones"},
		&cli.BoolFlag{Name: "all-methods", Usage: "copy POST and other requests that change things as well, which then happen twice; asks before"},
		&cli.StringFlag{Name: "methods", Usage: "copy only requests with these methods, `LIST` such as GET,POST; asks before if one changes things"},
		&cli.StringFlag{Name: "paths", Usage: "copy only requests for these paths and all below, `LIST` such as /api,/search"},
		&cli.StringFlag{Name: "except-paths", Usage: "copy none for these paths and all below, `LIST`; \"\" for none, as with the two before"},
		&cli.StringFlag{Name: "noise", Usage: "ask the main version twice for `PERCENT` of the copies, to know by what it differs from itself (default 10%)"},
		&cli.BoolFlag{Name: "strip-auth", Usage: "copies carry no Authorization and no Cookie"},
	}
}

// copyFlagNames are the names of copyFlags.
var copyFlagNames = []string{"ignore", "all-methods", "methods", "paths", "except-paths", "noise", "strip-auth"}

// copyOptions are the options of a shadow as the flags change them; nil if none
// was given.
func (c *call) copyOptions(o v3.ShadowOptions) (*v3.ShadowOptions, error) {
	if !slices.ContainsFunc(copyFlagNames, c.has) {
		return nil, nil
	}
	if c.has("ignore") {
		o.Ignore = c.StringSlice("ignore")
	}
	if c.has("all-methods") {
		o.AllMethods = c.Bool("all-methods")
	}
	for flag, list := range map[string]*[]string{"methods": &o.Methods, "paths": &o.Paths, "except-paths": &o.Except} {
		if c.has(flag) {
			*list = listOf(c.String(flag))
		}
	}
	for i, m := range o.Methods {
		o.Methods[i] = strings.ToUpper(m)
	}
	if c.has("methods") && !c.has("all-methods") {
		o.AllMethods = false // only these
	}
	if c.has("noise") {
		p, err := strconv.Atoi(strings.TrimSuffix(c.String("noise"), "%"))
		if err != nil || p < 1 || p > 100 {
			return nil, usagef("--noise %s is no percentage from 1%% to 100%%", c.String("noise"))
		}
		o.Noise = p
	}
	if c.has("strip-auth") {
		o.StripAuth = c.Bool("strip-auth")
	}
	return &o, nil
}

// confirmCopies asks whether a version may get copies of requests that change
// something.
func (c *call) confirmCopies(ctx context.Context, o v3.ShadowOptions, version string) error {
	if !changesThings(o) {
		return nil
	}
	return c.out.confirm(ctx, "-y", "Really copy requests that change something to %s too? Each of them happens twice then.", version)
}

// changesThings reports whether a shadow gets copies of requests that may change
// something, and then do so twice.
func changesThings(o v3.ShadowOptions) bool {
	return o.AllMethods || slices.ContainsFunc(o.Methods, func(m string) bool {
		return !slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, strings.ToUpper(m))
	})
}

// listOf splits a list at its commas, without empty elements.
func listOf(s string) []string {
	list := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}
