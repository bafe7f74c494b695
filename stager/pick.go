package stager

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"weir/buildpacks"
	"weir/droplets"
	"weir/internal/platform"
	"weir/internal/source"
)

// picked is what the buildpacks of a build are and where they came from.
type picked struct {
	plan buildpacks.Plan
	// digests tell exactly which buildpack a key stands for in this build.
	digests map[string]droplets.Buildpack
	// known are the app's files as they were put into the stage.
	known *droplets.Known
}

// pick puts the buildpacks of a build into its stage: those the app names,
// else those its file .buildpacks lists, else all that are enabled, for
// detection. Each build gets copies of its own, since buildpacks write into
// their directories.
//
// files is the directory of the package.
func (s *Stager) pick(ctx context.Context, stage, files string, l platform.Lifecycle, out io.Writer) (picked, error) {
	rows, err := sorted(ctx, s.cfg.Store.Rows)
	if err != nil {
		return picked{}, err
	}
	p := picked{digests: map[string]droplets.Buildpack{}}
	keys := l.Buildpacks
	if len(keys) == 0 {
		keys = listedByApp(files)
		p.plan.Strict = len(keys) > 0
	}
	if len(keys) == 0 {
		p.plan.Detect = true
		for _, r := range rows {
			if r.Enabled && r.State == buildpackReady && (r.Stack == "" || r.Stack == l.Stack) {
				keys = append(keys, r.Name)
			}
		}
	}
	for i, key := range keys {
		dir := fmt.Sprintf("%02d", i)
		target := filepath.Join(stage, buildpacks.PacksDir, dir)
		pack, identity, err := s.copyPack(ctx, rows, key, target, out)
		if err != nil {
			return picked{}, err
		}
		pack.Dir = dir
		p.plan.Packs = append(p.plan.Packs, pack)
		p.digests[pack.Key] = identity
	}
	p.plan.Linked = linkable(p.plan, files)
	return p, nil
}

// linkable reports whether a build can do with links to the package's files:
// whether none of its buildpacks will write to one, as far as can be told
// before detection. A wrong guess costs time, no more: see Plan.Linked.
func linkable(p buildpacks.Plan, files string) bool {
	for _, pack := range p.Packs {
		b, ok := buildpacks.Find(pack.Key)
		switch {
		case pack.ReadsOnly:
		case !p.Detect, !ok, b.Name != pack.Key, hasOneOf(files, b.Markers):
			return false
		}
	}
	return true
}

// hasOneOf reports whether one of the files is in dir.
func hasOneOf(dir string, names []string) bool {
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// listedByApp reads the app's file .buildpacks.
func listedByApp(files string) []string {
	root, err := os.OpenRoot(files)
	if err != nil {
		return nil
	}
	defer root.Close()
	data, err := readSmall(root, ".buildpacks")
	if err != nil {
		return nil
	}
	return buildpacks.ParseList(data)
}

// copyPack finds one buildpack and copies it to dir.
func (s *Stager) copyPack(ctx context.Context, rows []platform.Buildpack, key, dir string, out io.Writer) (buildpacks.PlanPack, droplets.Buildpack, error) {
	if row, ok := named(rows, key); ok {
		return s.copyNamed(ctx, row, dir)
	}
	if s.cfg.LocalSources && filepath.IsAbs(key) {
		if info, err := os.Stat(filepath.Join(key, ".git")); err != nil || !info.IsDir() {
			return copyLocal(key, dir)
		}
	}
	if !isAddress(key) && !(s.cfg.LocalSources && (filepath.IsAbs(key) || len(key) > 7 && key[:7] == "file://")) {
		return buildpacks.PlanPack{}, droplets.Buildpack{}, platform.Invalidf("Buildpack %q must be an existing admin buildpack or a valid git URI", key)
	}
	url, ref := source.SplitRef(key)
	shown, err := withoutCredentials(url)
	if err != nil {
		return buildpacks.PlanPack{}, droplets.Buildpack{}, err
	}
	fmt.Fprintf(out, "-----> Fetching buildpack %s\n", shown)
	got, err := source.Fetch(ctx, url, ref, dir, source.FetchOptions{AllowLocal: s.cfg.LocalSources, TempDir: s.cfg.Dir})
	if err != nil {
		return buildpacks.PlanPack{}, droplets.Buildpack{}, err
	}
	if ref != "" {
		shown += "#" + ref
	}
	return buildpacks.PlanPack{Key: shown, Name: shown, Version: got.Commit[:min(12, len(got.Commit))]},
		droplets.Buildpack{Name: shown, Digest: got.Commit}, nil
}

func (s *Stager) copyNamed(ctx context.Context, row platform.Buildpack, dir string) (buildpacks.PlanPack, droplets.Buildpack, error) {
	pack := buildpacks.PlanPack{Key: row.Name, Name: row.Name}
	if row.BuiltIn {
		b, ok := buildpacks.Find(row.Name)
		if !ok {
			return pack, droplets.Buildpack{}, fmt.Errorf("buildpack %s is said to be built in, and is not", row.Name)
		}
		pack.Version, pack.LooksFor, pack.ReadsOnly = b.Version, b.LooksFor, b.ReadsOnly
		return pack, droplets.Buildpack{Name: b.Name, Digest: b.Digest}, b.Extract(dir)
	}
	if row.State != buildpackReady {
		return pack, droplets.Buildpack{}, &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("buildpack %q has no files yet", row.Name),
			Hint: "upload them: weir update-buildpack " + row.Name + " -p FILE",
		}
	}
	return pack, droplets.Buildpack{Name: row.Name, Digest: row.Digest}, s.cfg.Droplets.CopyPackage(ctx, row.Digest, dir)
}

// copyLocal copies a buildpack from a directory of this machine.
func copyLocal(from, dir string) (buildpacks.PlanPack, droplets.Buildpack, error) {
	pack := buildpacks.PlanPack{Key: from, Name: filepath.Base(from)}
	info, err := os.Stat(from)
	if err != nil || !info.IsDir() {
		return pack, droplets.Buildpack{}, &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("there is no buildpack directory %s", from),
			Hint: "the directory must be on the machine that runs weir, and readable there", Err: err,
		}
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		return pack, droplets.Buildpack{}, &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("the buildpack directory %s cannot be copied", from),
			Hint: "all its files must be readable for the user weir runs as", Err: err,
		}
	}
	return pack, droplets.Buildpack{Name: cmp.Or(pack.Name, from), Digest: "local"}, nil
}
