// Package platform is the vocabulary of weir: the nouns every other package
// speaks (app, package, build, droplet, process, instance, revision,
// deployment, route, destination …) and the pure rules that belong to them.
//
// It uses the standard library only, does no I/O, and its types carry no
// struct tags: how a thing looks on the wire is api/v3's business, how it
// looks in a table is internal/store's.
package platform
