package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/rollout"
	"weir/internal/store"
)

type listProcesses struct {
	List list `filters:"guids,types,app_guids,space_guids,organization_guids,embed=process_instances"`
}

func (a *API) listProcesses(ctx context.Context, c call, req listProcesses) (reply, error) {
	return a.processPage(ctx, c, req.List)
}

type listAppProcesses struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,types,embed=process_instances"`
}

func (a *API) listAppProcesses(ctx context.Context, c call, req listAppProcesses) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	return a.processPage(ctx, c, req.List)
}

func (a *API) processPage(ctx context.Context, c call, l list) (reply, error) {
	sides, err := a.sideProcesses(ctx, l.Query)
	if err != nil {
		return reply{}, err
	}
	if len(sides) > 0 {
		return a.withSides(ctx, c, l, sides)
	}
	ps, total, err := a.store.Processes(ctx, l.Query)
	if err != nil {
		return reply{}, err
	}
	out, err := a.presentProcesses(ctx, c, ps, l.embed)
	if err != nil {
		return reply{}, err
	}
	hideCommands(out)
	return ok(pageOf(c, l, out, total, func(p v3.Process) v3.Process { return p })), nil
}

// hideCommands keeps start commands, which may hold secrets, out of lists.
func hideCommands(ps []v3.Process) {
	for i := range ps {
		if ps[i].Command != nil {
			hidden := v3.HiddenCommand
			ps[i].Command = &hidden
		}
	}
}

type getProcess struct {
	GUID  string `path:"guid"`
	Embed string `query:"embed"`
}

func (a *API) getProcess(ctx context.Context, c call, req getProcess) (reply, error) {
	p, err := a.store.Process(ctx, req.GUID)
	if a.isSide(ctx, req.GUID, err) {
		s, err := a.sideProcess(ctx, req.GUID)
		return ok(c.side(s, req.Embed)), err
	}
	if err != nil {
		return reply{}, err
	}
	return a.oneProcess(ctx, c, p, req.Embed)
}

type ofType struct {
	GUID  string `path:"guid"`
	Type  string `path:"type"`
	Embed string `query:"embed"`
}

func (a *API) getAppProcess(ctx context.Context, c call, req ofType) (reply, error) {
	p, err := a.processOf(ctx, req.GUID, req.Type)
	if err != nil {
		return reply{}, err
	}
	return a.oneProcess(ctx, c, p, req.Embed)
}

// processOf finds a process of an app, or says which of the two is missing.
func (a *API) processOf(ctx context.Context, app, typ string) (platform.Process, error) {
	if _, err := a.store.App(ctx, app); err != nil {
		return platform.Process{}, err
	}
	return a.store.ProcessByType(ctx, app, typ)
}

func (a *API) oneProcess(ctx context.Context, c call, p platform.Process, embed string) (reply, error) {
	if embed != "" && embed != "process_instances" {
		return reply{}, badQuery("Invalid embed parameter: '" + embed + "'. Valid parameters are: 'process_instances'")
	}
	out, err := a.presentProcesses(ctx, c, []platform.Process{p}, embed)
	if err != nil {
		return reply{}, err
	}
	return ok(out[0]), nil
}

type updateProcess struct {
	GUID string           `path:"guid"`
	Body v3.ProcessUpdate `body:"json"`
}

type updateAppProcess struct {
	GUID string           `path:"guid"`
	Type string           `path:"type"`
	Body v3.ProcessUpdate `body:"json"`
}

func (a *API) updateAppProcess(ctx context.Context, c call, req updateAppProcess) (reply, error) {
	p, err := a.processOf(ctx, req.GUID, req.Type)
	if err != nil {
		return reply{}, err
	}
	return a.updateProcess(ctx, c, updateProcess{p.GUID, req.Body})
}

