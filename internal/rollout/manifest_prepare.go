package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/internal/platform"
	"weir/internal/store"
)

// PrepareManifest checks the manifest and creates the apps it names that the
// space does not have. All problems come back at once, joined with
// errors.Join when there are several; each is a *platform.Error.
func (e *Engine) PrepareManifest(ctx context.Context, who platform.Actor, space string, m platform.Manifest) error {
	if m.Version != 0 && m.Version != 1 {
		return platform.Invalidf("Unsupported manifest schema version. Currently supported versions: [1].")
	}
	if len(m.Applications) == 0 {
		return platform.Invalidf("Cannot parse manifest with no 'applications' field.")
	}
	var missing []platform.App
	err := e.store.View(ctx, func(tx *store.Tx) error {
		domains, _, err := tx.Domains(ctx, store.Query{})
		if err != nil {
			return err
		}
		var problems []error
		seen := map[string]bool{}
		for i, a := range m.Applications {
			for _, err := range checkApp(ctx, tx, space, a, domains) {
				problems = append(problems, naming(i, a, err))
			}
			if seen[a.Name] && a.Name != "" {
				problems = append(problems, naming(i, a, platform.Invalidf("the name is used twice in the manifest")))
			}
			seen[a.Name] = true
			_, err := tx.AppByName(ctx, space, a.Name)
			switch {
			case platform.KindOf(err) == platform.KindNotFound:
				if err := checkImplied(a, domains); err != nil {
					problems = append(problems, naming(i, a, err))
				}
				missing = append(missing, platform.App{SpaceGUID: space, Name: a.Name, Lifecycle: lifecycleOf(a, platform.Lifecycle{})})
			case err != nil:
				return err
			}
		}
		return errors.Join(problems...)
	})
	if err != nil {
		return err
	}
	for _, app := range missing {
		_, err := e.CreateApp(ctx, who, app)
		if errors.Is(err, store.ErrDuplicate) {
			continue // another push of it was faster
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkImplied refuses a new app that is to have a route made of its name if
// none can be made.
func checkImplied(a platform.ManifestApp, domains []platform.Domain) error {
	if a.NoRoute || len(a.Routes) > 0 || !a.RandomRoute && !a.DefaultRoute || strings.TrimSpace(a.Name) == "" {
		return nil
	}
	_, err := impliedRoute(platform.App{Name: a.Name}, a.RandomRoute, domains)
	return err
}

// naming says which app a problem is about, as Cloud Foundry does.
func naming(i int, a platform.ManifestApp, err error) error {
	what := fmt.Sprintf("application '%s'", a.Name)
	if a.Name == "" {
		what = fmt.Sprintf("application at index %d", i)
	}
	p, ok := errors.AsType[*platform.Error](err)
	if !ok {
		return fmt.Errorf("applying the manifest to %s: %w", what, err) // ours: only the log says more
	}
	msg := err.Error()
	if p.Err != nil {
		msg = strings.TrimSuffix(msg, ": "+p.Err.Error())
	}
	return &platform.Error{Kind: p.Kind, Msg: fmt.Sprintf("For %s: %s", what, msg), Hint: p.Hint, Err: err}
}

func lifecycleOf(a platform.ManifestApp, now platform.Lifecycle) platform.Lifecycle {
	now.Type = "buildpack"
	if a.Buildpacks != nil {
		now.Buildpacks = a.Buildpacks
	}
	set(&now.Stack, a.Stack)
	return now
}

// checkApp returns everything that is wrong with one application.
func checkApp(ctx context.Context, tx *store.Tx, space string, a platform.ManifestApp, domains []platform.Domain) (problems []error) {
	bad := func(format string, args ...any) {
		problems = append(problems, platform.Invalidf(format, args...))
	}
	if strings.TrimSpace(a.Name) == "" {
		bad("Name must not be empty")
	}
	if a.DockerImage != "" {
		bad("Docker images are not supported: weir builds from source")
	}
	if t := a.LifecycleType; t != "" && t != "buildpack" {
		bad("Lifecycle type '%s' is not supported: weir stages with buildpacks", t)
	}
	if a.NoRoute && a.RandomRoute {
		bad("Cannot use the combination of properties: no-route and random-route")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Env)) {
		if err := checkVariable(name, a.Env[name]); err != nil {
			problems = append(problems, err)
		}
	}
	types := map[string]bool{}
	for _, p := range manifestProcesses(a) {
		if p.Type == "" {
			bad("All Processes must specify a 'type' field")
			continue
		}
		if types[p.Type] {
			bad("Process \"%s\" may only be present once", p.Type)
		}
		types[p.Type] = true
		for _, err := range checkProcess(p) {
			bad("Process \"%s\": %s", p.Type, err.Error())
		}
	}
	for _, r := range a.Routes {
		if _, err := parseRoute(r.Route, domains); err != nil {
			problems = append(problems, err)
		}
		if w := r.Weight; w != nil && (*w < 0 || *w > platform.MaxWeight) {
			bad("The weight of route '%s' must be between 0 and %d", r.Route, platform.MaxWeight)
		}
	}
	for _, s := range a.Services {
		_, n, err := tx.ServiceInstances(ctx, store.Query{In: map[string][]string{"names": {s.Name}, "space_guids": {space}}})
		if err != nil {
			problems = append(problems, err)
		} else if n == 0 {
			bad("Service instance '%s' not found", s.Name)
		}
	}
	return problems
}

func checkProcess(m platform.ManifestProcess) (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, platform.Invalidf(format, args...)) }
	if m.Instances != nil && *m.Instances < 0 {
		bad("Instances must be greater than or equal to 0")
	}
	if err := applyTo(&platform.Process{}, m); err != nil {
		problems = append(problems, err)
	}
	for _, n := range []struct {
		key string
		v   *int
	}{
		{"Timeout", m.Timeout},
		{"Health check invocation timeout", m.HealthCheckInvocationTimeout},
		{"Health check interval", m.HealthCheckInterval},
		{"Readiness health check invocation timeout", m.ReadinessHealthCheckInvocationTimeout},
		{"Readiness health check interval", m.ReadinessHealthCheckInterval},
	} {
		if n.v != nil && *n.v < 1 {
			bad("%s must be greater than or equal to 1", n.key)
		}
	}
	kinds := []string{platform.HealthPort, platform.HealthProcess, platform.HealthHTTP}
	for key, v := range map[string]*string{"Health check type": m.HealthCheckType, "Readiness health check type": m.ReadinessHealthCheckType} {
		if v != nil && !slices.Contains(kinds, *v) {
			bad("%s must be \"port\", \"process\", or \"http\"", key)
		}
	}
	for key, v := range map[string]*string{"Health check HTTP endpoint": m.HealthCheckHTTPEndpoint, "Readiness health check HTTP endpoint": m.ReadinessHealthCheckHTTPEndpoint} {
		if v != nil && !strings.HasPrefix(*v, "/") {
			bad("%s must be a valid URI path", key)
		}
	}
	return problems
}

// parseRoute splits "host.domain/path" at the longest domain that exists.
func parseRoute(s string, domains []platform.Domain) (platform.Route, error) {
	if strings.Contains(s, "://") {
		return platform.Route{}, platform.Invalidf("The route '%s' is not a properly formed URL: leave the scheme out", s)
	}
	fqdn, path, hasPath := strings.Cut(s, "/")
	fqdn = strings.ToLower(fqdn)
	if fqdn == "" || strings.ContainsAny(s, " \t?#") {
		return platform.Route{}, platform.Invalidf("The route '%s' is not a properly formed URL", s)
	}
	r := platform.Route{Protocol: "http"}
	if hasPath && path != "" {
		r.Path = "/" + path
	}
	for _, d := range domains {
		host, ok := strings.CutSuffix(fqdn, "."+d.Name)
		if fqdn == d.Name {
			host, ok = "", true
		}
		if ok && len(d.Name) > len(r.DomainName) {
			r.DomainGUID, r.DomainName, r.Host = d.GUID, d.Name, host
		}
	}
	if r.DomainGUID == "" {
		return platform.Route{}, &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("The route '%s' did not match any existing domains.", s),
			Hint: "weir domains lists them; weir create-domain makes one",
		}
	}
	return r, nil
}
