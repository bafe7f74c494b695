// Package droplets keeps what apps are made of: packages (the source of an
// app) and droplets (what a build made of it), both as immutable extracted
// trees named by the SHA-256 of their canonical manifest, and a pool of files
// by content so that a second push sends only what changed.
//
//	DIR/trees/<digest>/       a droplet: app/ deps/ profile.d/ tmp/ logs/ staging_info.yml
//	DIR/trees/<digest>.json   its manifest
//	DIR/packages/<digest>/    a package: the files of an app
//	DIR/packages/<digest>.json
//	DIR/pool/ab/<sha1>-<size> hard links to files of packages; -x for executables
//	DIR/tmp/<session>/        work under way; leftovers go at the next Open
//
// A tree appears by one rename, after everything in it and its manifest are on
// disk, and is never written again. Files of a tree share their inode with
// the pool and with other trees, so whoever runs an app gives it an overlay or
// a copy, never the tree itself.
package droplets

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weir/droplets/archive"
	"weir/internal/platform"
)

const (
	defaultMaxBytes = 1 << 30
	defaultReserve  = 32 << 20
	// pathRoom is what a path in a tree leaves of Linux's 4096 bytes to the
	// directories above it, here and wherever the tree is copied or mounted.
	pathRoom = 1024
	workers  = 2
)

// Options of a Store. The zero value is usable.
type Options struct {
	// MaxBytes bounds an uploaded package as it arrives, packed. Default 1 GiB.
	// A droplet may be as large as Limits.Bytes.
	MaxBytes int64
	// Limits bounds what an upload unpacks to.
	Limits archive.Limits
	// Reserve is the free disk space uploads leave to the rest of the
	// platform. Default 32 MiB, or 2 % of the disk if that is less.
	Reserve int64
	// Logger gets a line for what was cleaned up or found damaged. Default: none.
	Logger *slog.Logger
}

// area is one of the two directories trees live in.
type area string

const (
	trees    area = "trees"
	packages area = "packages"
)

func (a area) noun() string {
	if a == trees {
		return "droplet"
	}
	return "package"
}

func (a area) notFound() *platform.Error {
	e := &platform.Error{
		Kind: platform.KindNotFound,
		Msg:  fmt.Sprintf("the files of the %s are not on the server any more", a.noun()),
		Hint: "stage the app again: weir restage <app>",
	}
	if a == packages {
		e.Hint = "push the app again"
	}
	return e
}

// Store is the droplet store of one machine. It is safe for concurrent use.
type Store struct {
	dir     string
	o       Options
	log     *slog.Logger
	session string      // our directory below tmp
	lock    *os.File    // the same, locked for as long as we live
	cloning atomic.Bool // until the file system says it cannot
	linked  atomic.Uint64
	sound   sync.Map // the trees, each a lease, that checkOnce passes over

	discards sync.WaitGroup // trees being removed

	// mu makes looking at trees/ and packages/ and then renaming into or out
	// of them one step; what happens under it is a few renames, no copying.
	mu     sync.Mutex
	leases map[lease]int // guarded by mu
}

type lease struct {
	area   area
	digest string
}

// Open opens the store in dir, creating it if need be, and removes what a
// crash left behind. One process at a time uses a store.
func Open(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Limits.PathBytes <= 0 {
		o.Limits.PathBytes = syscall.PathMax - pathRoom
	}
	if o.Limits.Bytes <= 0 {
		o.Limits.Bytes = 4 << 30
	}
	s := &Store{dir: dir, o: o, log: o.Logger, leases: map[lease]int{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.cloning.Store(true)
	for _, d := range []struct {
		name string
		mode fs.FileMode // instances run under other uids and pass through
	}{{"", 0o711}, {string(trees), 0o711}, {string(packages), 0o711}, {"pool", 0o700}, {"tmp", 0o700}} {
		if err := makeDir(filepath.Join(dir, d.name), d.mode); err != nil {
			return nil, fmt.Errorf("opening the droplet store: %w", err)
		}
	}
	if err := s.openSession(); err != nil {
		return nil, fmt.Errorf("opening the droplet store: %w", err)
	}
	return s, s.dropOrphans()
}

// makeDir creates a directory, or gives one of ours the bits it lacks.
func makeDir(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&mode == mode {
		return nil
	}
	return os.Chmod(dir, info.Mode().Perm()|mode)
}

// openSession makes our directory below tmp and removes those whose owner is
// gone: an owner holds a lock on its directory, which the kernel drops when it
// dies.
func (s *Store) openSession() error {
	tmp := filepath.Join(s.dir, "tmp")
	gate, err := os.Open(tmp)
	if err != nil {
		return err
	}
	defer gate.Close() // and with it the lock
	if err := syscall.Flock(int(gate.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.dropSession(filepath.Join(tmp, e.Name())); err != nil {
			return err
		}
	}
	if s.session, err = os.MkdirTemp(tmp, "s-"); err != nil {
		return err
	}
	Spread(s.session)
	if s.lock, err = os.Open(s.session); err != nil {
		return err
	}
	return syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func (s *Store) dropSession(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil // somebody is at work in it
	}
	if err := removeAll(dir); err != nil {
		// Not a reason not to start: a build may have left files of another
		// user, which only root can remove.
		s.log.Warn("could not remove all leftovers of an interrupted upload or build", "dir", dir, "err", err)
		return nil
	}
	s.log.Info("removed leftovers of an interrupted upload or build", "dir", filepath.Base(dir))
	return nil
}

// dropOrphans removes manifests whose tree never came, or went.
func (s *Store) dropOrphans() error {
	for _, a := range []area{trees, packages} {
		found, err := s.list(a)
		if err != nil {
			return err
		}
		for _, digest := range found {
			if _, err := os.Lstat(s.treePath(a, digest)); errors.Is(err, fs.ErrNotExist) {
				s.forget(a, digest)
			}
		}
	}
	return nil
}

// discard removes a tree that is there already, while nobody waits.
func (s *Store) discard(dir string) {
	gone := filepath.Join(s.session, "gone-"+strconv.FormatUint(s.linked.Add(1), 10))
	if os.Rename(dir, gone) != nil {
		return // it stays in the directory of its work, which goes anyway
	}
	s.discards.Go(func() {
		if err := removeAll(gone); err != nil {
			s.log.Warn("could not remove a tree that was there already", "err", err)
		}
	})
}

// Close gives up the store's temporary directory.
func (s *Store) Close() error {
	s.discards.Wait()
	err := removeAll(s.session)
	return errors.Join(err, s.lock.Close())
}

// temp makes an empty directory for one piece of work.
func (s *Store) temp(what string) (string, error) {
	dir, err := os.MkdirTemp(s.session, what+"-")
	return dir, archive.DiskError(err)
}

func (s *Store) treePath(a area, digest string) string {
	return filepath.Join(s.dir, string(a), digest)
}

func (s *Store) manifestPath(a area, digest string) string { return s.treePath(a, digest) + ".json" }

func (s *Store) damagedPath(a area, digest string) string { return s.treePath(a, digest) + ".damaged" }

// list returns the digests an area has anything of.
func (s *Store) list(a area) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, string(a)))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		// ReadDir sorts, so what belongs together comes together.
		if d, _, _ := cut(e.Name()); isDigest(d) && (len(found) == 0 || found[len(found)-1] != d) {
			found = append(found, d)
		}
	}
	return found, nil
}

