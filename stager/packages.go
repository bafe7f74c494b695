package stager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"weir/droplets"
	"weir/internal/platform"
	"weir/internal/source"
	"weir/internal/store"
)

// Resource is a file of a package that the server has already.
type Resource = droplets.Resource

// CreatePackage adds a package to an app. One with Git set is fetched in the
// background; any other awaits its upload.
func (s *Stager) CreatePackage(ctx context.Context, actor platform.Actor, p platform.Package) (platform.Package, error) {
	p.Resource = newResource(p.Metadata)
	p.Type, p.State, p.Error, p.Digest, p.Size = "bits", platform.PackageAwaitingUpload, "", "", 0
	address := ""
	if p.Git != nil {
		address = p.Git.URL
		shown, err := withoutCredentials(address)
		if err != nil {
			return platform.Package{}, err
		}
		p.Git = &platform.GitSource{URL: shown, Ref: p.Git.Ref}
		p.State = platform.PackageProcessingUpload
	}
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if _, err := appOf(ctx, tx.Rows, p.AppGUID); err != nil {
			return err
		}
		if err := tx.InsertPackage(ctx, p); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.package.create", p.AppGUID, map[string]any{"package_guid": p.GUID})
	})
	if err != nil {
		return platform.Package{}, err
	}
	if p.Git != nil {
		s.mu.Lock()
		s.urls[p.GUID] = address
		s.mu.Unlock()
		s.fetches.push(p.GUID)
	}
	return p, nil
}

// withoutCredentials strips user and password from a repository's address.
func withoutCredentials(address string) (string, error) {
	if address == "" {
		return "", platform.Invalidf("a git package needs a url")
	}
	u, err := url.Parse(address)
	if err != nil || u.User == nil || u.Scheme == "ssh" {
		return address, nil // user@host:path names a login, not a secret; Fetch judges the rest
	}
	u.User = nil
	return u.String(), nil
}

// fetch gets the files of a git package.
func (s *Stager) fetch(ctx context.Context, guid string) {
	s.mu.Lock()
	address := s.urls[guid]
	s.mu.Unlock()
	p, err := s.cfg.Store.Package(ctx, guid)
	if err != nil || p.State != platform.PackageProcessingUpload || p.Git == nil {
		return
	}
	if address == "" {
		address = p.Git.URL
	}
	digest, size, fetched, err := s.fetchFiles(ctx, address, p.Git.Ref)
	if ctx.Err() != nil {
		return // the next Run fetches it again
	}
	s.mu.Lock()
	delete(s.urls, guid)
	s.mu.Unlock()
	if err != nil {
		s.cfg.Logger.Warn("git package was not fetched", "app", p.AppGUID, "package", guid, "err", err)
		err = s.changePackage(ctx, guid, func(p *platform.Package) {
			p.State, p.Error = platform.PackageFailed, message(err)
		})
	} else {
		err = s.changePackage(ctx, guid, func(p *platform.Package) {
			p.State, p.Digest, p.Size = platform.PackageReady, digest, size
			p.Git = &platform.GitSource{URL: p.Git.URL, Ref: p.Git.Ref, Commit: fetched.Commit}
		})
	}
	if err != nil {
		s.cfg.Logger.Error("state of a package was not stored", "package", guid, "err", err)
	}
}

func (s *Stager) fetchFiles(ctx context.Context, address, ref string) (digest string, size int64, f source.Fetched, err error) {
	dir, err := os.MkdirTemp(s.cfg.Dir, "fetch-*")
	if err != nil {
		return "", 0, f, err
	}
	defer os.RemoveAll(dir)
	files := dir + "/files"
	f, err = source.Fetch(ctx, address, ref, files, source.FetchOptions{AllowLocal: s.cfg.LocalSources, TempDir: dir})
	if err != nil {
		return "", 0, f, err
	}
	digest, size, err = s.cfg.Droplets.PutPackageDir(ctx, files)
	return digest, size, f, err
}

