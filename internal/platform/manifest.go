package platform

// Manifest is the declarative description of some apps of a space, as cf push
// and apply-manifest send it. A nil field of an app or a process means that
// the manifest does not speak about it, so that it keeps its present value.
type Manifest struct {
	Version      int // 0 (absent) or 1
	Applications []ManifestApp
}

// ManifestApp is one entry of a manifest's applications.
type ManifestApp struct {
	Name          string
	LifecycleType string // "" or "buildpack"; others are refused
	// Buildpacks replaces the app's list; empty but not nil means: detect.
	Buildpacks []string
	Stack      *string
	// DockerImage is set when the entry has a docker key. weir refuses it.
	DockerImage string
	// Env is merged into the app's environment. Values are already text:
	// numbers and booleans as written, objects as JSON.
	Env      map[string]string
	Features map[string]bool
	// Labels and Annotations are merged; a nil value removes the key.
	Labels      map[string]*string
	Annotations map[string]*string

	Routes       []ManifestRoute
	NoRoute      bool
	RandomRoute  bool
	DefaultRoute bool

	Services []ManifestService
	Sidecars []Sidecar
	// Web holds the process keys written on the level of the app; they belong
	// to the web process. Its Type is empty or "web".
	Web ManifestProcess
	// Processes are the entries of the processes key.
	Processes []ManifestProcess
}

// ManifestRoute is one entry of an app's routes.
type ManifestRoute struct {
	Route    string // "host.domain/path", without a scheme
	Protocol string // "", "http1" or "http2"
	Options  map[string]string
	Weight   *int // weir's own
}

// ManifestService is one entry of an app's services.
type ManifestService struct {
	Name        string
	BindingName string
}

// ManifestProcess holds the process keys of a manifest. Sizes are text with a
// unit, as written ("256M"); ParseMegabytes and ParseLogRate read them.
type ManifestProcess struct {
	Type string
	// Command is the start command; empty but not nil resets it to the
	// droplet's (the manifest says null).
	Command      *string
	Instances    *int
	Memory       *string
	DiskQuota    *string
	LogRateLimit *string
	Timeout      *int

	HealthCheckType              *string
	HealthCheckHTTPEndpoint      *string
	HealthCheckInvocationTimeout *int
	HealthCheckInterval          *int

	ReadinessHealthCheckType              *string
	ReadinessHealthCheckHTTPEndpoint      *string
	ReadinessHealthCheckInvocationTimeout *int
	ReadinessHealthCheckInterval          *int
}

// ManifestDiff is one difference between a manifest and what stands.
type ManifestDiff struct {
	Op    string // "add", "replace" or "remove"
	Path  string // "/applications/0/memory"
	Was   any    // nil for add
	Value any    // nil for remove
}