func (a *API) updateProcess(ctx context.Context, c call, req updateProcess) (reply, error) {
	b := req.Body
	if b.User != nil && *b.User != "" && *b.User != "vcap" {
		return reply{}, platform.Invalidf("user must be 'vcap'")
	}
	p, err := a.engine.UpdateProcess(ctx, c.actor(), req.GUID, func(p *platform.Process) error {
		if b.Command != nil {
			p.Command = *b.Command
		}
		if err := applyHealth(&p.Health, b.HealthCheck, "health_check", true); err != nil {
			return err
		}
		if err := applyHealth(&p.Readiness, b.ReadinessHealthCheck, "readiness_health_check", false); err != nil {
			return err
		}
		return applyMetadata(&p.Metadata, b.Metadata)
	})
	if err != nil {
		return reply{}, err
	}
	return a.oneProcess(ctx, c, p, "")
}

type scaleProcess struct {
	GUID string          `path:"guid"`
	Body v3.ProcessScale `body:"json"`
}

func (a *API) scaleProcess(ctx context.Context, c call, req scaleProcess) (reply, error) {
	return a.scale(ctx, c, req.GUID, req.Body)
}

type scaleAppProcess struct {
	GUID string          `path:"guid"`
	Type string          `path:"type"`
	Body v3.ProcessScale `body:"json"`
}

func (a *API) scaleAppProcess(ctx context.Context, c call, req scaleAppProcess) (reply, error) {
	p, err := a.processOf(ctx, req.GUID, req.Type)
	if err != nil {
		return reply{}, err
	}
	return a.scale(ctx, c, p.GUID, req.Body)
}

func (a *API) scale(ctx context.Context, c call, process string, b v3.ProcessScale) (reply, error) {
	if _, err := a.store.Process(ctx, process); a.isSide(ctx, process, err) {
		return a.scaleSide(ctx, c, process, b)
	}
	p, err := a.engine.Scale(ctx, c.actor(), process, rollout.ScaleRequest{
		Instances: b.Instances, MemoryMB: b.MemoryMB, DiskMB: b.DiskMB, LogRateLimit: b.LogRateLimit,
	})
	if err != nil {
		return reply{}, err
	}
	rep, err := a.oneProcess(ctx, c, p, "")
	rep.status = http.StatusAccepted
	return rep, err
}

type instanceOfType struct {
	GUID  string `path:"guid"`
	Type  string `path:"type"`
	Index string `path:"index"`
}

func (a *API) deleteAppInstance(ctx context.Context, c call, req instanceOfType) (reply, error) {
	p, err := a.processOf(ctx, req.GUID, req.Type)
	if err != nil {
		return reply{}, err
	}
	return a.restartInstance(ctx, c, p, req.Index)
}

type instanceOf struct {
	GUID  string `path:"guid"`
	Index string `path:"index"`
}

func (a *API) deleteInstance(ctx context.Context, c call, req instanceOf) (reply, error) {
	p, err := a.store.Process(ctx, req.GUID)
	if a.isSide(ctx, req.GUID, err) {
		n, err := strconv.Atoi(req.Index)
		if err != nil || n < 0 {
			return reply{}, platform.NotFound("Instance")
		}
		return noContent(), a.engine.RestartVersionInstance(ctx, c.actor(), req.GUID, n)
	}
	if err != nil {
		return reply{}, err
	}
	return a.restartInstance(ctx, c, p, req.Index)
}

func (a *API) restartInstance(ctx context.Context, c call, p platform.Process, index string) (reply, error) {
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 {
		return reply{}, platform.NotFound("Instance")
	}
	return noContent(), a.engine.RestartInstance(ctx, c.actor(), p.AppGUID, p.Type, n)
}

func (a *API) getStats(ctx context.Context, _ call, req byGUID) (reply, error) {
	return a.stats(ctx, req.GUID)
}

func (a *API) getAppStats(ctx context.Context, _ call, req ofType) (reply, error) {
	p, err := a.processOf(ctx, req.GUID, req.Type)
	if err != nil {
		return reply{}, err
	}
	return a.stats(ctx, p.GUID)
}

