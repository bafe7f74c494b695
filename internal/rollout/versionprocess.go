package rollout

import (
	"cmp"
	"context"
	"slices"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// VersionProcess is a version beside the main one as Cloud Foundry's clients
// see it: one more web process of its app, with a revision of its own.
type VersionProcess struct {
	Version platform.Version
	// Process has the version's GUID and scale and, for the rest, what its
	// revision says.
	Process platform.Process
	// Command is what it is started with.
	Command string
	States  []InstanceStats
}

// VersionProcesses returns the versions beside the main one that q selects.
// Its filters are those of versions.
func (e *Engine) VersionProcesses(ctx context.Context, q store.Query) (all []VersionProcess, err error) {
	q.Page, q.PerPage = 0, 0
	in := map[string][]string{}
	for k, v := range q.In {
		in[k] = v
	}
	in["main"] = []string{"false"}
	q.In = in
	err = e.store.View(ctx, func(tx *store.Tx) error {
		all = nil
		found, _, err := tx.Versions(ctx, q)
		if err != nil || len(found) == 0 {
			return err
		}
		var processes []platform.Process
		for _, v := range found {
			p, err := versionProcess(ctx, tx, v)
			if err != nil {
				return err
			}
			processes = append(processes, p.Process)
			all = append(all, p)
		}
		view, err := newStatsView(ctx, tx, processes)
		if err != nil {
			return err
		}
		for i := range all {
			all[i].States = view.version(all[i])
		}
		return nil
	})
	return all, err
}

func versionProcess(ctx context.Context, tx *store.Tx, v platform.Version) (VersionProcess, error) {
	out := VersionProcess{Version: v}
	rev, err := tx.Revision(ctx, v.RevisionGUID)
	if err != nil && !isNotFound(err) {
		return out, err
	}
	out.Process = platform.NewProcess(v.Resource, v.AppGUID, platform.WebProcess)
	if i := slices.IndexFunc(rev.Processes, func(p platform.Process) bool { return p.Type == platform.WebProcess }); i >= 0 {
		out.Process = rev.Processes[i]
		out.Process.Resource = v.Resource
	}
	out.Process.Instances = v.Instances
	if v.State == platform.AppStopped {
		out.Process.Instances = 0
	}
	droplet, err := tx.Droplet(ctx, v.DropletGUID)
	if err != nil && !isNotFound(err) {
		return out, err
	}
	out.Command = cmp.Or(out.Process.Command, droplet.ProcessTypes[platform.WebProcess])
	return out, nil
}

// version returns the states of the instances of a version beside the main one.
func (v *statsView) version(p VersionProcess) []InstanceStats {
	app := v.apps[p.Version.AppGUID]
	var mine []platform.Instance
	for _, all := range v.instances {
		for _, i := range all {
			if i.DeploymentGUID == p.Version.DeploymentGUID && i.ProcessType == platform.WebProcess {
				mine = append(mine, i)
			}
		}
	}
	stats := make([]InstanceStats, 0, p.Process.Instances)
	for n := range p.Process.Instances {
		s := v.wanted(p.Process, n)
		if i, ok := currentInstance(mine, n, p.Version.DeploymentGUID); ok && app.State == platform.AppStarted {
			s.fill(i, v.now)
		} else if app.State == platform.AppStarted {
			s.Details = "waiting to be started"
		}
		stats = append(stats, s)
	}
	return stats
}

// VersionStats is Stats of a version beside the main one.
func (e *Engine) VersionStats(ctx context.Context, version string) ([]InstanceStats, error) {
	all, err := e.VersionProcesses(ctx, store.Query{In: map[string][]string{"guids": {version}}})
	if err == nil && len(all) == 0 {
		err = platform.NotFound("Process")
	}
	if err != nil {
		return nil, err
	}
	e.addUsage(ctx, all[0].States)
	return all[0].States, nil
}

// RestartVersionInstance stops one instance of a version beside the main one
// and starts a new one in its place.
func (e *Engine) RestartVersionInstance(ctx context.Context, who platform.Actor, version string, index int) error {
	_, err := e.editVersion(ctx, who, version, "audit.app.process.terminate_instance", func(tx *store.Tx, _ platform.App, v *platform.Version) error {
		all, _, err := tx.Instances(ctx, store.Query{In: map[string][]string{"deployment_guids": {v.DeploymentGUID}, "types": {platform.WebProcess}}})
		if err != nil {
			return err
		}
		i, ok := currentInstance(all, index, v.DeploymentGUID)
		if !ok {
			return platform.NotFound("Instance")
		}
		i.State, i.Since, i.Ready = platform.InstanceStopping, time.Now().UTC(), false
		return tx.UpdateInstance(ctx, i)
	})
	return err
}
