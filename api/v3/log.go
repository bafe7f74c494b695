package v3

import (
	"strconv"
)

// Nanos is a moment in nanoseconds since 1970, written as a string because
// JSON numbers do not hold 64 bits everywhere. It is read from either.
type Nanos int64

// MarshalJSON writes the number as a string.
func (n Nanos) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatInt(int64(n), 10) + `"`), nil
}

// UnmarshalJSON reads a number or a string that holds one.
func (n *Nanos) UnmarshalJSON(b []byte) error {
	if len(b) > 1 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	*n = Nanos(v)
	return err
}

// The types of a log line.
const (
	LogOut = "OUT"
	LogErr = "ERR"
)

// LogLine is one line of …/log_stream.
type LogLine struct {
	Timestamp  Nanos  `json:"timestamp"`
	SourceType string `json:"source_type"` // STG, APP/PROC/WEB, RTR, …
	Instance   string `json:"instance"`
	Version    string `json:"version,omitempty"` // that wrote it, if the app had several or a name for it
	Type       string `json:"type"`              // OUT or ERR
	Payload    []byte `json:"payload"`           // base64 on the wire
}

// Envelopes is the answer of log-cache's read endpoint.
type Envelopes struct {
	Envelopes EnvelopeBatch `json:"envelopes"`
}

// EnvelopeBatch holds the envelopes.
type EnvelopeBatch struct {
	Batch []Envelope `json:"batch"`
}

// Envelope is a log line as log-cache has it. Cloud Foundry's client refuses
// any field it does not know, so none may be added here.
type Envelope struct {
	Timestamp      Nanos             `json:"timestamp"`
	SourceID       string            `json:"source_id"`
	InstanceID     string            `json:"instance_id"`
	DeprecatedTags map[string]string `json:"deprecated_tags"`
	Tags           map[string]string `json:"tags"`
	Log            *EnvelopeLog      `json:"log,omitempty"`
}

// EnvelopeLog is the line itself.
type EnvelopeLog struct {
	Payload []byte `json:"payload"`
	Type    string `json:"type"`
}

// LogCacheInfo is the answer of log-cache's info endpoint.
type LogCacheInfo struct {
	Version  string `json:"version"`
	VMUptime string `json:"vm_uptime"`
}

// LogCacheMeta is the answer of log-cache's meta endpoint.
type LogCacheMeta struct {
	Meta map[string]LogMeta `json:"meta"`
}

// LogMeta says how much of an app's log is kept.
type LogMeta struct {
	Count           Nanos `json:"count"`
	Expired         Nanos `json:"expired"`
	OldestTimestamp Nanos `json:"oldest_timestamp"`
	NewestTimestamp Nanos `json:"newest_timestamp"`
}
