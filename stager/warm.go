package stager

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"weir/buildpacks"
	"weir/internal/platform"
)

// warmCaches gives a build that has no cache yet a copy of what its buildpack
// prepares once per machine. Nobody but weir's own scripts ever writes to what
// is copied, so no app can leave anything for another. It is an aid: without
// it the build takes longer.
func (j *job) warmCaches(ctx context.Context, p picked) error {
	for _, pack := range p.plan.Packs {
		b, ok := buildpacks.Find(pack.Key)
		if !ok || b.Name != pack.Key || b.Warms == "" || p.plan.Detect && !hasOneOf(filepath.Join(j.stage, buildpacks.AppDir), b.Markers) {
			continue
		}
		target := filepath.Join(j.stage, buildpacks.CacheDir, buildpacks.CacheName(pack.Key))
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		from, err := j.warm(ctx, b)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			j.cfg.Logger.Warn("buildpack could not prepare its cache", "buildpack", b.Name, "err", err)
			continue
		}
		if from == "" {
			continue
		}
		if err := os.CopyFS(target, os.DirFS(from)); err != nil {
			j.cfg.Logger.Warn("prepared cache of a buildpack was not copied", "buildpack", b.Name, "err", err)
			if err := buildpacks.RemoveAll(target); err != nil {
				return err
			}
		}
	}
	return nil
}

// warm returns the prepared cache of a buildpack, and prepares it if it is not
// there. Builds that want it meanwhile wait for the first. It returns "" if
// the toolchain is not on this machine.
func (j *job) warm(ctx context.Context, b buildpacks.BuiltIn) (string, error) {
	program := j.toolchain(b.Warms)
	if program == "" {
		return "", nil
	}
	sum := sha256.Sum256([]byte(b.Digest + program))
	name := b.Name + "-" + hex.EncodeToString(sum[:8])
	dir := filepath.Join(j.cfg.WarmDir, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(j.out, "-----> Preparing the buildpack %s on this machine; the first build of all takes longer\n", b.Name)
	done := j.warming.DoChan(name, func() (any, error) { return nil, j.prepareWarm(ctx, b, dir) })
	select {
	case r := <-done:
		return dir, r.Err
	case <-ctx.Done():
		<-done // the same ctx ends it, too; nothing may go on after Run
		return "", ctx.Err()
	}
}

// toolchain identifies a program in the PATH of builds: another version of it
// is another file.
func (s *Stager) toolchain(program string) string {
	for _, dir := range filepath.SplitList(s.cfg.Path) {
		p := filepath.Join(dir, program)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return fmt.Sprint(p, info.Size(), info.ModTime().UnixNano())
		}
	}
	return ""
}

// prepareWarm runs bin/warm of a buildpack in a stage of its own and keeps the
// cache it filled. A failure is remembered, so that builds do not try it again
// and again.
func (j *job) prepareWarm(ctx context.Context, b buildpacks.BuiltIn, dir string) error {
	if err, ok := j.notWarm.Load(dir); ok {
		return err.(error)
	}
	guid := platform.NewGUID()
	work := filepath.Join(j.cfg.Dir, "warm-"+guid)
	stage := filepath.Join(work, "stage")
	defer buildpacks.RemoveAll(work)
	for _, d := range []string{buildpacks.AppDir, buildpacks.PacksDir, buildpacks.HomeDir, buildpacks.TempDir, buildpacks.EnvDir} {
		if err := os.MkdirAll(filepath.Join(stage, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(work, 0o711); err != nil {
		return err
	}
	if err := b.Extract(filepath.Join(stage, buildpacks.PacksDir, "00")); err != nil {
		return err
	}
	plan := buildpacks.Plan{Warm: true, Packs: []buildpacks.PlanPack{{Key: b.Name, Name: b.Name, Dir: "00"}}}
	if err := buildpacks.WritePlan(stage, plan); err != nil {
		return err
	}
	build := platform.Build{MemoryMB: max(j.cfg.MemoryMB, 1024), Lifecycle: platform.Lifecycle{Stack: j.cfg.Stack}}
	result, exit, err := j.runIn(ctx, task{
		guid: guid, app: j.app.GUID, stage: stage, memoryMB: build.MemoryMB, diskMB: j.cfg.DiskMB,
		env: j.buildEnv(build, nil, ""), alive: func(context.Context) error { return nil },
	})
	if err == nil && result.Code != buildpacks.CodeOK {
		err = errors.New(cmp.Or(result.Message, exit.Reason))
	}
	if err != nil {
		if ctx.Err() == nil {
			j.notWarm.Store(dir, err)
		}
		return err
	}
	return keepWarm(filepath.Join(stage, buildpacks.CacheDir, buildpacks.CacheName(b.Name)), dir, b.Name)
}

// keepWarm moves a filled cache to its place and removes older ones of the
// same buildpack.
func keepWarm(from, dir, pack string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	if err := moveDir(from, dir); err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), pack+"-") {
			errs = append(errs, buildpacks.RemoveAll(filepath.Join(parent, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// moveDir renames a directory, or copies it to another file system. One that
// is there already, made by another server, stays.
func moveDir(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, syscall.EXDEV) {
		tmp := to + ".new"
		if err = errors.Join(buildpacks.RemoveAll(tmp), os.CopyFS(tmp, os.DirFS(from))); err == nil {
			err = os.Rename(tmp, to)
		}
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return err
}
