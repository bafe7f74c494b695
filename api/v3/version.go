package v3

// The roles of a version.
const (
	RoleMain   = "main"   // what Cloud Foundry's clients take for the app
	RoleLive   = "live"   // it has a share of the requests
	RoleShadow = "shadow" // it gets copies; its answers reach nobody
	RoleIdle   = "idle"   // it runs without a share
)

// The modes of a version.
const (
	ModeLive   = "live"
	ModeShadow = "shadow"
)

// The health of a version. Those on the way are left out.
const (
	HealthHealthy = "healthy" // every wanted instance is ready
	HealthFailed  = "failed"  // none is, and it crashed several times in a row
	HealthStopped = "stopped" // nothing of it should run
)

// TitleRefused is the title of an error that means: a rule forbids it.
const TitleRefused = "CF-Refused"

// TableHeader is the header of the answer to every change that tells the
// number of the route table the router runs by then.
const TableHeader = "X-Weir-Table"

// Version is a revision of an app that runs under a label, beside others or
// alone. Versions are weir's addition to Cloud Foundry's API.
type Version struct {
	Resource
	Label string `json:"label"` // "v2", "2.0.0"
	Role  string `json:"role"`
	Mode  string `json:"mode"`
	State string `json:"state"` // STARTED or STOPPED
	// Weight is the relative share of the app's requests, 0 … 1000.
	Weight int `json:"weight"`
	// SharePercent is what the weight comes to among the app's versions; 0 for
	// shadows and stopped ones.
	SharePercent  float64          `json:"share_percent"`
	ShadowPercent int              `json:"shadow_percent"` // of the requests a shadow gets a copy of; else 0
	Instances     VersionInstances `json:"instances"`
	Health        string           `json:"health"` // stopped, starting, healthy, degraded, unhealthy, failed
	Details       string           `json:"details"`
	Since         Time             `json:"since"`     // when its oldest instance began to be what it is
	LastExit      *VersionExit     `json:"last_exit"` // null if no instance of it ended by itself
	Revision      *RevisionRef     `json:"revision"`
	Droplet       *Ref             `json:"droplet"`
	// Match are conditions under which requests come here whatever the weights
	// say; one is enough.
	Match []Match `json:"match"`
	// Shadow are the settings of a shadow; kept while it is none.
	Shadow ShadowOptions `json:"shadow"`
	// URLs are host.domain[/path] that lead to this version alone.
	URLs          []string      `json:"urls"`
	Addresses     []string      `json:"addresses"`     // of its ready instances, where they have one
	Relationships Relationships `json:"relationships"` // app
	Metadata      Metadata      `json:"metadata"`
	Links         Links         `json:"links"`
}

// VersionInstances counts the web instances of a version.
type VersionInstances struct {
	Wanted  int `json:"wanted"`
	Running int `json:"running"`
	Ready   int `json:"ready"`
	Crashes int `json:"crashes"` // in a row, of the instance that has most
}

// VersionExit says how an instance ended.
type VersionExit struct {
	At     Time   `json:"at"`
	Code   int    `json:"code"`   // -1 if a signal ended it
	Signal string `json:"signal"` // "SIGKILL"; "" for a plain exit
	OOM    bool   `json:"oom"`    // it exceeded its memory limit
	Reason string `json:"reason"` // in a sentence
}

// VersionCreate asks for a version beside the main one. At most one of Droplet
// and Revision is given; without either it runs the app's droplet.
type VersionCreate struct {
	Label         string       `json:"label,omitempty"` // none: "v" and the number of its revision
	Droplet       *Ref         `json:"droplet,omitempty"`
	Revision      *RevisionRef `json:"revision,omitempty"`
	Mode          string       `json:"mode,omitempty"` // live if empty
	Weight        int          `json:"weight,omitempty"`
	ShadowPercent int          `json:"shadow_percent,omitempty"` // 100 if 0
	// Shadow says what a shadow gets copies of and how it is compared.
	Shadow    *ShadowOptions `json:"shadow,omitempty"`
	Instances *int           `json:"instances,omitempty"` // null: as many as the main one has
	// The rest differs from the app's own configuration where it is given.
	EnvironmentVariables map[string]*string `json:"environment_variables,omitempty"` // null removes
	Command              *string            `json:"command,omitempty"`
	MemoryMB             *int               `json:"memory_in_mb,omitempty"`
	DiskMB               *int               `json:"disk_in_mb,omitempty"`
	HealthCheck          *HealthCheckUpdate `json:"health_check,omitempty"`
	ReadinessHealthCheck *HealthCheckUpdate `json:"readiness_health_check,omitempty"`
	// Replace takes a version of the same label that has no requests away.
	Replace  bool           `json:"replace,omitempty"`
	Metadata *MetadataPatch `json:"metadata,omitempty"`
}

