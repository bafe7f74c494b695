package api

import (
	v3 "weir/api/v3"
	"weir/internal/platform"
)

// urls is what links begin with: scheme and host, without a slash at the end.
// The present… functions of the resources are its methods.
type urls string

func (u urls) link(path string) *v3.Link { return &v3.Link{Href: string(u) + path} }

func (u urls) linkWith(method, path string) *v3.Link {
	return &v3.Link{Href: string(u) + path, Method: method}
}

// resource presents the head of a resource.
func resource(r platform.Resource) v3.Resource {
	return v3.Resource{GUID: r.GUID, CreatedAt: v3.At(r.CreatedAt), UpdatedAt: v3.At(r.UpdatedAt)}
}

// orNull returns nil for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// orNullInt returns nil for 0, which means the default.
func orNullInt(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// refTo returns nil for an empty GUID.
func refTo(guid string) *v3.Ref {
	if guid == "" {
		return nil
	}
	return &v3.Ref{GUID: guid}
}
