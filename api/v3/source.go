package v3

// The states of a package.
const (
	PackageAwaitingUpload   = "AWAITING_UPLOAD"
	PackageProcessingUpload = "PROCESSING_UPLOAD"
	PackageCopying          = "COPYING"
	PackageReady            = "READY"
	PackageFailed           = "FAILED"
	PackageExpired          = "EXPIRED"
)

// Package is the source of an app.
type Package struct {
	Resource
	Type          string        `json:"type"` // always "bits"
	State         string        `json:"state"`
	Data          PackageData   `json:"data"`
	Relationships Relationships `json:"relationships"` // app
	Metadata      Metadata      `json:"metadata"`
	Links         Links         `json:"links"`
}

// PackageData describes the content of a package.
type PackageData struct {
	Checksum Checksum `json:"checksum"`
	Error    *string  `json:"error"`
	// Git says where the source was fetched from; weir's addition.
	Git *GitData `json:"git,omitempty"`
}

// Checksum is a digest; Value is nil until there is something to digest.
type Checksum struct {
	Type  string  `json:"type"` // "sha256"
	Value *string `json:"value"`
}

// GitData names a commit of a repository.
type GitData struct {
	URL    string `json:"url"`
	Ref    string `json:"ref,omitempty"`
	Commit string `json:"commit,omitempty"`
}

// PackageCreate asks for a new package: type "bits", to be uploaded, or
// "git", which the server fetches.
type PackageCreate struct {
	Type          string             `json:"type"`
	Data          *PackageCreateData `json:"data,omitempty"`
	Relationships Relationships      `json:"relationships"` // app
	Metadata      *MetadataPatch     `json:"metadata,omitempty"`
}

// PackageCreateData says where a git package comes from. Image, Username and
// Password belong to docker packages, which weir refuses by name.
type PackageCreateData struct {
	URL      string  `json:"url,omitempty"`
	Ref      string  `json:"ref,omitempty"`
	Image    *string `json:"image,omitempty"`
	Username *string `json:"username,omitempty"`
	Password *string `json:"password,omitempty"`
}

// FileResource is a file that a client has and the server may have already.
type FileResource struct {
	Path        string        `json:"path"`
	Mode        string        `json:"mode"` // octal: "644"
	Checksum    ChecksumValue `json:"checksum"`
	SizeInBytes int64         `json:"size_in_bytes"`
}

// ChecksumValue is the SHA-1 of a file, in hex.
type ChecksumValue struct {
	Value string `json:"value"`
}

// FileResources is the body and the answer of /v3/resource_matches.
type FileResources struct {
	Resources []FileResource `json:"resources"`
}

// The states of a build.
const (
	BuildStaging = "STAGING"
	BuildStaged  = "STAGED"
	BuildFailed  = "FAILED"
)

// Build is one staging.
type Build struct {
	Resource
	State               string        `json:"state"`
	Error               *string       `json:"error"`
	StagingMemoryMB     int           `json:"staging_memory_in_mb"`
	StagingDiskMB       int           `json:"staging_disk_in_mb"`
	StagingLogRateLimit int64         `json:"staging_log_rate_limit_bytes_per_second"`
	Lifecycle           Lifecycle     `json:"lifecycle"`
	Package             Ref           `json:"package"`
	Droplet             *Ref          `json:"droplet"`
	CreatedBy           *CreatedBy    `json:"created_by"`
	Relationships       Relationships `json:"relationships"` // app
	Metadata            Metadata      `json:"metadata"`
	Links               Links         `json:"links"`
}

