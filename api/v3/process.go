package v3

// HiddenCommand stands for a process' command in lists.
const HiddenCommand = "[PRIVATE DATA HIDDEN IN LISTS]"

// Process is one kind of running copy of an app.
type Process struct {
	Resource
	Version              string            `json:"version"`
	Type                 string            `json:"type"`
	Command              *string           `json:"command"`
	User                 *string           `json:"user"`
	Instances            int               `json:"instances"`
	MemoryMB             int               `json:"memory_in_mb"`
	DiskMB               int               `json:"disk_in_mb"`
	LogRateLimit         int64             `json:"log_rate_limit_in_bytes_per_second"`
	HealthCheck          HealthCheck       `json:"health_check"`
	ReadinessHealthCheck ReadinessCheck    `json:"readiness_health_check"`
	Relationships        Relationships     `json:"relationships"` // app, revision
	Metadata             Metadata          `json:"metadata"`
	Links                Links             `json:"links"`
	Embedded             []ProcessInstance `json:"process_instances,omitzero"` // with embed=process_instances
}

// HealthCheck says how an instance shows that it is alive.
type HealthCheck struct {
	Type string          `json:"type"` // port, http, process
	Data HealthCheckData `json:"data"`
}

// HealthCheckData holds a liveness check's settings in seconds; null is the default.
type HealthCheckData struct {
	Timeout           *int    `json:"timeout"`
	InvocationTimeout *int    `json:"invocation_timeout"`
	Interval          *int    `json:"interval"`
	Endpoint          *string `json:"endpoint,omitempty"` // http only
}

// ReadinessCheck says how an instance shows that it may get requests.
type ReadinessCheck struct {
	Type string             `json:"type"`
	Data ReadinessCheckData `json:"data"`
}

// ReadinessCheckData holds a readiness check's settings in seconds; null is the default.
type ReadinessCheckData struct {
	InvocationTimeout *int    `json:"invocation_timeout"`
	Interval          *int    `json:"interval"`
	Endpoint          *string `json:"endpoint,omitempty"`
}

// HealthCheckUpdate changes a health check.
type HealthCheckUpdate struct {
	Type *string                `json:"type,omitempty"`
	Data *HealthCheckDataUpdate `json:"data,omitempty"`
}

// HealthCheckDataUpdate changes a health check's settings; null returns to the default.
type HealthCheckDataUpdate struct {
	Timeout           Null[int]    `json:"timeout,omitzero"`
	InvocationTimeout Null[int]    `json:"invocation_timeout,omitzero"`
	Interval          Null[int]    `json:"interval,omitzero"`
	Endpoint          Null[string] `json:"endpoint,omitzero"`
}

// ProcessUpdate changes a process. An empty Command returns to the droplet's.
type ProcessUpdate struct {
	Command              *string            `json:"command,omitempty"`
	User                 *string            `json:"user,omitempty"`
	HealthCheck          *HealthCheckUpdate `json:"health_check,omitempty"`
	ReadinessHealthCheck *HealthCheckUpdate `json:"readiness_health_check,omitempty"`
	Metadata             *MetadataPatch     `json:"metadata,omitempty"`
}

// ProcessScale changes how many instances a process has and how large they are.
type ProcessScale struct {
	Instances    *int   `json:"instances,omitempty"`
	MemoryMB     *int   `json:"memory_in_mb,omitempty"`
	DiskMB       *int   `json:"disk_in_mb,omitempty"`
	LogRateLimit *int64 `json:"log_rate_limit_in_bytes_per_second,omitempty"`
}

// ProcessInstance is the short form of an instance.
type ProcessInstance struct {
	Index int    `json:"index"`
	State string `json:"state"`
	Since int64  `json:"since"` // seconds in that state
}

// ProcessInstances is the answer of …/process_instances.
type ProcessInstances struct {
	Resources []ProcessInstance `json:"resources"`
	Links     Links             `json:"links"`
}

// The states of an instance.
const (
	InstanceStarting = "STARTING"
	InstanceRunning  = "RUNNING"
	InstanceCrashed  = "CRASHED"
	InstanceStopping = "STOPPING"
	InstanceDown     = "DOWN"
)

// ProcessStats is the answer of …/stats.
type ProcessStats struct {
	Resources []InstanceStats `json:"resources"`
}

// InstanceStats is what one instance is doing. For one that is DOWN only the
// first fields are there.
type InstanceStats struct {
	Type             string          `json:"type"`
	Index            int             `json:"index"`
	InstanceGUID     string          `json:"instance_guid,omitempty"`
	State            string          `json:"state"`
	Routable         *bool           `json:"routable,omitempty"`
	Host             string          `json:"host,omitempty"`
	InstanceIP       string          `json:"instance_internal_ip,omitempty"`
	Uptime           int64           `json:"uptime"`
	MemQuota         *int64          `json:"mem_quota,omitempty"`
	DiskQuota        *int64          `json:"disk_quota,omitempty"`
	LogRateLimit     *int64          `json:"log_rate_limit,omitempty"`
	FDsQuota         *int64          `json:"fds_quota,omitempty"`
	IsolationSegment *string         `json:"isolation_segment"`
	Details          *string         `json:"details"`
	InstancePorts    []InstancePorts `json:"instance_ports,omitempty"`
	Usage            *Usage          `json:"usage,omitempty"`
}

// InstancePorts says under which port of the host a port of the app is reached.
type InstancePorts struct {
	External         *int `json:"external"`
	Internal         int  `json:"internal"`
	ExternalTLSProxy *int `json:"external_tls_proxy_port"`
	InternalTLSProxy *int `json:"internal_tls_proxy_port"`
}

// Usage is what an instance consumes.
type Usage struct {
	Time           Time    `json:"time"`
	CPU            float64 `json:"cpu"` // share of one core
	CPUEntitlement float64 `json:"cpu_entitlement"`
	Mem            int64   `json:"mem"`  // bytes
	Disk           int64   `json:"disk"` // bytes
	LogRate        int64   `json:"log_rate"`
}

// Sidecar is an extra process beside others.
type Sidecar struct {
	Resource
	Name          string        `json:"name"`
	Command       string        `json:"command"`
	ProcessTypes  []string      `json:"process_types"`
	MemoryMB      *int          `json:"memory_in_mb"`
	Origin        string        `json:"origin"`
	Relationships Relationships `json:"relationships"`
}
