package stager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"weir/buildpacks"
	"weir/droplets"
	"weir/internal/platform"
	"weir/internal/store"
)

// CreateDroplet adds a droplet that awaits its upload.
func (s *Stager) CreateDroplet(ctx context.Context, actor platform.Actor, d platform.Droplet) (platform.Droplet, error) {
	d = platform.Droplet{
		Resource: newResource(d.Metadata), AppGUID: d.AppGUID, State: platform.DropletAwaitingUpload,
		ProcessTypes: maps.Clone(d.ProcessTypes), Lifecycle: platform.Lifecycle{Type: "buildpack"}, Stack: s.cfg.Stack,
	}
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if _, err := appOf(ctx, tx.Rows, d.AppGUID); err != nil {
			return err
		}
		if err := tx.InsertDroplet(ctx, d); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.droplet.create", d.AppGUID, map[string]any{"droplet_guid": d.GUID})
	})
	return d, err
}

// UploadDroplet gives a droplet its tree, as an archive in Cloud Foundry's
// layout. The droplet is STAGED when it returns.
func (s *Stager) UploadDroplet(ctx context.Context, actor platform.Actor, guid string, r io.Reader) (platform.Droplet, error) {
	d, err := s.cfg.Store.Droplet(ctx, guid)
	if err != nil {
		return d, err
	}
	done, err := s.receive(guid)
	if err != nil {
		return d, err
	}
	defer done()
	if d.State != platform.DropletAwaitingUpload {
		return d, platform.Invalidf("droplet %s is %s: only one that awaits its upload takes bits", guid, d.State)
	}
	inspect := func(dir string) (droplets.CommitInfo, error) { return s.inspectDroplet(dir, d.ProcessTypes) }
	m, err := s.cfg.Droplets.Import(ctx, r, inspect)
	if err != nil {
		if kind := platform.KindOf(err); ctx.Err() == nil && (kind == platform.KindInvalid || kind == platform.KindBadRequest || kind == platform.KindTooLarge) {
			failing := s.changeDroplet(ctx, guid, func(_ *store.Tx, d *platform.Droplet) error {
				d.State, d.Error = platform.DropletFailed, message(err)
				return nil
			})
			err = errors.Join(err, failing)
		}
		return d, err
	}
	err = s.changeDroplet(ctx, guid, func(tx *store.Tx, row *platform.Droplet) error {
		row.State, row.Error, row.Digest, row.Size = platform.DropletStaged, "", m.Digest, m.Size
		row.ProcessTypes = m.Info.ProcessTypes
		d = *row
		return event(ctx, tx, actor, "audit.app.droplet.upload", row.AppGUID, map[string]any{"droplet_guid": guid})
	})
	return d, err
}

// inspectDroplet finds out how an uploaded droplet is run: what the client
// said, else its Procfile, else the start command it was staged with.
func (s *Stager) inspectDroplet(dir string, given map[string]string) (droplets.CommitInfo, error) {
	types := map[string]string{}
	if info, err := os.Lstat(filepath.Join(dir, "app")); err != nil || !info.IsDir() {
		return droplets.CommitInfo{}, &platform.Error{
			Kind: platform.KindInvalid, Msg: "the archive is no droplet: it has no directory app",
			Hint: "upload what download-droplet gives, or push the source instead",
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return droplets.CommitInfo{}, err
	}
	defer root.Close()
	if data, err := readSmall(root, "staging_info.yml"); err == nil {
		var info struct {
			StartCommand string `json:"start_command"`
		}
		if json.Unmarshal(data, &info) == nil && info.StartCommand != "" {
			types[platform.WebProcess] = info.StartCommand
		}
	}
	if data, err := readSmall(root, "app/Procfile"); err == nil {
		procfile, _ := buildpacks.ParseProcfile(data)
		maps.Copy(types, procfile)
	}
	maps.Copy(types, given)
	return droplets.CommitInfo{ProcessTypes: types, Stack: s.cfg.Stack, Toolchains: toolchains}, nil
}

// readSmall reads a file of at most 1 MiB, following no link out of root.
func readSmall(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > 1<<20 {
		return nil, fmt.Errorf("%s is not a small file", name)
	}
	return root.ReadFile(name)
}

// changeDroplet applies a change to a droplet's row in a transaction.
func (s *Stager) changeDroplet(ctx context.Context, guid string, change func(*store.Tx, *platform.Droplet) error) error {
	return s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		d, err := tx.Droplet(ctx, guid)
		if err != nil {
			return err
		}
		if err := change(tx, &d); err != nil {
			return err
		}
		d.UpdatedAt = time.Now().UTC()
		return tx.UpdateDroplet(ctx, d)
	})
}

// CopyDroplet makes a droplet of app that is the source droplet.
func (s *Stager) CopyDroplet(ctx context.Context, actor platform.Actor, source, app string) (platform.Droplet, error) {
	var d platform.Droplet
	err := s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		from, err := tx.Droplet(ctx, source)
		if err != nil {
			return err
		}
		if _, err := appOf(ctx, tx.Rows, app); err != nil {
			return err
		}
		if from.State != platform.DropletStaged {
			return platform.Invalidf("droplet %s is %s: only a STAGED droplet can be copied", source, from.State)
		}
		d = from
		d.Resource, d.AppGUID, d.PackageGUID, d.BuildGUID = newResource(platform.Metadata{}), app, "", ""
		if err := tx.InsertDroplet(ctx, d); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.droplet.create", app, map[string]any{"droplet_guid": d.GUID, "source_droplet_guid": source})
	})
	return d, err
}

// UpdateDroplet changes a droplet's metadata.
func (s *Stager) UpdateDroplet(ctx context.Context, actor platform.Actor, guid string, change func(*platform.Droplet) error) (platform.Droplet, error) {
	var d platform.Droplet
	err := s.changeDroplet(ctx, guid, func(_ *store.Tx, row *platform.Droplet) error {
		changed := *row
		changed.Metadata = cloneMetadata(row.Metadata)
		if err := change(&changed); err != nil {
			return err
		}
		row.Metadata = changed.Metadata
		d = *row
		return nil
	})
	return d, err
}

// DeleteDroplet removes a droplet that no app runs.
func (s *Stager) DeleteDroplet(ctx context.Context, actor platform.Actor, guid string) error {
	return s.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		d, err := tx.Droplet(ctx, guid)
		if err != nil {
			return err
		}
		app, err := tx.App(ctx, d.AppGUID)
		if err != nil && platform.KindOf(err) != platform.KindNotFound {
			return err
		}
		if app.DropletGUID == guid {
			return &platform.Error{
				Kind: platform.KindInvalid, Msg: fmt.Sprintf("droplet %s is the current droplet of app %q", guid, app.Name),
				Hint: "make another one current first: weir set-droplet",
			}
		}
		if err := tx.DeleteDroplet(ctx, guid); err != nil {
			return err
		}
		return event(ctx, tx, actor, "audit.app.droplet.delete", d.AppGUID, map[string]any{"droplet_guid": guid})
	})
}

// toolchains are the places on this machine that links of a droplet may lead
// to: what is installed here is part of the stack.
var toolchains = existing("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/etc/alternatives", "/etc/ssl")

func existing(paths ...string) []string {
	var found []string
	for _, p := range paths {
		if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
			found = append(found, p)
		}
	}
	return found
}
