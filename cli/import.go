package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

func importCommands() []*command {
	return []*command{initCommand(), {
		name: "import", args: "FILE", category: catStart,
		usage:    "make a manifest of a tenement.toml",
		examples: []string{"import tenement.toml", "import tenement.toml --domain example.com -p -"},
		about: "Every service becomes an app: command, environment, health check, memory and start timeout. Instances become versions: " +
			"the commands that start them are printed, with what has no counterpart here. Nothing is sent to the server.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "path", Aliases: []string{"p"}, Usage: "`FILE` to write; - for standard output", Value: "manifest.yml"},
			&cli.StringFlag{Name: "domain", Aliases: []string{"d"}, Usage: "`DOMAIN` of the routes (default: the one in the file, else the server's)"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace a manifest that is there"},
		},
		run: runImport,
	}}
}

// imported is what a file of another system came to.
type imported struct {
	Path     string   `json:"path"` // of the manifest; - for standard output
	Manifest string   `json:"manifest"`
	Commands []string `json:"commands"` // to be run, in this order
	Notes    []string `json:"notes"`    // what is otherwise here
}

func runImport(_ context.Context, c *call) error {
	source := c.arg(0)
	if info, err := os.Stat(source); err == nil && info.IsDir() {
		source = filepath.Join(source, "tenement.toml")
	}
	data, err := os.ReadFile(source)
	if err != nil {
		return usagef("%s: %v", source, unwrapPath(err))
	}
	result, err := importTenement(source, data, c.String("domain"))
	if err != nil {
		return err
	}
	result.Path = c.String("path")
	if result.Path == "-" {
		return c.out.print("Import", result, []string{result.Manifest}, func(p *page) { p.buf.WriteString(result.Manifest) })
	}
	if _, err := os.Stat(result.Path); err == nil && !c.Bool("force") {
		return refusedf("-f replaces it, -p FILE writes another", "there is a %s already", result.Path)
	}
	if _, err := saveFile(result.Path, 0o600, bytes.NewReader([]byte(result.Manifest))); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return c.out.print("Import", result, []string{result.Path}, func(p *page) {
		p.line("Manifest file created successfully at " + result.Path)
		if len(result.Notes) > 0 {
			p.blank()
			p.line("What is otherwise here:")
			for _, n := range result.Notes {
				p.line("  " + n)
			}
		}
		p.blank()
		p.line("Next:")
		for _, cmd := range result.Commands {
			p.line("  " + cmd)
		}
	})
}
