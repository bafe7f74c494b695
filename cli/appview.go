package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/api/client"
	v3 "weir/api/v3"
)

// appView is an app with everything worth showing.
type appView struct {
	Name        string           `json:"name"`
	GUID        string           `json:"guid"`
	State       string           `json:"state"` // started or stopped
	Org         string           `json:"org"`
	Space       string           `json:"space"`
	Routes      []string         `json:"routes"`
	ShadowOf    []string         `json:"shadowOf"` // routes of whose requests it gets copies
	URLs        []string         `json:"urls"`
	Stack       string           `json:"stack"`
	Droplet     string           `json:"droplet"` // GUID of the current one; "" for none
	Buildpacks  []buildpackUsed  `json:"buildpacks"`
	Processes   []processView    `json:"processes"`
	Deployment  *deploymentView  `json:"deployment"` // one that is moving, else null
	Pause       *pauseView       `json:"pause"`      // of its requests, else null
	Maintenance *maintenanceView `json:"maintenance"`
	Uploaded    *time.Time       `json:"lastUploaded"`
	CreatedAt   time.Time        `json:"createdAt"`
	UpdatedAt   time.Time        `json:"updatedAt"`
}

// buildpackUsed is a buildpack that took part in making the droplet.
type buildpackUsed struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Detect  string `json:"detectOutput"`
}

// processView is a process with its instances.
type processView struct {
	Type        string         `json:"type"`
	Version     string         `json:"version"` // its label, if the app has several; else ""
	GUID        string         `json:"guid"`
	Command     string         `json:"command"`
	Running     int            `json:"running"`
	Wanted      int            `json:"wanted"`
	Memory      int64          `json:"memoryBytes"`
	Disk        int64          `json:"diskBytes"`
	HealthCheck string         `json:"healthCheck"`
	Instances   []instanceView `json:"instances"`
}

// instanceView is one instance.
type instanceView struct {
	Index   int     `json:"index"`
	State   string  `json:"state"` // running, starting, crashed, down, stopping
	Uptime  int64   `json:"uptimeSeconds"`
	CPU     float64 `json:"cpu"` // share of one core
	Memory  int64   `json:"memoryBytes"`
	Disk    int64   `json:"diskBytes"`
	Ready   bool    `json:"ready"`
	Details string  `json:"details"`
}

// deploymentView is a deployment on its way.
type deploymentView struct {
	GUID        string    `json:"guid"`
	Status      string    `json:"status"`
	Reason      string    `json:"reason"`
	Strategy    string    `json:"strategy"`
	MaxInFlight int       `json:"maxInFlight"`
	CanaryStep  int       `json:"canaryStep,omitempty"`
	CanarySteps int       `json:"canarySteps,omitempty"`
	Since       time.Time `json:"since"`
}

