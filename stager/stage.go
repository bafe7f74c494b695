package stager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/buildpacks"
	"weir/droplets"
	"weir/internal/platform"
	"weir/internal/store"
)

// stagingLog is the source type of a build's lines.
const stagingLog = "STG"

// maxAttempts is how often a build is begun. One that keeps bringing the
// stager down must end some time.
const maxAttempts = 3

// job is a build a worker has taken up.
type job struct {
	*Stager
	build platform.Build
	pkg   platform.Package
	app   platform.App
	dir   string         // of this build
	stage string         // in it
	out   io.WriteCloser // the staging log
	start time.Time
}

// stage carries one build out, to its row's last state.
func (s *Stager) stage(ctx context.Context, guid string) {
	j, err := s.newJob(ctx, guid)
	if err != nil {
		s.cfg.Logger.Error("build was not begun", "build", guid, "err", err)
		return
	}
	if j == nil {
		return // gone or ended meanwhile
	}
	defer j.out.Close()
	err = j.run(ctx)
	if ctx.Err() != nil {
		return // the next Run begins it anew
	}
	if errors.Is(err, errGone) {
		s.cfg.Logger.Info("build was given up: its app was deleted", "app", j.app.GUID, "build", guid)
	} else if err != nil {
		j.fail(context.WithoutCancel(ctx), err)
	}
	if err := buildpacks.RemoveAll(j.dir); err != nil {
		s.cfg.Logger.Error("directory of a build was not removed", "build", guid, "err", err)
	}
}

func (s *Stager) newJob(ctx context.Context, guid string) (*job, error) {
	j := &job{Stager: s, dir: filepath.Join(s.cfg.Dir, guid), start: time.Now()}
	j.stage = filepath.Join(j.dir, "stage")
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if j.build, err = tx.Build(ctx, guid); err != nil {
			return err
		}
		if j.pkg, err = tx.Package(ctx, j.build.PackageGUID); err != nil {
			return err
		}
		j.app, err = tx.App(ctx, j.build.AppGUID)
		return err
	})
	if platform.KindOf(err) == platform.KindNotFound || err == nil && j.build.State != platform.BuildStaging {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j.out = s.cfg.Logs.Writer(j.app.GUID, stagingLog, "0", false)
	return j, nil
}

// run is a build from the package to the droplet.
func (j *job) run(ctx context.Context) error {
	if err := j.open(); err != nil {
		return err
	}
	picked, err := j.prepare(ctx)
	if err != nil {
		return err
	}
	result, err := j.execute(ctx)
	j.saveCache()
	if err != nil {
		return err
	}
	if result.Code != buildpacks.CodeOK {
		return resultFailure(result, j.app.Name)
	}
	return j.commit(context.WithoutCancel(ctx), picked, result)
}

// open makes the build's directory and counts the attempt.
func (j *job) open() error {
	attempt := attempts(j.dir) + 1
	if attempt > maxAttempts {
		return &failure{"StagerInterrupted", fmt.Sprintf("the build was interrupted %d times", maxAttempts), "push again; the server's log says why it stopped"}
	}
	if err := os.MkdirAll(j.dir, 0o711); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.dir, "attempt"), []byte(strconv.Itoa(attempt)), 0o600); err != nil {
		return err
	}
	if attempt > 1 {
		fmt.Fprintf(j.out, "Staging app %s again, from the beginning: weir was restarted\n", j.app.Name)
	} else {
		fmt.Fprintf(j.out, "Staging app %s\n", j.app.Name)
	}
	return buildpacks.RemoveAll(j.stage)
}

