package droplets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"weir/droplets/archive"
	"weir/internal/platform"
)

// The titles of what can be wrong with a droplet as such.
const (
	TitleLinkEscape = "DropletLinkEscape"
	TitleNoDroplet  = "DropletInvalid"
)

// Commit makes the directory dir a droplet and takes it over: whatever comes
// of it, dir is gone afterwards. The same files with the same info have the
// same digest, and a digest that is there already stays as it is.
//
// Modes become 0644, 0755 for programs and directories; sockets, FIFOs and
// devices are dropped; files with a second name outside dir are copied.
// Symbolic links may lead out of it to info.Toolchains only.
func (s *Store) Commit(ctx context.Context, dir string, info CommitInfo) (Manifest, error) {
	return s.CommitKnown(ctx, dir, info, nil)
}

func (s *Store) commitDroplet(ctx context.Context, v *survey, info CommitInfo) (Manifest, error) {
	if err := checkDropletLinks(v.links, info.Toolchains); err != nil {
		return Manifest{}, err
	}
	if err := ctx.Err(); err != nil {
		return Manifest{}, err
	}
	m := Manifest{Files: v.files, Info: info, Dropped: v.dropped}
	m.seal(trees)
	_, err := s.publish(trees, &m, v.dir)
	return m, err
}

// checkDropletLinks lets links lead to toolchains of the host, such as a
// virtual environment's python, and nowhere else outside.
func checkDropletLinks(links archive.Links, toolchains []string) error {
	err := links.Check(func(name, target string) error {
		for _, t := range toolchains {
			t = filepath.Clean(t)
			if target == t || strings.HasPrefix(target, t+"/") {
				return nil
			}
		}
		return &platform.Error{Msg: fmt.Sprintf("the symbolic link %q points to %q, outside the droplet", name, target)}
	})
	if e, ok := errors.AsType[*platform.Error](err); ok {
		return &platform.Error{
			Kind:  platform.KindInvalid,
			Title: TitleLinkEscape,
			Msg:   "the build left a link that would not work, or not be safe, where the app runs: " + e.Msg,
			Hint:  "have the buildpack copy the file into the app, or link to it by a relative path",
		}
	}
	return err
}

// Tree returns the directory of a droplet. It is never written to; hold a
// Lease while it is not known to Sweep as live.
func (s *Store) Tree(digest string) (dir string, ok bool) {
	return s.treePath(trees, digest), s.present(trees, digest)
}

// Manifest returns what a droplet consists of.
func (s *Store) Manifest(ctx context.Context, digest string) (Manifest, error) {
	return s.readManifest(ctx, trees, digest)
}

// Lease keeps a droplet from being swept until release is called, as often as
// one likes. It returns a KindNotFound error if the droplet was swept, and one
// titled TitleCorrupt if it was found damaged.
func (s *Store) Lease(digest string) (release func(), err error) { return s.hold(trees, digest) }

// Export writes a droplet to w in Cloud Foundry's layout (./app ./deps …).
func (s *Store) Export(ctx context.Context, digest string, f archive.Format, w io.Writer) error {
	release, err := s.hold(trees, digest)
	if err != nil {
		return err
	}
	defer release()
	_, err = archive.Pack(ctx, w, s.treePath(trees, digest), f, "./")
	return err
}

// Import reads a droplet from an archive of Cloud Foundry's layout. inspect,
// if not nil, is called with the unpacked tree to say what belongs to it
// besides its files; it may read the tree and complete it.
func (s *Store) Import(ctx context.Context, r io.Reader, inspect func(dir string) (CommitInfo, error)) (Manifest, error) {
	work, err := s.temp("import")
	if err != nil {
		return Manifest{}, err
	}
	defer removeAll(work)
	dir := filepath.Join(work, "tree")
	if err := s.unpackDroplet(ctx, work, dir, r); err != nil {
		return Manifest{}, err
	}
	if info, err := os.Lstat(filepath.Join(dir, "app")); err != nil || !info.IsDir() {
		return Manifest{}, &platform.Error{
			Kind:  platform.KindInvalid,
			Title: TitleNoDroplet,
			Msg:   `the archive is no droplet: it has no directory "app"`,
			Hint:  "upload what weir download-droplet or cf download-droplet gave; to push an app's source use weir push -p",
		}
	}
	var info CommitInfo
	if inspect != nil {
		if info, err = inspect(dir); err != nil {
			return Manifest{}, err
		}
	}
	v, err := s.look(ctx, dir, false, nil)
	if err != nil {
		return Manifest{}, err
	}
	return s.commitDroplet(ctx, v, info)
}

func (s *Store) unpackDroplet(ctx context.Context, work, dir string, r io.Reader) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return archive.DiskError(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	sp := &space{s: s}
	src, size, done, err := s.spool(ctx, filepath.Join(work, "bits"), r, s.o.Limits.Bytes, sp)
	if err != nil {
		return err
	}
	defer done()
	_, err = archive.Unpack(ctx, src, size, root, archive.Options{
		Limits: s.o.Limits, Progress: sp.add,
		// A build on Linux may well have made both; commitDroplet judges links.
		AllowCaseCollisions: true, AllowAbsoluteLinks: true,
	})
	return err
}
