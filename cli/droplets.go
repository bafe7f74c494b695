package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

func dropletCommands() []*command {
	return []*command{
		{
			name: "droplets", args: "APP", category: catHistory,
			usage: "list the droplets of an app", examples: []string{"droplets hello"}, run: runDroplets,
		},
		{
			name: "download-droplet", args: "APP", category: catHistory,
			usage: "save a droplet as a tar.gz", examples: []string{"download-droplet hello", "download-droplet hello --path hello.tgz"},
			about: "weir push APP --droplet FILE makes it run again, here or on another server.",
			flags: []cli.Flag{
				&cli.StringFlag{Name: "droplet", Usage: "`GUID` of the droplet (default: the current one)"},
				&cli.StringFlag{Name: "path", Aliases: []string{"p"}, Usage: "`FILE` or directory to save to; - for standard output"},
			},
			run: runDownloadDroplet,
		},
		{
			name: "set-droplet", args: "APP DROPLET_GUID", category: catHistory,
			usage: "choose the droplet that the next start runs", examples: []string{"set-droplet hello 5f3c… && weir restart hello"},
			run: runSetDroplet,
		},
		{
			name: "packages", args: "APP", category: catHistory,
			usage: "list the packages of an app", examples: []string{"packages hello"}, run: runPackages,
		},
	}
}

// dropletView is a droplet in a list.
type dropletView struct {
	GUID      string    `json:"guid"`
	State     string    `json:"state"`
	Current   bool      `json:"current"`
	Digest    string    `json:"digest"`
	Size      int64     `json:"sizeBytes"`
	CreatedAt time.Time `json:"createdAt"`
}

func runDroplets(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting droplets of app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	list, err := s.Droplets(ctx, client.Query(nil).In("app_guids", app.GUID).Set("order_by", "-created_at"))
	if err != nil {
		return err
	}
	current, err := s.CurrentDroplet(ctx, app.GUID)
	if err != nil && !client.IsNotFound(err) {
		return err
	}
	views, names, rows := []dropletView{}, []string{}, [][]string{}
	for _, d := range list {
		v := dropletView{GUID: d.GUID, State: strings.ToLower(d.State), Current: d.GUID == current.GUID, Size: d.Size, CreatedAt: d.CreatedAt.Time}
		if d.Checksum != nil && d.Checksum.Value != nil {
			v.Digest = d.Checksum.Type + ":" + *d.Checksum.Value
		}
		shown := d.GUID
		if v.Current {
			shown += " (current)"
		}
		views, names = append(views, v), append(names, d.GUID)
		rows = append(rows, []string{shown, v.State, formatBytes(d.Size), stamp(v.CreatedAt), v.Digest})
	}
	return c.out.print("DropletList", map[string]any{"droplets": views}, names, func(p *page) {
		if len(rows) == 0 {
			p.line("No droplets found")
			return
		}
		p.table("", append([]string{"guid", "state", "size", "created"}, p.more("digest")...), rows)
	})
}

func runDownloadDroplet(ctx context.Context, c *call) error {
	path := c.String("path")
	if path == "-" && (c.out.outTTY || c.out.machine()) {
		return usagef("a droplet is no text; send it to a file")
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	guid := c.String("droplet")
	if guid == "" {
		d, err := s.CurrentDroplet(ctx, app.GUID)
		if client.IsNotFound(err) {
			return notFound("weir push "+app.Name, "App '%s' does not have a droplet", app.Name)
		}
		if err != nil {
			return err
		}
		guid = d.GUID
	}
	c.out.banner("Downloading droplet %s for app %s in org %s / space %s as %s...", guid, app.Name, sp.Org.Name, sp.Name, s.user)
	d, err := s.DownloadDroplet(ctx, guid)
	if err != nil {
		return err
	}
	defer d.Close()
	bar := c.out.startBar("Downloading", max(d.Size, 1))
	defer bar.end()
	from := &barReader{r: d, bar: bar}
	if path == "-" {
		_, err := io.Copy(c.out.stdout, from)
		return err
	}
	name := "droplet_" + guid + ".tgz"
	if path == "" {
		path = name
	} else if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, name)
	}
	n, err := saveFile(path, 0o644, from)
	if err != nil {
		return fmt.Errorf("saving the droplet as %s: %w", path, unwrapPath(err))
	}
	bar.end()
	v := map[string]any{"droplet": guid, "path": path, "sizeBytes": n}
	return c.out.print("DropletDownload", v, []string{path}, func(p *page) {
		p.line("Droplet downloaded successfully at " + path)
		p.line("OK")
	})
}

// barReader moves a bar on as it is read.
type barReader struct {
	r   io.Reader
	bar *bar
}

func (b *barReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.bar.add(int64(n))
	return n, err
}

func runSetDroplet(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Setting app %s to droplet %s in org %s / space %s as %s...", app.Name, c.arg(1), sp.Org.Name, sp.Name, s.user)
	current, err := s.CurrentDroplet(ctx, app.GUID)
	if err != nil && !client.IsNotFound(err) {
		return err
	}
	changed := current.GUID != c.arg(1)
	if changed {
		if err := s.SetCurrentDroplet(ctx, app.GUID, c.arg(1)); err != nil {
			if f := asFailure(err); f.code == "invalid" && f.hint == "" {
				f.hint = "weir droplets " + app.Name + " lists them"
				return f
			}
			return err
		}
		if app.State == v3.AppStarted {
			c.out.step("weir restart %s makes it run", app.Name)
		}
	}
	return c.out.done("AppAction", appAction{app.Name, app.GUID, "", changed})
}

// packageView is a package in a list.
type packageView struct {
	GUID      string    `json:"guid"`
	State     string    `json:"state"`
	Git       string    `json:"git"`    // URL; "" if it was uploaded
	Commit    string    `json:"commit"` // "" if unknown
	CreatedAt time.Time `json:"createdAt"`
}

func runPackages(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting packages of app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	list, err := s.Packages(ctx, client.Query(nil).In("app_guids", app.GUID).Set("order_by", "-created_at"))
	if err != nil {
		return err
	}
	views, names, rows := []packageView{}, []string{}, [][]string{}
	for _, pkg := range list {
		v := packageView{GUID: pkg.GUID, State: strings.ToLower(pkg.State), CreatedAt: pkg.CreatedAt.Time, Commit: pkg.Metadata.Annotations["source-version"]}
		if g := pkg.Data.Git; g != nil {
			v.Git, v.Commit = g.URL, g.Commit
		}
		views, names = append(views, v), append(names, pkg.GUID)
		rows = append(rows, []string{pkg.GUID, v.State, stamp(v.CreatedAt), strings.TrimSpace(v.Git + " " + v.Commit[:min(12, len(v.Commit))])})
	}
	return c.out.print("PackageList", map[string]any{"packages": views}, names, func(p *page) {
		if len(rows) == 0 {
			p.line("No packages found")
			return
		}
		p.table("", []string{"guid", "state", "created", "source"}, rows)
	})
}
