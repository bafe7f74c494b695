package platform

import (
	"fmt"
	"strings"
	"time"
)

// Version is a revision of an app that runs beside others, under a label. An
// app that ever ran has one at least: its main version, the one that a plain
// push replaces and that Cloud Foundry's clients take for the app.
type Version struct {
	Resource
	AppGUID string
	// Label names the version within its app: "v2", "2.0.0". That of the main
	// version is "v" and the number of its revision unless a push gave it one.
	Label string
	// Labelled says that the label was given by somebody.
	Labelled bool
	// DeploymentGUID is the deployment whose instances are the version's; for
	// the main version it is the app's.
	DeploymentGUID  string
	RevisionGUID    string
	RevisionVersion int
	DropletGUID     string
	Main            bool
	Mode            string // ModeLive or ModeShadow
	// Weight is the relative share of the app's requests; 0 means no new
	// request. That of a shadow has no effect until it goes live.
	Weight int
	// LeftAt is when the version lost the last of its share. Zero: it has one,
	// never had one, or was taken back for its faults.
	LeftAt time.Time
	// ShadowPercent is how many of the requests a shadow gets a copy of.
	ShadowPercent int
	// Instances is the wanted number of web instances.
	Instances int
	// Reduced is how many of those are enough while a rollout has taken a part of
	// the main version's requests. 0: all of them.
	Reduced int
	State   AppState // STOPPED: kept, but nothing of it runs
	// Match sends the requests that fulfil one of these here, whatever the
	// weights say.
	Match []Match
	// Shadow says what a shadow gets copies of and how it is compared.
	Shadow ShadowOptions
	// MadeBeside are the app's settings when the version was made, or when
	// another one became the main one since: what the app has otherwise now was
	// set after that. Zero if they are not known.
	MadeBeside Settings
}

// Settings are what of an app's settings waits for its next start.
type Settings struct {
	Env       map[string]string `json:",omitempty"`
	Processes []Process         `json:",omitempty"`
	Services  []string          `json:",omitempty"` // GUIDs of the bound service instances
}

// DefaultNoise is the percentage of compared requests that the main version is
// asked twice, unless a shadow has another.
const DefaultNoise = 10

// ShadowOptions are the settings of a shadow version.
type ShadowOptions struct {
	AllMethods bool     // copy requests that may change something as well
	Methods    []string // which are copied; none: GET, HEAD and OPTIONS
	Paths      []string // the only ones that are copied, with all below them; none: all
	Except     []string // that are not, with all below them
	StripAuth  bool     // without Authorization and Cookie
	Noise      int      // percent of the compared requests that the main version is asked twice; 0: 10
	Ignore     []string // fields that are not compared; see shadow.ParseIgnores
}

// MaxMatches is how many conditions may lead to a version.
const MaxMatches = 16

// Match is a condition on a request. One of Header, Cookie and CIDR is set.
type Match struct {
	Header string // a name, in any case
	Cookie string // a name
	CIDR   string // of the client's address
	// For a header or cookie; all empty: it is there.
	Exact  string
	Prefix string
	Regex  string
}

// The modes of a version.
const (
	ModeLive   = "live"   // it answers requests, as its weight says
	ModeShadow = "shadow" // it gets copies, and its answers are thrown away
)

// The roles of a version.
const (
	RoleMain   = "main"
	RoleLive   = "live"
	RoleShadow = "shadow"
	RoleIdle   = "idle" // live, but without a share
)

// Role says in a word what the version is for.
func (v Version) Role() string {
	switch {
	case v.Main:
		return RoleMain
	case v.Mode == ModeShadow:
		return RoleShadow
	case v.Weight > 0 && v.State != AppStopped:
		return RoleLive
	}
	return RoleIdle
}

// Share is the weight the version is chosen with.
func (v Version) Share() int {
	if v.Mode == ModeShadow || v.State == AppStopped {
		return 0
	}
	return v.Weight
}

// Slug returns a version's label as it stands in a host name: "2.0.0" reads
// "2-0-0".
func Slug(label string) string {
	return strings.ToLower(strings.NewReplacer(".", "-", "_", "-", "+", "-").Replace(label))
}

// MaxLabel is the longest label of a version, in bytes: it is part of a host
// name, whose labels have 63.
const MaxLabel = 40

// CheckLabel refuses labels that could not stand in a host name, or would be
// taken for something else.
func CheckLabel(label string) error {
	bad := func(why string) error {
		return &Error{
			Kind: KindInvalid, Msg: fmt.Sprintf("version %q cannot be: %s", label, why),
			Hint: "use letters, digits, '.', '-' and '_', such as v2, 2.0.0 or green",
		}
	}
	switch {
	case label == "":
		return bad("it is empty")
	case len(label) > MaxLabel:
		return bad(fmt.Sprintf("it is longer than %d characters", MaxLabel))
	}
	for _, c := range label {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_+", c)) {
			return bad(fmt.Sprintf("it contains %q", string(c)))
		}
	}
	if s := Slug(label); s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return bad("it begins or ends with a sign, or has two in a row")
	}
	return nil
}

// DefaultLabel is the label of a version that was given none.
func DefaultLabel(revision int) string { return fmt.Sprintf("v%d", revision) }