// view gathers what there is to say about an app.
func (s *session) view(ctx context.Context, sp space, guid string) (appView, error) {
	var (
		app     v3.App
		procs   []v3.Process
		routes  []v3.Route
		droplet v3.Droplet
		moving  v3.Deployment
		moves   bool
		v       = appView{Org: sp.Org.Name, Space: sp.Name, Routes: []string{}, URLs: []string{}, Buildpacks: []buildpackUsed{}}
	)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { app, err = s.App(gctx, guid); return err })
	g.Go(func() (err error) { procs, err = s.Processes(gctx, guid); return err })
	g.Go(func() (err error) {
		routes, err = s.AppRoutes(gctx, guid)
		if routes, v.ShadowOf = answeredBy(routes, guid); err == nil && len(routes) > 0 {
			v.URLs = s.appURLs(gctx, routes)
		}
		return err
	})
	g.Go(func() (err error) {
		if droplet, err = s.CurrentDroplet(gctx, guid); client.IsNotFound(err) {
			err = nil // never staged
		}
		return err
	})
	g.Go(func() (err error) { moving, moves, err = s.ActiveDeployment(gctx, guid); return err })
	g.Go(func() error {
		t, err := s.AppTraffic(gctx, guid)
		held := viewAppTraffic("", t)
		v.Pause, v.Maintenance = held.Pause, held.Maintenance
		return err
	})
	if err := g.Wait(); err != nil {
		return v, err
	}
	v.Name, v.GUID, v.State = app.Name, app.GUID, strings.ToLower(app.State)
	v.CreatedAt, v.UpdatedAt = app.CreatedAt.Time, app.UpdatedAt.Time
	for _, r := range routes {
		v.Routes = append(v.Routes, r.URL)
	}
	v.takeDroplet(app, droplet)
	if moves {
		v.Deployment = viewDeployment(moving)
	}
	slices.SortStableFunc(procs, compareProcesses)
	v.Processes = make([]processView, len(procs))
	g, gctx = errgroup.WithContext(ctx)
	for i, p := range procs {
		g.Go(func() (err error) { v.Processes[i], err = s.viewProcess(gctx, p); return err })
	}
	if err := g.Wait(); err != nil {
		return v, err
	}
	return v, s.labelProcesses(ctx, v)
}

// labelProcesses says which version each web process is of, if there are
// several: one beside the main version has its version's GUID.
func (s *session) labelProcesses(ctx context.Context, v appView) error {
	isWeb := func(p processView) bool { return p.Type == "web" }
	if i := slices.IndexFunc(v.Processes, isWeb); i < 0 || !slices.ContainsFunc(v.Processes[i+1:], isWeb) {
		return nil
	}
	versions, err := s.AppVersions(ctx, v.GUID)
	if err != nil {
		return err
	}
	labels := map[string]string{}
	main := ""
	for _, x := range versions {
		labels[x.GUID] = x.Label
		if x.Role == v3.RoleMain {
			main = x.Label
		}
	}
	for i := range v.Processes {
		if p := &v.Processes[i]; isWeb(*p) {
			p.Version = cmp.Or(labels[p.GUID], main)
		}
	}
	return nil
}

func (v *appView) takeDroplet(app v3.App, d v3.Droplet) {
	v.Droplet, v.Stack = d.GUID, app.Lifecycle.Data.Stack
	if d.GUID == "" {
		return
	}
	if d.Stack != nil {
		v.Stack = *d.Stack
	}
	v.Uploaded = &d.CreatedAt.Time
	for _, b := range d.Buildpacks {
		name := b.BuildpackName
		if name == "" {
			name = b.Name
		}
		v.Buildpacks = append(v.Buildpacks, buildpackUsed{name, b.Version, b.DetectOutput})
	}
}

func (s *session) viewProcess(ctx context.Context, p v3.Process) (processView, error) {
	v := processView{
		Type: p.Type, GUID: p.GUID, Wanted: p.Instances, HealthCheck: p.HealthCheck.Type,
		Memory: int64(p.MemoryMB) << 20, Disk: int64(p.DiskMB) << 20, Instances: []instanceView{},
	}
	full, err := s.ProcessByGUID(ctx, p.GUID) // lists hide the command
	if err != nil {
		return v, err
	}
	if full.Command != nil {
		v.Command = *full.Command
	}
	stats, err := s.Stats(ctx, p.GUID)
	if err != nil {
		return v, err
	}
	for _, i := range stats {
		iv := instanceView{Index: i.Index, State: strings.ToLower(i.State), Uptime: i.Uptime}
		if i.Usage != nil {
			iv.CPU, iv.Memory, iv.Disk = i.Usage.CPU, i.Usage.Mem, i.Usage.Disk
		}
		if i.Routable != nil {
			iv.Ready = *i.Routable
		}
		if i.Details != nil {
			iv.Details = *i.Details
		}
		if i.State == v3.InstanceRunning {
			v.Running++
		}
		v.Instances = append(v.Instances, iv)
	}
	return v, nil
}

