package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"weir/internal/platform"
)

// FetchOptions bound a Fetch. The zero value is safe for URLs given by users.
type FetchOptions struct {
	// AllowLocal also accepts file:// URLs and absolute paths. Never set it
	// for what a remote user typed.
	AllowLocal bool
	// MaxBytes limits both what is downloaded and what is written.
	// Zero means 2 GiB.
	MaxBytes int64
	// MaxFiles limits the number of entries written. Zero means 200,000.
	MaxFiles int
	// Timeout limits the whole fetch. Zero means 5 minutes.
	Timeout time.Duration
	// TempDir is where the repository lies meanwhile. Empty means the
	// directory of dst.
	TempDir string
	// Git is the git program to use. Empty means the one in PATH, if any;
	// "none" means to do without.
	Git string
}

func (o FetchOptions) withDefaults(dst string) FetchOptions {
	o.MaxBytes = cmp.Or(o.MaxBytes, 2<<30)
	o.MaxFiles = cmp.Or(o.MaxFiles, 200_000)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Minute)
	o.TempDir = cmp.Or(o.TempDir, filepath.Dir(dst))
	if o.Git == "" {
		o.Git, _ = exec.LookPath("git")
	} else if o.Git == "none" {
		o.Git = ""
	}
	return o
}

// Fetched says what a Fetch brought.
type Fetched struct {
	URL    string // without credentials
	Ref    string // as asked for
	Commit string // full hash
	Files  int
	Size   int64 // bytes of all files
}

// Fetch writes the files of a remote repository at ref (a branch, a tag or a
// commit; empty means the default branch) into dst, an empty or missing
// directory. The repository itself is not kept: dst has no .git.
//
// The URL is http(s), ssh or git, or the form user@host:path. Submodules and
// Git LFS pointers are refused, since their content would be missing. Errors
// are *platform.Error and never show credentials of the URL.
func Fetch(ctx context.Context, url, ref, dst string, opts FetchOptions) (Fetched, error) {
	opts = opts.withDefaults(dst)
	remote, err := parseRemote(url, opts.AllowLocal)
	if err != nil {
		return Fetched{}, err
	}
	if err := checkRef(ref); err != nil {
		return Fetched{}, err
	}
	if err := emptyDir(dst); err != nil {
		return Fetched{}, err
	}
	tmp, err := os.MkdirTemp(opts.TempDir, ".fetch-*")
	if err != nil {
		return Fetched{}, fmt.Errorf("making a directory for the repository: %w", err)
	}
	defer os.RemoveAll(tmp)

	limited, stop := context.WithTimeoutCause(ctx, opts.Timeout, remote.timedOut(opts.Timeout))
	defer stop()
	limited, watch := watchSize(limited, tmp, opts.MaxBytes, remote)
	commit, err := remote.fetch(limited, opts.Git, ref, tmp)
	watch()
	if err == nil {
		var got Fetched
		if got, err = checkOut(limited, tmp, commit, dst, opts); err == nil {
			got.URL, got.Ref = remote.shown, ref
			return got, nil
		}
	}
	// A limit that ended the work explains it better than what broke then.
	if cause := context.Cause(limited); cause != nil && ctx.Err() == nil {
		if _, ours := errors.AsType[*platform.Error](cause); ours {
			err = cause
		}
	}
	return Fetched{}, err
}

// emptyDir makes dst, or checks that it is empty.
func emptyDir(dst string) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dst)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return &fs.PathError{Op: "fetch", Path: dst, Err: errors.New("directory is not empty")}
	}
	return nil
}

// watchSize cancels the returned context once dir holds more than limit
// bytes. The function it returns ends the watch and waits for its end.
func watchSize(ctx context.Context, dir string, limit int64, r remote) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				if dirSize(dir) > limit {
					cancel(r.tooLarge(limit))
					return
				}
			}
		}
	}()
	return ctx, func() { close(quit); <-done }
}

func dirSize(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // files come and go while git works
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
