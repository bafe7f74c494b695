package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
	"weir/droplets/archive"
)

func buildpackCommands() []*command {
	onOff := []cli.Flag{
		&cli.BoolFlag{Name: "enable", Usage: "let it take part in detection"},
		&cli.BoolFlag{Name: "disable", Usage: "leave it out of detection"},
	}
	return []*command{
		{
			name: "buildpacks", category: catAdmin,
			usage: "list the buildpacks in the order they are tried", examples: []string{"buildpacks"}, run: runBuildpacks,
		},
		{
			name: "create-buildpack", args: "NAME PATH [POSITION]", category: catAdmin,
			usage:    "add a buildpack from a zip or a directory",
			examples: []string{"create-buildpack my-pack ./my-pack 1", "create-buildpack my-pack my-pack.zip"},
			about:    "It has bin/detect and either bin/compile, or bin/supply and bin/finalize.",
			flags:    onOff, run: runCreateBuildpack,
		},
		{
			name: "update-buildpack", args: "BUILDPACK", category: catAdmin,
			usage:    "change a buildpack",
			examples: []string{"update-buildpack my-pack -p my-pack.zip", "update-buildpack my-pack -i 1", "update-buildpack my-pack --disable"},
			flags: append([]cli.Flag{
				&cli.StringFlag{Name: "path", Aliases: []string{"p"}, Usage: "zip or directory with the new content, `PATH`"},
				&cli.IntFlag{Name: "position", Aliases: []string{"i"}, Usage: "`NUMBER` in the order, from 1"},
				&cli.StringFlag{Name: "rename", Usage: "new `NAME`"},
				&cli.BoolFlag{Name: "lock", Usage: "refuse changes of its content"},
				&cli.BoolFlag{Name: "unlock", Usage: "allow changes of its content"},
			}, onOff...),
			run: runUpdateBuildpack,
		},
		{
			name: "delete-buildpack", args: "BUILDPACK", category: catAdmin,
			usage: "delete a buildpack", examples: []string{"delete-buildpack my-pack -f"},
			flags: []cli.Flag{forceFlag()}, run: runDeleteBuildpack,
		},
	}
}

// buildpackView is a buildpack.
type buildpackView struct {
	Position int    `json:"position"`
	Name     string `json:"name"`
	GUID     string `json:"guid"`
	Stack    string `json:"stack"`
	Enabled  bool   `json:"enabled"`
	Locked   bool   `json:"locked"`
	State    string `json:"state"`
	Filename string `json:"filename"`
}

func viewBuildpack(b v3.Buildpack) buildpackView {
	v := buildpackView{Position: b.Position, Name: b.Name, GUID: b.GUID, Enabled: b.Enabled, Locked: b.Locked, State: b.State}
	if b.Stack != nil {
		v.Stack = *b.Stack
	}
	if b.Filename != nil {
		v.Filename = *b.Filename
	}
	return v
}

func runBuildpacks(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting buildpacks as %s...", s.user)
	list, err := s.Buildpacks(ctx, nil)
	if err != nil {
		return err
	}
	views, names, rows := []buildpackView{}, []string{}, [][]string{}
	for _, b := range list {
		v := viewBuildpack(b)
		views, names = append(views, v), append(names, b.Name)
		rows = append(rows, []string{fmt.Sprint(v.Position), v.Name, v.Stack, fmt.Sprint(v.Enabled), fmt.Sprint(v.Locked), v.State, v.Filename, v.GUID})
	}
	return c.out.print("BuildpackList", map[string]any{"buildpacks": views}, names, func(p *page) {
		p.table("", append([]string{"position", "name", "stack", "enabled", "locked", "state", "filename"}, p.more("guid")...), rows)
	})
}

// buildpack finds a buildpack by name.
func (s *session) buildpack(ctx context.Context, name string) (v3.Buildpack, error) {
	list, err := s.Buildpacks(ctx, nil)
	if err != nil {
		return v3.Buildpack{}, err
	}
	var names []string
	for _, b := range list {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return v3.Buildpack{}, notFound(didYouMean(name, names, "weir buildpacks lists them"), "Buildpack '%s' not found", name)
}

func (c *call) enabled() (*bool, error) {
	on, off := c.Bool("enable"), c.Bool("disable")
	switch {
	case on && off:
		return nil, usagef("--enable and --disable exclude each other")
	case on || off:
		return &on, nil
	}
	return nil, nil
}

func runCreateBuildpack(ctx context.Context, c *call) error {
	create := v3.BuildpackCreate{Name: c.arg(0)}
	var err error
	if create.Enabled, err = c.enabled(); err != nil {
		return err
	}
	if p := c.arg(2); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 {
			return usagef("position %q is not a number from 1", p)
		}
		create.Position = &n
	}
	bits, err := openBuildpack(ctx, c.arg(1))
	if err != nil {
		return err
	}
	defer bits.close()
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Creating buildpack %s as %s...", create.Name, s.user)
	b, err := s.CreateBuildpack(ctx, create)
	if err != nil {
		return err
	}
	if err := c.sendBuildpack(ctx, s, b, bits); err != nil {
		return err
	}
	return c.buildpackDone(ctx, s, b.Name)
}

