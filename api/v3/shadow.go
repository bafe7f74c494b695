package v3

import "time"

// ShadowOptions are the settings of a shadow version.
type ShadowOptions struct {
	AllMethods bool     `json:"all_methods"`   // copy not only those in methods
	Methods    []string `json:"methods"`       // which are copied; default GET, HEAD and OPTIONS
	Paths      []string `json:"paths"`         // the only ones that are copied, with all below them; default all
	Except     []string `json:"except_paths"`  // that are not copied, with all below them
	StripAuth  bool     `json:"strip_auth"`    // copies carry no Authorization and no Cookie
	Noise      int      `json:"noise_percent"` // of compared requests that the main version is asked twice; default 10
	Ignore     []string `json:"ignore"`        // fields left out: "$.ts", "$.items[*].at", "$..ts", "header:NAME", "status", "body"
}

// ShadowReport is what comparing a shadow version's answers with the main
// version's has found: GET /v3/versions/:guid/shadow_report.
type ShadowReport struct {
	AppGUID     string    `json:"app_guid"`
	VersionGUID string    `json:"version_guid"`
	Since       time.Time `json:"since"`

	Copied       uint64            `json:"copied"`        // requests sent to the shadow as well
	Dropped      map[string]uint64 `json:"dropped"`       // copies that were not sent or not answered in time, by reason
	Compared     uint64            `json:"compared"`      // of which both answers are known
	Probed       uint64            `json:"probed"`        // of these, asked of the main version a second time to learn what is noise
	Equal        uint64            `json:"equal"`         // compared requests without a difference but in fields that are noise
	EqualPercent float64           `json:"equal_percent"` // 100 if nothing was compared

	Endpoints []ShadowEndpoint `json:"endpoints"` // those that differ most surely first
	Statuses  []ShadowStatuses `json:"statuses"`
	Latency   ShadowLatency    `json:"latency"`
}

// ShadowEndpoint is what was found at one method and path; {id} stands for
// numbers and identifiers.
type ShadowEndpoint struct {
	Endpoint string        `json:"endpoint"`
	Compared uint64        `json:"compared"`
	Equal    uint64        `json:"equal"`
	Fields   []ShadowField `json:"fields"` // that ever differed
}

// ShadowField is one field of the answers of an endpoint: "status", "error",
// "header:NAME", "body", or a path into a JSON body.
type ShadowField struct {
	Field       string          `json:"field"`
	Differs     uint64          `json:"differs"`      // requests for which the shadow's differed
	OnlyShadow  uint64          `json:"only_shadow"`  // of those asked twice: only the shadow differed
	OnlyNoise   uint64          `json:"only_noise"`   // of those asked twice: only the main version differed from itself
	Noisy       uint64          `json:"noisy"`        // of those asked twice: the main version differed from itself
	Evidence    float64         `json:"evidence"`     // 1 says nothing; see threshold
	Threshold   float64         `json:"threshold"`    // at and above it the field is said to differ
	IsDifferent bool            `json:"is_different"` // more than noise
	Examples    []ShadowExample `json:"examples"`
}

// ShadowExample is one difference, with what looks like a secret masked.
type ShadowExample struct {
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	Request   string    `json:"request"`
	Main      string    `json:"main"`
	Shadow    string    `json:"shadow"`
	Again     string    `json:"again,omitempty"` // the main version's answer the second time
}

// ShadowStatuses counts requests by both answers' status.
type ShadowStatuses struct {
	Statuses string `json:"statuses"` // "200 → 500"
	Count    uint64 `json:"count"`
}

// ShadowLatency compares how long answers took, in milliseconds.
type ShadowLatency struct {
	MainP50   float64 `json:"main_p50_ms"`
	MainP95   float64 `json:"main_p95_ms"`
	ShadowP50 float64 `json:"shadow_p50_ms"`
	ShadowP95 float64 `json:"shadow_p95_ms"`
}
