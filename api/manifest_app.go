package api

import (
	"encoding/json"
	"fmt"
	"slices"

	"weir/internal/platform"
	"weir/router"
)

func parseManifestApp(index int, v any) (platform.ManifestApp, error) {
	m, ok := v.(mapping)
	if !ok {
		return platform.ManifestApp{}, inApplication(index, "", []string{"it must be an object"})
	}
	r := &fieldReader{m: m}
	app := platform.ManifestApp{
		Name:          r.str("name"),
		LifecycleType: r.str("lifecycle"),
		Buildpacks:    r.texts("buildpacks"),
		Stack:         r.text("stack"),
		Features:      map[string]bool{},
		NoRoute:       r.boolean("no-route"),
		RandomRoute:   r.boolean("random-route"),
		DefaultRoute:  r.boolean("default-route"),
		Web:           r.process(),
	}
	if one := r.text("buildpack"); one != nil && app.Buildpacks == nil {
		app.Buildpacks = []string{*one}
		if *one == "default" || *one == "null" {
			app.Buildpacks = []string{}
		}
	}
	if docker := r.mapping("docker"); docker != nil {
		app.DockerImage = (&fieldReader{m: docker}).str("image")
	}
	for _, p := range r.mapping("features") {
		if b, ok := yamlBool(textOf(p.value)); ok {
			app.Features[p.raw] = b
		} else {
			r.wrong("features."+p.raw, "true or false")
		}
	}
	app.Env = r.environment("env")
	if md := r.mapping("metadata"); md != nil {
		app.Labels, app.Annotations = r.labels(md, "labels"), r.labels(md, "annotations")
	}
	app.Routes = r.routes("routes")
	app.Services = r.services("services")
	app.Sidecars = r.sidecars("sidecars")
	app.Processes = r.processes("processes")
	return app, inApplication(index, app.Name, r.problems)
}

// textOf returns the text of a scalar, "" of anything else.
func textOf(v any) string {
	s, _ := v.(scalar)
	return s.text
}

// environment reads variables; what is not text becomes JSON.
func (r *fieldReader) environment(key string) map[string]string {
	vars := r.mapping(key)
	if vars == nil {
		return nil
	}
	env := map[string]string{}
	for _, p := range vars {
		switch v := p.value.(type) {
		case scalar:
			env[p.raw] = v.text
		case nil:
			env[p.raw] = ""
		default:
			b, err := json.Marshal(plain(v))
			if err != nil {
				r.wrong(key+"."+p.raw, "a string")
				continue
			}
			env[p.raw] = string(b)
		}
	}
	return env
}

func (r *fieldReader) labels(md mapping, key string) map[string]*string {
	in := &fieldReader{m: md}
	var out map[string]*string
	for _, p := range in.mapping(key) {
		if out == nil {
			out = map[string]*string{}
		}
		check := checkAnnotation
		if key == "labels" {
			check = checkLabel
		}
		var value *string
		if p.value != nil {
			text := textOf(p.value)
			value = &text
		}
		r.problems = append(r.problems, check(p.raw, value)...)
		out[p.raw] = value
	}
	for range in.problems {
		r.wrong("metadata."+key, "an object")
	}
	return out
}

func (r *fieldReader) routes(key string) []platform.ManifestRoute {
	var out []platform.ManifestRoute
	for i, v := range r.sequence(key) {
		m, ok := v.(mapping)
		if !ok {
			r.problems = append(r.problems, fmt.Sprintf("Routes[%d] must be an object with a key 'route'", i))
			continue
		}
		in := &fieldReader{m: m}
		route := platform.ManifestRoute{Route: in.str("route"), Protocol: in.str("protocol"), Weight: in.integer("weight")}
		if route.Route == "" {
			r.problems = append(r.problems, fmt.Sprintf("Routes[%d] must have a key 'route'", i))
		}
		if !slices.Contains([]string{"", router.ProtocolHTTP1, router.ProtocolHTTP2}, route.Protocol) {
			r.problems = append(r.problems, "Route protocol must be 'http1' or 'http2'")
		}
		for _, p := range in.mapping("options") {
			if route.Options == nil {
				route.Options = map[string]string{}
			}
			route.Options[p.raw] = textOf(p.value)
		}
		if err := router.CheckOptions(route.Options); err != nil {
			r.problems = append(r.problems, "Route '"+route.Route+"': "+err.Error())
		}
		r.problems = append(r.problems, in.problems...)
		out = append(out, route)
	}
	return out
}

