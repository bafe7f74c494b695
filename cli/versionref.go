package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

// splitRef takes "app:version" apart; without a version label is "".
func splitRef(arg string) (app, label string) {
	app, label, _ = strings.Cut(arg, ":")
	return app, label
}

// refArguments reads "APP:VERSION" or "APP VERSION" from the first arguments,
// or APP and the flag --version or --id.
func (c *call) refArguments() (app, label string, err error) {
	app, label = splitRef(c.arg(0))
	for _, other := range []string{c.arg(1), c.flagText("version"), c.flagText("id")} {
		switch {
		case other == "" || other == label:
		case label == "":
			label = other
		default:
			return "", "", withHint(usagef("%s and %s are two versions", label, other), c.cmd.usageHint())
		}
	}
	if app == "" {
		return "", "", withHint(usagef("APP is missing"), c.cmd.usageHint())
	}
	return app, label, nil
}

// flagText is the value of a flag, or "" if the command does not have it.
func (c *call) flagText(name string) string {
	if !c.has(name) {
		return ""
	}
	return c.String(name)
}

// fleet is an app with its versions, the main one first.
type fleet struct {
	app      v3.App
	versions []v3.Version
}

// openFleet connects and finds an app with its versions.
func (c *call) openFleet(ctx context.Context, name string) (*session, space, fleet, error) {
	s, sp, err := c.open(ctx)
	if err != nil {
		return nil, space{}, fleet{}, err
	}
	f, err := s.fleet(ctx, sp, name)
	return s, sp, f, err
}

func (s *session) fleet(ctx context.Context, sp space, name string) (f fleet, err error) {
	if f.app, err = s.app(ctx, sp, name); err != nil {
		return f, err
	}
	f.versions, err = s.AppVersions(ctx, f.app.GUID)
	return f, err
}

// find returns the version with a label, or says which there are.
func (f fleet) find(label string) (v3.Version, error) {
	for _, v := range f.versions {
		if strings.EqualFold(v.Label, label) {
			return v, nil
		}
	}
	return v3.Version{}, notFound(didYouMean(label, f.labels(), "weir versions "+f.app.Name+" lists them"),
		"App '%s' has no version '%s'", f.app.Name, label)
}

// atAddress returns the version that has a label, or one that reads the same in
// a host name.
func (f fleet) atAddress(label string) (v v3.Version, ok bool) {
	i := slices.IndexFunc(f.versions, func(v v3.Version) bool { return platform.Slug(v.Label) == platform.Slug(label) })
	if i < 0 {
		return v, false
	}
	return f.versions[i], true
}

// checkLabel refuses what cannot be the label of a version.
func checkLabel(label string) error {
	if e, ok := errors.AsType[*platform.Error](platform.CheckLabel(label)); ok {
		return withHint(usagef("%s", e.Msg), e.Hint)
	}
	return nil
}

// main returns the main version; ok is false for an app that never ran.
func (f fleet) main() (v3.Version, bool) {
	i := slices.IndexFunc(f.versions, func(v v3.Version) bool { return v.Role == v3.RoleMain })
	if i < 0 {
		return v3.Version{}, false
	}
	return f.versions[i], true
}

func (f fleet) labels() []string {
	labels := make([]string, len(f.versions))
	for i, v := range f.versions {
		labels[i] = v.Label
	}
	return labels
}

// ref names a version as tenement does.
func (f fleet) ref(v v3.Version) string { return f.app.Name + ":" + v.Label }

// onlyVersion returns the version that APP:VERSION or APP VERSION names; ok is
// false if an app alone is named.
func (c *call) onlyVersion(ctx context.Context) (s *session, f fleet, v v3.Version, ok bool, err error) {
	name, label, err := c.refArguments()
	if err != nil || label == "" {
		return nil, f, v, err != nil, err
	}
	if s, _, f, err = c.openFleet(ctx, name); err != nil {
		return nil, f, v, true, err
	}
	v, err = f.find(label)
	return s, f, v, true, err
}

// startVersion starts a version that was stopped; err is that of looking for it.
func (c *call) startVersion(ctx context.Context, s *session, f fleet, v v3.Version, err error) error {
	if err != nil {
		return err
	}
	if v.State == v3.AppStarted {
		return c.out.done("AppAction", appAction{f.ref(v), v.GUID, "started", false}, "Version '"+f.ref(v)+"' is already started.")
	}
	if v, err = s.StartVersion(ctx, v.GUID); err != nil {
		return err
	}
	return c.settleVersion(ctx, s, f, v, 0)
}

func (c *call) stopVersion(ctx context.Context, s *session, f fleet, v v3.Version, err error) error {
	if err != nil {
		return err
	}
	if v.State == v3.AppStopped {
		return c.out.done("AppAction", appAction{f.ref(v), v.GUID, "stopped", false}, "Version '"+f.ref(v)+"' is already stopped.")
	}
	if v, err = s.StopVersion(ctx, v.GUID, c.Bool("force")); err != nil {
		return err
	}
	return c.out.done("AppAction", appAction{f.ref(v), v.GUID, "stopped", true})
}

// restartVersion stops a version and starts it again. Its weight stays, and
// counts again once an instance is ready.
func (c *call) restartVersion(ctx context.Context, s *session, f fleet, v v3.Version, err error) error {
	if err != nil {
		return err
	}
	if v.State == v3.AppStarted {
		if v, err = s.StopVersion(ctx, v.GUID, true); err != nil {
			return err
		}
	}
	return c.startVersion(ctx, s, f, v, nil)
}

func (c *call) scaleVersion(ctx context.Context, s *session, f fleet, v v3.Version, want v3.ProcessScale, err error) error {
	if err != nil {
		return err
	}
	if want.Instances == nil || *want.Instances < 1 || want.MemoryMB != nil || want.DiskMB != nil || c.has("process") {
		return withHint(usagef("a version can be scaled to another number of instances, 1 at least"), "weir scale "+f.ref(v)+" -i 3")
	}
	if v, err = s.UpdateVersion(ctx, v.GUID, v3.VersionUpdate{Instances: want.Instances}); err != nil {
		return err
	}
	return c.settleVersion(ctx, s, f, v, 0)
}

// trafficFlags are those of every change of where requests go.
func trafficFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Uint64Flag{Name: "if-table", Usage: "refuse (exit code 5) if the traffic was changed after table `NUMBER`"},
		&cli.BoolFlag{Name: "dry-run", Usage: "show what would change, and change nothing"},
	}
}

func (c *call) trafficOptions() v3.TrafficOptions {
	return v3.TrafficOptions{IfTable: c.Uint64("if-table"), DryRun: c.Bool("dry-run")}
}
