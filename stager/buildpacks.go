package stager

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/buildpacks"
	"weir/internal/platform"
	"weir/internal/store"
)

// The states of a buildpack.
const (
	buildpackAwaitingUpload = "AWAITING_UPLOAD"
	buildpackReady          = "READY"
)

// installBuiltIns gives each buildpack that is part of weir a row, in order of
// detection and before what an operator added, unless it has one.
func (s *Stager) installBuiltIns(ctx context.Context) error {
	return s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		rows, err := sorted(ctx, tx.Rows)
		if err != nil {
			return err
		}
		have := map[string]bool{}
		for _, r := range rows {
			have[r.Name] = true
		}
		for i, b := range buildpacks.All() {
			if have[b.Name] {
				continue
			}
			row := platform.Buildpack{
				Resource: newResource(platform.Metadata{}), Name: b.Name, Enabled: true,
				State: buildpackReady, Filename: b.Name + " (part of weir)", BuiltIn: true,
			}
			if err := tx.InsertBuildpack(ctx, row); err != nil {
				return err
			}
			if err := place(ctx, tx, row, i+1); err != nil {
				return err
			}
		}
		return nil
	})
}

// sorted returns all buildpacks in order of position.
func sorted(ctx context.Context, rows store.Rows) ([]platform.Buildpack, error) {
	all, _, err := rows.Buildpacks(ctx, store.Query{OrderBy: "position"})
	return all, err
}

// place puts a buildpack at a position, from 1, and renumbers the others.
func place(ctx context.Context, tx *store.Tx, b platform.Buildpack, position int) error {
	all, err := sorted(ctx, tx.Rows)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(o platform.Buildpack) bool { return o.GUID == b.GUID })
	at := min(max(position, 1)-1, len(all))
	all = slices.Insert(all, at, b)
	for i, o := range all {
		if o.Position == i+1 && o.GUID != b.GUID {
			continue
		}
		o.Position = i + 1
		if err := tx.UpdateBuildpack(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// buildpackName is what a name may look like. Anything else could be taken
// for an address or a path.
var buildpackName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// validName also bounds the length: a pattern that counts that far would cost
// every process of weir a quarter of a MiB.
func validName(name string) bool { return len(name) <= 250 && buildpackName.MatchString(name) }

// CreateBuildpack adds a buildpack that awaits its upload.
func (s *Stager) CreateBuildpack(ctx context.Context, actor platform.Actor, b platform.Buildpack) (platform.Buildpack, error) {
	b = platform.Buildpack{
		Resource: newResource(b.Metadata), Name: b.Name, Position: b.Position, Enabled: b.Enabled, Locked: b.Locked,
		Stack: b.Stack, State: buildpackAwaitingUpload,
	}
	if !validName(b.Name) {
		return platform.Buildpack{}, platform.Invalidf("Name can only contain alphanumeric characters, dots, dashes and underscores")
	}
	if b.Position == 0 {
		b.Position = 1
	}
	if b.Position < 0 {
		return platform.Buildpack{}, platform.Invalidf("Position must be greater than or equal to 1")
	}
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := uniqueName(ctx, tx, b); err != nil {
			return err
		}
		if err := tx.InsertBuildpack(ctx, b); err != nil {
			return err
		}
		if err := place(ctx, tx, b, b.Position); err != nil {
			return err
		}
		var err error
		b, err = tx.Buildpack(ctx, b.GUID)
		return err
	})
	return b, err
}

// uniqueName refuses a second buildpack of a name and stack; the store's rule
// does not see that a built-in one serves every stack.
func uniqueName(ctx context.Context, tx *store.Tx, b platform.Buildpack) error {
	same, _, err := tx.Buildpacks(ctx, store.Query{In: map[string][]string{"names": {b.Name}}})
	if err != nil {
		return err
	}
	for _, o := range same {
		if o.GUID != b.GUID && o.BuiltIn {
			return &platform.Error{
				Kind: platform.KindInvalid, Msg: fmt.Sprintf("buildpack %q is part of weir", b.Name),
				Hint: "choose another name; a lower position makes it come before the one that is built in",
			}
		}
	}
	return nil
}

// UpdateBuildpack changes a buildpack. The built-in ones can be disabled,
// locked and moved, not renamed.
func (s *Stager) UpdateBuildpack(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Buildpack) error) (platform.Buildpack, error) {
	var b platform.Buildpack
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		if b, err = tx.Buildpack(ctx, guid); err != nil {
			return err
		}
		changed := b
		changed.Metadata = cloneMetadata(b.Metadata)
		if err := change(&changed); err != nil {
			return err
		}
		if b.BuiltIn && (changed.Name != b.Name || changed.Stack != b.Stack) {
			return platform.Invalidf("buildpack %q is part of weir: it can be enabled, disabled, locked and moved, not renamed", b.Name)
		}
		if !validName(changed.Name) {
			return platform.Invalidf("Name can only contain alphanumeric characters, dots, dashes and underscores")
		}
		if changed.Position < 1 {
			return platform.Invalidf("Position must be greater than or equal to 1")
		}
		if b.Stack != "" && changed.Stack != b.Stack {
			return platform.Invalidf("Buildpack stack can not be changed")
		}
		position := changed.Position
		b.Name, b.Stack, b.Enabled, b.Locked, b.Metadata = changed.Name, changed.Stack, changed.Enabled, changed.Locked, changed.Metadata
		b.UpdatedAt = time.Now().UTC()
		if err := uniqueName(ctx, tx, b); err != nil {
			return err
		}
		if err := tx.UpdateBuildpack(ctx, b); err != nil {
			return err
		}
		if err := place(ctx, tx, b, position); err != nil {
			return err
		}
		b, err = tx.Buildpack(ctx, guid)
		return err
	})
	return b, err
}