// buildpackBits is the zip of a buildpack on its way up.
type buildpackBits struct {
	file *os.File
	name string
	temp bool
}

func (b *buildpackBits) close() {
	b.file.Close()
	if b.temp {
		os.Remove(b.file.Name())
	}
}

// openBuildpack opens a zip, or zips a directory.
func openBuildpack(ctx context.Context, path string) (*buildpackBits, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usagef("buildpack %s: %v", path, unwrapPath(err))
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		return &buildpackBits{file: f, name: filepath.Base(path)}, err
	}
	f, err := os.CreateTemp("", "weir-buildpack-*.zip")
	if err != nil {
		return nil, err
	}
	b := &buildpackBits{file: f, name: filepath.Base(filepath.Clean(path)) + ".zip", temp: true}
	_, err = archive.Pack(ctx, f, path, archive.Zip, "")
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		b.close()
		return nil, fmt.Errorf("packing %s: %w", path, err)
	}
	return b, nil
}

func (c *call) sendBuildpack(ctx context.Context, s *session, b v3.Buildpack, bits *buildpackBits) error {
	info, err := bits.file.Stat()
	if err != nil {
		return err
	}
	c.out.step("Uploading buildpack %s, %s", b.Name, formatBytes(info.Size()))
	bar, last := c.out.startBar("Uploading", info.Size()), int64(0)
	job, err := s.UploadBuildpack(ctx, b.GUID, client.Upload{
		Bits: bits.file, Size: info.Size(), Name: bits.name,
		Progress: func(sent int64) { bar.add(sent - last); last = sent },
	})
	bar.end()
	if err != nil {
		return err
	}
	return s.waitJob(ctx, job)
}

func (c *call) buildpackDone(ctx context.Context, s *session, name string) error {
	b, err := s.buildpack(ctx, name)
	if err != nil {
		return err
	}
	return c.out.done("Buildpack", map[string]any{"buildpack": viewBuildpack(b)})
}

func runUpdateBuildpack(ctx context.Context, c *call) error {
	var update v3.BuildpackUpdate
	var err error
	if update.Enabled, err = c.enabled(); err != nil {
		return err
	}
	lock, unlock := c.Bool("lock"), c.Bool("unlock")
	if lock && unlock {
		return usagef("--lock and --unlock exclude each other")
	}
	if lock || unlock {
		update.Locked = &lock
	}
	if c.has("position") {
		n := c.Int("position")
		update.Position = &n
	}
	name := c.arg(0)
	if c.has("rename") {
		name = c.String("rename")
		update.Name = &name
	}
	if update == (v3.BuildpackUpdate{}) && !c.has("path") {
		return withHint(usagef("nothing to change"), "weir update-buildpack --help")
	}
	var bits *buildpackBits
	if c.has("path") {
		if bits, err = openBuildpack(ctx, c.String("path")); err != nil {
			return err
		}
		defer bits.close()
	}
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	b, err := s.buildpack(ctx, c.arg(0))
	if err != nil {
		return err
	}
	c.out.banner("Updating buildpack %s as %s...", b.Name, s.user)
	// A buildpack is unlocked before its content changes, and locked after.
	if update != (v3.BuildpackUpdate{}) && !lock {
		_, err = s.UpdateBuildpack(ctx, b.GUID, update)
	}
	if err == nil && bits != nil {
		err = c.sendBuildpack(ctx, s, b, bits)
	}
	if err == nil && lock {
		_, err = s.UpdateBuildpack(ctx, b.GUID, update)
	}
	if err != nil {
		return err
	}
	return c.buildpackDone(ctx, s, name)
}

func runDeleteBuildpack(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	name := c.arg(0)
	b, err := s.buildpack(ctx, name)
	if err != nil {
		if asFailure(err).exit == exitNotFound {
			return c.out.done("BuildpackDeletion", map[string]any{"buildpack": name, "changed": false}, "Buildpack '"+name+"' does not exist.")
		}
		return err
	}
	if !c.Bool("force") {
		if err := c.out.confirm(ctx, "-f", "Really delete the buildpack %s?", name); err != nil {
			return declined(c, err)
		}
	}
	c.out.banner("Deleting buildpack %s as %s...", name, s.user)
	job, err := s.DeleteBuildpack(ctx, b.GUID)
	if err == nil {
		err = s.waitJob(ctx, job)
	}
	if err != nil {
		return err
	}
	return c.out.done("BuildpackDeletion", map[string]any{"buildpack": name, "changed": true})
}
