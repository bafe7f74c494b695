package v3

// The values and reasons of a deployment's status.
const (
	DeploymentActive    = "ACTIVE"
	DeploymentFinalized = "FINALIZED"

	ReasonDeploying  = "DEPLOYING"
	ReasonPaused     = "PAUSED"
	ReasonCanceling  = "CANCELING"
	ReasonDeployed   = "DEPLOYED"
	ReasonCanceled   = "CANCELED"
	ReasonSuperseded = "SUPERSEDED"
)

// DeploymentHeader is the header of the answer to actions/start and restart
// that names the deployment they began, so that a client can follow it.
const DeploymentHeader = "X-Weir-Deployment"

// Deployment is the move of an app to a revision.
type Deployment struct {
	Resource
	Status          DeploymentStatus  `json:"status"`
	Strategy        string            `json:"strategy"`
	Options         DeploymentOptions `json:"options"`
	Droplet         *Ref              `json:"droplet"`
	PreviousDroplet *Ref              `json:"previous_droplet"`
	NewProcesses    []NewProcess      `json:"new_processes"`
	Revision        *RevisionRef      `json:"revision"`
	// Error says why the platform cancelled the deployment; weir's addition.
	Error         *string       `json:"error"`
	Relationships Relationships `json:"relationships"` // app
	Metadata      Metadata      `json:"metadata"`
	Links         Links         `json:"links"`
}

// DeploymentStatus says how far a deployment is.
type DeploymentStatus struct {
	Value   string                  `json:"value"`
	Reason  string                  `json:"reason"`
	Details DeploymentStatusDetails `json:"details"`
	Canary  *CanaryStatus           `json:"canary,omitempty"`
}

// DeploymentStatusDetails says when something last happened.
type DeploymentStatusDetails struct {
	LastSuccessfulHealthcheck Time `json:"last_successful_healthcheck"`
	LastStatusChange          Time `json:"last_status_change"`
}

// CanaryStatus counts the steps of a canary deployment, from 1.
type CanaryStatus struct {
	Steps CanarySteps `json:"steps"`
}

// CanarySteps is the current step and their number.
type CanarySteps struct {
	Current int `json:"current"`
	Total   int `json:"total"`
}

// DeploymentOptions are the settings of a deployment.
type DeploymentOptions struct {
	MaxInFlight  *int           `json:"max_in_flight,omitempty"`
	Canary       *CanaryOptions `json:"canary,omitempty"`
	WebInstances *int           `json:"web_instances,omitempty"`
	MemoryMB     *int           `json:"memory_in_mb,omitempty"`
	DiskMB       *int           `json:"disk_in_mb,omitempty"`
	LogRateLimit *int64         `json:"log_rate_limit_in_bytes_per_second,omitempty"`
}

// CanaryOptions lists the steps of a canary deployment.
type CanaryOptions struct {
	Steps []CanaryStep `json:"steps"`
}

// CanaryStep is a share of the instances in percent.
type CanaryStep struct {
	InstanceWeight int `json:"instance_weight"`
}

// NewProcess is a process that a deployment brought.
type NewProcess struct {
	GUID string `json:"guid"`
	Type string `json:"type"`
}

// RevisionRef names a revision.
type RevisionRef struct {
	GUID    string `json:"guid"`
	Version int    `json:"version,omitempty"`
}

// DeploymentCreate asks for a deployment of a droplet or of a revision, not
// of both; of neither means the current droplet.
type DeploymentCreate struct {
	Droplet  *Ref               `json:"droplet,omitempty"`
	Revision *RevisionRef       `json:"revision,omitempty"`
	Strategy string             `json:"strategy,omitempty"` // rolling (default) or canary
	Options  *DeploymentOptions `json:"options,omitempty"`
	// Label names the version that the deployment brings; weir's addition.
	Label         string         `json:"label,omitempty"`
	Relationships Relationships  `json:"relationships"` // app
	Metadata      *MetadataPatch `json:"metadata,omitempty"`
}

// Revision is what an app ran, or may run again: droplet, environment,
// commands. It never changes.
type Revision struct {
	Resource
	Version       int                        `json:"version"`
	Droplet       Ref                        `json:"droplet"`
	Processes     map[string]RevisionProcess `json:"processes"`
	Sidecars      []RevisionSidecar          `json:"sidecars"`
	Description   string                     `json:"description"`
	Deployable    bool                       `json:"deployable"`
	Relationships Relationships              `json:"relationships"` // app
	Metadata      Metadata                   `json:"metadata"`
	Links         Links                      `json:"links"` // self, app, environment_variables
}

// RevisionProcess is the command a process type had in a revision; nil means
// the droplet's.
type RevisionProcess struct {
	Command *string `json:"command"`
}

// RevisionSidecar is a sidecar as it was in a revision.
type RevisionSidecar struct {
	Name         string   `json:"name"`
	Command      string   `json:"command"`
	ProcessTypes []string `json:"process_types"`
	MemoryMB     int      `json:"memory_in_mb"`
}
