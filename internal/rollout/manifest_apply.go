package rollout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// ApplyManifest makes the apps what a prepared manifest says. It is run as a
// job: what it cannot do is its error, what it left out are its warnings.
func (e *Engine) ApplyManifest(ctx context.Context, who platform.Actor, space string, m platform.Manifest) (warnings []string, err error) {
	for i, a := range m.Applications {
		if len(a.Sidecars) > 0 {
			warnings = append(warnings, fmt.Sprintf("application '%s': sidecars are not run by weir and were left out", a.Name))
		}
		note, err := e.applyApp(ctx, who, space, a)
		if note != "" {
			warnings = append(warnings, fmt.Sprintf("application '%s': %s", a.Name, note))
		}
		if err != nil {
			return warnings, naming(i, a, err)
		}
	}
	return warnings, nil
}

// collisions is how often an app is applied anew because another push of it made
// the same process, route or binding in between. Each time there is one thing
// less to make.
const collisions = 10

// applyApp returns what should be said of it.
func (e *Engine) applyApp(ctx context.Context, who platform.Actor, space string, m platform.ManifestApp) (note string, err error) {
	for range collisions {
		note, err = e.applyOnce(ctx, who, space, m)
		if !errors.Is(err, store.ErrDuplicate) {
			break
		}
	}
	return note, err
}

func (e *Engine) applyOnce(ctx context.Context, who platform.Actor, space string, m platform.ManifestApp) (note string, err error) {
	app, err := e.store.AppByName(ctx, space, m.Name)
	if err != nil {
		return "", err
	}
	if err := e.applyProcesses(ctx, who, app, m); err != nil {
		return "", err
	}
	if err := e.applySettings(ctx, who, app, m); err != nil {
		return "", err
	}
	if note, err = e.applyRoutes(ctx, who, app, m); err != nil {
		return "", err
	}
	if changed := newVariables(app.Env, m.Env); len(changed) > 0 {
		if _, err := e.SetEnv(ctx, who, app.GUID, changed); err != nil {
			return note, err
		}
	}
	if err := e.applyServices(ctx, who, app, m); err != nil {
		return note, err
	}
	return note, e.store.Tx(ctx, func(tx *store.Tx) error {
		return e.event(ctx, tx, who, "audit.app.apply_manifest", appTarget(app), nil)
	})
}

// newVariables returns the variables that differ from what the app has.
func newVariables(have, want map[string]string) map[string]*string {
	changed := map[string]*string{}
	for k, v := range want {
		if old, ok := have[k]; !ok || old != v {
			changed[k] = &v
		}
	}
	return changed
}

func (e *Engine) applyProcesses(ctx context.Context, who platform.Actor, app platform.App, m platform.ManifestApp) error {
	for _, entry := range manifestProcesses(m) {
		p, err := e.store.ProcessByType(ctx, app.GUID, entry.Type)
		if platform.KindOf(err) == platform.KindNotFound {
			p, err = e.addProcess(ctx, who, app, entry.Type)
		}
		if err != nil {
			return err
		}
		want := p
		if err := applyTo(&want, entry); err != nil {
			return err
		}
		if p.Command != want.Command || p.Health != want.Health || p.Readiness != want.Readiness {
			_, err := e.UpdateProcess(ctx, who, p.GUID, func(p *platform.Process) error {
				p.Command, p.Health, p.Readiness = want.Command, want.Health, want.Readiness
				return nil
			})
			if err != nil {
				return err
			}
		}
		if p.Instances != want.Instances || p.MemoryMB != want.MemoryMB || p.DiskMB != want.DiskMB || p.LogRateLimit != want.LogRateLimit {
			req := ScaleRequest{Instances: &want.Instances, MemoryMB: &want.MemoryMB, DiskMB: &want.DiskMB, LogRateLimit: &want.LogRateLimit}
			if _, err := e.Scale(ctx, who, p.GUID, req); err != nil {
				return err
			}
		}
	}
	return nil
}

// addProcess makes a process that no droplet has asked for yet.
func (e *Engine) addProcess(ctx context.Context, who platform.Actor, app platform.App, typ string) (platform.Process, error) {
	p := platform.NewProcess(platform.NewResource(time.Now()), app.GUID, typ)
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertProcess(ctx, p); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.process.create", appTarget(app),
			map[string]any{"process_guid": p.GUID, "process_type": typ, "manifest_triggered": true})
	})
	return p, err
}

