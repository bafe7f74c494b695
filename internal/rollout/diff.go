package rollout

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weir/internal/platform"
	"weir/internal/store"
)

// The names of a revision besides its number.
const (
	RevisionCurrent = "current" // that of the main version
	RevisionPending = "pending" // what the next start or push of settings would make
)

// RevisionDiff says what one revision of an app has otherwise than another.
type RevisionDiff struct {
	// From and To are the revisions; version 0 is what is pending.
	From, To platform.Revision
	Changes  []RevisionChange
}

// RevisionChange is one difference. Nil means that a side does not have it.
type RevisionChange struct {
	What   string // "droplet", "env", "command", "memory", "disk", "log-rate-limit", "health-check", "readiness", "process", "service"
	Name   string // of the variable, process or service; empty for the droplet
	Before *string
	After  *string
	Secret bool // the values are not to be shown; they are not here
}

// DiffRevisions compares two revisions of an app, named by number, "current"
// or "pending".
func (e *Engine) DiffRevisions(ctx context.Context, app, from, to string) (RevisionDiff, error) {
	var d RevisionDiff
	err := e.store.View(ctx, func(tx *store.Tx) error {
		a, err := tx.App(ctx, app)
		if err != nil {
			return err
		}
		if d.From, err = namedRevision(ctx, tx, a, from); err != nil {
			return err
		}
		if d.To, err = namedRevision(ctx, tx, a, to); err != nil {
			return err
		}
		d.Changes, err = compareRevisions(ctx, tx, d.From, d.To)
		return err
	})
	return d, err
}

// namedRevision finds a revision by its name.
func namedRevision(ctx context.Context, tx *store.Tx, app platform.App, name string) (platform.Revision, error) {
	switch name {
	case RevisionPending:
		c, err := candidateOf(ctx, tx, app)
		return platform.Revision{
			AppGUID: app.GUID, DropletGUID: c.droplet.GUID, Env: c.env, Processes: c.processes, Services: c.services, Description: "Pending.",
		}, err
	case RevisionCurrent:
		all, err := versionsOf(ctx, tx, app.GUID)
		if err != nil {
			return platform.Revision{}, err
		}
		main, ok := mainOf(all)
		if !ok {
			return platform.Revision{}, platform.Invalidf("app %q never ran, so it has no current revision", app.Name)
		}
		return tx.Revision(ctx, main.RevisionGUID)
	}
	if _, err := strconv.Atoi(name); err != nil {
		return platform.Revision{}, platform.Invalidf("%q is no revision: give a number, 'current' or 'pending'", name)
	}
	found, _, err := tx.Revisions(ctx, store.Query{In: map[string][]string{"app_guids": {app.GUID}, "versions": {name}}})
	if err == nil && len(found) == 0 {
		err = &platform.Error{
			Kind: platform.KindNotFound, Msg: fmt.Sprintf("Revision '%s' not found", name), Hint: "weir revisions " + app.Name + " lists them",
		}
	}
	if err != nil {
		return platform.Revision{}, err
	}
	return found[0], nil
}

// comparison collects differences.
type comparison struct{ changes []RevisionChange }

