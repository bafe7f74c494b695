package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/api/client"
	v3 "weir/api/v3"
)

func versionCommands() []*command {
	return []*command{
		{
			name: "versions", args: "APP", category: catVersions,
			usage: "list the versions of an app and what each gets", examples: []string{"versions web", "versions web -o json"},
			about: "main is the version that a plain push replaces and that cf's commands mean; live ones have a share of the " +
				"requests; a shadow gets copies of them and its answers reach nobody; idle ones run without a share.",
			run: runVersions,
		},
		{
			name: "ls", args: "[APP] [VERSION]", category: catVersions,
			usage: "list the versions of all apps", examples: []string{"ls", "ls hello", "ls hello 2.0.0"},
			about: "The star marks the main version of each app.", run: runLs,
		},
		{
			name: "ps", args: "[APP]", category: catVersions,
			usage: "list versions with health, weight and share", examples: []string{"ps", "ps api", "ps api -o json"},
			run: runPs,
		},
	}
}

// versionRow is a version of an app.
type versionRow struct {
	App       string    `json:"app"`
	Version   string    `json:"version"` // its label
	GUID      string    `json:"guid"`
	Role      string    `json:"role"`  // main, live, shadow, idle
	State     string    `json:"state"` // started or stopped
	Weight    int       `json:"weight"`
	Share     float64   `json:"sharePercent"`  // of the app's requests
	Shadow    int       `json:"shadowPercent"` // of them that a shadow gets copies of
	Wanted    int       `json:"wanted"`        // instances
	Running   int       `json:"running"`
	Ready     int       `json:"ready"`
	Crashes   int       `json:"crashes"` // in a row
	Health    string    `json:"health"`  // stopped, starting, healthy, degraded, unhealthy, failed
	Details   string    `json:"details"`
	Since     time.Time `json:"since"`
	Revision  int       `json:"revision"`
	URLs      []string  `json:"urls"` // of this version alone
	Addresses []string  `json:"addresses"`
}

func (s *session) versionRows(ctx context.Context, app string, versions []v3.Version) []versionRow {
	scheme, port := s.routerAddress(ctx)
	rows := []versionRow{}
	for _, v := range versions {
		r := versionRow{
			App: app, Version: v.Label, GUID: v.GUID, Role: v.Role, State: strings.ToLower(v.State), Weight: v.Weight,
			Share: v.SharePercent, Shadow: v.ShadowPercent, Wanted: v.Instances.Wanted, Running: v.Instances.Running,
			Ready: v.Instances.Ready, Crashes: v.Instances.Crashes, Health: v.Health, Details: v.Details, Since: v.Since.Time,
			URLs: []string{}, Addresses: append([]string{}, v.Addresses...),
		}
		if v.Revision != nil {
			r.Revision = v.Revision.Version
		}
		for _, u := range v.URLs {
			r.URLs = append(r.URLs, routeURL(scheme, port, u))
		}
		rows = append(rows, r)
	}
	return rows
}

// shareText writes what a version gets.
func (r versionRow) shareText() string {
	if r.Role == v3.RoleShadow {
		return fmt.Sprintf("copies of %d%%", r.Shadow)
	}
	return percent(r.Share)
}

func runVersions(ctx context.Context, c *call) error {
	s, sp, f, err := c.openFleet(ctx, c.arg(0))
	if err != nil {
		return err
	}
	c.out.banner("Getting versions of app %s in org %s / space %s as %s...", f.app.Name, sp.Org.Name, sp.Name, s.user)
	return s.showVersions(ctx, f)
}

// showVersions prints the versions of an app, and the table that a change may
// be made to depend on.
func (s *session) showVersions(ctx context.Context, f fleet) error {
	split, err := s.Split(ctx, f.app.GUID)
	if err != nil {
		return err
	}
	rows := s.versionRows(ctx, f.app.Name, f.versions)
	v := map[string]any{"versions": rows, "table": split.Table}
	return s.out.print("VersionList", v, f.labels(), func(p *page) {
		if len(rows) == 0 {
			p.line("No versions: app " + f.app.Name + " does not run.")
			return
		}
		drawVersions(p, rows)
		p.blank()
		p.line(fmt.Sprintf("table %d", split.Table))
	})
}

