package api

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"

	"weir/internal/platform"
)

// manifestYAML is how a manifest is written: one app, all its processes under
// "processes".
type manifestYAML struct {
	Version      int       `yaml:"version,omitempty"`
	Applications []appYAML `yaml:"applications"`
}

type appYAML struct {
	Name       string            `yaml:"name"`
	Stack      *string           `yaml:"stack,omitempty"`
	Buildpacks []string          `yaml:"buildpacks,omitempty"`
	Env        map[string]string `yaml:"env,omitempty"`
	Features   map[string]bool   `yaml:"features,omitempty"`
	Metadata   *metadataYAML     `yaml:"metadata,omitempty"`
	Services   []serviceYAML     `yaml:"services,omitempty"`
	NoRoute    bool              `yaml:"no-route,omitempty"`
	Routes     []routeYAML       `yaml:"routes,omitempty"`
	Processes  []processYAML     `yaml:"processes,omitempty"`
}

type metadataYAML struct {
	Labels      map[string]*string `yaml:"labels,omitempty"`
	Annotations map[string]*string `yaml:"annotations,omitempty"`
}

type serviceYAML struct {
	Name        string `yaml:"name"`
	BindingName string `yaml:"binding_name,omitempty"`
}

type routeYAML struct {
	Route    string            `yaml:"route"`
	Protocol string            `yaml:"protocol,omitempty"`
	Options  map[string]string `yaml:"options,omitempty"`
	Weight   *int              `yaml:"weight,omitempty"`
}

type processYAML struct {
	Type         string  `yaml:"type"`
	Instances    *int    `yaml:"instances,omitempty"`
	Memory       *string `yaml:"memory,omitempty"`
	DiskQuota    *string `yaml:"disk_quota,omitempty"`
	LogRateLimit *string `yaml:"log-rate-limit-per-second,omitempty"`
	Command      *string `yaml:"command,omitempty"`
	Timeout      *int    `yaml:"timeout,omitempty"`

	HealthCheckType              *string `yaml:"health-check-type,omitempty"`
	HealthCheckHTTPEndpoint      *string `yaml:"health-check-http-endpoint,omitempty"`
	HealthCheckInvocationTimeout *int    `yaml:"health-check-invocation-timeout,omitempty"`
	HealthCheckInterval          *int    `yaml:"health-check-interval,omitempty"`

	ReadinessHealthCheckType              *string `yaml:"readiness-health-check-type,omitempty"`
	ReadinessHealthCheckHTTPEndpoint      *string `yaml:"readiness-health-check-http-endpoint,omitempty"`
	ReadinessHealthCheckInvocationTimeout *int    `yaml:"readiness-health-check-invocation-timeout,omitempty"`
	ReadinessHealthCheckInterval          *int    `yaml:"readiness-health-check-interval,omitempty"`
}

// encodeManifest writes a manifest that parseManifest reads back.
func encodeManifest(m platform.Manifest) ([]byte, error) {
	out := manifestYAML{Version: m.Version, Applications: []appYAML{}}
	for _, app := range m.Applications {
		out.Applications = append(out.Applications, writeApp(app))
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(out); err != nil {
		return nil, fmt.Errorf("writing a manifest: %w", err)
	}
	return b.Bytes(), enc.Close()
}

func writeApp(app platform.ManifestApp) appYAML {
	y := appYAML{
		Name: app.Name, Stack: app.Stack, Buildpacks: app.Buildpacks,
		Env: app.Env, Features: app.Features, NoRoute: app.NoRoute,
	}
	if y.Stack != nil && *y.Stack == "" {
		y.Stack = nil // the default one
	}
	if len(app.Labels)+len(app.Annotations) > 0 {
		y.Metadata = &metadataYAML{Labels: app.Labels, Annotations: app.Annotations}
	}
	for _, s := range app.Services {
		y.Services = append(y.Services, serviceYAML(s))
	}
	for _, r := range app.Routes {
		y.Routes = append(y.Routes, routeYAML(r))
	}
	if web := app.Web; web != (platform.ManifestProcess{}) {
		if web.Type == "" {
			web.Type = platform.WebProcess
		}
		y.Processes = append(y.Processes, writeProcess(web))
	}
	for _, p := range app.Processes {
		y.Processes = append(y.Processes, writeProcess(p))
	}
	return y
}

func writeProcess(p platform.ManifestProcess) processYAML {
	if p.Command != nil && *p.Command == "" {
		p.Command = nil
	}
	return processYAML{
		Type: p.Type, Instances: p.Instances, Memory: p.Memory, DiskQuota: p.DiskQuota,
		LogRateLimit: p.LogRateLimit, Command: p.Command, Timeout: p.Timeout,

		HealthCheckType:              p.HealthCheckType,
		HealthCheckHTTPEndpoint:      p.HealthCheckHTTPEndpoint,
		HealthCheckInvocationTimeout: p.HealthCheckInvocationTimeout,
		HealthCheckInterval:          p.HealthCheckInterval,

		ReadinessHealthCheckType:              p.ReadinessHealthCheckType,
		ReadinessHealthCheckHTTPEndpoint:      p.ReadinessHealthCheckHTTPEndpoint,
		ReadinessHealthCheckInvocationTimeout: p.ReadinessHealthCheckInvocationTimeout,
		ReadinessHealthCheckInterval:          p.ReadinessHealthCheckInterval,
	}
}
