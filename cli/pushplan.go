package cli

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weir/droplets/archive"
	"weir/internal/source"
)

// pushPlan is what a push is going to do, worked out before anything is
// changed on the server.
type pushPlan struct {
	manifest *manifest
	apps     []*pushItem
	temp     []string // directories to remove at the end
	notes    []string // warnings about the manifest, for when the server took it
}

// pushItem is one app of the plan.
type pushItem struct {
	entry   *manifestApp
	name    string
	tree    *source.Tree // nil with git or droplet
	git     string
	ref     string
	droplet string
	rolls   bool // the manifest says how its rollouts go, and this push is one
	beside  bool // it gets a version beside its main one
}

func (p *pushPlan) close() {
	for _, dir := range p.temp {
		os.RemoveAll(dir)
	}
}

// plan reads manifest, flags and files.
func (c *call) plan(ctx context.Context, s *session, sp space) (plan *pushPlan, err error) {
	plan = &pushPlan{}
	defer func() {
		if err != nil {
			plan.close()
			plan = nil
		}
	}()
	if plan.manifest, err = c.readManifest(); err != nil {
		return plan, err
	}
	if plan.manifest == nil {
		name := c.arg(0)
		if name == "" {
			if name, err = c.defaultName(); err != nil {
				return plan, err
			}
			c.out.step("No name and no manifest given: the app is called %s, after the directory", name)
		}
		plan.manifest = newManifest(name)
	} else if err = c.selectApps(plan.manifest); err != nil {
		return plan, err
	} else {
		plan.notes = plan.manifest.unknownKeys()
	}
	for _, a := range plan.manifest.apps {
		if app, label := splitRef(a.name()); label != "" {
			return plan, withHint(usagef("'%s' cannot be the name of an app: APP:VERSION means a version", a.name()), "weir push "+app+" --version "+label)
		}
	}
	if err = c.applyFlags(ctx, s, sp, plan.manifest); err != nil {
		return plan, err
	}
	for _, entry := range plan.manifest.apps {
		item := &pushItem{entry: entry, name: entry.name(), git: c.String("git"), ref: c.String("ref"), droplet: c.String("droplet")}
		plan.apps = append(plan.apps, item)
		if err = c.readSource(ctx, plan, item); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// readManifest returns the manifest to use, or nil if there is none.
func (c *call) readManifest() (*manifest, error) {
	vars, err := loadVariables(c.StringSlice("vars-file"), c.StringSlice("var"))
	if err != nil {
		return nil, err
	}
	path := c.String("manifest")
	if path == "" {
		if c.Bool("no-manifest") || c.has("git") {
			return nil, nil
		}
		return c.findManifest(vars)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, manifestNames[0])
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, withHint(usagef("manifest %s: %v", path, unwrapPath(err)), "")
	}
	return parseManifest(path, data, vars)
}

var manifestNames = []string{"manifest.yml", "manifest.yaml"}

// findManifest looks for a manifest in the current directory, or in the
// commit that is pushed.
func (c *call) findManifest(vars variables) (*manifest, error) {
	for _, name := range manifestNames {
		var data []byte
		var err error
		if ref := c.String("ref"); ref != "" && c.String("path") == "" {
			data, err = source.CommitFile(".", ref, name)
		} else {
			data, err = os.ReadFile(name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.out.step("Using manifest %s", name)
		return parseManifest(name, data, vars)
	}
	return nil, nil
}

// defaultName makes an app's name of the directory's.
func (c *call) defaultName() (string, error) {
	if url := c.String("git"); url != "" {
		url, _ = source.SplitRef(url)
		return appName(strings.TrimSuffix(url[strings.LastIndexAny(url, "/:")+1:], ".git")), nil
	}
	path, err := filepath.Abs(cmp.Or(c.String("path"), "."))
	if err != nil {
		return "", err
	}
	base := filepath.Base(path)
	for _, ext := range []string{".zip", ".jar", ".war", ".tar", ".tgz", ".tar.gz", ".tar.zst"} {
		base = strings.TrimSuffix(base, ext)
	}
	name := appName(base)
	if name == "" {
		return "", withHint(usagef("the app needs a name"), "weir push NAME")
	}
	return name, nil
}

// appName keeps what may stand in a host name.
func appName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == ' ' || r == '_' || r == '.':
			return '-'
		}
		return -1
	}, s)
	s = strings.Trim(s, "-")
	return s[:min(len(s), 63)]
}

// selectApps keeps the app that was named, if one was.
func (c *call) selectApps(m *manifest) error {
	name := c.arg(0)
	if name == "" {
		for _, a := range m.apps {
			if a.name() == "" {
				return manifestError(m.path, withHint(usagef("an application has no name"), "add name:, or give the name: weir push NAME"))
			}
		}
		return nil
	}
	for _, a := range m.apps {
		if a.name() == name {
			m.apps = []*manifestApp{a}
			return nil
		}
	}
	if len(m.apps) == 1 { // its only app under another name, as with cf
		m.apps[0].set("name", name)
		return nil
	}
	return notFound(didYouMean(name, m.names(), "it has "+strings.Join(m.names(), ", ")), "%s has no app %q", m.path, name)
}

// readSource lists the files of an app.
func (c *call) readSource(ctx context.Context, plan *pushPlan, item *pushItem) error {
	if item.droplet != "" {
		info, err := os.Stat(item.droplet)
		if err == nil && info.IsDir() {
			err = errors.New("it is a directory, not a droplet's tar.gz")
		}
		if err != nil {
			return usagef("droplet %s: %v", item.droplet, unwrapPath(err))
		}
		return nil
	}
	if item.git != "" {
		return nil
	}
	if docker := item.entry.has("docker"); docker {
		return withHint(usagef("app %s: weir does not run container images", item.name), "push the source: weir push APP -p DIR")
	}
	path := c.String("path")
	if path == "" {
		path = item.entry.text("path")
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(plan.manifest.path), path)
		}
	}
	path = cmp.Or(path, ".")
	info, err := os.Stat(path)
	if err != nil {
		return withHint(usagef("path %s: %v", path, unwrapPath(err)), "name the app's directory or archive with -p")
	}
	switch {
	case item.ref != "" && !info.IsDir():
		return usagef("--ref needs a directory in a git repository, and %s is a file", path)
	case item.ref != "":
		item.tree, err = source.Commit(ctx, path, item.ref)
	case info.IsDir():
		item.tree, err = source.Walk(ctx, path)
	default:
		path, err = plan.unpack(ctx, path)
		if err == nil {
			item.tree, err = source.Walk(ctx, path)
		}
	}
	if err != nil {
		return err
	}
	if len(item.tree.Files) == 0 {
		return newFailure(exitFailed, "invalid", "there are no files to push in "+cmp.Or(c.String("path"), path), "name the app's directory with -p")
	}
	for _, name := range item.tree.Skipped {
		c.out.warn("%s is a socket, pipe or device and stays here", name)
	}
	return nil
}

// unpack unpacks an archive into a temporary directory.
func (p *pushPlan) unpack(ctx context.Context, path string) (string, error) {
	dir, err := os.MkdirTemp("", "weir-push-*")
	if err != nil {
		return "", err
	}
	p.temp = append(p.temp, dir)
	_, err = archive.UnpackFile(ctx, path, dir, archive.Options{})
	return dir, err
}
