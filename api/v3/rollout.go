package v3

import "encoding/json"

// The states of a rollout that ask for something, or after which nothing
// happens any more.
const (
	RolloutQueued     = "queued"
	RolloutStarting   = "starting"
	RolloutPaused     = "paused"
	RolloutWaiting    = "waiting"
	RolloutDone       = "done"
	RolloutRolledBack = "rolled-back"
	RolloutAborted    = "aborted"
	RolloutSuperseded = "superseded"
)

// Rollout is the way of a new version to all of an app's requests, in steps
// that are judged. Rollouts are weir's addition to Cloud Foundry's API.
type Rollout struct {
	Resource
	Number int         `json:"number"` // within the app: r-31
	From   VersionName `json:"from"`   // the main version before
	To     VersionName `json:"to"`     // the candidate; its guid is "" while queued
	// State is queued, starting, probing, scaling, warming, baking, waiting,
	// paused, finishing, rolling-back, done, rolled-back, aborted or
	// superseded.
	State string `json:"state"`
	Over  bool   `json:"over"`  // nothing happens any more
	Step  int    `json:"step"`  // from 1; 0 before the first
	Steps int    `json:"steps"` // how many there are
	Share string `json:"share"` // what the step gives the candidate: "5%"
	// Judged says that both versions get requests in this step, drawn by lot, so
	// that the judge compares them.
	Judged bool `json:"judged"`
	// Returning says that requests are on their way back to the version before, as
	// its instances get ready; Share is what the candidate still has.
	Returning bool   `json:"returning"`
	Reason    string `json:"reason"` // why it is as it is, in a sentence
	Why       string `json:"why"`    // the whole explanation in one go
	// Explanation says in parts why it stands where it does.
	Explanation RolloutExplanation `json:"explanation"`
	Since       Time               `json:"since"` // when State was entered
	Table       uint64             `json:"table"` // route table of its last change of traffic
	// BakedSeconds is how long the step has been judged, of BakeSeconds.
	BakedSeconds float64  `json:"baked_seconds"`
	BakeSeconds  float64  `json:"bake_seconds"`
	Missing      []string `json:"missing"` // usage that the step has not seen yet
	// Usage of the step, and of the whole rollout.
	StepUsage RolloutUsages `json:"step_usage"`
	Usage     RolloutUsages `json:"usage"`
	// Evidence against the candidate, by stream: errors, latency, custom.
	Evidence map[string]RolloutEvidence `json:"evidence"`
	// CouldSee is the smallest regression of the error rate, as a factor, that
	// the step's requests would have shown with 90 % probability; 0: none.
	CouldSee float64             `json:"could_see"`
	FirstBad []RolloutBadRequest `json:"first_bad"`
	// Reports are the newest of the bad events that somebody reported.
	Reports []RolloutReported `json:"reports"`
	// KeptUntil is how long the version that lost runs on without requests.
	KeptUntil     Time            `json:"kept_until"`
	Plan          json.RawMessage `json:"plan"`
	CreatedBy     string          `json:"created_by"`
	Relationships Relationships   `json:"relationships"` // app
	Links         Links           `json:"links"`
}

// RolloutExplanation says why a rollout stands where it does.
type RolloutExplanation struct {
	What    string `json:"what"`    // has happened
	Reason  string `json:"reason"`  // with counts
	Meaning string `json:"meaning"` // how sure that is; ""
	Advice  string `json:"advice"`  // what a person can do about it; ""
	// DecidedAt is when a rollout was decided, and SwitchSeconds how long it
	// took from then until the router ran it, of one that was taken back.
	DecidedAt     Time    `json:"decided_at"`
	SwitchSeconds float64 `json:"switch_seconds"`
}

// VersionName names a version.
type VersionName struct {
	GUID  string `json:"guid"`
	Label string `json:"label"`
}

// RolloutUsages counts the requests of both versions.
type RolloutUsages struct {
	Stable    RolloutUsage `json:"stable"`
	Candidate RolloutUsage `json:"candidate"`
}

// RolloutUsage counts requests of one version.
type RolloutUsage struct {
	Requests uint64  `json:"requests"`
	Bad      uint64  `json:"bad"`
	BadRate  float64 `json:"bad_rate"` // 0 … 1
	// Custom are answers that the version marked as bad events, and events that
	// were reported of it.
	Custom  uint64  `json:"custom"`
	Clients uint64  `json:"clients"`
	P50     float64 `json:"p50_ms"`
	P95     float64 `json:"p95_ms"`
}

// RolloutEvidence is what one stream says against the candidate: 1 is nothing,
// Limit rejects it. P is the anytime-valid p-value.
type RolloutEvidence struct {
	Evidence float64 `json:"evidence"`
	Limit    float64 `json:"limit"`
	P        float64 `json:"p"`
}

