// Package v3 holds the wire types of weir's HTTP API: Cloud Foundry's v3
// resources, the answers of its token and log-cache endpoints, and weir's few
// additions. The server encodes them, the client and the command line decode
// them. It knows nothing of gin, of the store, or of how things are done.
//
// A type named after a resource (App) is what the server answers; one named
// XCreate or XUpdate is what it is asked with. In requests a nil pointer
// means "leave it as it is"; an explicit JSON null means the same unless the
// field is a Null.
package v3
