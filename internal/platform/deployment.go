package platform

import "time"

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

// The strategies of a deployment. StrategyStart is weir's own, for a start of
// a stopped app and for a restart: the same movement as rolling, but not
// listed by the API and superseded by whatever comes next.
const (
	StrategyRolling = "rolling"
	StrategyCanary  = "canary"
	StrategyStart   = "start"
	// StrategyVersion is the start of a version beside the main one. It is
	// finalized from the beginning: what it brings up never replaces anything.
	StrategyVersion = "version"
)

// Deployment is the move of an app to a revision. Each start, restart and
// push makes one; instances belong to the deployment that started them.
type Deployment struct {
	Resource
	AppGUID      string
	Strategy     string
	Label        string // of the main version from then on; empty: the default
	How          string // the verb that made it, for the record of promoted states
	Value        string // ACTIVE or FINALIZED
	Reason       string
	RevisionGUID string
	// RevisionVersion repeats the revision's number, for listing.
	RevisionVersion     int
	DropletGUID         string
	PreviousDropletGUID string
	// PreviousGUID is the deployment that served before; cancelling returns to it.
	PreviousGUID string
	MaxInFlight  int   // at least 1
	CanarySteps  []int // instance weights in percent, ascending
	// CanaryStep is the current step, from 1. It is larger than the number of
	// steps (at least 1) once the last was continued and the rest rolls.
	CanaryStep int
	// Error says why the deployment was cancelled by the platform.
	Error         string
	StatusChanged time.Time
	LastHealthy   time.Time // zero until an instance got ready
	CreatedBy     Actor
}

// IsActive reports whether the deployment is still moving.
func (d Deployment) IsActive() bool { return d.Value == DeploymentActive }

// InstanceState is the state of one running copy.
type InstanceState string

// The instance states, spelled as in Cloud Foundry's stats.
const (
	InstanceStarting InstanceState = "STARTING"
	InstanceRunning  InstanceState = "RUNNING"
	InstanceCrashed  InstanceState = "CRASHED"
	InstanceStopping InstanceState = "STOPPING"
	InstanceDown     InstanceState = "DOWN" // wanted, not placed yet
)

// Instance is one copy of a process, numbered by Index. The row stays when the
// copy crashes and is started again: GUID then names the new copy.
type Instance struct {
	GUID           string
	AppGUID        string
	ProcessGUID    string
	ProcessType    string
	DeploymentGUID string
	Index          int
	State          InstanceState
	Since          time.Time // when State was entered
	Ready          bool      // the readiness check passes: it may get traffic
	Host           string    // where the router dials it; empty until started
	Port           int
	Crashes        int       // in a row; reset after five healthy minutes
	NextStart      time.Time // when a crashed one is tried again
	LastExit       *Exit
	Details        string // shown to a person: why it is not running
}

// Exit says how a process ended.
type Exit struct {
	Code   int    // -1 when killed by a signal
	Signal string // "SIGKILL"; empty for a plain exit
	OOM    bool   // killed for exceeding its memory limit
	Forced bool   `json:",omitempty"` // killed: it still ran when the grace after SIGTERM was over
	Lost   bool   `json:",omitempty"` // it went with the machine or the platform: not the program's doing
	Reason string // one sentence: "exited with status 3", "out of memory (limit 256M)"
	At     time.Time
}
