package rollout

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// keptRevisions and keptDeployments bound what an app's history holds.
const (
	keptRevisions   = 100
	keptDeployments = 100
)

// startCommands returns the commands of a deployment's process types.
func startCommands(ctx context.Context, tx *store.Tx, d platform.Deployment) (map[string]string, error) {
	commands := map[string]string{}
	droplet, err := tx.Droplet(ctx, d.DropletGUID)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	maps.Copy(commands, droplet.ProcessTypes)
	v, err := tx.Revision(ctx, d.RevisionGUID)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	for _, p := range v.Processes {
		if p.Command != "" {
			commands[p.Type] = p.Command
		}
	}
	return commands, nil
}

// candidate is what an app would run if it were started now.
type candidate struct {
	droplet   platform.Droplet
	env       map[string]string
	processes []platform.Process
	services  []platform.BoundService
}

// candidateOf reads it from the rows.
func candidateOf(ctx context.Context, tx *store.Tx, app platform.App) (candidate, error) {
	c := candidate{env: app.Env}
	if app.DropletGUID == "" {
		return c, errNoDroplet
	}
	var err error
	if c.droplet, err = tx.Droplet(ctx, app.DropletGUID); err != nil {
		if isNotFound(err) {
			return c, errNoDroplet
		}
		return c, err
	}
	if c.processes, err = processesOf(ctx, tx, app.GUID); err != nil {
		return c, err
	}
	c.services, err = boundServices(ctx, tx, app.GUID)
	return c, err
}

var errNoDroplet = &platform.Error{
	Kind: platform.KindInvalid, Msg: "Assign a droplet before starting this app.",
	Hint: "push the app, or choose a droplet: weir droplets <app>",
}

// processesOf returns the app's processes, web first.
func processesOf(ctx context.Context, tx *store.Tx, app string) ([]platform.Process, error) {
	all, _, err := tx.Processes(ctx, store.Query{In: map[string][]string{"app_guids": {app}}})
	slices.SortFunc(all, func(a, b platform.Process) int { return compareSlots(slot{typ: a.Type}, slot{typ: b.Type}) })
	return all, err
}

// boundServices returns what the app is told about its services.
func boundServices(ctx context.Context, tx *store.Tx, app string) ([]platform.BoundService, error) {
	bindings, _, err := tx.ServiceBindings(ctx, store.Query{In: map[string][]string{"app_guids": {app}}})
	if err != nil {
		return nil, err
	}
	var all []platform.BoundService
	for _, b := range bindings {
		s, err := tx.ServiceInstance(ctx, b.ServiceInstanceGUID)
		if err != nil {
			return nil, err
		}
		all = append(all, platform.BoundService{
			BindingGUID: b.GUID, BindingName: b.Name, InstanceGUID: s.GUID, InstanceName: s.Name,
			Tags: s.Tags, Credentials: s.Credentials, SyslogDrainURL: s.SyslogDrainURL,
		})
	}
	return all, nil
}

// checkStartable refuses what could not run.
func (c candidate) checkStartable(app platform.App) error {
	wanted := 0
	for _, p := range c.processes {
		if p.Instances == 0 {
			continue
		}
		wanted++
		if cmp.Or(p.Command, c.droplet.ProcessTypes[p.Type]) != "" {
			return nil
		}
	}
	if wanted == 0 {
		return nil
	}
	return &platform.Error{
		Kind: platform.KindInvalid,
		Msg:  fmt.Sprintf("app %q has no start command", app.Name),
		Hint: "give it one with -c, in the manifest, or in a Procfile: web: <command>",
	}
}

// ensureRevision returns the app's last revision if it is the same as c, else
// a new one. description is used instead of the differences if it is not empty.
func (e *Engine) ensureRevision(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, c candidate, description string) (platform.Revision, error) {
	found, _, err := tx.Revisions(ctx, store.Query{
		In: map[string][]string{"app_guids": {app.GUID}}, OrderBy: "version", Desc: true, PerPage: 1,
	})
	if err != nil {
		return platform.Revision{}, err
	}
	if len(found) == 0 {
		description = "Initial revision."
	} else {
		changes := differences(found[0], c)
		if len(changes) == 0 {
			return found[0], nil
		}
		if description == "" {
			description = strings.Join(changes, " ")
		}
	}
	v := platform.Revision{
		Resource: platform.NewResource(time.Now().UTC()), AppGUID: app.GUID,
		DropletGUID: c.droplet.GUID, Env: c.env, Processes: c.processes, Services: c.services,
		Description: description, Deployable: true,
	}
	if v.Version, err = tx.NextRevisionVersion(ctx, app.GUID); err != nil {
		return v, err
	}
	if err := tx.InsertRevision(ctx, v); err != nil {
		return v, err
	}
	err = e.event(ctx, tx, who, "audit.app.revision.create", appTarget(app),
		map[string]any{"revision_guid": v.GUID, "revision_version": v.Version})
	if err != nil {
		return v, err
	}
	return v, pruneRevisions(ctx, tx, app.GUID)
}