// RolloutBadRequest is one of the first requests that failed or, with Event,
// whose answer the version marked.
type RolloutBadRequest struct {
	Version   string `json:"version"` // label
	RequestID string `json:"request_id"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Status    int    `json:"status"`
	Reason    string `json:"reason"`
	Event     string `json:"event"` // "": it failed
	At        Time   `json:"at"`
}

// RolloutReported is a report of bad events.
type RolloutReported struct {
	At        Time   `json:"at"`
	By        string `json:"by"`
	Event     string `json:"event"`
	Reason    string `json:"reason"`
	Stable    uint64 `json:"stable"`
	Candidate uint64 `json:"candidate"`
}

// RolloutCreate asks for a rollout of a version. Mode and weight of the
// version are the rollout's business.
type RolloutCreate struct {
	VersionCreate
	// VersionGUID takes a version that is there already, instead of making one.
	VersionGUID string `json:"version_guid,omitempty"`
	// Plan is as in a manifest's rollout block.
	Plan json.RawMessage `json:"plan,omitempty"`
	// DryRun asks whether a rollout with that plan could begin now.
	DryRun bool `json:"dry_run,omitempty"`
}

// RolloutAction goes with pause, resume, promote and abort.
type RolloutAction struct {
	Reason string `json:"reason,omitempty"`
	Full   bool   `json:"full,omitempty"` // promote: leave out all steps that are left
	Step   int    `json:"step,omitempty"` // promote: only if it is still at this step; 0: any
	Now    bool   `json:"now,omitempty"`  // abort: wait for no instances
}

// EventReport tells of bad events of another kind than failed requests.
type EventReport struct {
	// Versions are how many there were of the requests to each version, by its
	// label or GUID. A single event may name its version alone; counts need both.
	Versions map[string]uint64 `json:"versions,omitempty"`
	Event    string            `json:"event,omitempty"`  // what they are: "refund"
	Reason   string            `json:"reason,omitempty"` // for the record
}

// RolloutReport is an EventReport to a known rollout.
type RolloutReport struct {
	EventReport
	// Stable and Candidate are the counts if Versions is left out: of the version
	// before, and of the new one.
	Stable    uint64 `json:"stable,omitempty"`
	Candidate uint64 `json:"candidate,omitempty"`
}

// RolloutEvent is one transition of a rollout.
type RolloutEvent struct {
	At    Time           `json:"at"`
	State string         `json:"state"`
	Step  int            `json:"step"`
	Table uint64         `json:"table"` // 0 if the traffic was left alone
	Text  string         `json:"text"`
	Data  map[string]any `json:"data"`
	Actor string         `json:"actor"`
}

// RolloutHistory is everything that happened in a rollout.
type RolloutHistory struct {
	Resources []RolloutEvent `json:"resources"`
}

// RolloutReplay is what came of telling a new judge everything once more.
type RolloutReplay struct {
	Entries  int                        `json:"entries"`
	Bytes    int                        `json:"bytes"`
	Same     bool                       `json:"same"` // bit by bit
	Rejected bool                       `json:"rejected"`
	Evidence map[string]RolloutEvidence `json:"evidence"`
	Curve    []RolloutPoint             `json:"curve"`
}

// RolloutPoint is the evidence after some requests.
type RolloutPoint struct {
	Stable    uint64                     `json:"stable"`
	Candidate uint64                     `json:"candidate"`
	Evidence  map[string]RolloutEvidence `json:"evidence"`
}

// RolloutSimulate asks how soon a regression would be found.
type RolloutSimulate struct {
	Share float64 `json:"share"` // the candidate's, in percent
	Ratio float64 `json:"ratio"` // how many times more of its requests fail
	// Rate is the share of failures today, 0 … 1. 0: what the last rollout saw.
	Rate float64         `json:"rate,omitempty"`
	Plan json.RawMessage `json:"plan,omitempty"`
}

// RolloutSimulated says how soon: after how many requests of the candidate in
// half and in nine tenths of such rollouts; 0 if not at all.
type RolloutSimulated struct {
	Share  float64 `json:"share"`
	Ratio  float64 `json:"ratio"`
	Rate   float64 `json:"rate"`
	Median int     `json:"median"`
	P90    int     `json:"p90"`
	Failed int     `json:"failed"` // requests by then, in the median
	Text   string  `json:"text"`
}

// Freeze is a time of the week in which no rollout begins or goes on.
type Freeze struct {
	Resource
	Window    string `json:"window"` // "Fri 16:00-Mon 08:00 Europe/Berlin"
	Reason    string `json:"reason"`
	SpaceGUID string `json:"space_guid"` // "": everywhere
	CreatedBy string `json:"created_by"`
}

// FreezeCreate asks for a freeze.
type FreezeCreate struct {
	Window    string `json:"window"`
	Reason    string `json:"reason,omitempty"`
	SpaceGUID string `json:"space_guid,omitempty"`
}

// FreezeList lists freezes.
type FreezeList struct {
	Resources []Freeze `json:"resources"`
}