func drawVersions(p *page, rows []versionRow) {
	var cells [][]string
	for _, r := range rows {
		cells = append(cells, []string{
			r.Version, r.shareText(), strconv.Itoa(r.Weight), fmt.Sprintf("%d/%d", r.Ready, r.Wanted), r.Role, r.Health,
			strconv.Itoa(r.Revision), firstOf(r.URLs), stamp(r.Since), r.GUID,
		})
	}
	p.table("", append([]string{"version", "share", "weight", "instances", "role", "health", "revision", "url"}, p.more("since", "guid")...), cells)
	for _, r := range rows {
		if r.Details != "" {
			p.line(r.Version + ": " + r.Details)
		}
	}
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// spaceVersions lists the versions of one app, or of all apps of the space in
// the order of their names.
func (c *call) spaceVersions(ctx context.Context, s *session, sp space, name string) ([]versionRow, error) {
	if name != "" {
		f, err := s.fleet(ctx, sp, name)
		if err != nil {
			return nil, err
		}
		return s.versionRows(ctx, f.app.Name, f.versions), nil
	}
	inSpace := client.Query(nil).In("space_guids", sp.GUID)
	apps, err := s.Apps(ctx, inSpace.Set("order_by", "name"))
	if err != nil {
		return nil, err
	}
	all, err := s.Versions(ctx, inSpace)
	if err != nil {
		return nil, err
	}
	var rows []versionRow
	for _, app := range apps {
		own := slices.DeleteFunc(slices.Clone(all), func(v v3.Version) bool { return v.Relationships.GUID("app") != app.GUID })
		slices.SortStableFunc(own, func(a, b v3.Version) int { return rankOf(a) - rankOf(b) })
		rows = append(rows, s.versionRows(ctx, app.Name, own)...)
	}
	return rows, nil
}

func rankOf(v v3.Version) int {
	if v.Role == v3.RoleMain {
		return 0
	}
	return 1
}

func runLs(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	name, label := splitRef(c.arg(0))
	if c.arg(1) != "" {
		label = c.arg(1)
	}
	rows, err := c.spaceVersions(ctx, s, sp, name)
	if err != nil {
		return err
	}
	if label != "" {
		all := rows
		rows = slices.DeleteFunc(slices.Clone(rows), func(r versionRow) bool { return !strings.EqualFold(r.Version, label) })
		if len(rows) == 0 {
			var labels []string
			for _, r := range all {
				labels = append(labels, r.Version)
			}
			return notFound(didYouMean(label, labels, "weir ls "+name+" lists them"), "App '%s' has no version '%s'", name, label)
		}
	}
	return c.printLs(rows)
}

func (c *call) printLs(rows []versionRow) error {
	var names []string
	var cells [][]string
	for _, r := range rows {
		names = append(names, r.App+":"+r.Version)
		star, running := "", capitalised(r.Health)
		if r.Role == v3.RoleMain {
			star = "*"
		}
		if r.Ready > 0 {
			running = "Running (since " + r.Since.Local().Format("2006-01-02 15:04:05") + ")"
		}
		traffic := percent(r.Share)
		if r.Role == v3.RoleShadow {
			traffic = v3.RoleShadow
			if r.Shadow < 100 {
				traffic += fmt.Sprintf(" %d%%", r.Shadow)
			}
		}
		cells = append(cells, []string{star, r.App, r.Version, r.status(), running, traffic, r.GUID})
	}
	if rows == nil {
		rows = []versionRow{}
	}
	return c.out.print("VersionList", map[string]any{"versions": rows}, names, func(p *page) {
		p.table("", append([]string{"MAIN", "NAME", "VERSION", "STATUS", "RUNNING", "TRAFFIC"}, p.more("GUID")...), cells)
	})
}

// status is Daeploy's word for what a version does.
func (r versionRow) status() string {
	switch {
	case r.Ready > 0:
		return "running"
	case r.Health == "stopped":
		return "stopped"
	}
	return r.Health
}

func capitalised(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func runPs(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	name, label := splitRef(c.arg(0))
	rows, err := c.spaceVersions(ctx, s, sp, name)
	if err != nil {
		return err
	}
	var names []string
	var cells [][]string
	kept := []versionRow{}
	for _, r := range rows {
		if label != "" && !strings.EqualFold(label, r.Version) {
			continue
		}
		kept = append(kept, r)
		names = append(names, r.App+":"+r.Version)
		cells = append(cells, []string{
			r.App + ":" + r.Version, orDash(firstOf(r.Addresses)), r.uptime(time.Now()), r.Health, strconv.Itoa(r.Weight), r.shareText(),
			strconv.Itoa(r.Revision), r.GUID,
		})
	}
	return c.out.print("VersionList", map[string]any{"versions": kept}, names, func(p *page) {
		p.table("", append([]string{"INSTANCE", "LISTEN", "UPTIME", "HEALTH", "WEIGHT", "SHARE"}, p.more("REVISION", "GUID")...), cells)
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (r versionRow) uptime(now time.Time) string {
	if r.Ready == 0 || r.Since.IsZero() {
		return "-"
	}
	return age(now.Sub(r.Since))
}

// age writes a duration in its largest unit: 40s, 5m, 3h, 2d.
func age(d time.Duration) string {
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
