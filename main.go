// Command weir is the whole platform in one binary: the command line a person
// types, and the processes of a server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"weir/buildpacks"
	"weir/buildpacks/staticserver"
	"weir/cli"
	"weir/internal/keeper"
	"weir/internal/platform"
	"weir/internal/server"
	"weir/isolation"
)

// version is set by the build: -ldflags "-X main.version=…".
var version = "dev"

func main() {
	args := os.Args[1:]
	if len(args) > 0 {
		// What weir starts of itself, many times a minute: no flags, no help.
		switch args[0] {
		case isolation.InitCommand:
			if isolation.IsInit() { // else a person begins an app
				isolation.InitMain()
			}
		case "buildpack-build":
			os.Exit(buildpacks.Main(args[1:], os.Stdout, os.Stderr))
		case "static-server":
			os.Exit(staticserver.Main(args[1:], os.Stdout, os.Stderr))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	if len(args) > 0 {
		switch args[0] {
		case server.RouterCommand:
			os.Exit(child(ctx, server.Router))
		case server.ControllerCommand:
			os.Exit(child(ctx, func(ctx context.Context, cfg server.Config) error {
				return server.Controller(ctx, cfg, version)
			}))
		}
	}
	p := cli.Program{Version: version, Commands: []cli.Command{serveCommand(), reloadCommand()}}
	os.Exit(p.Main(ctx, args, os.Stdin, os.Stdout, os.Stderr))
}

// child runs one of the keeper's processes.
func child(ctx context.Context, run func(context.Context, server.Config) error) int {
	cfg, err := server.ConfigFromKeeper()
	if err == nil {
		err = run(ctx, cfg)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "weir:", err)
	// What no restart mends: a database of a newer weir, or a damaged one.
	if e, ok := errors.AsType[*platform.Error](err); ok {
		if e.Hint != "" {
			fmt.Fprintln(os.Stderr, "weir: hint:", e.Hint)
		}
		return keeper.ExitConfig
	}
	return 1
}

func serveCommand() cli.Command {
	given := map[string]string{}
	var print bool
	return cli.Command{
		Name:  "serve",
		Usage: "run the platform on this machine",
		About: "Runs until it is interrupted, which also stops the apps; the next start brings them back.\n" +
			"The first start makes the user admin: with the password in WEIR_ADMIN_PASSWORD, else with a random one, kept in DATA/admin-password.\n" +
			"Each flag can also be set as a variable: --data as WEIR_DATA, and so on; --print-config lists them.\n" +
			"SIGHUP, or weir reload, replaces controller and router by the binary that is now at its path, without dropping a request.",
		Examples: []string{"serve", "serve --domain apps.example.com --http 0.0.0.0:80", "serve --data ./weir-data --print-config"},
		Flags: func(fs *flag.FlagSet) {
			for _, s := range server.Settings() {
				usage := s.Usage
				if s.Default != "" {
					usage += " (default " + s.Default + ")"
				}
				take := func(v string) error { given[s.Flag] = s.Join(given[s.Flag], v); return nil }
				if s.IsSwitch {
					fs.BoolFunc(s.Flag, usage, take)
				} else {
					fs.Func(s.Flag, usage, take)
				}
			}
			fs.BoolVar(&print, "print-config", false, "print the settings in force and end")
		},
		Run: func(ctx context.Context, stdout io.Writer) error {
			cfg, err := server.NewConfig(given, os.Getenv)
			if err != nil {
				return &platform.Error{Kind: platform.KindBadRequest, Msg: err.Error(), Hint: "weir serve --help lists the settings"}
			}
			if print {
				fmt.Fprint(stdout, cfg.Print())
				return nil
			}
			// Asked a second time, as by Ctrl-C of a terminal and a script that
			// passes it on, it must not die and leave instances behind: the
			// stop that began ends by itself.
			again := make(chan os.Signal, 1)
			signal.Notify(again, os.Interrupt, syscall.SIGTERM)
			defer signal.Stop(again)
			return server.Serve(ctx, cfg, stdout)
		},
	}
}

func reloadCommand() cli.Command {
	given := map[string]string{}
	return cli.Command{
		Name:  "reload",
		Usage: "start a running server's controller and router anew",
		About: "Both are replaced, one after the other, by the binary that is now at the path of weir serve. " +
			"No request is dropped and no app is restarted. Returns when both have taken over; the old router finishes its requests meanwhile.\n" +
			"To be run as the user that runs weir serve.",
		Examples: []string{"reload", "reload --data /var/lib/weir"},
		Flags: func(fs *flag.FlagSet) {
			fs.Func("data", "data `directory` of the server (default: as for weir serve)", func(v string) error { given["data"] = v; return nil })
		},
		Run: func(ctx context.Context, stdout io.Writer) error {
			cfg, err := server.NewConfig(given, os.Getenv)
			if err != nil {
				return &platform.Error{Kind: platform.KindBadRequest, Msg: err.Error()}
			}
			if err := server.Reload(ctx, cfg); err != nil {
				return err
			}
			fmt.Fprintln(stdout, "controller and router were replaced")
			return nil
		},
	}
}