func (a *API) stats(ctx context.Context, process string) (reply, error) {
	stats, err := a.engine.Stats(ctx, process)
	if a.isSide(ctx, process, err) {
		stats, err = a.engine.VersionStats(ctx, process)
	}
	if err != nil {
		return reply{}, err
	}
	out := v3.ProcessStats{Resources: make([]v3.InstanceStats, 0, len(stats))}
	for _, s := range stats {
		out.Resources = append(out.Resources, presentStats(s))
	}
	return ok(out), nil
}

// maxFDs is shown when the engine does not know an instance's limit.
const maxFDs = 16384

func presentStats(s rollout.InstanceStats) v3.InstanceStats {
	out := v3.InstanceStats{
		Type: s.Type, Index: s.Index, State: string(s.State), Routable: &s.Routable,
		Uptime: int64(s.Uptime / time.Second), Details: orNull(s.Details), InstanceGUID: s.InstanceGUID,
	}
	if s.State == platform.InstanceDown {
		return out
	}
	if s.FDsQuota == 0 {
		s.FDsQuota = maxFDs
	}
	if s.Time.IsZero() {
		s.Time = time.Now()
	}
	out.Host, out.InstanceIP = s.Host, s.IP
	out.MemQuota, out.DiskQuota, out.FDsQuota = atLeast0(s.MemoryQuota), atLeast0(s.DiskQuota), atLeast0(s.FDsQuota)
	out.LogRateLimit = &s.LogRateLimit
	out.InstancePorts = []v3.InstancePorts{}
	if s.Port != 0 {
		out.InstancePorts = append(out.InstancePorts, v3.InstancePorts{External: &s.Port, Internal: s.Port})
	}
	out.Usage = &v3.Usage{
		Time: v3.At(s.Time), CPU: s.CPU, CPUEntitlement: s.CPU,
		Mem: s.MemoryBytes, Disk: s.DiskBytes, LogRate: s.LogRate,
	}
	return out
}

// atLeast0 keeps a client that reads an unsigned number from stumbling.
func atLeast0(n int64) *int64 {
	n = max(n, 0)
	return &n
}

func (a *API) getAppProcessInstances(ctx context.Context, c call, req ofType) (reply, error) {
	p, err := a.processOf(ctx, req.GUID, req.Type)
	if err != nil {
		return reply{}, err
	}
	return a.getProcessInstances(ctx, c, byGUID{p.GUID})
}

func (a *API) getProcessInstances(ctx context.Context, c call, req byGUID) (reply, error) {
	p, err := a.store.Process(ctx, req.GUID)
	if a.isSide(ctx, req.GUID, err) {
		s, err := a.sideProcess(ctx, req.GUID)
		return ok(c.instancesOf(req.GUID, s.States)), err
	}
	if err != nil {
		return reply{}, err
	}
	states, err := a.engine.InstanceStates(ctx, []platform.Process{p})
	return ok(c.instancesOf(p.GUID, states[p.GUID])), err
}

func (u urls) instancesOf(process string, states []rollout.InstanceStats) v3.ProcessInstances {
	return v3.ProcessInstances{
		Resources: presentInstances(states, time.Now()),
		Links: v3.Links{
			"self":    u.link("/v3/processes/" + process + "/process_instances"),
			"process": u.link("/v3/processes/" + process),
		},
	}
}

func presentInstances(stats []rollout.InstanceStats, now time.Time) []v3.ProcessInstance {
	out := make([]v3.ProcessInstance, 0, len(stats))
	for _, s := range stats {
		since := int64(0)
		if !s.Since.IsZero() {
			since = max(0, int64(now.Sub(s.Since)/time.Second))
		}
		out = append(out, v3.ProcessInstance{Index: s.Index, State: string(s.State), Since: since})
	}
	return out
}

// presentProcesses presents processes with the commands they really run and,
// if asked for, their instances.
func (a *API) presentProcesses(ctx context.Context, c call, ps []platform.Process, embed string) ([]v3.Process, error) {
	guids := make([]string, 0, len(ps))
	for _, p := range ps {
		guids = append(guids, p.AppGUID)
	}
	apps, err := a.appsByGUID(ctx, guids)
	if err != nil {
		return nil, err
	}
	running, err := a.runningOf(ctx, apps)
	if err != nil {
		return nil, err
	}
	var states map[string][]rollout.InstanceStats
	if embed != "" {
		if states, err = a.engine.InstanceStates(ctx, ps); err != nil {
			return nil, err
		}
	}
	out := make([]v3.Process, 0, len(ps))
	now := time.Now()
	for _, p := range ps {
		one := c.process(p, running[p.AppGUID])
		if embed != "" {
			one.Embedded = presentInstances(states[p.GUID], now)
		}
		out = append(out, one)
	}
	return out, nil
}

