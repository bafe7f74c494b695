// Package source knows where the files of an app come from: a directory, a
// commit of a local repository, or a repository fetched over the network. It
// applies the ignore rules, names each file by its SHA-1 and packs the ones a
// server lacks into a zip.
//
// It is the only importer of go-git.
package source
