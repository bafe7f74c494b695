package cli

import (
	"context"
	"strings"
)

// versionWords says which versions a word of a usage line or a flag stands
// for: "label" for those of the app named first, "ref" for app:version, "" for
// none.
func versionWords(word, flag string) string {
	switch {
	case word == "VERSION", word == "VERSION=COUNT", word == "FROM", word == "TO", flag == "from", flag == "to":
		return "label"
	case word == "APP:VERSION", word == "APP:VERSION=WEIGHT":
		return "ref"
	}
	return ""
}

// appArgument returns the positional argument among args that names the app:
// the first, or that behind an action.
func appArgument(cmd *command, t flagTable, args []string) string {
	isAction := strings.HasPrefix(cmd.args, "ACTION ")
	for i := 0; i < len(args); i++ {
		a := args[i]
		if !strings.HasPrefix(a, "-") || a == "-" {
			if isAction {
				isAction = false
				continue
			}
			return a
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if f := t.byName[name]; f != nil && !f.bool && !hasValue {
			i++
		}
	}
	return ""
}

// versionValues asks the server for versions: the labels of an app's, or all
// of the space as app:version.
func (c *call) versionValues(ctx context.Context, list, app string) (names []string) {
	s, sp, err := c.open(ctx)
	if err != nil {
		return nil
	}
	if list == "label" {
		app, _ = splitRef(app)
		if f, err := s.fleet(ctx, sp, app); err == nil {
			return f.labels()
		}
		return nil
	}
	rows, err := c.spaceVersions(ctx, s, sp, "")
	if err != nil {
		return nil
	}
	for _, r := range rows {
		names = append(names, r.App+":"+r.Version)
	}
	return names
}
