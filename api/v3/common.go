package v3

import (
	"encoding/json"
	"slices"
	"time"
)

// Time is a moment as Cloud Foundry writes it: UTC, whole seconds, "Z". The
// zero Time is written as null. Anything unreadable is read as the zero Time.
type Time struct{ time.Time }

// At returns t as a wire time.
func At(t time.Time) Time { return Time{t} }

// MarshalJSON writes the time in RFC 3339, or null for the zero Time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05Z"`)), nil
}

// UnmarshalJSON reads an RFC 3339 time; whatever else it meets is the zero Time.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return nil
	}
	if v, err := time.Parse(time.RFC3339, s); err == nil {
		t.Time = v
	}
	return nil
}

// Null is a request field in which null means something else than absence:
// Set tells whether the field was there, Value is nil when it was null.
// Declare it with the option omitzero.
type Null[T any] struct {
	Set   bool
	Value *T
}

// NullOf returns a Null that is set to v.
func NullOf[T any](v T) Null[T] { return Null[T]{Set: true, Value: &v} }

// MarshalJSON writes the value or null.
func (n Null[T]) MarshalJSON() ([]byte, error) { return json.Marshal(n.Value) }

// UnmarshalJSON reads the value or null.
func (n *Null[T]) UnmarshalJSON(b []byte) error {
	n.Set = true
	return json.Unmarshal(b, &n.Value)
}

// Resource is the head of every resource.
type Resource struct {
	GUID      string `json:"guid"`
	CreatedAt Time   `json:"created_at"`
	UpdatedAt Time   `json:"updated_at"`
}

// Metadata is the labels and annotations of a resource.
type Metadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// MetadataPatch changes labels and annotations: a null value removes the key.
type MetadataPatch struct {
	Labels      map[string]*string `json:"labels,omitempty"`
	Annotations map[string]*string `json:"annotations,omitempty"`
}

// MetadataUpdate is the body of a request that changes metadata alone.
type MetadataUpdate struct {
	Metadata *MetadataPatch `json:"metadata,omitempty"`
}

// Link points to another resource, absolutely.
type Link struct {
	Href   string `json:"href"`
	Method string `json:"method,omitempty"`
}

// Links are the links of a resource by name; a nil one is written as null.
type Links map[string]*Link

// Ref names a resource by its GUID.
type Ref struct {
	GUID string `json:"guid"`
}

// ToOne is a relationship to at most one resource.
type ToOne struct {
	Data  *Ref  `json:"data"`
	Links Links `json:"links,omitempty"`
}

// ToMany is a relationship to any number of resources.
type ToMany struct {
	Data  []Ref `json:"data"`
	Links Links `json:"links,omitempty"`
}

// To returns a relationship to the resource with the given GUID; to none if
// guid is empty.
func To(guid string) *ToOne {
	if guid == "" {
		return &ToOne{}
	}
	return &ToOne{Data: &Ref{GUID: guid}}
}

// Relationships are the to-one relationships of a resource by name.
type Relationships map[string]*ToOne

// GUID returns the GUID of the named related resource, or "".
func (r Relationships) GUID(name string) string {
	if t := r[name]; t != nil && t.Data != nil {
		return t.Data.GUID
	}
	return ""
}

// List is one page of resources.
type List[T any] struct {
	Pagination Pagination `json:"pagination"`
	Resources  []T        `json:"resources"`
	Included   *Included  `json:"included,omitempty"`
}

// Pagination tells which page of a list this is and where the others are.
type Pagination struct {
	TotalResults int   `json:"total_results"`
	TotalPages   int   `json:"total_pages"`
	First        *Link `json:"first"`
	Last         *Link `json:"last"`
	Next         *Link `json:"next"`
	Previous     *Link `json:"previous"`
}

// Included holds the resources that a request asked for with include=.
type Included struct {
	Users            []User            `json:"users,omitempty"`
	Organizations    []Organization    `json:"organizations,omitempty"`
	Spaces           []Space           `json:"spaces,omitempty"`
	Domains          []Domain          `json:"domains,omitempty"`
	Apps             []App             `json:"apps,omitempty"`
	Routes           []Route           `json:"routes,omitempty"`
	ServiceInstances []ServiceInstance `json:"service_instances,omitempty"`
}

// Error is one entry of an error answer.
type Error struct {
	Code   int    `json:"code"`
	Title  string `json:"title"` // with the prefix "CF-"
	Detail string `json:"detail"`
	// Hint says what to do next. It is weir's addition and often absent.
	Hint string `json:"hint,omitempty"`
}

// Errors is the body of every error answer.
type Errors struct {
	Errors []Error `json:"errors"`
}

// Lifecycle says how an app is staged.
type Lifecycle struct {
	Type string        `json:"type,omitempty"` // "buildpack"
	Data LifecycleData `json:"data"`
}

// LifecycleData is the buildpack lifecycle's data.
type LifecycleData struct {
	Buildpacks []string `json:"buildpacks"`
	Stack      string   `json:"stack"`
}

// LifecycleInput is a lifecycle in a request. A nil Buildpacks leaves them as
// they are; an empty one means: detect.
type LifecycleInput struct {
	Type string              `json:"type,omitempty"`
	Data *LifecycleDataInput `json:"data,omitempty"`
}

// LifecycleDataInput is the buildpack lifecycle's data in a request.
type LifecycleDataInput struct {
	Buildpacks []string `json:"buildpacks,omitzero"`
	Stack      *string  `json:"stack,omitempty"`
	Image      *string  `json:"image,omitempty"` // of docker apps, which weir refuses
}

// Contains reports whether the page lists an item for which f is true.
func (l List[T]) Contains(f func(T) bool) bool { return slices.ContainsFunc(l.Resources, f) }