func viewDeployment(d v3.Deployment) *deploymentView {
	v := &deploymentView{
		GUID: d.GUID, Status: d.Status.Value, Reason: d.Status.Reason, Strategy: d.Strategy,
		Since: d.Status.Details.LastStatusChange.Time,
	}
	if d.Options.MaxInFlight != nil {
		v.MaxInFlight = *d.Options.MaxInFlight
	}
	if d.Status.Canary != nil {
		v.CanaryStep, v.CanarySteps = d.Status.Canary.Steps.Current, d.Status.Canary.Steps.Total
	}
	return v
}

// draw shows the app in cf's words.
func (v appView) draw(p *page) {
	uploaded := ""
	if v.Uploaded != nil {
		uploaded = v.Uploaded.Local().Format("Mon 02 Jan 15:04:05 MST 2006")
	}
	p.pairs(append([]string{
		"name", v.Name, "requested state", v.State, "routes", v.routeText(),
		"last uploaded", uploaded, "stack", v.Stack, "buildpacks", v.buildpackNames(),
	}, v.held()...)...)
	if d := v.Deployment; d != nil {
		p.blank()
		p.line(fmt.Sprintf("Active deployment with status %s (since %s)", d.Reason, stamp(d.Since)))
		pairs := []string{"strategy", d.Strategy, "max-in-flight", fmt.Sprint(d.MaxInFlight)}
		if d.CanarySteps > 0 {
			pairs = append(pairs, "canary-steps", fmt.Sprintf("%d/%d", d.CanaryStep, d.CanarySteps))
		}
		p.pairs(pairs...)
		if d.Reason == v3.ReasonPaused {
			p.line(fmt.Sprintf("Promote it with weir continue-deployment %s, or go back with weir cancel-deployment %s.", v.Name, v.Name))
		}
	}
	for _, pr := range v.Processes {
		p.blank()
		pr.draw(p)
	}
}

// held is what there is to say of requests that do not reach the app: those who
// wonder why look here first.
func (v appView) held() (pairs []string) {
	pause, maintenance := appTraffic{Pause: v.Pause, Maintenance: v.Maintenance}.held()
	if pause != "" {
		pairs = append(pairs, "paused", pause)
	}
	if maintenance != "" {
		pairs = append(pairs, "maintenance", maintenance)
	}
	return pairs
}

func (v appView) buildpackNames() string {
	names := make([]string, len(v.Buildpacks))
	for i, b := range v.Buildpacks {
		if names[i] = b.Name; b.Version != "" {
			names[i] += " " + b.Version
		}
	}
	return strings.Join(names, ", ")
}

func (v processView) draw(p *page) {
	kind := v.Type
	if v.Version != "" {
		kind += ", version " + v.Version
	}
	p.pairs("type", kind, "instances", fmt.Sprintf("%d/%d", v.Running, v.Wanted),
		"memory usage", formatBytes(v.Memory), "start command", v.Command)
	if len(v.Instances) == 0 {
		p.line("There are no running instances of this process.")
		return
	}
	var rows [][]string
	for _, i := range v.Instances {
		row := []string{fmt.Sprintf("#%d", i.Index), i.State, "", "", "", "", "", i.Details}
		if i.State == "running" || i.State == "starting" {
			row[2] = time.Now().Add(-time.Duration(i.Uptime) * time.Second).UTC().Format(time.RFC3339)
			row[3] = fmt.Sprintf("%.1f%%", i.CPU*100)
			row[4] = formatBytes(i.Memory) + " of " + formatBytes(v.Memory)
			row[5] = formatBytes(i.Disk) + " of " + formatBytes(v.Disk)
			row[6] = fmt.Sprint(i.Ready)
		}
		rows = append(rows, row)
	}
	p.table("", []string{"", "state", "since", "cpu", "memory", "disk", "ready", "details"}, rows)
}