// differences says what c changes against a revision, one sentence each.
func differences(v platform.Revision, c candidate) []string {
	var all []string
	if v.DropletGUID != c.droplet.GUID {
		all = append(all, "New droplet deployed.")
	}
	if !maps.Equal(v.Env, c.env) {
		all = append(all, "New environment variables deployed.")
	}
	old := map[string]platform.Process{}
	for _, p := range v.Processes {
		old[p.Type] = p
	}
	for _, p := range c.processes {
		was, had := old[p.Type]
		delete(old, p.Type)
		switch {
		case !had:
			all = append(all, fmt.Sprintf("New process type '%s' added.", p.Type))
			continue
		case was.Command == "" && p.Command != "":
			all = append(all, fmt.Sprintf("Custom start command added for '%s' process.", p.Type))
		case was.Command != "" && p.Command == "":
			all = append(all, fmt.Sprintf("Custom start command removed for '%s' process.", p.Type))
		case was.Command != p.Command:
			all = append(all, fmt.Sprintf("Custom start command updated for '%s' process.", p.Type))
		}
		if was.MemoryMB != p.MemoryMB {
			all = append(all, "New process memory deployed.")
		}
		if was.DiskMB != p.DiskMB {
			all = append(all, "New process disk deployed.")
		}
		if was.LogRateLimit != p.LogRateLimit {
			all = append(all, "New process log rate limit deployed.")
		}
		if was.Health != p.Health || was.Readiness != p.Readiness {
			all = append(all, "New health check deployed.")
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(old)) {
		all = append(all, fmt.Sprintf("Process type '%s' removed.", typ))
	}
	if !sameServices(v.Services, c.services) {
		all = append(all, "New service bindings deployed.")
	}
	return slices.CompactFunc(all, func(a, b string) bool { return a == b })
}

func sameServices(a, b []platform.BoundService) bool {
	return slices.EqualFunc(a, b, func(a, b platform.BoundService) bool {
		return a.BindingName == b.BindingName && a.InstanceGUID == b.InstanceGUID && a.InstanceName == b.InstanceName &&
			a.SyslogDrainURL == b.SyslogDrainURL && slices.Equal(a.Tags, b.Tags) &&
			(len(a.Credentials) == 0 && len(b.Credentials) == 0 || reflect.DeepEqual(a.Credentials, b.Credentials))
	})
}

// pruneRevisions drops the oldest revisions of an app, but none that runs or
// may come back.
func pruneRevisions(ctx context.Context, tx *store.Tx, app string) error {
	byApp := map[string][]string{"app_guids": {app}}
	all, _, err := tx.Revisions(ctx, store.Query{In: byApp, OrderBy: "version", Desc: true})
	if err != nil || len(all) <= keptRevisions {
		return err
	}
	deployments, _, err := tx.Deployments(ctx, store.Query{In: byApp})
	if err != nil {
		return err
	}
	used, err := usedDeployments(ctx, tx, app)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, d := range deployments {
		if used[d.GUID] {
			kept[d.RevisionGUID] = true
		}
	}
	for _, v := range all[keptRevisions:] {
		if kept[v.GUID] {
			continue
		}
		if err := tx.DeleteRevision(ctx, v.GUID); err != nil {
			return err
		}
	}
	return nil
}

// pruneDeployments drops the oldest deployments of an app, as above.
func pruneDeployments(ctx context.Context, tx *store.Tx, app string) error {
	all, _, err := tx.Deployments(ctx, store.Query{In: map[string][]string{"app_guids": {app}}, Desc: true})
	if err != nil || len(all) <= keptDeployments {
		return err
	}
	used, err := usedDeployments(ctx, tx, app)
	if err != nil {
		return err
	}
	for _, d := range all[keptDeployments:] {
		if used[d.GUID] {
			continue
		}
		if err := tx.DeleteDeployment(ctx, d.GUID); err != nil {
			return err
		}
	}
	return nil
}

// usedDeployments returns the deployments an app's instances belong to, or
// that it may go back to.
func usedDeployments(ctx context.Context, tx *store.Tx, guid string) (map[string]bool, error) {
	app, err := tx.App(ctx, guid)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{app.DeploymentGUID: true}
	active, ok, err := tx.ActiveDeployment(ctx, guid)
	if err != nil {
		return nil, err
	}
	if ok {
		used[active.GUID], used[active.PreviousGUID] = true, true
	}
	instances, _, err := tx.Instances(ctx, store.Query{In: map[string][]string{"app_guids": {guid}}})
	if err != nil {
		return nil, err
	}
	for _, i := range instances {
		used[i.DeploymentGUID] = true
	}
	versions, err := versionsOf(ctx, tx, guid)
	for _, v := range versions {
		used[v.DeploymentGUID] = true
	}
	return used, err
}

// restore makes the rows of an app what they were in a revision: droplet,
// environment, processes except their number of instances, and bindings as far
// as the services still exist. app is changed along.
func restore(ctx context.Context, tx *store.Tx, app *platform.App, v platform.Revision) error {
	before, err := settingsOf(ctx, tx, *app)
	if err != nil {
		return err
	}
	if _, err := tx.Droplet(ctx, v.DropletGUID); err == nil {
		app.DropletGUID = v.DropletGUID
	} else if !isNotFound(err) {
		return err
	}
	app.Env = v.Env
	if err := tx.UpdateApp(ctx, *app); err != nil {
		return err
	}
	now, err := processesOf(ctx, tx, app.GUID)
	if err != nil {
		return err
	}
	for _, p := range now {
		i := slices.IndexFunc(v.Processes, func(old platform.Process) bool { return old.Type == p.Type })
		if i < 0 {
			continue
		}
		old := v.Processes[i]
		p.Command, p.MemoryMB, p.DiskMB, p.LogRateLimit = old.Command, old.MemoryMB, old.DiskMB, old.LogRateLimit
		p.Health, p.Readiness = old.Health, old.Readiness
		if err := tx.UpdateProcess(ctx, p); err != nil {
			return err
		}
	}
	if err := restoreBindings(ctx, tx, app.GUID, v.Services); err != nil {
		return err
	}
	after, err := settingsOf(ctx, tx, *app)
	if err != nil {
		return err
	}
	return rebase(ctx, tx, app.GUID, before, after)
}

func restoreBindings(ctx context.Context, tx *store.Tx, app string, services []platform.BoundService) error {
	bindings, _, err := tx.ServiceBindings(ctx, store.Query{In: map[string][]string{"app_guids": {app}}})
	if err != nil {
		return err
	}
	bound := map[string]bool{}
	for _, b := range bindings {
		if !slices.ContainsFunc(services, func(s platform.BoundService) bool { return s.InstanceGUID == b.ServiceInstanceGUID }) {
			if err := tx.DeleteServiceBinding(ctx, b.GUID); err != nil {
				return err
			}
			continue
		}
		bound[b.ServiceInstanceGUID] = true
	}
	for _, s := range services {
		if bound[s.InstanceGUID] {
			continue
		}
		if _, err := tx.ServiceInstance(ctx, s.InstanceGUID); isNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		r := platform.NewResource(time.Now().UTC())
		r.GUID = s.BindingGUID
		err := tx.InsertServiceBinding(ctx, platform.ServiceBinding{
			Resource: r, AppGUID: app, ServiceInstanceGUID: s.InstanceGUID, Name: s.BindingName,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// addProcesses adds the process types of a droplet that the app does not have.
func (e *Engine) addProcesses(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, d platform.Droplet) error {
	now, err := processesOf(ctx, tx, app.GUID)
	if err != nil {
		return err
	}
	for _, typ := range slices.Sorted(maps.Keys(d.ProcessTypes)) {
		if slices.ContainsFunc(now, func(p platform.Process) bool { return p.Type == typ }) {
			continue
		}
		if _, err := e.insertProcess(ctx, tx, who, app, typ); err != nil {
			return err
		}
	}
	return nil
}

// insertProcess adds a process with the defaults of its type. The web process
// has the GUID of its app, as in Cloud Foundry.
func (e *Engine) insertProcess(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, typ string) (platform.Process, error) {
	r := platform.NewResource(time.Now().UTC())
	if typ == platform.WebProcess {
		r.GUID = app.GUID
	}
	p := platform.NewProcess(r, app.GUID, typ)
	if err := tx.InsertProcess(ctx, p); err != nil {
		return p, err
	}
	return p, e.event(ctx, tx, who, "audit.app.process.create", appTarget(app),
		map[string]any{"process_guid": p.GUID, "process_type": typ})
}
