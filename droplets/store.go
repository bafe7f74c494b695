// Package droplets keeps what apps are made of: packages (the source of an
// app) and droplets (what a build made of it), both as immutable extracted
// trees named by the SHA-256 of their canonical manifest, and a pool of files
// by content so that a second push sends only what changed.
//
//	DIR/trees/<digest>/       a droplet: app/ deps/ profile.d/ tmp/ logs/ staging_info.yml
//	DIR/trees/<digest>.json   its manifest
//	DIR/packages/<digest>/    a package: the files of an app
//	DIR/packages/<digest>.json
//	DIR/pool/ab/<sha1>-<size> hard links to files of packages
//	DIR/tmp/<session>/        work under way; leftovers go at the next Open
//
// A tree appears by one rename, after everything in it and its manifest are on
// disk, and is never written again.
package droplets

import (
	"context"
	"io"
	"io/fs"
	"time"

	"weir/droplets/archive"
)

// Options of a Store. The zero value is usable.
type Options struct {
	// MaxUpload bounds an uploaded archive as it arrives. Default 1 GiB for a
	// package; a droplet may be as large as Limits.Bytes.
	MaxUpload int64
	// Limits bounds what an upload unpacks to.
	Limits archive.Limits
	// Reserve is the free disk space uploads leave to the rest of the
	// platform. Default 32 MiB, or 2 % of a small disk.
	Reserve int64
}

// Resource is a file a client has: what it asks about, and later claims.
type Resource struct {
	Path string
	Mode fs.FileMode
	SHA1 string // hex
	Size int64
}

// File is one entry of a manifest.
type File struct {
	Path string
	// Mode holds fs.ModeDir, fs.ModeSymlink or no type bit, and 0755 or 0644.
	Mode fs.FileMode
	Size int64
	// SHA1 is known for files of packages only.
	SHA1, SHA256 string
	Link         string // target of a symbolic link
}

// Buildpack is one that took part in a build, as far as it decides the digest.
type Buildpack struct {
	Name, Version, Digest string
}

// CommitInfo is what belongs to a droplet besides its files.
type CommitInfo struct {
	ProcessTypes map[string]string // type → start command
	Stack        string
	Buildpacks   []Buildpack // in the order they ran
	// Toolchains are absolute paths, of files or directories, that symbolic
	// links of the tree may lead to. They are no part of the digest.
	Toolchains []string
}

// Manifest says what a tree consists of.
type Manifest struct {
	Digest string
	Size   int64 // of all regular files
	Files  []File
	Info   CommitInfo
	// Dropped names sockets, FIFOs and devices that a build left behind and
	// Commit removed. Only Commit fills it in.
	Dropped []string
}

// Store is the droplet store of one machine. It is safe for concurrent use.
type Store struct{}

// Open opens the store in dir, creating it if need be, and removes what a
// crash left behind.
func Open(dir string, o Options) (*Store, error) { return &Store{}, errThin }

// Close gives up the store's temporary directory.
func (s *Store) Close() error { return errThin }

// Match says for each resource whether a file of that content is pooled.
func (s *Store) Match(ctx context.Context, resources []Resource) ([]bool, error) {
	return nil, errThin
}

// PutPackage unpacks bits, which may be nil, adds the pooled files the client
// claims in resources, and commits the result.
func (s *Store) PutPackage(ctx context.Context, bits io.Reader, resources []Resource) (digest string, size int64, err error) {
	return "", 0, errThin
}

// PutPackageDir commits the directory dir as a package and takes it over.
func (s *Store) PutPackageDir(ctx context.Context, dir string) (digest string, size int64, err error) {
	return "", 0, errThin
}

// PackageDir returns the read-only tree of a package and keeps it from being
// swept until release is called.
func (s *Store) PackageDir(ctx context.Context, digest string) (release func(), dir string, err error) {
	return nil, "", errThin
}

// CopyPackage writes a writable copy of a package's files into dst, which is
// created if need be and must be empty.
func (s *Store) CopyPackage(ctx context.Context, digest, dst string) error { return errThin }

// OpenPackage writes a package to w as an archive.
func (s *Store) OpenPackage(ctx context.Context, digest string, f archive.Format, w io.Writer) error {
	return errThin
}

// PackageManifest returns what a package consists of.
func (s *Store) PackageManifest(ctx context.Context, digest string) (Manifest, error) {
	return Manifest{}, errThin
}

// Commit makes the directory dir a droplet and takes it over.
func (s *Store) Commit(ctx context.Context, dir string, info CommitInfo) (Manifest, error) {
	return Manifest{}, errThin
}

// Tree returns the directory of a droplet.
func (s *Store) Tree(digest string) (dir string, ok bool) { return "", false }

// Manifest returns what a droplet consists of.
func (s *Store) Manifest(ctx context.Context, digest string) (Manifest, error) {
	return Manifest{}, errThin
}

// Lease keeps a droplet from being swept until release is called.
func (s *Store) Lease(digest string) (release func(), err error) { return nil, errThin }

// Check finds a droplet whose files were truncated, changed, added or taken
// away, by comparing sizes and times; it reads only files that look changed.
func (s *Store) Check(ctx context.Context, digest string) error { return errThin }

// Verify reads every file of a droplet and compares it with the manifest.
func (s *Store) Verify(ctx context.Context, digest string) error { return errThin }

// Export writes a droplet to w in Cloud Foundry's layout (./app ./deps …).
func (s *Store) Export(ctx context.Context, digest string, f archive.Format, w io.Writer) error {
	return errThin
}

// Import reads a droplet from an archive. inspect, if not nil, is called with
// the unpacked tree to say what belongs to it besides its files.
func (s *Store) Import(ctx context.Context, r io.Reader, inspect func(dir string) (CommitInfo, error)) (Manifest, error) {
	return Manifest{}, errThin
}

// Sweep removes trees and packages that are neither named live, nor leased,
// nor younger than grace, and pooled files no package has used for as long.
// It returns how many bytes that freed.
func (s *Store) Sweep(ctx context.Context, liveTrees, livePackages []string, grace time.Duration) (freed int64, err error) {
	return 0, errThin
}

var errThin = io.ErrNoProgress