func (c *comparison) note(what, name, before, after string) {
	if before != after {
		c.changes = append(c.changes, RevisionChange{What: what, Name: name, Before: orNil(before), After: orNil(after)})
	}
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func compareRevisions(ctx context.Context, tx *store.Tx, a, b platform.Revision) ([]RevisionChange, error) {
	c := &comparison{changes: []RevisionChange{}}
	if a.DropletGUID != b.DropletGUID {
		before, err := dropletName(ctx, tx, a.DropletGUID)
		if err != nil {
			return nil, err
		}
		after, err := dropletName(ctx, tx, b.DropletGUID)
		if err != nil {
			return nil, err
		}
		if before == after { // built twice, with the same result
			before, after = before+" ("+a.DropletGUID+")", after+" ("+b.DropletGUID+")"
		}
		c.note("droplet", "", before, after)
	}
	c.env(a.Env, b.Env)
	c.processes(a.Processes, b.Processes)
	c.services(a.Services, b.Services)
	return c.changes, nil
}

// dropletName is what a droplet is told apart by: the digest of its files.
func dropletName(ctx context.Context, tx *store.Tx, guid string) (string, error) {
	d, err := tx.Droplet(ctx, guid)
	if isNotFound(err) {
		return guid + " (deleted)", nil
	}
	if d.Digest == "" {
		return guid, err
	}
	return "sha256:" + d.Digest, err
}

// env compares variables without giving their values away.
func (c *comparison) env(a, b map[string]string) {
	names := slices.Sorted(maps.Keys(a))
	for _, n := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[n]; !ok {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		before, had := a[n]
		after, has := b[n]
		if had && has && before == after {
			continue
		}
		change := RevisionChange{What: "env", Name: n, Secret: true}
		hidden := ""
		if had {
			change.Before = &hidden
		}
		if has {
			change.After = &hidden
		}
		c.changes = append(c.changes, change)
	}
}

func (c *comparison) processes(a, b []platform.Process) {
	byType := func(all []platform.Process) map[string]platform.Process {
		m := map[string]platform.Process{}
		for _, p := range all {
			m[p.Type] = p
		}
		return m
	}
	before, after := byType(a), byType(b)
	types := slices.Sorted(maps.Keys(before))
	for t := range after {
		if _, ok := before[t]; !ok {
			types = append(types, t)
		}
	}
	slices.SortFunc(types, func(a, b string) int { return compareSlots(slot{typ: a}, slot{typ: b}) })
	for _, t := range types {
		p, had := before[t]
		q, has := after[t]
		if !had || !has {
			c.note("process", t, name(had, t), name(has, t))
			continue
		}
		c.note("command", t, cmp.Or(p.Command, "(the droplet's)"), cmp.Or(q.Command, "(the droplet's)"))
		c.note("memory", t, platform.FormatMegabytes(p.MemoryMB), platform.FormatMegabytes(q.MemoryMB))
		c.note("disk", t, platform.FormatMegabytes(p.DiskMB), platform.FormatMegabytes(q.DiskMB))
		c.note("log-rate-limit", t, strconv.FormatInt(p.LogRateLimit, 10), strconv.FormatInt(q.LogRateLimit, 10))
		c.note("health-check", t, healthText(p.Health), healthText(q.Health))
		c.note("readiness", t, healthText(p.Readiness), healthText(q.Readiness))
	}
}

func name(is bool, s string) string {
	if is {
		return s
	}
	return ""
}

func healthText(h platform.HealthCheck) string {
	text := strings.TrimSpace(h.Type + " " + h.Endpoint)
	for _, f := range []struct {
		name string
		n    int
	}{{"timeout", h.Timeout}, {"invocation", h.InvocationTimeout}, {"interval", h.Interval}} {
		if f.n > 0 {
			text += fmt.Sprintf(" %s=%ds", f.name, f.n)
		}
	}
	return text
}

// services compares bindings; of what they hold only whether it is the same.
func (c *comparison) services(a, b []platform.BoundService) {
	in := func(all []platform.BoundService, guid string) (platform.BoundService, bool) {
		i := slices.IndexFunc(all, func(s platform.BoundService) bool { return s.InstanceGUID == guid })
		if i < 0 {
			return platform.BoundService{}, false
		}
		return all[i], true
	}
	for _, s := range a {
		other, ok := in(b, s.InstanceGUID)
		switch {
		case !ok:
			c.note("service", s.InstanceName, s.InstanceName, "")
		case !sameServices([]platform.BoundService{s}, []platform.BoundService{other}):
			hidden := ""
			c.changes = append(c.changes, RevisionChange{What: "service", Name: s.InstanceName, Before: &hidden, After: &hidden, Secret: true})
		}
	}
	for _, s := range b {
		if _, ok := in(a, s.InstanceGUID); !ok {
			c.note("service", s.InstanceName, "", s.InstanceName)
		}
	}
}