// applySettings is for what stands in the app's own row.
func (e *Engine) applySettings(ctx context.Context, who platform.Actor, app platform.App, m platform.ManifestApp) error {
	want := app
	want.Lifecycle = lifecycleOf(m, app.Lifecycle)
	want.Features = maps.Clone(app.Features)
	for k, v := range m.Features {
		if want.Features == nil {
			want.Features = map[string]bool{}
		}
		want.Features[k] = v
	}
	want.Metadata.Labels = merged(app.Metadata.Labels, m.Labels)
	want.Metadata.Annotations = merged(app.Metadata.Annotations, m.Annotations)
	same := slices.Equal(want.Lifecycle.Buildpacks, app.Lifecycle.Buildpacks) && want.Lifecycle.Stack == app.Lifecycle.Stack &&
		maps.Equal(want.Features, app.Features) &&
		maps.Equal(want.Metadata.Labels, app.Metadata.Labels) && maps.Equal(want.Metadata.Annotations, app.Metadata.Annotations)
	if same {
		return nil
	}
	_, err := e.UpdateApp(ctx, who, app.GUID, func(a *platform.App) error {
		a.Lifecycle, a.Features, a.Metadata = want.Lifecycle, want.Features, want.Metadata
		return nil
	})
	return err
}

func (e *Engine) applyRoutes(ctx context.Context, who platform.Actor, app platform.App, m platform.ManifestApp) (note string, err error) {
	routes, _, err := e.store.Routes(ctx, store.Query{In: map[string][]string{"live_app_guids": {app.GUID}}})
	if err != nil {
		return "", err
	}
	if m.NoRoute {
		return "", e.unmapAll(ctx, who, app, routes)
	}
	domains, _, err := e.store.Domains(ctx, store.Query{})
	if err != nil {
		return "", err
	}
	listed := m.Routes
	if len(listed) == 0 && len(routes) == 0 && (m.RandomRoute || m.DefaultRoute) {
		r, err := impliedRoute(app, m.RandomRoute, domains)
		if err != nil {
			return "", err
		}
		if !m.RandomRoute {
			if note, err = e.noteHost(ctx, app, r, domains); err != nil {
				return "", err
			}
		}
		listed = []platform.ManifestRoute{{Route: r}}
	}
	for _, entry := range listed {
		if err := e.applyRoute(ctx, who, app, entry, domains); err != nil {
			return "", err
		}
	}
	return note, nil
}

// noteHost says so if an app's name could not be the host of its route as it
// is. One that so becomes another app's host is refused: nobody who calls an
// app "käse" wants half of the requests for "kse".
func (e *Engine) noteHost(ctx context.Context, app platform.App, implied string, domains []platform.Domain) (string, error) {
	want, err := parseRoute(implied, domains)
	if err != nil || want.Host == strings.ToLower(app.Name) {
		return "", err
	}
	r, err := e.store.RouteByAddress(ctx, want.DomainGUID, want.Host, want.Path)
	if err != nil && !isNotFound(err) {
		return "", err
	}
	if slices.ContainsFunc(r.Destinations, func(d platform.Destination) bool { return d.AppGUID != app.GUID }) {
		return "", &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("a host made of the name '%s' would be %s, which leads to another app", app.Name, implied),
			Hint: "choose one: weir push '" + app.Name + "' -n HOST",
		}
	}
	return fmt.Sprintf("its name cannot be a host name as it is, so its route is %s (push it with -n HOST for another)", implied), nil
}

func (e *Engine) unmapAll(ctx context.Context, who platform.Actor, app platform.App, routes []platform.Route) error {
	for _, r := range routes {
		for _, d := range r.Destinations {
			if d.AppGUID != app.GUID {
				continue
			}
			if err := e.DeleteDestination(ctx, who, r.GUID, d.GUID); err != nil {
				return err
			}
		}
	}
	return nil
}