// forget removes what lies beside a tree.
func (s *Store) forget(a area, digest string) {
	s.sound.Delete(lease{a, digest})
	os.Remove(s.manifestPath(a, digest))
	os.Remove(s.damagedPath(a, digest))
}

// present reports whether a tree is there, whole as far as anyone knows.
func (s *Store) present(a area, digest string) bool {
	if !isDigest(digest) {
		return false
	}
	info, err := os.Lstat(s.treePath(a, digest))
	if err != nil || !info.IsDir() {
		return false
	}
	if _, err := os.Lstat(s.manifestPath(a, digest)); err != nil {
		return false
	}
	_, err = os.Lstat(s.damagedPath(a, digest))
	return errors.Is(err, fs.ErrNotExist)
}

// publish makes the tree in dir, described by m, the one of its digest. If
// there is one already it stays and dir goes. What m describes must be
// complete; publish puts it on disk first.
func (s *Store) publish(a area, m *Manifest, dir string) (existed bool, err error) {
	if s.touch(a, m.Digest) {
		s.discard(dir)
		return true, nil
	}
	manifest := dir + ".json"
	if err := m.write(manifest); err != nil {
		return false, archive.DiskError(err)
	}
	if err := syncFS(s.lock); err != nil {
		return false, archive.DiskError(err)
	}
	if existed, err = s.install(a, m.Digest, dir, manifest); err != nil {
		return false, archive.DiskError(err)
	}
	if existed {
		os.Remove(manifest)
		s.discard(dir)
		return true, nil
	}
	s.sound.Store(lease{a, m.Digest}, true)
	return false, archive.DiskError(syncDir(filepath.Join(s.dir, string(a))))
}

// install renames tree and manifest into place, the tree last: it is what
// makes them visible.
func (s *Store) install(a area, digest, dir, manifest string) (existed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.touchLocked(a, digest) {
		return true, nil
	}
	final := s.treePath(a, digest)
	if _, err := os.Lstat(final); err == nil {
		// Damaged, but instances may run on it: out of the way, for Sweep.
		s.log.Warn("replaced a damaged tree", "area", string(a), "digest", digest)
		aside := fmt.Sprintf("%s.old-%d", final, time.Now().UnixNano())
		if err := os.Rename(final, aside); err != nil {
			return false, err
		}
	}
	s.forget(a, digest)
	if err := os.Rename(manifest, s.manifestPath(a, digest)); err != nil {
		return false, err
	}
	return false, os.Rename(dir, final)
}

// touch makes an existing tree look new to Sweep.
func (s *Store) touch(a area, digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touchLocked(a, digest)
}

func (s *Store) touchLocked(a area, digest string) bool {
	now := time.Now()
	return s.present(a, digest) && os.Chtimes(s.manifestPath(a, digest), now, now) == nil
}

// hold takes a lease.
func (s *Store) hold(a area, digest string) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.present(a, digest) {
		if _, err := os.Lstat(s.damagedPath(a, digest)); isDigest(digest) && err == nil {
			return nil, corrupt(a, digest, "an earlier check found them changed", nil)
		}
		return nil, a.notFound()
	}
	key := lease{a, digest}
	s.leases[key]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.leases[key]--; s.leases[key] == 0 {
			delete(s.leases, key)
		}
	}), nil
}