// attempts reads how often the build in dir was begun.
func attempts(dir string) int {
	data, err := os.ReadFile(filepath.Join(dir, "attempt"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return maxAttempts
	}
	return n
}

// prepare fills the stage.
func (j *job) prepare(ctx context.Context) (picked, error) {
	for _, dir := range []string{buildpacks.DropletDir, buildpacks.PacksDir, buildpacks.HomeDir, buildpacks.TempDir, buildpacks.EnvDir} {
		if err := os.MkdirAll(filepath.Join(j.stage, dir), 0o755); err != nil {
			return picked{}, err
		}
	}
	release, files, err := j.cfg.Droplets.PackageDir(ctx, j.pkg.Digest)
	if err != nil {
		return picked{}, fmt.Errorf("opening the package: %w", err)
	}
	defer release()
	if err := j.cfg.Droplets.CheckPackageOnce(ctx, j.pkg.Digest); err != nil {
		return picked{}, err
	}
	p, err := j.pick(ctx, j.stage, files, j.build.Lifecycle, j.out)
	if err != nil {
		return p, err
	}
	put := j.cfg.Droplets.CopyKnown
	if p.plan.Linked {
		put = j.cfg.Droplets.LinkKnown
	}
	if p.known, err = put(ctx, j.pkg.Digest, filepath.Join(j.stage, buildpacks.AppDir)); err != nil {
		return p, fmt.Errorf("copying the files of the package: %w", err)
	}
	if err := buildpacks.WritePlan(j.stage, p.plan); err != nil {
		return p, err
	}
	cache := filepath.Join(j.cfg.CacheDir, j.app.GUID)
	if err := os.Rename(cache, filepath.Join(j.stage, buildpacks.CacheDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	return p, j.warmCaches(ctx, p)
}

// saveCache takes the cache out of the stage again.
func (j *job) saveCache() {
	if err := moveCache(j.stage, filepath.Join(j.cfg.CacheDir, j.app.GUID)); err != nil {
		j.cfg.Logger.Warn("cache of a build was lost", "app", j.app.GUID, "err", err)
	}
}

func moveCache(stage, cache string) error {
	from := filepath.Join(stage, buildpacks.CacheDir)
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("the build replaced its cache by something else")
	}
	if err := buildpacks.RemoveAll(cache); err != nil {
		return err
	}
	return os.Rename(from, cache)
}

// errGone says that the build's row is no more.
var errGone = errors.New("build was deleted")

// execute runs the buildpacks in the stage and returns what they did.
func (j *job) execute(ctx context.Context) (buildpacks.Result, error) {
	all, own, err := j.appEnv(ctx, j.app)
	if err != nil {
		return buildpacks.Result{}, err
	}
	if err := writeEnvDir(filepath.Join(j.stage, buildpacks.EnvDir), own); err != nil {
		return buildpacks.Result{}, err
	}
	result, exit, err := j.runIn(ctx, task{
		guid: j.build.GUID, app: j.app.GUID, stage: j.stage, memoryMB: j.build.MemoryMB, diskMB: j.build.DiskMB,
		env: j.buildEnv(j.build, all, sourceVersion(j.pkg)),
		alive: func(ctx context.Context) error {
			if _, err := j.cfg.Store.Build(ctx, j.build.GUID); platform.KindOf(err) == platform.KindNotFound {
				return errGone
			}
			return nil
		},
	})
	switch {
	case errors.Is(err, errTimeout):
		return result, &failure{
			"StagingTimeExpired", fmt.Sprintf("staging time expired: the build was not done after %s", j.cfg.Timeout),
			"the staging log shows where it was: weir logs " + j.app.Name + " --recent",
		}
	case errors.Is(err, errNoResult) && diskIsFull(j.stage):
		return result, explain(syscall.ENOSPC)
	case errors.Is(err, errNoResult):
		return result, endedEarly(exit, j.build.MemoryMB, j.app.Name)
	}
	return result, err
}

// commit makes the droplet: its tree first, then its row and the build's end
// in one transaction.
func (j *job) commit(ctx context.Context, p picked, r buildpacks.Result) error {
	tree := filepath.Join(j.stage, buildpacks.DropletDir)
	for _, dir := range []string{j.stage, tree, filepath.Join(j.stage, buildpacks.AppDir)} {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			return &failure{"StagingError", "the build left no app behind: its directory was removed or replaced", ""}
		}
	}
	info := droplets.CommitInfo{ProcessTypes: r.ProcessTypes, Stack: j.build.Lifecycle.Stack, Toolchains: toolchains}
	d := platform.Droplet{
		Resource: newResource(platform.Metadata{}), AppGUID: j.app.GUID, PackageGUID: j.pkg.GUID, BuildGUID: j.build.GUID,
		State: platform.DropletStaged, ProcessTypes: r.ProcessTypes, Stack: j.build.Lifecycle.Stack, Lifecycle: j.build.Lifecycle,
	}
	for _, used := range r.Used {
		identity := p.digests[used.Key]
		identity.Version = used.Version
		info.Buildpacks = append(info.Buildpacks, identity)
		d.Buildpacks = append(d.Buildpacks, platform.DropletBuildpack{
			Name: used.Key, BuildpackName: used.Name, DetectOutput: used.DetectOutput, Version: used.Version,
		})
	}
	for _, c := range r.Sidecars {
		d.Sidecars = append(d.Sidecars, platform.Sidecar(c))
	}
	m, err := j.cfg.Droplets.CommitKnown(ctx, tree, info, p.known)
	if err != nil {
		return fmt.Errorf("storing the droplet: %w", err)
	}
	if len(m.Dropped) > 0 {
		fmt.Fprintf(j.out, "       Warning: sockets, FIFOs and devices are no part of a droplet; left out: %s\n", strings.Join(m.Dropped, ", "))
	}
	d.Digest, d.Size = m.Digest, m.Size
	if err := j.finish(ctx, d); err != nil {
		return err
	}
	took := time.Since(j.start)
	fmt.Fprintf(j.out, "-----> Staged in %s (scripts %.3fs): droplet %s, %d files, %s\n", seconds(took), r.ScriptTime.Seconds(), m.Digest[:12], len(m.Files), size(m.Size))
	j.cfg.Logger.Info("build staged", "app", j.app.GUID, "build", j.build.GUID, "dur", took, "scripts", r.ScriptTime)
	return nil
}

// finish writes the droplet and the build's end down.
func (j *job) finish(ctx context.Context, d platform.Droplet) error {
	return j.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		b, err := tx.Build(ctx, j.build.GUID)
		if platform.KindOf(err) == platform.KindNotFound {
			return errGone
		}
		if err != nil {
			return err
		}
		if err := tx.InsertDroplet(ctx, d); err != nil {
			return err
		}
		b.State, b.DropletGUID, b.UpdatedAt = platform.BuildStaged, d.GUID, time.Now().UTC()
		if err := tx.UpdateBuild(ctx, b); err != nil {
			return err
		}
		return event(ctx, tx, b.CreatedBy, "audit.app.build.staged", b.AppGUID, map[string]any{
			"build_guid": b.GUID, "package_guid": b.PackageGUID, "droplet_guid": d.GUID,
		})
	})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func size(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%dM", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%dK", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}
