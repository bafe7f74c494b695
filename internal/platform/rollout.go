package platform

import "time"

// RolloutState says where a rollout stands.
type RolloutState string

// The states of a rollout. Each is a row before it is acted upon.
//
//	queued ─▶ starting ─▶ probing ─▶ scaling ─▶ warming ─▶ baking ─▶ waiting ─┐
//	                                    ▲                                     │
//	                                    └───────────── next step ─────────────┤
//	                                                                          ▼
//	paused ◀─▶ any of them          rolling-back ─▶ rolled-back          finishing ─▶ done
const (
	RolloutQueued      RolloutState = "queued"       // another one of the app has to end first
	RolloutStarting    RolloutState = "starting"     // the candidate's instances start
	RolloutProbing     RolloutState = "probing"      // it is asked before users are
	RolloutScaling     RolloutState = "scaling"      // instances for the step's share start
	RolloutWarming     RolloutState = "warming"      // it has its share; caches fill
	RolloutBaking      RolloutState = "baking"       // it is judged
	RolloutWaiting     RolloutState = "waiting"      // the step is passed; a gate or a freeze holds the next
	RolloutPaused      RolloutState = "paused"       // somebody has to say how it goes on
	RolloutFinishing   RolloutState = "finishing"    // it is the main version; the old one is kept for a while
	RolloutRollingBack RolloutState = "rolling-back" // the shares are back; the rest is being tidied up
	RolloutDone        RolloutState = "done"
	RolloutRolledBack  RolloutState = "rolled-back"
	RolloutAborted     RolloutState = "aborted"    // by a person
	RolloutSuperseded  RolloutState = "superseded" // by another push
)

// IsOver reports whether nothing happens any more.
func (s RolloutState) IsOver() bool {
	switch s {
	case RolloutDone, RolloutRolledBack, RolloutAborted, RolloutSuperseded:
		return true
	}
	return false
}

// Rollout is the way of a new version to all of an app's requests, in steps
// that are judged.
type Rollout struct {
	Resource
	AppGUID string
	Number  int // within the app: r-31
	// From is the main version before, To the candidate. To is empty while
	// the rollout is queued.
	FromGUID, FromLabel string
	ToGUID, ToLabel     string
	DropletGUID         string
	State               RolloutState
	// Step is the step it is at, from 0.
	Step int
	// Reason says in a sentence why it is paused, waits, or ended.
	Reason string
	// Table is the route table of its last change of traffic, and Split the
	// number of the app's shares since then.
	Table, Split uint64
	// Since is when State was entered.
	Since time.Time
	// Plan and Progress are JSON, Judge what the judge has kept; see
	// internal/release.
	Plan, Progress string
	Judge          []byte
	CreatedBy      Actor
}

// RolloutEvent is one transition of a rollout.
type RolloutEvent struct {
	Resource
	RolloutGUID string
	State       RolloutState // entered
	Step        int
	Table       uint64 // zero if the traffic was left alone
	Text        string // what happened, in a sentence
	// Data holds the figures behind it.
	Data  map[string]any
	Actor Actor
}

// RolloutEvidence is a piece of what the judge of a rollout was told, in the
// form that replaying reads.
type RolloutEvidence struct {
	Resource
	RolloutGUID string
	Data        []byte
}

// Freeze is a time in which no rollout begins or goes on.
type Freeze struct {
	Resource
	SpaceGUID string // empty: everywhere
	Window    string // "Fri 16:00-Mon 08:00 Europe/Berlin"
	Reason    string
	CreatedBy Actor
}
