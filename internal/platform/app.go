package platform

import "time"

// AppState is what the owner wants of an app.
type AppState string

// The app states, spelled as in Cloud Foundry.
const (
	AppStarted AppState = "STARTED"
	AppStopped AppState = "STOPPED"
)

// App is a named program in a space.
type App struct {
	Resource
	SpaceGUID string
	Name      string
	State     AppState
	Lifecycle Lifecycle
	Env       map[string]string
	// DropletGUID is the current droplet: what the next start runs. Empty
	// until one is assigned.
	DropletGUID string
	// DeploymentGUID is the deployment whose instances serve, or should.
	// Empty while the app never ran. A deployment on its way is found by its
	// own row (ACTIVE); it becomes this one when it is finalized.
	DeploymentGUID string
	// Features are the switches of /v3/apps/:guid/features, by name.
	// A missing key means the default.
	Features map[string]bool
	// Split numbers the way the app's requests are shared out among its
	// versions: it rises with each change of a weight, a mode or the main one.
	Split uint64
	// Traffic says how the router treats the app's requests.
	Traffic Traffic
}

// Traffic is how the router treats the requests of an app.
type Traffic struct {
	// Drain is how long, in seconds, instances that left the route table may
	// finish their requests. 0 means the server's default.
	Drain int
	// Pause holds new requests back while it is not nil.
	Pause *Pause
	// Maintenance answers in the app's stead while it is not nil.
	Maintenance *Maintenance
	// Counting says what counts as evidence while a rollout is on its way.
	Counting *Counting `json:",omitempty"`
}

// Counting says which requests are evidence about the versions of an app.
type Counting struct {
	Statuses []int    // 400 to 499 that count as failed
	Exclude  []string // paths that are not counted, with all below them
	// Events are those that count as bad in X-Weir-Event; none: all of them.
	Events []string `json:",omitempty"`
}

// Pause holds new requests of an app back.
type Pause struct {
	Since time.Time
	// Max is how long, in seconds, one request waits at most.
	Max int
}

// Maintenance answers every request of an app with 503 and a page.
type Maintenance struct {
	Since time.Time
	Page  string   // HTML; empty means the router's own
	Allow []string // "192.0.2.0/24", or "header:NAME=VALUE", that pass
	// RetryAfter is what clients are told, in seconds; 0 means 60.
	RetryAfter int
}

// Lifecycle says how an app is staged.
type Lifecycle struct {
	Type string // "buildpack"; the only one weir stages
	// Buildpacks are names or URLs, in order. Empty means: detect.
	Buildpacks []string
	Stack      string
}

// Process is one kind of running copy of an app: web, worker, …
type Process struct {
	Resource
	AppGUID string
	Type    string
	// Command is the start command the owner set. Empty means the droplet's.
	Command   string
	Instances int
	MemoryMB  int
	DiskMB    int
	// LogRateLimit is in bytes per second; -1 is unlimited.
	LogRateLimit int64
	Health       HealthCheck
	Readiness    HealthCheck
}

// WebProcess is the process type that gets routes by default.
const WebProcess = "web"

// The kinds of health check.
const (
	HealthPort    = "port"    // the port accepts connections
	HealthHTTP    = "http"    // GET Endpoint answers 200
	HealthProcess = "process" // the process is there
)

// HealthCheck says how an instance shows that it is well.
// Durations are whole seconds; 0 means the default.
type HealthCheck struct {
	Type              string
	Endpoint          string // http only; default "/"
	Timeout           int    // liveness only: how long a start may take; default 60
	InvocationTimeout int    // one probe; default 1
	Interval          int    // between probes; default 30 for liveness, 5 for readiness
}

// Defaults of a new app's web process.
const (
	DefaultMemoryMB     = 1024
	DefaultDiskMB       = 1024
	DefaultLogRateLimit = -1
	DefaultStartTimeout = 60
)

// NewProcess returns a process of the given type with the defaults Cloud
// Foundry gives it: one instance for web, none for the others.
func NewProcess(r Resource, appGUID, typ string) Process {
	p := Process{
		Resource: r, AppGUID: appGUID, Type: typ,
		MemoryMB: DefaultMemoryMB, DiskMB: DefaultDiskMB, LogRateLimit: DefaultLogRateLimit,
		Health:    HealthCheck{Type: HealthProcess},
		Readiness: HealthCheck{Type: HealthProcess},
	}
	if typ == WebProcess {
		p.Instances = 1
		p.Health.Type = HealthPort
	}
	return p
}
