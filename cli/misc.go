package cli

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

func miscCommands() []*command {
	return []*command{
		{
			name: "version", category: catAdmin,
			usage: "show the versions of this program and of the server", examples: []string{"version", "version -o json", "version --client"},
			flags: []cli.Flag{&cli.BoolFlag{Name: "client", Usage: "do not ask the server"}},
			run:   runVersion,
		},
		{
			name: "completion", args: "SHELL", category: catAdmin,
			usage: "write a completion script for bash, zsh or fish",
			examples: []string{
				"source <(weir completion bash)                  # in ~/.bashrc",
				"source <(weir completion zsh)                   # in ~/.zshrc",
				"weir completion fish > ~/.config/fish/completions/weir.fish",
			},
			about: "Commands, flags and their values, and the names of apps, versions, routes, domains, buildpacks, users, orgs and spaces are completed.",
			run:   runCompletion,
		},
		{
			name: completeCommand, args: "[WORD...]", hidden: true,
			usage: "answer a shell's question", examples: []string{completeCommand + " -- push --st"},
			noJSON: "a shell reads it", run: runComplete,
		},
	}
}

// version returns the program's version.
func (sh *shell) version() string {
	if sh.program.Version != "" {
		return sh.program.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "dev"
}

// versionView is the result of weir version.
type versionView struct {
	Client string `json:"client"`
	Go     string `json:"go"`
	API    string `json:"api"`    // address of the server; "" if there is none
	Server string `json:"server"` // its version; "" if it does not answer
}

func runVersion(ctx context.Context, c *call) error {
	v := versionView{Client: c.shell.version(), Go: runtime.Version()}
	if !c.Bool("client") {
		// Whatever fails here is no reason not to tell our own version.
		if cfg, err := loadConfig(); err == nil {
			v.API = cfg.API
		}
		if v.API == "" {
			l, _ := findLocal()
			v.API = l.API
		}
		if v.API != "" {
			if k, err := c.client(v.API, nil); err == nil {
				if info, err := k.Info(ctx); err == nil {
					v.Server = cmp.Or(info.Custom.WeirVersion, info.Build, info.Name)
				}
			}
		}
	}
	return c.out.print("Version", map[string]any{"version": v}, []string{v.Client}, func(p *page) {
		p.line("weir " + v.Client + " (" + v.Go + ")")
		switch {
		case v.Server != "":
			p.line("server " + v.Server + " at " + v.API)
		case v.API != "":
			p.line("server at " + v.API + " does not answer")
		}
	})
}
