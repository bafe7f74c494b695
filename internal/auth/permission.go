package auth

import "slices"

// Permission is what an operation of the API asks of its caller.
type Permission string

// The permissions, from the least to the most.
const (
	Public      Permission = "public"       // anybody, without a token
	LoggedIn    Permission = "logged-in"    // anybody with a token
	Read        Permission = "read"         // look at apps and what belongs to them
	ReadSecrets Permission = "read-secrets" // look at environments and credentials
	Write       Permission = "write"        // push, run, map and delete apps
	Manage      Permission = "manage"       // orgs, spaces, domains
	Admin       Permission = "admin"        // users, buildpacks, the platform itself
)

// Scopes that permissions are given for.
const (
	ScopeAdmin         = "cloud_controller.admin"
	ScopeAdminReadOnly = "cloud_controller.admin_read_only"
	ScopeGlobalAuditor = "cloud_controller.global_auditor"
)

// granted says which scopes give a permission; one is enough. What is not
// here is denied.
var granted = map[Permission][]string{
	Read:        {ScopeAdmin, ScopeAdminReadOnly, ScopeGlobalAuditor},
	ReadSecrets: {ScopeAdmin, ScopeAdminReadOnly},
	Write:       {ScopeAdmin},
	Manage:      {ScopeAdmin},
	Admin:       {ScopeAdmin},
}

// Allowed reports whether an actor has a permission. The zero Actor has
// Public only.
func Allowed(a Actor, p Permission) bool {
	switch p {
	case Public:
		return true
	case LoggedIn:
		return a.GUID != ""
	}
	return a.GUID != "" && slices.ContainsFunc(granted[p], func(scope string) bool {
		return slices.Contains(a.Scopes, scope)
	})
}

// Known reports whether p is one of the permissions above, for a test that
// every operation declares one.
func (p Permission) Known() bool {
	return p == Public || p == LoggedIn || granted[p] != nil
}
