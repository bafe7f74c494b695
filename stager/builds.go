package stager

import (
	"context"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// CreateBuild starts the staging of a package and returns the build, STAGING.
// An app has one build at a time. What the build does not say is taken from
// the app and the configuration.
func (s *Stager) CreateBuild(ctx context.Context, actor platform.Actor, b platform.Build) (platform.Build, error) {
	if err := s.CheckLifecycle(ctx, b.Lifecycle); err != nil {
		return platform.Build{}, err
	}
	b.Resource = newResource(b.Metadata)
	b.State, b.Error, b.DropletGUID, b.CreatedBy = platform.BuildStaging, "", "", actor
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := s.admit(ctx, tx, &b); err != nil {
			return err
		}
		if err := tx.InsertBuild(ctx, b); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.build.create", b.AppGUID, map[string]any{"build_guid": b.GUID, "package_guid": b.PackageGUID})
	})
	if err != nil {
		return platform.Build{}, err
	}
	s.builds.push(b.GUID)
	return b, nil
}

// admit checks that a build may begin and completes it.
func (s *Stager) admit(ctx context.Context, tx *store.Tx, b *platform.Build) error {
	p, err := tx.Package(ctx, b.PackageGUID)
	if platform.KindOf(err) == platform.KindNotFound {
		return platform.Invalidf("Unable to use package. Ensure that the package exists and you have access to it.")
	}
	if err != nil {
		return err
	}
	if p.State != platform.PackageReady {
		return &platform.Error{
			Kind: platform.KindBadRequest, Title: "BadRequest",
			Msg: "Bad request: Cannot stage package whose state is not ready.",
		}
	}
	app, err := tx.App(ctx, p.AppGUID)
	if err != nil {
		return err
	}
	_, running, err := tx.Builds(ctx, store.Query{
		In:   map[string][]string{"app_guids": {app.GUID}, "states": {platform.BuildStaging}},
		Page: 1, PerPage: 1,
	})
	if err != nil {
		return err
	}
	if running > 0 {
		return &platform.Error{
			Kind: platform.KindInvalid, Title: "StagingInProgress",
			Msg:  "Only one build can be STAGING at a time per application.",
			Hint: "wait until the other build has ended",
		}
	}
	b.AppGUID = app.GUID
	if b.Lifecycle.Type == "" {
		b.Lifecycle = app.Lifecycle
	}
	b.Lifecycle.Type = "buildpack"
	if b.Lifecycle.Stack == "" {
		b.Lifecycle.Stack = s.cfg.Stack
	}
	if b.DiskMB == 0 {
		b.DiskMB = s.cfg.DiskMB
	}
	if b.MemoryMB == 0 {
		b.MemoryMB, err = s.memoryMB(ctx, tx, app.GUID)
	}
	return err
}

// memoryMB is what a build gets that asks for nothing, in MiB: as much as an
// instance of the app, as in Cloud Foundry, and what is configured at least.
func (s *Stager) memoryMB(ctx context.Context, tx *store.Tx, appGUID string) (int, error) {
	web, err := tx.ProcessByType(ctx, appGUID, platform.WebProcess)
	if err != nil && platform.KindOf(err) != platform.KindNotFound {
		return 0, err
	}
	return max(s.cfg.MemoryMB, web.MemoryMB), nil
}

// UpdateBuild changes a build's metadata.
func (s *Stager) UpdateBuild(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Build) error) (platform.Build, error) {
	var b platform.Build
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		if b, err = tx.Build(ctx, guid); err != nil {
			return err
		}
		changed := b
		changed.Metadata = cloneMetadata(b.Metadata)
		if err := change(&changed); err != nil {
			return err
		}
		b.Metadata = changed.Metadata
		b.UpdatedAt = time.Now().UTC()
		return tx.UpdateBuild(ctx, b)
	})
	return b, err
}
