package stager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"weir/buildpacks"
	"weir/internal/platform"
	"weir/internal/store"
)

// failure is why a build failed, in Cloud Foundry's terms. Its text is
// "Title - message", then the hint on a line of its own.
type failure struct {
	title, msg, hint string
}

func (f *failure) Error() string {
	text := f.title + " - " + f.msg
	if f.hint != "" {
		text += "\nhint: " + f.hint
	}
	return text
}

// resultFailure explains what the buildpacks could not do.
func resultFailure(r buildpacks.Result, app string) *failure {
	logHint := "the staging log tells more: weir logs " + app + " --recent"
	detail := r.Message
	for _, line := range r.Tail {
		detail += "\n  " + line
	}
	if slices.ContainsFunc(r.Tail, noSpaceText) {
		return &failure{"NoSpace", "the disk is full: " + detail, "free some disk space on the server: weir droplets, weir delete"}
	}
	switch r.Code {
	case buildpacks.CodeNotDetected:
		return &failure{
			"NoAppDetectedError", upper(r.Message),
			"push the directory that holds the app (-p), or say how to run it: a Procfile, or -b and -c",
		}
	case buildpacks.CodeReleaseFailed:
		return &failure{"BuildpackReleaseFailed", "App staging failed in the buildpack release phase: " + detail, logHint}
	case buildpacks.CodeSupplyFailed:
		return &failure{"BuildpackCompileFailed", "App staging failed in the buildpack supply phase: " + detail, logHint}
	case buildpacks.CodeFinalizeFailed:
		return &failure{"BuildpackCompileFailed", "App staging failed in the buildpack finalize phase: " + detail, logHint}
	case buildpacks.CodeCompileFailed:
		return &failure{"BuildpackCompileFailed", "App staging failed in the buildpack compile phase: " + detail, logHint}
	}
	return &failure{"StagingError", "App staging failed: " + detail, logHint}
}

// endedEarly explains a build that left no result: something killed it.
func endedEarly(exit platform.Exit, memoryMB int, app string) *failure {
	if exit.OOM {
		return &failure{
			"InsufficientResources", fmt.Sprintf("the build ran out of memory (limit %dM)", memoryMB),
			fmt.Sprintf("push again with -m %dM: a build gets as much memory as an instance of the app", 2*memoryMB),
		}
	}
	how := exit.Reason
	if how == "" {
		how = fmt.Sprintf("exited with status %d", exit.Code)
		if exit.Signal != "" {
			how = "was ended by " + exit.Signal
		}
	}
	return &failure{"StagingError", "the build ended without a result: " + how, "the staging log tells more: weir logs " + app + " --recent"}
}

// diskIsFull reports whether there is no room left where dir is.
func diskIsFull(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && (st.Bavail*uint64(st.Bsize) < 1<<20 || st.Files > 0 && st.Ffree == 0)
}

// explain turns any error into a failure.
func explain(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	e, ours := errors.AsType[*platform.Error](err)
	if isNoSpace(err) {
		msg := "the disk of the server is full"
		if ours {
			msg = e.Msg
		}
		return &failure{"NoSpace", msg, "free some disk space on the server, then push again"}
	}
	if ours {
		return &failure{"StagingError", e.Msg, e.Hint}
	}
	return &failure{"StagingError", "an internal error, see the server's log", ""}
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || platform.KindOf(err) == platform.KindExhausted
}

func noSpaceText(line string) bool {
	line = strings.ToLower(line)
	return strings.Contains(line, "no space left on device") || strings.Contains(line, "disk quota exceeded")
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// fail writes down that the build failed, and why, where people look: its row,
// the staging log, the audit log.
func (j *job) fail(ctx context.Context, err error) {
	f := explain(err)
	if f.title == "NoSpace" {
		j.sweepSoon()
	}
	j.cfg.Logger.Warn("build failed", "app", j.app.GUID, "build", j.build.GUID, "title", f.title, "err", err)
	w := j.cfg.Logs.Writer(j.app.GUID, stagingLog, "0", true)
	fmt.Fprintf(w, "Staging failed: %s\n", f.Error())
	w.Close()
	if err := j.failBuild(ctx, j.build.GUID, f); err != nil {
		j.cfg.Logger.Error("failure of a build was not stored", "build", j.build.GUID, "err", err)
	}
}

// failBuild ends a build's row with a failure.
func (s *Stager) failBuild(ctx context.Context, guid string, f *failure) error {
	return s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		b, err := tx.Build(ctx, guid)
		if platform.KindOf(err) == platform.KindNotFound {
			return nil
		}
		if err != nil || b.State != platform.BuildStaging {
			return err
		}
		b.State, b.Error, b.UpdatedAt = platform.BuildFailed, f.Error(), time.Now().UTC()
		if err := tx.UpdateBuild(ctx, b); err != nil {
			return err
		}
		return event(ctx, tx, b.CreatedBy, "audit.app.build.failed", b.AppGUID, map[string]any{
			"build_guid": b.GUID, "package_guid": b.PackageGUID, "reason": f.title,
		})
	})
}