// CreatedBy names who asked for a build.
type CreatedBy struct {
	GUID  string `json:"guid"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// BuildCreate asks for a package to be staged.
type BuildCreate struct {
	Package             Ref             `json:"package"`
	Lifecycle           *LifecycleInput `json:"lifecycle,omitempty"`
	StagingMemoryMB     *int            `json:"staging_memory_in_mb,omitempty"`
	StagingDiskMB       *int            `json:"staging_disk_in_mb,omitempty"`
	StagingLogRateLimit *int64          `json:"staging_log_rate_limit_bytes_per_second,omitempty"`
	Metadata            *MetadataPatch  `json:"metadata,omitempty"`
}

// The states of a droplet.
const (
	DropletAwaitingUpload   = "AWAITING_UPLOAD"
	DropletProcessingUpload = "PROCESSING_UPLOAD"
	DropletCopying          = "COPYING"
	DropletStaged           = "STAGED"
	DropletFailed           = "FAILED"
	DropletExpired          = "EXPIRED"
)

// Droplet is the result of a build: what runs.
type Droplet struct {
	Resource
	State             string             `json:"state"`
	Error             *string            `json:"error"`
	Lifecycle         DropletLifecycle   `json:"lifecycle"`
	ExecutionMetadata string             `json:"execution_metadata"`
	ProcessTypes      map[string]string  `json:"process_types"`
	Checksum          *Checksum          `json:"checksum"`
	Size              int64              `json:"size_in_bytes"` // weir's addition
	Buildpacks        []DropletBuildpack `json:"buildpacks"`
	Stack             *string            `json:"stack"`
	Image             *string            `json:"image"`
	Relationships     Relationships      `json:"relationships"` // app
	Metadata          Metadata           `json:"metadata"`
	Links             Links              `json:"links"`
}

// DropletLifecycle is a droplet's lifecycle; its data is empty.
type DropletLifecycle struct {
	Type string   `json:"type"`
	Data struct{} `json:"data"`
}

// DropletBuildpack records a buildpack that took part in a build.
type DropletBuildpack struct {
	Name          string `json:"name"`
	DetectOutput  string `json:"detect_output"`
	Version       string `json:"version"`
	BuildpackName string `json:"buildpack_name"`
}

// DropletCreate asks for a droplet to upload to, or (with source_guid in the
// query) for a copy.
type DropletCreate struct {
	Relationships Relationships     `json:"relationships"` // app
	ProcessTypes  map[string]string `json:"process_types,omitempty"`
	Metadata      *MetadataPatch    `json:"metadata,omitempty"`
}

// Buildpack is one way to stage an app.
type Buildpack struct {
	Resource
	Name      string   `json:"name"`
	State     string   `json:"state"` // AWAITING_UPLOAD or READY
	Filename  *string  `json:"filename"`
	Stack     *string  `json:"stack"`
	Position  int      `json:"position"`
	Lifecycle string   `json:"lifecycle"`
	Enabled   bool     `json:"enabled"`
	Locked    bool     `json:"locked"`
	Metadata  Metadata `json:"metadata"`
	Links     Links    `json:"links"`
}

// BuildpackCreate asks for a new buildpack.
type BuildpackCreate struct {
	Name      string         `json:"name"`
	Position  *int           `json:"position,omitempty"`
	Enabled   *bool          `json:"enabled,omitempty"`
	Locked    *bool          `json:"locked,omitempty"`
	Stack     *string        `json:"stack,omitempty"`
	Lifecycle *string        `json:"lifecycle,omitempty"`
	Metadata  *MetadataPatch `json:"metadata,omitempty"`
}

// BuildpackUpdate changes a buildpack.
type BuildpackUpdate struct {
	Name     *string        `json:"name,omitempty"`
	Position *int           `json:"position,omitempty"`
	Enabled  *bool          `json:"enabled,omitempty"`
	Locked   *bool          `json:"locked,omitempty"`
	Stack    *string        `json:"stack,omitempty"`
	Metadata *MetadataPatch `json:"metadata,omitempty"`
}

// Stack is the file system and libraries apps run on.
type Stack struct {
	Resource
	Name             string   `json:"name"`
	Description      string   `json:"description"`
	State            string   `json:"state"`
	StateReason      *string  `json:"state_reason"`
	BuildRootfsImage string   `json:"build_rootfs_image"`
	RunRootfsImage   string   `json:"run_rootfs_image"`
	Default          bool     `json:"default"`
	Metadata         Metadata `json:"metadata"`
	Links            Links    `json:"links"`
}
