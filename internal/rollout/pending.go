package rollout

import (
	"context"
	"maps"
	"slices"

	"weir/internal/platform"
	"weir/internal/store"
)

// withPending returns a version's revision with what was set for the app's next
// start since the version was made, so that whoever makes that the main one does
// not undo what somebody was told is done: a rollout, assign, weights. Of what was
// set before, the version has an opinion of its own. Its instances run on with what
// they have: the settings wait for the next start. Who goes back, by rollback or
// undo, wants the settings as they were.
func (t *traffic) withPending(ctx context.Context, rev platform.Revision, app platform.App, v, main platform.Version) (platform.Revision, error) {
	ran, err := t.tx.Revision(ctx, main.RevisionGUID)
	if err != nil {
		return rev, err
	}
	now, err := settingsOf(ctx, t.tx, app)
	if err != nil {
		return rev, err
	}
	p := pending{base: v.MadeBeside, ran: platform.Settings{Env: ran.Env, Processes: ran.Processes, Services: serviceGUIDs(ran.Services)}, now: now}
	rev.Env = p.env(rev.Env)
	rev.Processes = slices.Clone(rev.Processes)
	for i := range rev.Processes {
		p.process(&rev.Processes[i])
	}
	bound, err := boundServices(ctx, t.tx, app.GUID)
	rev.Services = p.services(rev.Services, bound)
	return rev, err
}

// settingsOf returns what of an app's settings waits for its next start, or runs
// already.
func settingsOf(ctx context.Context, tx *store.Tx, app platform.App) (platform.Settings, error) {
	s := platform.Settings{Env: app.Env}
	var err error
	if s.Processes, err = processesOf(ctx, tx, app.GUID); err != nil {
		return s, err
	}
	bound, err := boundServices(ctx, tx, app.GUID)
	s.Services = serviceGUIDs(bound)
	return s, err
}

func serviceGUIDs(all []platform.BoundService) (guids []string) {
	for _, s := range all {
		guids = append(guids, s.InstanceGUID)
	}
	return guids
}

// rebase notes for all versions of an app but the main one that its settings were
// replaced, which is nothing that somebody set: they were before, and are now.
func rebase(ctx context.Context, tx *store.Tx, app string, before, now platform.Settings) error {
	all, err := versionsOf(ctx, tx, app)
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.Main || !isKnown(v.MadeBeside) {
			continue
		}
		// What was replaced is the new base, as what was set since is in a
		// version that comes to be the main one.
		p := pending{base: before, now: now}
		v.MadeBeside.Env = p.env(v.MadeBeside.Env)
		v.MadeBeside.Processes = slices.Clone(v.MadeBeside.Processes)
		for i := range v.MadeBeside.Processes {
			p.process(&v.MadeBeside.Processes[i])
		}
		v.MadeBeside.Services = p.serviceGUIDs(v.MadeBeside.Services)
		if err := tx.UpdateVersion(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// isKnown reports whether settings were written down: an app has processes.
func isKnown(s platform.Settings) bool { return len(s.Processes) > 0 }

// pending tells what was set since a time, with base, from what was not.
type pending struct {
	base platform.Settings
	// ran is what the main version runs with. It stands in for base, if that is
	// not known, where a version has the same.
	ran platform.Settings
	now platform.Settings
}

// later returns the value of a setting that was made later: the app's, or next,
// which is the version's.
func later[T comparable](p *pending, of func(platform.Settings) T, next T) T {
	now := of(p.now)
	switch {
	case isKnown(p.base) && now != of(p.base):
		return now
	case !isKnown(p.base) && now != of(p.ran) && next == of(p.ran):
		return now
	}
	return next
}

func (p *pending) env(next map[string]string) map[string]string {
	out := map[string]string{}
	type variable struct {
		value string
		set   bool
	}
	for _, env := range []map[string]string{next, p.base.Env, p.ran.Env, p.now.Env} {
		for name := range env {
			value, set := next[name]
			v := later(p, func(s platform.Settings) variable {
				value, set := s.Env[name]
				return variable{value, set}
			}, variable{value, set})
			if v.set {
				out[name] = v.value
			}
		}
	}
	return out
}

// process changes the settings of a version's process.
func (p *pending) process(next *platform.Process) {
	of := func(s platform.Settings) platform.Process {
		i := slices.IndexFunc(s.Processes, func(o platform.Process) bool { return o.Type == next.Type })
		if i < 0 {
			return *next
		}
		return s.Processes[i]
	}
	next.Command = later(p, func(s platform.Settings) string { return of(s).Command }, next.Command)
	next.MemoryMB = later(p, func(s platform.Settings) int { return of(s).MemoryMB }, next.MemoryMB)
	next.DiskMB = later(p, func(s platform.Settings) int { return of(s).DiskMB }, next.DiskMB)
	next.LogRateLimit = later(p, func(s platform.Settings) int64 { return of(s).LogRateLimit }, next.LogRateLimit)
	next.Health = later(p, func(s platform.Settings) platform.HealthCheck { return of(s).Health }, next.Health)
	next.Readiness = later(p, func(s platform.Settings) platform.HealthCheck { return of(s).Readiness }, next.Readiness)
}

// services returns those of a version with what was bound and unbound since.
func (p *pending) services(next, now []platform.BoundService) (out []platform.BoundService) {
	want := p.serviceGUIDs(serviceGUIDs(next))
	for _, s := range slices.Concat(next, now) {
		known := slices.ContainsFunc(out, func(o platform.BoundService) bool { return o.InstanceGUID == s.InstanceGUID })
		if !known && slices.Contains(want, s.InstanceGUID) {
			out = append(out, s)
		}
	}
	return out
}

func (p *pending) serviceGUIDs(next []string) (out []string) {
	all := map[string]bool{}
	for _, guids := range [][]string{next, p.base.Services, p.ran.Services, p.now.Services} {
		for _, guid := range guids {
			all[guid] = true
		}
	}
	for _, guid := range slices.Sorted(maps.Keys(all)) {
		if later(p, func(s platform.Settings) bool { return slices.Contains(s.Services, guid) }, slices.Contains(next, guid)) {
			out = append(out, guid)
		}
	}
	return out
}
