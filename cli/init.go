package cli

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// templates are small apps that run as they are. Their files end in ".txt" so
// that no tool takes them for ours.
//
//go:embed templates
var templates embed.FS

func initCommand() *command {
	return &command{
		name: "init", args: "[PATH]", category: catStart,
		usage: "begin an app: a manifest, and a hello if there is no code yet",
		examples: []string{
			"init hello                 # a new directory with an app that runs",
			"init hello --language go",
			"init                       # a manifest for the code in this directory",
		},
		about: "Languages are " + strings.Join(languages(), ", ") + ". Files that are there are left alone.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Aliases: []string{"n"}, Usage: "`NAME` of the app (default: that of the directory)"},
			&cli.StringFlag{Name: "language", Aliases: []string{"l"}, Usage: "`LANGUAGE` of a new app", Value: "python"},
		},
		run: runInit,
	}
}

// languages are those that init knows a hello in.
func languages() []string {
	entries, err := templates.ReadDir("templates")
	if err != nil { // embedded, hence never
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// begun is what init made.
type begun struct {
	App      string   `json:"app"`
	Path     string   `json:"path"`
	Language string   `json:"language"` // "" if the code was there
	Files    []string `json:"files"`    // that were written
}

func runInit(_ context.Context, c *call) error {
	dir := c.arg(0)
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	result := begun{App: c.String("name"), Path: dir, Files: []string{}}
	if result.App == "" {
		result.App = appName(filepath.Base(abs))
	}
	if result.App == "" || appName(result.App) != result.App {
		return withHint(usagef("%q cannot be the name of an app with a route", result.App), "use a-z, 0-9 and -: weir init PATH -n NAME")
	}
	language := c.String("language")
	if !slices.Contains(languages(), language) {
		return withHint(usagef("there is no language %q", language), "choose "+strings.Join(languages(), ", "))
	}
	files := map[string]string{"manifest.yml": "applications:\n- name: " + result.App + "\n  memory: 128M\n"}
	empty, err := isEmpty(dir)
	if err != nil {
		return err
	}
	if empty {
		result.Language = language
		if err := hello(files, language, result.App); err != nil {
			return err
		}
	}
	if result.Files, err = writeNew(dir, files); err != nil {
		return err
	}
	names := make([]string, len(result.Files))
	for i, f := range result.Files {
		names[i] = filepath.Join(dir, f)
	}
	return c.out.print("Init", result, names, func(p *page) {
		for _, n := range names {
			p.line("wrote " + n)
		}
		if len(names) == 0 {
			p.line("Everything is there already. Nothing has been updated.")
		}
		p.blank()
		if dir == "." {
			p.line("Next: weir push")
			return
		}
		p.line("Next: cd " + dir + " && weir push")
	})
}

// isEmpty reports whether a directory is not there, or holds no code.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(e.Name(), "manifest.y")
	}), err
}

// hello adds the files of a small app.
func hello(files map[string]string, language, app string) error {
	return fs.WalkDir(templates, path.Join("templates", language), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := templates.ReadFile(name)
		files[strings.TrimSuffix(path.Base(name), ".txt")] = strings.ReplaceAll(string(text), "{{name}}", app)
		return err
	})
}

// writeNew writes those files that are not there and returns their names.
func writeNew(dir string, files map[string]string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	written := []string{}
	for name, text := range files {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
		written = append(written, name)
	}
	slices.Sort(written)
	return written, nil
}
