package stager

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"weir/buildpacks"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/store"
)

// takeUp puts what an earlier process left unfinished back into the queues and
// removes what belongs to nothing any more.
func (s *Stager) takeUp(ctx context.Context) error {
	builds, _, err := s.cfg.Store.Builds(ctx, store.Query{In: map[string][]string{"states": {platform.BuildStaging}}})
	if err != nil {
		return err
	}
	staging := map[string]platform.Build{}
	for _, b := range builds {
		staging[b.GUID] = b
	}
	if err := s.stopStrays(ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		s.clear(filepath.Join(s.cfg.Dir, e.Name()), staging[e.Name()])
	}
	for _, b := range builds {
		s.builds.push(b.GUID)
	}
	return s.takeUpFetches(ctx)
}

// stopStrays ends the builds that still run for a stager that is gone. Their
// results could not be trusted to be whole, and they are begun anew.
func (s *Stager) stopStrays(ctx context.Context) error {
	running, err := s.list(ctx)
	if err != nil {
		return err
	}
	for _, status := range running {
		if status.Process != "" {
			continue // an instance of an app
		}
		if err := s.cfg.Runner.Stop(ctx, status.GUID, time.Second); err != nil {
			return err
		}
		if err := s.cfg.Runner.Remove(ctx, status.GUID); err != nil {
			s.cfg.Logger.Warn("instance of an interrupted build was not removed", "build", status.GUID, "err", err)
		}
	}
	return nil
}

// list asks the runner what there is, and again while it is not there yet.
func (s *Stager) list(ctx context.Context) ([]runner.Status, error) {
	for {
		all, err := s.cfg.Runner.List(ctx)
		if err == nil || platform.KindOf(err) != platform.KindUnavailable {
			return all, err
		}
		pause(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// clear removes what an interrupted build left in dir, but for the count of
// its attempts if it is to be begun anew, and saves the app's cache.
func (s *Stager) clear(dir string, b platform.Build) {
	stage := filepath.Join(dir, "stage")
	if b.GUID != "" {
		if err := moveCache(stage, filepath.Join(s.cfg.CacheDir, b.AppGUID)); err != nil {
			s.cfg.Logger.Warn("cache of an interrupted build was lost", "app", b.AppGUID, "err", err)
		}
		dir = stage
	}
	if err := buildpacks.RemoveAll(dir); err != nil {
		s.cfg.Logger.Error("directory of an interrupted build was not removed", "dir", dir, "err", err)
	}
}

// takeUpFetches fetches again what was being fetched. An upload cannot be
// taken up, but its package still awaits it.
func (s *Stager) takeUpFetches(ctx context.Context) error {
	packages, _, err := s.cfg.Store.Packages(ctx, store.Query{In: map[string][]string{"states": {platform.PackageProcessingUpload}}})
	if err != nil {
		return err
	}
	for _, p := range packages {
		if p.Git != nil {
			s.fetches.push(p.GUID)
		}
	}
	return nil
}

// sweepNowAndThen sweeps until ctx ends: every SweepEvery, and whenever there
// was no room for something.
func (s *Stager) sweepNowAndThen(ctx context.Context) {
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("unused droplets and packages were not removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.short:
		case <-time.After(s.cfg.SweepEvery):
		}
	}
}

// sweepSoon does not wait for the next sweep: there was no room, and what was
// deleted before is to be gone when somebody tries again.
func (s *Stager) sweepSoon() {
	select {
	case s.short <- struct{}{}:
	default: // it will
	}
}

// Sweep removes the trees of droplets and packages that nothing needs any
// more, says so in their rows, and removes caches and logs of apps that are gone.
func (s *Stager) Sweep(ctx context.Context) error {
	// The rows are read before anything is removed, and a tree that is about
	// to get a row is younger than the grace.
	trees, err := s.cfg.Store.LiveDropletDigests(ctx)
	if err != nil {
		return err
	}
	packages, err := s.cfg.Store.LivePackageDigests(ctx)
	if err != nil {
		return err
	}
	freed, err := s.cfg.Droplets.Sweep(ctx, trees, packages, s.cfg.SweepGrace)
	if err != nil {
		return err
	}
	if freed > 0 {
		s.cfg.Logger.Info("unused droplets and packages were removed", "bytes", freed)
	}
	return errors.Join(s.expireDroplets(ctx), s.expirePackages(ctx), s.sweepCaches(ctx), s.sweepLogs(ctx))
}

func (s *Stager) expireDroplets(ctx context.Context) error {
	all, _, err := s.cfg.Store.Droplets(ctx, store.Query{In: map[string][]string{"states": {platform.DropletStaged}}})
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range all {
		if _, ok := s.cfg.Droplets.Tree(d.Digest); ok {
			continue
		}
		errs = append(errs, s.changeDroplet(ctx, d.GUID, func(_ *store.Tx, d *platform.Droplet) error {
			d.State = platform.DropletExpired
			return nil
		}))
	}
	return errors.Join(errs...)
}

func (s *Stager) expirePackages(ctx context.Context) error {
	all, _, err := s.cfg.Store.Packages(ctx, store.Query{In: map[string][]string{"states": {platform.PackageReady}}})
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range all {
		release, _, err := s.cfg.Droplets.PackageDir(ctx, p.Digest)
		if err == nil {
			release()
			continue
		}
		if platform.KindOf(err) != platform.KindNotFound {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, s.changePackage(ctx, p.GUID, func(p *platform.Package) { p.State = platform.PackageExpired }))
	}
	return errors.Join(errs...)
}

// sweepCaches removes the caches of apps that were deleted.
func (s *Stager) sweepCaches(ctx context.Context) error {
	entries, err := os.ReadDir(s.cfg.CacheDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if s.isDeleted(ctx, e.Name()) {
			errs = append(errs, buildpacks.RemoveAll(filepath.Join(s.cfg.CacheDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// sweepLogs removes the logs of apps that were deleted. The deletion did, but a
// build that was under way, or the router, may have had a last line to write.
func (s *Stager) sweepLogs(ctx context.Context) error {
	apps, err := s.cfg.Logs.Apps()
	if err != nil {
		return err
	}
	var errs []error
	for _, app := range apps {
		if s.isDeleted(ctx, app) {
			errs = append(errs, s.cfg.Logs.Delete(app))
		}
	}
	return errors.Join(errs...)
}

// isDeleted reports whether a name is of an app that is not there any more; one
// that no app can have is somebody else's.
func (s *Stager) isDeleted(ctx context.Context, app string) bool {
	if !platform.IsGUID(app) {
		return false
	}
	_, err := s.cfg.Store.App(ctx, app)
	return platform.KindOf(err) == platform.KindNotFound
}
