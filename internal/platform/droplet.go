package platform

import "time"

// The states of a package.
const (
	PackageAwaitingUpload   = "AWAITING_UPLOAD"
	PackageProcessingUpload = "PROCESSING_UPLOAD"
	PackageCopying          = "COPYING"
	PackageReady            = "READY"
	PackageFailed           = "FAILED"
	PackageExpired          = "EXPIRED"
)

// Package is the source of an app as it was uploaded or fetched.
type Package struct {
	Resource
	AppGUID string
	Type    string // "bits"; a git package becomes bits once fetched
	State   string
	Error   string
	// Digest names the package's files in the droplet store once READY.
	Digest string
	Size   int64 // bytes of all files, unpacked
	Git    *GitSource
}

// GitSource says where a package was, or is to be, fetched from.
type GitSource struct {
	URL    string // without credentials
	Ref    string // branch, tag or commit as asked for
	Commit string // what it resolved to; empty until fetched
}

// The states of a build.
const (
	BuildStaging = "STAGING"
	BuildStaged  = "STAGED"
	BuildFailed  = "FAILED"
)

// Build is one staging: a package on its way to a droplet.
type Build struct {
	Resource
	AppGUID     string
	PackageGUID string
	DropletGUID string // set when STAGED
	State       string
	// Error has Cloud Foundry's form "<Title> - <message>" when FAILED.
	Error     string
	Lifecycle Lifecycle
	MemoryMB  int
	DiskMB    int
	CreatedBy Actor
}

// The states of a droplet.
const (
	DropletAwaitingUpload   = "AWAITING_UPLOAD"
	DropletProcessingUpload = "PROCESSING_UPLOAD"
	DropletCopying          = "COPYING"
	DropletStaged           = "STAGED"
	DropletFailed           = "FAILED"
	DropletExpired          = "EXPIRED" // its tree was swept
)

// Droplet is the result of a build: an immutable tree and how to run it.
type Droplet struct {
	Resource
	AppGUID     string
	PackageGUID string // empty for an uploaded droplet
	BuildGUID   string
	State       string
	Error       string
	// Digest is the SHA-256 of the canonical manifest, as hex; it names the
	// tree in the droplet store.
	Digest       string
	Size         int64
	ProcessTypes map[string]string // type → start command
	Buildpacks   []DropletBuildpack
	Sidecars     []Sidecar
	Stack        string
	Lifecycle    Lifecycle
}

// DropletBuildpack records a buildpack that took part in a build.
type DropletBuildpack struct {
	Name          string
	DetectOutput  string
	Version       string
	BuildpackName string
}

// Sidecar is an extra process a buildpack wants beside others.
type Sidecar struct {
	Name         string
	Command      string
	ProcessTypes []string
	MemoryMB     int
}

// Buildpack is one that an operator added, or one that is built in.
type Buildpack struct {
	Resource
	Name     string
	Position int // from 1
	Enabled  bool
	Locked   bool
	Stack    string
	Filename string
	State    string // AWAITING_UPLOAD or READY
	Digest   string // of its tree in the droplet store; empty for built-in ones
	BuiltIn  bool
}

// Revision is everything that decides what runs: droplet, environment,
// commands, resources and health checks. It never changes once written.
type Revision struct {
	Resource
	AppGUID     string
	Version     int // from 1
	DropletGUID string
	Env         map[string]string
	Processes   []Process // as they were; Instances is informative only
	Services    []BoundService
	Description string
	Deployable  bool // false once the droplet was swept
}

// BoundService is what an app is told about one bound service. A revision keeps
// a copy, so that going back to it brings the old credentials back.
type BoundService struct {
	BindingGUID    string
	BindingName    string
	InstanceGUID   string
	InstanceName   string
	Tags           []string
	Credentials    map[string]any
	SyslogDrainURL string
}

// Job is a piece of asynchronous work a client may follow.
type Job struct {
	GUID      string
	Operation string // "app.delete", "space.apply_manifest", …
	State     string // PROCESSING, COMPLETE, FAILED
	Errors    []*Error
	Warnings  []string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// The states of a job.
const (
	JobProcessing = "PROCESSING"
	JobComplete   = "COMPLETE"
	JobFailed     = "FAILED"
)