// UploadBuildpack gives a buildpack its files. It is READY when this returns.
func (s *Stager) UploadBuildpack(ctx context.Context, actor platform.Actor, guid, filename string, bits io.Reader) (platform.Buildpack, error) {
	b, err := s.cfg.Store.Buildpack(ctx, guid)
	if err != nil {
		return b, err
	}
	done, err := s.receive(guid)
	if err != nil {
		return b, err
	}
	defer done()
	if b.BuiltIn {
		return b, platform.Invalidf("buildpack %q is part of weir and takes no upload", b.Name)
	}
	if b.Locked {
		return b, &platform.Error{Kind: platform.KindConflict, Title: "BuildpackLocked", Msg: "The buildpack is locked", Hint: "unlock it first: weir update-buildpack --unlock"}
	}
	digest, _, err := s.cfg.Droplets.PutPackage(ctx, bits, nil)
	if err != nil {
		return b, err
	}
	if err := s.checkBuildpack(ctx, digest); err != nil {
		return b, err
	}
	err = s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if b, err = tx.Buildpack(ctx, guid); err != nil {
			return err
		}
		b.Digest, b.State, b.Filename, b.UpdatedAt = digest, buildpackReady, filepath.Base(filename), time.Now().UTC()
		return tx.UpdateBuildpack(ctx, b)
	})
	return b, err
}

// checkBuildpack refuses an upload that no build could use.
func (s *Stager) checkBuildpack(ctx context.Context, digest string) error {
	release, dir, err := s.cfg.Droplets.PackageDir(ctx, digest)
	if err != nil {
		return err
	}
	defer release()
	if err := buildpacks.Check(dir); err != nil {
		return &platform.Error{
			Kind: platform.KindInvalid, Title: "BuildpackInvalid", Msg: "the archive is no buildpack: " + err.Error(),
			Hint: "a buildpack has bin/detect and bin/compile, or bin/supply and bin/finalize, at its top",
		}
	}
	return nil
}

// DeleteBuildpack removes a buildpack. A built-in one cannot be removed.
func (s *Stager) DeleteBuildpack(ctx context.Context, actor platform.Actor, guid string) error {
	return s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		b, err := tx.Buildpack(ctx, guid)
		if err != nil {
			return err
		}
		if b.BuiltIn {
			return &platform.Error{Kind: platform.KindInvalid, Msg: fmt.Sprintf("buildpack %q is part of weir", b.Name), Hint: "disable it instead: weir update-buildpack --disable"}
		}
		if err := tx.DeleteBuildpack(ctx, guid); err != nil {
			return err
		}
		rest, err := sorted(ctx, tx.Rows)
		if err != nil || len(rest) == 0 {
			return err
		}
		return place(ctx, tx, rest[0], 1)
	})
}

// CheckLifecycle reports whether the buildpacks named in l exist, as far as
// that can be told without fetching them.
func (s *Stager) CheckLifecycle(ctx context.Context, l platform.Lifecycle) error {
	if l.Type != "" && l.Type != "buildpack" {
		return platform.Invalidf("lifecycle type %q is not supported: weir stages with buildpacks", l.Type)
	}
	if len(l.Buildpacks) == 0 {
		return nil
	}
	rows, err := sorted(ctx, s.cfg.Store.Rows)
	if err != nil {
		return err
	}
	for _, key := range l.Buildpacks {
		if _, ok := named(rows, key); ok || isAddress(key) || s.cfg.LocalSources && filepath.IsAbs(key) {
			continue
		}
		var names []string
		for _, r := range rows {
			names = append(names, r.Name)
		}
		return &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("Buildpack %q must be an existing admin buildpack or a valid git URI", key),
			Hint: "buildpacks here: " + strings.Join(names, ", "),
		}
	}
	return nil
}

// named finds a buildpack's row by a name people use for it.
func named(rows []platform.Buildpack, name string) (platform.Buildpack, bool) {
	names := []string{name}
	if b, ok := buildpacks.Find(name); ok {
		names = append(names, b.Name)
	}
	for _, n := range names {
		for _, r := range rows {
			if r.Name == n {
				return r, true
			}
		}
	}
	return platform.Buildpack{}, false
}

// gitAddress is the beginning of what git can fetch.
var gitAddress = regexp.MustCompile(`^((https?|git|ssh)://[^/\s-][^\s]*|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^\s-][^\s]*)$`)

func isAddress(key string) bool { return gitAddress.MatchString(key) }