// VersionUpdate changes how many instances a version has, or its mode; each in
// one change of the route table.
type VersionUpdate struct {
	Instances     *int           `json:"instances,omitempty"`
	Mode          *string        `json:"mode,omitempty"`
	ShadowPercent *int           `json:"shadow_percent,omitempty"`
	Match         *[]Match       `json:"match,omitempty"` // all of them; [] takes them away
	Shadow        *ShadowOptions `json:"shadow,omitempty"`
	Metadata      *MetadataPatch `json:"metadata,omitempty"`
	TrafficOptions
}

// TrafficOptions go with every change of where requests go.
type TrafficOptions struct {
	// IfTable refuses the change with 409 if the traffic of the app was changed
	// after that table. 0: whatever it was.
	IfTable uint64 `json:"if_table,omitempty"`
	// DryRun asks what would change.
	DryRun bool `json:"dry_run,omitempty"`
}

// Split is the state of an app's traffic.
type Split struct {
	// Table is the route table of the newest change of the app's traffic, or
	// the one that runs if there was none.
	Table uint64 `json:"table"`
	// Split numbers the shares of the app's versions.
	Split uint64 `json:"split"`
}

// SplitUpdate sets weights of versions, by GUID; those not named keep theirs.
type SplitUpdate struct {
	Weights map[string]int `json:"weights"`
	// Keep lets the main version be main even if another one gets everything.
	Keep bool `json:"keep,omitempty"`
	// Verb is kept with the change: the command that asked for it.
	Verb string `json:"verb,omitempty"`
	TrafficOptions
}

// Traffic is the answer of every change of where requests go. The router runs
// it when the answer comes.
type Traffic struct {
	Table    uint64          `json:"table"` // 0 if nothing was changed
	Text     string          `json:"text"`  // what it did, in a sentence
	DryRun   bool            `json:"dry_run"`
	Versions []VersionChange `json:"versions"`
	Routes   []RouteChange   `json:"routes"`
}

// VersionChange is what a change does to a version.
type VersionChange struct {
	GUID   string         `json:"guid"`
	App    string         `json:"app"`
	Label  string         `json:"label"`
	Before VersionTraffic `json:"before"`
	After  VersionTraffic `json:"after"`
}

// VersionTraffic is what a version gets.
type VersionTraffic struct {
	Weight        int    `json:"weight"`
	Mode          string `json:"mode"`
	ShadowPercent int    `json:"shadow_percent"`
	Main          bool   `json:"main"`
}

// RouteChange is what a change does to a route.
type RouteChange struct {
	GUID   string             `json:"guid"`
	URL    string             `json:"url"`
	Before []RouteDestination `json:"before"`
	After  []RouteDestination `json:"after"`
}

// RouteDestination is an app that a route leads to.
type RouteDestination struct {
	App           string `json:"app"`
	Process       string `json:"process"`
	Weight        *int   `json:"weight"`
	Mode          string `json:"mode,omitempty"` // ModeShadow for a shadow
	ShadowPercent int    `json:"shadow_percent,omitempty"`
}

// Promote makes a version the main one.
type Promote struct {
	// How is kept with it: "promote" if empty; with "assign" the former main
	// version takes the place of the shadow that is promoted.
	How string `json:"how,omitempty"`
	TrafficOptions
}

// RollbackRequest says what to go back to: at most one of the three; none
// means the state that was promoted before.
type RollbackRequest struct {
	Version *Ref   `json:"version,omitempty"` // a version that is there
	Label   string `json:"label,omitempty"`   // the newest state of that name
	Table   uint64 `json:"table,omitempty"`   // the traffic as that table had it; settings stay
	Restart bool   `json:"restart,omitempty"` // start a version with that state that is stopped instead of deploying it
	TrafficOptions
}

