package cli

import (
	"bufio"
	"context"
	"flag"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// command describes one command: how it is typed, what its help says, and
// what it does.
type command struct {
	name     string
	aliases  []string
	category string
	usage    string // one line
	// args are the positional arguments as the usage line shows them:
	// "APP DOMAIN [INDEX] [NAME=VALUE...]". The number allowed and what a
	// shell completes follow from it.
	args     string
	examples []string      // without "weir "
	about    string        // further paragraphs of the help
	topic    func(p *page) // a page to end the help with; may be nil
	flags    []cli.Flag
	// noJSON says why the command has no -o json; empty for those that have.
	noJSON string
	// dashO names the flag that takes the value of -o when it is no output
	// format: cf's -o ORG and -o OPTION=VALUE go on working.
	dashO  string
	hidden bool
	run    func(ctx context.Context, c *call) error
}

// The categories, in the order of the help.
const (
	catStart    = "Getting started"
	catApps     = "Apps"
	catRoutes   = "Routes and domains"
	catVersions = "Versions and traffic"
	catHistory  = "Packages, droplets, revisions"
	catAdmin    = "Administration"
	catServer   = "Server"
)

var categories = []string{catStart, catApps, catVersions, catRoutes, catHistory, catAdmin, catServer}

// commands returns all commands of this package.
func commands() []*command {
	return slices.Concat(
		loginCommands(), pushCommands(), appCommands(), lifecycleCommands(), scaleCommands(), envCommands(), healthCheckCommands(),
		logCommands(), routeCommands(), mapCommands(), domainCommands(), dropletCommands(), revisionCommands(),
		versionCommands(), weightCommands(), spawnCommands(), shadowCommands(), assignCommands(), trafficCommands(), rollbackCommands(), rolloutCommands(), freezeCommands(), holdCommands(),
		diffCommands(), conceptCommands(),
		manifestCommands(), buildpackCommands(), orgCommands(), userCommands(), curlCommands(), miscCommands(),
	)
}

// call is one run of a command.
type call struct {
	*cli.Context // the flags
	cmd          *command
	shell        *shell
	out          *ui
	args         []string
	// manifestRolls says that the manifest has a rollout block for the app that
	// is pushed now.
	manifestRolls bool
	lines         *bufio.Reader // standard input, of commands that read several lines
}

// globalFlags stand in every command.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of the result: table, wide, json, jsonl, yaml, name or jsonpath=TEMPLATE", Value: formatTable},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print names or ids only, and no progress"},
		&cli.BoolFlag{Name: "verbose", Usage: "show the HTTP requests on standard error, without tokens, passwords and values of variables", Aliases: []string{"v"}},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours (as NO_COLOR and TERM=dumb do)"},
	}
}

// allFlags returns the command's own flags and the global ones.
func (c *command) allFlags() []cli.Flag { return slices.Concat(c.flags, globalFlags()) }

// limits returns how many positional arguments the command takes; most is -1
// without a limit.
func (c *command) limits() (least, most int) {
	for word := range strings.FieldsSeq(c.args) {
		if strings.Contains(word, "...") {
			most = -1
		} else if most >= 0 {
			most++
		}
		if !strings.HasPrefix(word, "[") {
			least++
		}
	}
	return least, most
}

// hasName reports whether s is the command's name or an alias.
func (c *command) hasName(s string) bool { return c.name == s || slices.Contains(c.aliases, s) }

// prepare checks the arguments and sets the output up.
func (c *call) prepare() error {
	if err := c.out.configure(c.String("output"), c.Bool("quiet"), c.Bool("verbose"), c.Bool("no-color")); err != nil {
		return err
	}
	if c.out.machine() && c.cmd.noJSON != "" {
		return usagef("%s has no -o %s: %s", c.cmd.name, c.out.format, c.cmd.noJSON)
	}
	least, most := c.cmd.limits()
	switch {
	case len(c.args) < least:
		return withHint(usagef("%s is missing", argumentAt(c.cmd, len(c.args))), c.cmd.usageHint())
	case most >= 0 && len(c.args) > most:
		return withHint(usagef("unexpected argument %q", c.args[most]), c.cmd.usageHint())
	}
	if len(c.args) > 0 && c.args[0] == "" && !c.cmd.hidden {
		return withHint(usagef("%s is empty", argumentAt(c.cmd, 0)), c.cmd.usageHint())
	}
	return nil
}

func (c *command) usageHint() string {
	return strings.TrimSpace("usage: weir " + c.name + " " + c.args)
}

// arg returns the nth positional argument, or "".
func (c *call) arg(n int) string {
	if n < len(c.args) {
		return c.args[n]
	}
	return ""
}

// has reports whether the flag was given.
func (c *call) has(name string) bool { return c.IsSet(name) }

// adopt makes a command of one handed in from outside.
func (c Command) adopt() *command {
	set := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	if c.Flags != nil {
		c.Flags(set)
	}
	cmd := &command{
		name: c.Name, usage: c.Usage, about: c.About, examples: c.Examples,
		category: catServer,
		noJSON:   "what it prints is for people",
		run: func(ctx context.Context, k *call) error {
			return c.Run(ctx, k.out.stdout)
		},
	}
	set.VisitAll(func(f *flag.Flag) {
		usage := f.Usage
		if f.DefValue != "" && f.DefValue != "false" && !strings.Contains(usage, "default") {
			usage += " (default " + f.DefValue + ")"
		}
		cmd.flags = append(cmd.flags, &cli.GenericFlag{Name: f.Name, Usage: usage, Value: f.Value})
	})
	return cmd
}

// env returns the first of the variables that is set and not empty.
func env(names ...string) string {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			return v
		}
	}
	return ""
}
