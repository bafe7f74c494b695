// Package stager turns source into droplets. It owns packages, builds,
// droplets and buildpacks: every change to one of them goes through the
// Stager and is written down before the call returns.
package stager

import (
	"context"
	"io"
	"io/fs"
	"log/slog"

	"weir/internal/platform"
)

// Config is what a Stager works with.
type Config struct {
	Logger *slog.Logger
}

// Stager stages apps. Its methods are safe for concurrent use.
type Stager struct {
	cfg Config
}

// Resource is a file of a package that the server has already.
type Resource struct {
	Path string
	Mode fs.FileMode
	SHA1 string
	Size int64
}

// New returns a Stager. It starts nothing; Run does.
func New(cfg Config) *Stager { return &Stager{cfg: cfg} }

// Run takes up or fails what an earlier process left unfinished, then stages
// what is asked for until ctx ends. It returns when no build runs any more.
func (s *Stager) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// CreatePackage adds a package to an app. One with Git set is fetched in the
// background; any other awaits its upload.
func (s *Stager) CreatePackage(ctx context.Context, actor platform.Actor, p platform.Package) (platform.Package, error) {
	return platform.Package{}, nil
}

// UploadPackage gives a package its files: an archive, files the server has
// already, or both. bits may be nil. The package is READY when it returns.
func (s *Stager) UploadPackage(ctx context.Context, actor platform.Actor, guid string, bits io.Reader, resources []Resource) (platform.Package, error) {
	return platform.Package{}, nil
}

// CopyPackage makes a package of app with the files of the source package.
func (s *Stager) CopyPackage(ctx context.Context, actor platform.Actor, source, app string) (platform.Package, error) {
	return platform.Package{}, nil
}

// UpdatePackage changes a package's metadata.
func (s *Stager) UpdatePackage(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Package) error) (platform.Package, error) {
	return platform.Package{}, nil
}

// DeletePackage removes a package. Its droplets stay.
func (s *Stager) DeletePackage(ctx context.Context, actor platform.Actor, guid string) error {
	return nil
}

// CheckLifecycle reports whether the buildpacks named in l exist.
func (s *Stager) CheckLifecycle(ctx context.Context, l platform.Lifecycle) error {
	return nil
}

// CreateBuild starts the staging of a package and returns the build, STAGING.
// An app has one build at a time.
func (s *Stager) CreateBuild(ctx context.Context, actor platform.Actor, b platform.Build) (platform.Build, error) {
	return platform.Build{}, nil
}

// UpdateBuild changes a build's metadata.
func (s *Stager) UpdateBuild(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Build) error) (platform.Build, error) {
	return platform.Build{}, nil
}

// CreateDroplet adds a droplet that awaits its upload.
func (s *Stager) CreateDroplet(ctx context.Context, actor platform.Actor, d platform.Droplet) (platform.Droplet, error) {
	return platform.Droplet{}, nil
}

// UploadDroplet gives a droplet its tree, as an archive in Cloud Foundry's
// layout. The droplet is STAGED when it returns.
func (s *Stager) UploadDroplet(ctx context.Context, actor platform.Actor, guid string, r io.Reader) (platform.Droplet, error) {
	return platform.Droplet{}, nil
}

// CopyDroplet makes a droplet of app that is the source droplet.
func (s *Stager) CopyDroplet(ctx context.Context, actor platform.Actor, source, app string) (platform.Droplet, error) {
	return platform.Droplet{}, nil
}

// UpdateDroplet changes a droplet's metadata.
func (s *Stager) UpdateDroplet(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Droplet) error) (platform.Droplet, error) {
	return platform.Droplet{}, nil
}

// DeleteDroplet removes a droplet that no app runs.
func (s *Stager) DeleteDroplet(ctx context.Context, actor platform.Actor, guid string) error {
	return nil
}

// CreateBuildpack adds a buildpack that awaits its upload.
func (s *Stager) CreateBuildpack(ctx context.Context, actor platform.Actor, b platform.Buildpack) (platform.Buildpack, error) {
	return platform.Buildpack{}, nil
}

// UpdateBuildpack changes a buildpack. The built-in ones can be disabled,
// locked and moved, not renamed.
func (s *Stager) UpdateBuildpack(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Buildpack) error) (platform.Buildpack, error) {
	return platform.Buildpack{}, nil
}

// UploadBuildpack gives a buildpack its files. It is READY when this returns.
func (s *Stager) UploadBuildpack(ctx context.Context, actor platform.Actor, guid, filename string, bits io.Reader) (platform.Buildpack, error) {
	return platform.Buildpack{}, nil
}

// DeleteBuildpack removes a buildpack. A built-in one cannot be removed.
func (s *Stager) DeleteBuildpack(ctx context.Context, actor platform.Actor, guid string) error {
	return nil
}