// Rollback is the answer to a RollbackRequest.
type Rollback struct {
	To Promotion `json:"to"`
	// Traffic is there if a version with that state still ran: it is done.
	Traffic *Traffic `json:"traffic"`
	// Version is being started; ask again, for it, when it is healthy.
	Version *Ref `json:"version"`
	// Deployment brings the state back otherwise.
	Deployment *Ref `json:"deployment"`
}

// Promotion is a state of an app that it was decided to serve.
type Promotion struct {
	Resource
	Label      string       `json:"label"`
	Version    *Ref         `json:"version"`
	Revision   *RevisionRef `json:"revision"`
	Table      uint64       `json:"table"`
	How        string       `json:"how"`
	RolledBack bool         `json:"rolled_back"`
	By         string       `json:"by"` // name of the user
}

// Undo takes the newest change of an app's traffic back.
type Undo struct {
	TrafficOptions
}

// Swap exchanges the routes of two apps of a space.
type Swap struct {
	Apps []string `json:"apps"` // two GUIDs
	// Routes are the GUIDs of the routes to exchange; none means all of both.
	Routes []string `json:"routes,omitempty"`
	// Force swaps even if an app that comes to a route has nothing ready.
	Force bool `json:"force,omitempty"`
	TrafficOptions
}

// Match is a condition on a request: one that fulfils it goes to the version,
// whatever the weights say. One of Header, Cookie and CIDR is given.
type Match struct {
	Header string `json:"header,omitempty"` // a name, in any case
	Cookie string `json:"cookie,omitempty"` // a name
	CIDR   string `json:"cidr,omitempty"`   // of the client's address
	// For a header or cookie; none of them: it is there.
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Regex  string `json:"regex,omitempty"`
}

// AppTraffic is how the router treats the requests of an app.
type AppTraffic struct {
	// DrainSeconds is how long instances that leave the route table may finish
	// their requests; null means the server's default.
	DrainSeconds *int         `json:"drain_seconds"`
	Pause        *Pause       `json:"pause"`       // null: requests are not held back
	Maintenance  *Maintenance `json:"maintenance"` // null: the app answers
	// Table is the route table with it, after a change.
	Table uint64 `json:"table"`
	// Drained says, after a pause with "drain", whether no request is in
	// flight any more.
	Drained *bool `json:"drained,omitempty"`
}

// AppTrafficUpdate changes how the router treats the requests of an app: what
// is not given stays, null ends it.
type AppTrafficUpdate struct {
	DrainSeconds Null[int]         `json:"drain_seconds,omitzero"`
	Pause        Null[Pause]       `json:"pause,omitzero"`
	Maintenance  Null[Maintenance] `json:"maintenance,omitzero"`
	// WaitDrained makes the answer to a pause wait, so many seconds at most,
	// until no request is in flight.
	WaitDrained int `json:"wait_drained,omitempty"`
}

// Pause holds new requests back, in order.
type Pause struct {
	MaxSeconds int  `json:"max_seconds,omitempty"` // that one waits; 30 if 0, at most 600
	Since      Time `json:"since,omitzero"`        // not to be given
}

// Maintenance answers requests with 503 and a page.
type Maintenance struct {
	Page       string   `json:"page,omitempty"`                // HTML; none: the router's own
	Allow      []string `json:"allow,omitempty"`               // "192.0.2.0/24" or "header:NAME=VALUE"
	RetryAfter int      `json:"retry_after_seconds,omitempty"` // 60 if 0
	Since      Time     `json:"since,omitzero"`                // not to be given
}

// RevisionDiff says what one revision of an app has otherwise than another.
type RevisionDiff struct {
	From    RevisionName     `json:"from"`
	To      RevisionName     `json:"to"`
	Changes []RevisionChange `json:"changes"` // none: they say the same
}

// RevisionName is a revision that is compared. Version 0 is what is pending:
// the app's settings as the next start would take them.
type RevisionName struct {
	GUID        string `json:"guid"`
	Version     int    `json:"version"`
	Description string `json:"description"`
}

// RevisionChange is one difference. Null means that a side does not have it;
// of what is secret both say only that it is there.
type RevisionChange struct {
	What   string  `json:"what"` // droplet, env, command, memory, disk, log-rate-limit, health-check, readiness, process, service
	Name   string  `json:"name"` // of the variable, process or service
	Before *string `json:"before"`
	After  *string `json:"after"`
	Secret bool    `json:"secret"`
}
