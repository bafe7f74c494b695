package v3

import "encoding/json"

// The states of a job.
const (
	JobProcessing = "PROCESSING"
	JobPolling    = "POLLING"
	JobComplete   = "COMPLETE"
	JobFailed     = "FAILED"
)

// Job is a piece of asynchronous work.
type Job struct {
	Resource
	Operation string    `json:"operation"`
	State     string    `json:"state"`
	Errors    []Error   `json:"errors"`
	Warnings  []Warning `json:"warnings"`
	Links     Links     `json:"links"`
}

// Warning is something a job wants to say.
type Warning struct {
	Detail string `json:"detail"`
}

// AuditEvent is one line of the audit log.
type AuditEvent struct {
	Resource
	Type         string         `json:"type"`
	Actor        EventParty     `json:"actor"`
	Target       EventParty     `json:"target"`
	Data         map[string]any `json:"data"`
	Space        *Ref           `json:"space"`
	Organization *Ref           `json:"organization"`
	Links        Links          `json:"links"`
}

// EventParty is who did something, or to what.
type EventParty struct {
	GUID string `json:"guid"`
	Type string `json:"type"`
	Name string `json:"name"`
}

// ManifestDiff is the answer of …/manifest_diff.
type ManifestDiff struct {
	Diff []ManifestChange `json:"diff"`
}

// ManifestChange is one difference between a manifest and what there is.
type ManifestChange struct {
	Op    string          `json:"op"`   // add, replace, remove
	Path  string          `json:"path"` // "/applications/0/memory"
	Was   json.RawMessage `json:"was,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}