// applyRoute makes sure that a route exists in the app's space and leads to
// the app's web process.
func (e *Engine) applyRoute(ctx context.Context, who platform.Actor, app platform.App, m platform.ManifestRoute, domains []platform.Domain) error {
	want, err := parseRoute(m.Route, domains)
	if err != nil {
		return err
	}
	r, err := e.store.RouteByAddress(ctx, want.DomainGUID, want.Host, want.Path)
	switch {
	case platform.KindOf(err) == platform.KindNotFound:
		want.SpaceGUID, want.Options = app.SpaceGUID, m.Options
		if r, err = e.CreateRoute(ctx, who, want); err != nil {
			return err
		}
	case err != nil:
		return err
	case r.SpaceGUID != app.SpaceGUID:
		return platform.Invalidf("Routes cannot be mapped to destinations in different spaces: '%s' belongs to another one", m.Route)
	case m.Options != nil && !maps.Equal(m.Options, r.Options):
		if r, err = e.UpdateRoute(ctx, who, r.GUID, func(r *platform.Route) error { r.Options = m.Options; return nil }); err != nil {
			return err
		}
	}
	protocol := m.Protocol
	for _, d := range r.Destinations {
		if d.AppGUID == app.GUID && d.ProcessType == platform.WebProcess &&
			(protocol == "" || protocol == d.Protocol) && (m.Weight == nil || d.EffectiveWeight() == *m.Weight) {
			return nil
		}
	}
	_, err = e.AddDestinations(ctx, who, r.GUID, []platform.Destination{{
		AppGUID: app.GUID, ProcessType: platform.WebProcess, Protocol: protocol, Weight: m.Weight,
	}})
	return err
}

// impliedRoute returns the route of an app that was given none: its name, or
// its name and something random, under the first shared domain.
func impliedRoute(app platform.App, random bool, domains []platform.Domain) (string, error) {
	i := slices.IndexFunc(domains, func(d platform.Domain) bool { return d.OrganizationGUID == "" && !d.Internal })
	if i < 0 {
		return "", platform.Invalidf("No default domains available")
	}
	host := hostLabel(app.Name)
	if random {
		host = hostLabel(fmt.Sprintf("%s-%s-%s-%c%c", app.Name, oneOfWords(adjectives), oneOfWords(nouns), letter(), letter()))
	}
	if host == "" {
		return "", &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("the name '%s' has no letter or digit that a host name could be made of", app.Name),
			Hint: "give the app a route, or push it with --no-route",
		}
	}
	return host + "." + domains[i].Name, nil
}

// hostLabel makes a DNS label of an app's name.
func hostLabel(name string) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == ' ' || r == '.':
			return '-'
		}
		return -1
	}, name)
	label = strings.Trim(label, "-_")
	if len(label) > 63 {
		label = strings.Trim(label[len(label)-63:], "-_") // the end holds what is random
	}
	return label
}

var (
	adjectives = []string{"brave", "calm", "clear", "eager", "fresh", "gentle", "happy", "kind", "lively", "mellow", "patient", "proud", "quick", "quiet", "sunny", "wise"}
	nouns      = []string{"badger", "brook", "cedar", "comet", "falcon", "grove", "heron", "lark", "meadow", "otter", "pebble", "reed", "river", "swift", "weasel", "willow"}
)

func oneOfWords(words []string) string { return words[below(len(words))] }

func letter() rune { return 'a' + rune(below(26)) }

func below(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // never: the reader does not fail
	}
	return int(i.Int64())
}

func (e *Engine) applyServices(ctx context.Context, who platform.Actor, app platform.App, m platform.ManifestApp) error {
	for _, s := range m.Services {
		found, _, err := e.store.ServiceInstances(ctx, store.Query{In: map[string][]string{"names": {s.Name}, "space_guids": {app.SpaceGUID}}})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return platform.Invalidf("Service instance '%s' not found", s.Name)
		}
		_, bound, err := e.store.ServiceBindings(ctx, store.Query{In: map[string][]string{"app_guids": {app.GUID}, "service_instance_guids": {found[0].GUID}}})
		if err != nil {
			return err
		}
		if bound > 0 {
			continue
		}
		if _, err := e.CreateServiceBinding(ctx, who, platform.ServiceBinding{AppGUID: app.GUID, ServiceInstanceGUID: found[0].GUID, Name: s.BindingName}); err != nil {
			return err
		}
	}
	return nil
}
