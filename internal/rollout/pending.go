package rollout

import (
	"context"
	"maps"
	"slices"

	"weir/internal/platform"
)

// withPending returns a version's revision with what was set for the app's next
// start since the version was made, so that whoever makes that the main one does
// not undo what somebody was told is done: a rollout, assign, weights. It is what
// the app has otherwise than its main version ran with, where the version has no
// opinion of its own. What the instances run with stays as it is: the settings
// wait for the next start. Who goes back, by rollback or undo, wants the settings
// as they were.
func (t *traffic) withPending(ctx context.Context, rev platform.Revision, app platform.App, main platform.Version) (platform.Revision, error) {
	ran, err := t.tx.Revision(ctx, main.RevisionGUID)
	if err != nil {
		return rev, err
	}
	rev.Env = pendingEnv(ran.Env, app.Env, rev.Env)
	now, err := processesOf(ctx, t.tx, app.GUID)
	if err != nil {
		return rev, err
	}
	rev.Processes = slices.Clone(rev.Processes)
	for i := range rev.Processes {
		next := &rev.Processes[i]
		same := func(p platform.Process) bool { return p.Type == next.Type }
		was, is := slices.IndexFunc(ran.Processes, same), slices.IndexFunc(now, same)
		if was >= 0 && is >= 0 {
			keepPending(ran.Processes[was], now[is], next)
		}
	}
	services, err := boundServices(ctx, t.tx, app.GUID)
	if err != nil {
		return rev, err
	}
	rev.Services = pendingServices(ran.Services, services, rev.Services)
	return rev, nil
}

// pendingOf returns the setting of the next start where the main version ran
// with one value, the app has another now, and a version has a third.
func pendingOf[T comparable](ran, now, next T) T {
	if now != ran && next == ran {
		return now
	}
	return next
}

func pendingEnv(ran, now, next map[string]string) map[string]string {
	out := maps.Clone(next)
	if out == nil {
		out = map[string]string{}
	}
	type variable struct {
		value string
		set   bool
	}
	of := func(env map[string]string, name string) variable {
		value, ok := env[name]
		return variable{value, ok}
	}
	for _, env := range []map[string]string{ran, now} {
		for name := range env {
			if v := pendingOf(of(ran, name), of(now, name), of(next, name)); v.set {
				out[name] = v.value
			} else {
				delete(out, name)
			}
		}
	}
	return out
}

func keepPending(ran, now platform.Process, next *platform.Process) {
	next.Command = pendingOf(ran.Command, now.Command, next.Command)
	next.MemoryMB = pendingOf(ran.MemoryMB, now.MemoryMB, next.MemoryMB)
	next.DiskMB = pendingOf(ran.DiskMB, now.DiskMB, next.DiskMB)
	next.LogRateLimit = pendingOf(ran.LogRateLimit, now.LogRateLimit, next.LogRateLimit)
	next.Health = pendingOf(ran.Health, now.Health, next.Health)
	next.Readiness = pendingOf(ran.Readiness, now.Readiness, next.Readiness)
}

// pendingServices adds the services that were bound since, and leaves out those
// that were unbound.
func pendingServices(ran, now, next []platform.BoundService) []platform.BoundService {
	has := func(in []platform.BoundService, s platform.BoundService) bool {
		return slices.ContainsFunc(in, func(o platform.BoundService) bool { return o.InstanceGUID == s.InstanceGUID })
	}
	var out []platform.BoundService
	for _, s := range next {
		if has(now, s) || !has(ran, s) {
			out = append(out, s)
		}
	}
	for _, s := range now {
		if !has(ran, s) && !has(next, s) {
			out = append(out, s)
		}
	}
	return out
}
