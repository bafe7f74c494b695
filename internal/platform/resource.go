package platform

import (
	"crypto/rand"
	"fmt"
	"time"
)

// Resource is what all stored things have in common.
type Resource struct {
	GUID      string
	CreatedAt time.Time
	UpdatedAt time.Time
	Metadata  Metadata
}

// Metadata holds the labels and annotations of a Cloud Foundry v3 resource.
// Nil maps mean empty.
type Metadata struct {
	Labels      map[string]string
	Annotations map[string]string
}

// NewGUID returns a random UUID (RFC 9562 version 4).
func NewGUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// IsGUID reports whether s has the form of what NewGUID returns.
func IsGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		isDash := i == 8 || i == 13 || i == 18 || i == 23
		if isDash != (c == '-') || !isDash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// NewResource returns a Resource with a fresh GUID, created and updated at now.
func NewResource(now time.Time) Resource {
	return Resource{GUID: NewGUID(), CreatedAt: now, UpdatedAt: now}
}

// Actor is who asked for a change; it goes into events and created_by.
type Actor struct {
	GUID string
	Name string
	Type string // "user", "client" or "system"
}

// System is the actor of everything the platform does by itself.
var System = Actor{GUID: "weir", Name: "weir", Type: "system"}
