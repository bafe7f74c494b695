package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

func manifestCommands() []*command {
	return append(importCommands(), &command{
		name: "create-app-manifest", args: "APP", category: catHistory,
		usage:    "write a manifest of an app as it is",
		examples: []string{"create-app-manifest hello", "create-app-manifest hello -p manifest.yml", "create-app-manifest hello -p -"},
		about: "weir push -f FILE makes an app like it. An existing file is replaced. The values of its variables are in it, so nobody " +
			"else may read it.",
		flags: []cli.Flag{&cli.StringFlag{Name: "path", Aliases: []string{"p"}, Usage: "`FILE` to write (default APP_manifest.yml); - for standard output"}},
		run:   runCreateAppManifest,
	})
}

func runCreateAppManifest(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Creating an app manifest from current settings of app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	yml, err := s.AppManifest(ctx, app.GUID)
	if err != nil {
		return err
	}
	path := c.String("path")
	if path == "" {
		path = app.Name + "_manifest.yml"
	}
	v := map[string]any{"app": app.Name, "path": path, "manifest": string(yml)}
	if path == "-" {
		return c.out.print("AppManifest", v, []string{string(bytes.TrimRight(yml, "\n"))}, func(p *page) { p.buf.Write(yml) })
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return usagef("%s is a directory", path)
	}
	if _, err := saveFile(path, 0o600, bytes.NewReader(yml)); err != nil {
		return fmt.Errorf("writing the manifest to %s: %w", path, unwrapPath(err))
	}
	return c.out.print("AppManifest", v, []string{path}, func(p *page) {
		p.line("Manifest file created successfully at " + path)
		p.line("OK")
	})
}