// VersionRequest asks for a version of an app beside the main one. At most one
// of DropletGUID and RevisionGUID is set; neither means the app's droplet.
type VersionRequest struct {
	AppGUID      string
	DropletGUID  string
	RevisionGUID string
	// VersionGUID takes a version that is there already and says nothing else:
	// a live one beside the main version with an instance that is ready.
	VersionGUID string
	// Label is the version's. Empty means DefaultLabel of its revision.
	Label string
	Mode  string // ModeLive (default) or ModeShadow
	// Weight is the share from the moment it is ready to get requests.
	Weight        int
	ShadowPercent int // of a shadow; 0 means 100
	Shadow        ShadowOptions
	// Instances nil means as many as the main version has.
	Instances *int
	// Config is what of the app's configuration the version has otherwise.
	Config ConfigChange
	// Replace lets a version of the same label be replaced.
	Replace  bool
	Metadata Metadata
}

// ConfigChange says what of an app's configuration is otherwise in one
// version; nil means the app's own.
type ConfigChange struct {
	Env      map[string]*string // a nil value removes the variable
	Command  *string
	MemoryMB *int
	DiskMB   *int
	Health   *HealthCheck
	// Readiness is the check of whether an instance may get requests.
	Readiness *HealthCheck
}

// IsZero reports whether all is the app's own.
func (c ConfigChange) IsZero() bool {
	return len(c.Env) == 0 && c.Command == nil && c.MemoryMB == nil && c.DiskMB == nil && c.Health == nil && c.Readiness == nil
}

// The health of a version, in a word.
const (
	HealthStopped   = "stopped"   // nothing of it should run: it is stopped, or scaled to 0
	HealthStarting  = "starting"  // no instance was ready yet
	HealthHealthy   = "healthy"   // every wanted instance is ready
	HealthDegraded  = "degraded"  // some are
	HealthUnhealthy = "unhealthy" // none is, though some were or will be
	HealthFailed    = "failed"    // none is, and it crashed several times in a row
)

// VersionStatus is a version with what its web instances do.
type VersionStatus struct {
	Version
	Wanted, Running, Ready int
	// Crashes are those in a row of the instance that has most.
	Crashes  int
	LastExit *Exit
	Since    time.Time // when the oldest instance entered its state; zero without one
	Newest   time.Time // when the youngest instance that serves began to run; zero without one
	Health   string
	Details  string // why it is not healthy
	// Addresses are where the router dials its ready instances.
	Addresses []string
	// URLs are the addresses that lead to this version alone, without a scheme.
	URLs []string
}

// SplitOptions go with a change of the shares of an app's versions.
type SplitOptions struct {
	// IfTable refuses the change with KindConflict if the app's traffic was
	// changed after that table. 0 means whatever it was.
	IfTable uint64
	// Keep lets the main version be main even if another one gets everything.
	Keep bool
	// Match gives versions, by GUID, other conditions along with the shares.
	Match map[string][]Match
	// Shadow makes versions, by GUID, shadows of that many percent of the
	// requests along with the shares; 0 makes a live version.
	Shadow map[string]int
	// DryRun makes the call say what it would do and change nothing.
	DryRun bool
	// Why is kept with the change: the verb that asked for it.
	Why string
	// RolloutGUID is the rollout that the change is a step of; "" otherwise.
	RolloutGUID string
	// Counting says what counts as evidence with these shares; nil: everything.
	Counting *Counting
}

// Promotion is a state of an app that it was once decided to serve: what
// rollback goes back to.
type Promotion struct {
	Resource
	AppGUID         string
	VersionGUID     string
	Label           string
	RevisionGUID    string
	RevisionVersion int
	Table           uint64 // the first one with it; 0 if it is not known
	How             string // "push", "promote", "assign", "rollback" …
	// RolledBack says that the app went back from it: a later rollback does
	// not come to it again.
	RolledBack bool
	By         Actor
}

// Change is a change of traffic that can be undone.
type Change struct {
	Resource
	SpaceGUID string
	Apps      []string // GUIDs
	Verb      string   // "weight", "swap", "promote" …
	Text      string   // what it did, in a sentence
	Before    TrafficState
	After     TrafficState
	Table     uint64
	Undone    bool
	By        Actor
	// RolloutGUID is the rollout that it was a step of; "" otherwise.
	RolloutGUID string
}

// TrafficState is where the requests of some apps and routes go.
type TrafficState struct {
	Versions []VersionTraffic
	Routes   []RouteTraffic
}

// VersionTraffic is what a version gets.
type VersionTraffic struct {
	GUID, AppGUID, Label string
	Weight               int
	Mode                 string
	ShadowPercent        int
	Main                 bool
	Match                []Match
	Shadow               ShadowOptions
}

// RouteTraffic is where a route leads.
type RouteTraffic struct {
	GUID, URL    string
	Destinations []DestinationTraffic
}

// DestinationTraffic is one way a route leads.
type DestinationTraffic struct {
	AppGUID, App, ProcessType, Protocol string
	Port                                int
	Weight                              *int
	// Mode and ShadowPercent are those of a shadow; "" and 0 of others.
	Mode          string `json:",omitempty"`
	ShadowPercent int    `json:",omitempty"`
}