// appRunning is what a process is shown with that belongs to its app.
type appRunning struct {
	commands map[string]string // by process type, from the current droplet
	revision string            // the deployed one
}

// runningOf reads what the apps run with a few queries for all of them.
func (a *API) runningOf(ctx context.Context, apps map[string]platform.App) (map[string]appRunning, error) {
	var dropletGUIDs, deploymentGUIDs []string
	for _, app := range apps {
		dropletGUIDs = append(dropletGUIDs, app.DropletGUID)
		deploymentGUIDs = append(deploymentGUIDs, app.DeploymentGUID)
	}
	found, _, err := a.store.Droplets(ctx, store.Query{In: map[string][]string{"guids": distinct(dropletGUIDs)}})
	if err != nil {
		return nil, err
	}
	deployed, _, err := a.store.Deployments(ctx, store.Query{In: map[string][]string{"guids": distinct(deploymentGUIDs)}})
	if err != nil {
		return nil, err
	}
	commands, revisions := map[string]map[string]string{}, map[string]string{}
	for _, d := range found {
		commands[d.GUID] = d.ProcessTypes
	}
	for _, d := range deployed {
		revisions[d.GUID] = d.RevisionGUID
	}
	m := make(map[string]appRunning, len(apps))
	for _, app := range apps {
		m[app.GUID] = appRunning{commands[app.DropletGUID], revisions[app.DeploymentGUID]}
	}
	return m, nil
}

func (u urls) process(p platform.Process, running appRunning) v3.Process {
	self, app := "/v3/processes/"+p.GUID, "/v3/apps/"+p.AppGUID
	command := p.Command
	if command == "" {
		command = running.commands[p.Type]
	}
	version := running.revision
	if version == "" {
		version = p.GUID
	}
	out := v3.Process{
		Resource: resource(p.Resource), Version: version, Type: p.Type, Command: orNull(command),
		Instances: p.Instances, MemoryMB: p.MemoryMB, DiskMB: p.DiskMB, LogRateLimit: p.LogRateLimit,
		HealthCheck: v3.HealthCheck{Type: p.Health.Type, Data: v3.HealthCheckData{
			Timeout:           orNullInt(p.Health.Timeout),
			InvocationTimeout: orNullInt(p.Health.InvocationTimeout),
			Interval:          orNullInt(p.Health.Interval),
			Endpoint:          endpointOf(p.Health),
		}},
		ReadinessHealthCheck: v3.ReadinessCheck{Type: p.Readiness.Type, Data: v3.ReadinessCheckData{
			InvocationTimeout: orNullInt(p.Readiness.InvocationTimeout),
			Interval:          orNullInt(p.Readiness.Interval),
			Endpoint:          endpointOf(p.Readiness),
		}},
		Relationships: v3.Relationships{"app": v3.To(p.AppGUID), "revision": nil},
		Metadata:      presentMetadata(p.Metadata),
		Links: v3.Links{
			"self":              u.link(self),
			"scale":             u.linkWith(http.MethodPost, self+"/actions/scale"),
			"app":               u.link(app),
			"stats":             u.link(self + "/stats"),
			"process_instances": u.link(self + "/process_instances"),
		},
	}
	if running.revision != "" {
		out.Relationships["revision"] = v3.To(running.revision)
	}
	return out
}

// endpointOf returns the endpoint of an http check, nil of others.
func endpointOf(h platform.HealthCheck) *string {
	if h.Type != platform.HealthHTTP {
		return nil
	}
	endpoint := h.Endpoint
	if endpoint == "" {
		endpoint = "/"
	}
	return &endpoint
}
