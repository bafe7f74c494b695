package router

import "time"

// ShadowPair is one request that the main version answered and of which a
// shadow version got a copy, with what each of them said.
type ShadowPair struct {
	App     string `json:"app"`     // GUID
	Version string `json:"version"` // GUID of the shadow
	Of      string `json:"of"`      // GUID of the version that answered the client

	Method    string    `json:"method"`
	Path      string    `json:"path"` // without the query
	RequestID string    `json:"request_id"`
	At        time.Time `json:"at"`

	Main   ShadowAnswer  `json:"main"`
	Shadow ShadowAnswer  `json:"shadow"`
	Probe  *ShadowAnswer `json:"probe,omitempty"` // of the main version a second time: what differs here too is noise
}

// ShadowAnswer is as much of an answer as is compared.
type ShadowAnswer struct {
	Status int    `json:"status"`          // 0: no answer
	Error  string `json:"error,omitempty"` // why there was none: the words of X-Cf-RouterError

	Header    map[string][]string `json:"header,omitempty"`    // Content-Type, Location, Cache-Control; of Set-Cookie the names
	Body      []byte              `json:"body,omitempty"`      // up to 64 KiB, decompressed; none if it is longer
	Size      int64               `json:"size"`                // of the body; of one over 1 MiB, that
	SHA256    [32]byte            `json:"sha256"`              // of the first 64 KiB
	Truncated bool                `json:"truncated,omitempty"` // the body is longer than the limit
	Took      time.Duration       `json:"took"`                // nanoseconds to the end of the body
}

// ShadowCounts are what became of the copies of requests for one shadow
// version since they were last asked for.
type ShadowCounts struct {
	App      string            `json:"app"`
	Version  string            `json:"version"`
	Copied   uint64            `json:"copied"`   // sent to the shadow
	Compared uint64            `json:"compared"` // handed over as a ShadowPair
	Dropped  map[string]uint64 `json:"dropped"`  // by reason
}
