package router

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

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

	// The answers; without their bodies if they are the same.
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
	SHA256    Digest              `json:"sha256"`              // of the first 64 KiB
	Truncated bool                `json:"truncated,omitempty"` // the body is longer than the limit
	Took      time.Duration       `json:"took"`                // nanoseconds to the end of the body
}

// Digest is a SHA-256 digest, written in hexadecimal digits.
type Digest [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(d) {
		return fmt.Errorf("a digest has %d hexadecimal digits, got %d", hex.EncodedLen(len(d)), len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// IsSame reports whether all answers say the same in all that is compared.
func (p *ShadowPair) IsSame() bool {
	return p.Main.equals(&p.Shadow) && (p.Probe == nil || p.Main.equals(p.Probe))
}

func (a *ShadowAnswer) equals(b *ShadowAnswer) bool {
	return a.Status == b.Status && a.Error == b.Error && a.Size == b.Size && a.SHA256 == b.SHA256 && a.Truncated == b.Truncated &&
		maps.EqualFunc(a.Header, b.Header, slices.Equal)
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
