package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

func appCommands() []*command {
	return []*command{
		{
			name: "apps", aliases: []string{"a"}, category: catApps,
			usage:    "list the apps of the space",
			examples: []string{"apps", "apps -o wide", "apps -o json", "apps -q", "apps -o jsonpath='{.apps[*].name}'"},
			run:      runApps,
		},
		{
			name: "app", args: "APP", category: catApps,
			usage:    "show an app and its instances",
			examples: []string{"app hello", "app hello -o json", "app hello --guid"},
			flags:    []cli.Flag{&cli.BoolFlag{Name: "guid", Usage: "print the GUID only"}},
			run:      runApp,
		},
	}
}

// appItem is an app in a list.
type appItem struct {
	Name      string        `json:"name"`
	GUID      string        `json:"guid"`
	State     string        `json:"state"` // started or stopped
	Processes []processItem `json:"processes"`
	Routes    []string      `json:"routes"`
}

// processItem counts the instances of a process.
type processItem struct {
	Type    string `json:"type"`
	Version string `json:"version"` // its label, if the app has several; else ""
	GUID    string `json:"guid"`
	Running int    `json:"running"`
	Wanted  int    `json:"wanted"`
	Memory  int64  `json:"memoryBytes"` // of one instance
}

func runApps(ctx context.Context, c *call) error {
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting apps in org %s / space %s as %s...", sp.Org.Name, sp.Name, s.user)
	inSpace := client.Query(nil).In("space_guids", sp.GUID)
	apps, err := s.Apps(ctx, inSpace.Set("order_by", "name"))
	if err != nil {
		return err
	}
	procs, err := s.AllProcesses(ctx, inSpace.Set("embed", "process_instances"))
	if err != nil {
		return err
	}
	routes, err := s.Routes(ctx, inSpace)
	if err != nil {
		return err
	}
	items := make([]appItem, len(apps))
	byGUID := map[string]*appItem{}
	for i, a := range apps {
		items[i] = appItem{
			Name: a.Name, GUID: a.GUID, State: strings.ToLower(a.State),
			Processes: []processItem{}, Routes: []string{},
		}
		byGUID[a.GUID] = &items[i]
	}
	slices.SortStableFunc(procs, compareProcesses)
	for _, p := range procs {
		if item := byGUID[p.Relationships.GUID("app")]; item != nil {
			item.Processes = append(item.Processes, countInstances(p))
		}
	}
	if err := s.labelApps(ctx, inSpace, items); err != nil {
		return err
	}
	for _, r := range routes {
		for _, guid := range answering(r) {
			if item := byGUID[guid]; item != nil {
				item.Routes = append(item.Routes, r.URL)
			}
		}
	}
	return c.out.print("AppList", map[string]any{"apps": items}, namesOf(items), func(p *page) { tableOfApps(p, items) })
}

func namesOf(items []appItem) (names []string) {
	for _, a := range items {
		names = append(names, a.Name)
	}
	return names
}

func tableOfApps(p *page, items []appItem) {
	if len(items) == 0 {
		p.line("No apps found")
		return
	}
	var rows [][]string
	for _, a := range items {
		rows = append(rows, []string{a.Name, a.State, a.countText(), p.some(a.Routes), a.memoryText(), a.GUID})
	}
	p.table("", append([]string{"name", "requested state", "processes", "routes"}, p.more("memory", "guid")...), rows)
}

// memoryText is what all wanted instances may take together.
func (a appItem) memoryText() string {
	sum := int64(0)
	for _, p := range a.Processes {
		sum += p.Memory * int64(p.Wanted)
	}
	return formatBytes(sum)
}

// countText counts the instances of each type, those of all versions together.
func (a appItem) countText() string {
	var counts []string
	for i := 0; i < len(a.Processes); {
		sum, n := processItem{}, 0
		for _, pr := range a.Processes[i:] {
			if pr.Type != a.Processes[i].Type {
				break
			}
			sum.Running, sum.Wanted, n = sum.Running+pr.Running, sum.Wanted+pr.Wanted, n+1
		}
		text := fmt.Sprintf("%s:%d/%d", a.Processes[i].Type, sum.Running, sum.Wanted)
		if n > 1 {
			text += fmt.Sprintf(" in %d versions", n)
		}
		counts = append(counts, text)
		i += n
	}
	return strings.Join(counts, ", ")
}

// labelApps says which version each web process is of where an app has several.
func (s *session) labelApps(ctx context.Context, inSpace client.Query, items []appItem) error {
	several := func(a appItem) bool {
		return len(a.Processes) > 1 && a.Processes[0].Type == a.Processes[1].Type
	}
	if !slices.ContainsFunc(items, several) {
		return nil
	}
	all, err := s.Versions(ctx, inSpace)
	if err != nil {
		return err
	}
	labels, main := map[string]string{}, map[string]string{}
	for _, v := range all {
		labels[v.GUID] = v.Label
		if v.Role == v3.RoleMain {
			main[v.Relationships.GUID("app")] = v.Label
		}
	}
	for _, a := range items {
		for i := range a.Processes {
			if p := &a.Processes[i]; several(a) && p.Type == a.Processes[0].Type {
				p.Version = cmp.Or(labels[p.GUID], main[a.GUID])
			}
		}
	}
	return nil
}

// compareProcesses puts web first, then goes by type.
func compareProcesses(a, b v3.Process) int {
	rank := func(p v3.Process) int {
		if p.Type == "web" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Type, b.Type))
}

func countInstances(p v3.Process) processItem {
	item := processItem{Type: p.Type, GUID: p.GUID, Wanted: p.Instances, Memory: int64(p.MemoryMB) << 20}
	for _, i := range p.Embedded {
		if i.State == v3.InstanceRunning {
			item.Running++
		}
	}
	return item
}

// appsOf returns the GUIDs of the apps a route leads to, each once.
func appsOf(r v3.Route) (guids []string) {
	for _, d := range r.Destinations {
		if !slices.Contains(guids, d.App.GUID) {
			guids = append(guids, d.App.GUID)
		}
	}
	return guids
}

func runApp(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	if c.Bool("guid") {
		return c.out.print("AppGUID", map[string]any{"guid": app.GUID}, []string{app.GUID}, func(p *page) { p.line(app.GUID) })
	}
	c.out.banner("Showing health and status for app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	return s.showApp(ctx, sp, app.GUID)
}

// showApp prints an app as it is now.
func (s *session) showApp(ctx context.Context, sp space, guid string) error {
	v, err := s.view(ctx, sp, guid)
	if err != nil {
		return err
	}
	return s.out.print("App", map[string]any{"app": v}, []string{v.Name}, v.draw)
}