func (r *fieldReader) services(key string) []platform.ManifestService {
	var out []platform.ManifestService
	for i, v := range r.sequence(key) {
		s := platform.ManifestService{Name: textOf(v)}
		if m, ok := v.(mapping); ok {
			in := &fieldReader{m: m}
			s.Name, s.BindingName = in.str("name"), in.str("binding-name")
			r.problems = append(r.problems, in.problems...)
		}
		if s.Name == "" {
			r.problems = append(r.problems, fmt.Sprintf("Services[%d] must be a name, or an object with a key 'name'", i))
		}
		out = append(out, s)
	}
	return out
}

func (r *fieldReader) sidecars(key string) []platform.Sidecar {
	var out []platform.Sidecar
	for i, v := range r.sequence(key) {
		m, ok := v.(mapping)
		if !ok {
			r.problems = append(r.problems, fmt.Sprintf("Sidecars[%d] must be an object", i))
			continue
		}
		in := &fieldReader{m: m}
		out = append(out, platform.Sidecar{
			Name: in.str("name"), Command: in.str("command"), ProcessTypes: in.texts("process-types"),
		})
		r.problems = append(r.problems, in.problems...)
	}
	return out
}

func (r *fieldReader) processes(key string) []platform.ManifestProcess {
	var out []platform.ManifestProcess
	for i, v := range r.sequence(key) {
		m, ok := v.(mapping)
		if !ok {
			r.problems = append(r.problems, fmt.Sprintf("Processes[%d] must be an object", i))
			continue
		}
		in := &fieldReader{m: m}
		p := in.process()
		p.Type = in.str("type")
		for _, problem := range in.problems {
			r.problems = append(r.problems, fmt.Sprintf("Process \"%s\": %s", p.Type, problem))
		}
		out = append(out, p)
	}
	return out
}

// process reads the keys that apps and processes have in common.
func (r *fieldReader) process() platform.ManifestProcess {
	p := platform.ManifestProcess{
		Command:      r.text("command"),
		Instances:    r.integer("instances"),
		Memory:       r.text("memory"),
		DiskQuota:    r.text("disk-quota"),
		LogRateLimit: r.text("log-rate-limit-per-second"),
		Timeout:      r.integer("timeout"),

		HealthCheckType:              r.text("health-check-type"),
		HealthCheckHTTPEndpoint:      r.text("health-check-http-endpoint"),
		HealthCheckInvocationTimeout: r.integer("health-check-invocation-timeout"),
		HealthCheckInterval:          r.integer("health-check-interval"),

		ReadinessHealthCheckType:              r.text("readiness-health-check-type"),
		ReadinessHealthCheckHTTPEndpoint:      r.text("readiness-health-check-http-endpoint"),
		ReadinessHealthCheckInvocationTimeout: r.integer("readiness-health-check-invocation-timeout"),
		ReadinessHealthCheckInterval:          r.integer("readiness-health-check-interval"),
	}
	if n := r.integer("readiness-health-invocation-timeout"); n != nil { // go-cfclient's spelling
		p.ReadinessHealthCheckInvocationTimeout = n
	}
	if v, ok := r.m.get("command"); ok && (v == nil || p.Command != nil && (*p.Command == "default" || *p.Command == "null")) {
		none := ""
		p.Command = &none // back to the droplet's
	}
	if t := p.HealthCheckType; t != nil && *t == "none" {
		*t = platform.HealthProcess // its name until Cloud Foundry gave it this one
	}
	if user := r.str("user"); user != "" && user != "vcap" {
		r.wrong("user", "'vcap'")
	}
	return p
}