// UploadPackage gives a package its files: an archive, files the server has
// already, or both. bits may be nil. The package is READY when it returns. An
// archive that cannot be used makes it FAILED; an upload that breaks off
// leaves it as it was.
func (s *Stager) UploadPackage(ctx context.Context, actor platform.Actor, guid string, bits io.Reader, resources []Resource) (platform.Package, error) {
	p, err := s.cfg.Store.Package(ctx, guid)
	if err != nil {
		return p, err
	}
	done, err := s.receive(guid)
	if err != nil {
		return p, err
	}
	defer done()
	if err := uploadable(p); err != nil {
		return p, err
	}
	digest, size, err := s.cfg.Droplets.PutPackage(ctx, bits, resources)
	if err != nil {
		if isNoSpace(err) {
			s.sweepSoon()
		}
		if kind := platform.KindOf(err); ctx.Err() == nil && (kind == platform.KindInvalid || kind == platform.KindBadRequest || kind == platform.KindTooLarge) {
			failing := s.changePackage(ctx, guid, func(p *platform.Package) {
				p.State, p.Error = platform.PackageFailed, message(err)
			})
			err = errors.Join(err, failing)
		}
		return p, err
	}
	err = s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		p, err = tx.Package(ctx, guid)
		if err != nil {
			return err
		}
		if err := uploadable(p); err != nil {
			return err
		}
		p.State, p.Error, p.Digest, p.Size = platform.PackageReady, "", digest, size
		if err := updatePackage(ctx, tx, &p); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.package.upload", p.AppGUID, map[string]any{"package_guid": p.GUID})
	})
	return p, err
}

func uploadable(p platform.Package) error {
	if p.Git != nil {
		return platform.Invalidf("package %s comes from %s and takes no upload", p.GUID, p.Git.URL)
	}
	if p.State != platform.PackageAwaitingUpload {
		return &platform.Error{
			Kind: platform.KindBadRequest, Title: "PackageBitsAlreadyUploaded",
			Msg: "Bits may be uploaded only once. Create a new package to upload different bits.",
		}
	}
	return nil
}

// changePackage applies a change to a package's row, if it is still there.
func (s *Stager) changePackage(ctx context.Context, guid string, change func(*platform.Package)) error {
	return s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		p, err := tx.Package(ctx, guid)
		if platform.KindOf(err) == platform.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		change(&p)
		return updatePackage(ctx, tx, &p)
	})
}

func updatePackage(ctx context.Context, tx *store.Tx, p *platform.Package) error {
	p.UpdatedAt = time.Now().UTC()
	return tx.UpdatePackage(ctx, *p)
}

// CopyPackage makes a package of app with the files of the source package.
func (s *Stager) CopyPackage(ctx context.Context, actor platform.Actor, source, app string) (platform.Package, error) {
	var p platform.Package
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		from, err := tx.Package(ctx, source)
		if err != nil {
			return err
		}
		if _, err := appOf(ctx, tx.Rows, app); err != nil {
			return err
		}
		if from.State != platform.PackageReady {
			return platform.Invalidf("package %s is %s: only a READY package can be copied", source, from.State)
		}
		p = from
		p.Resource, p.AppGUID = newResource(platform.Metadata{}), app
		if err := tx.InsertPackage(ctx, p); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.package.create", app, map[string]any{"package_guid": p.GUID, "source_package_guid": source})
	})
	return p, err
}

// UpdatePackage changes a package's metadata.
func (s *Stager) UpdatePackage(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Package) error) (platform.Package, error) {
	var p platform.Package
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		if p, err = tx.Package(ctx, guid); err != nil {
			return err
		}
		changed := p
		changed.Metadata = cloneMetadata(p.Metadata)
		if err := change(&changed); err != nil {
			return err
		}
		p.Metadata = changed.Metadata
		return updatePackage(ctx, tx, &p)
	})
	return p, err
}

// DeletePackage removes a package. Its droplets stay.
func (s *Stager) DeletePackage(ctx context.Context, actor platform.Actor, guid string) error {
	return s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		p, err := tx.Package(ctx, guid)
		if err != nil {
			return err
		}
		staging, _, err := tx.Builds(ctx, store.Query{In: map[string][]string{
			"package_guids": {guid}, "states": {platform.BuildStaging},
		}})
		if err != nil {
			return err
		}
		if len(staging) > 0 {
			return &platform.Error{
				Kind: platform.KindInvalid, Msg: fmt.Sprintf("package %s is being staged", guid),
				Hint: "delete it when the build has ended",
			}
		}
		if err := tx.DeletePackage(ctx, guid); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.package.delete", p.AppGUID, map[string]any{"package_guid": guid})
	})
}

// newResource returns a fresh resource that has the metadata.
func newResource(m platform.Metadata) platform.Resource {
	r := platform.NewResource(time.Now().UTC())
	r.Metadata = cloneMetadata(m)
	return r
}
