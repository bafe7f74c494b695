package cli

import (
	"context"
	"flag"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// Command is a command that the program brings besides those of this package:
// serve and reload. It takes flags and no other arguments.
type Command struct {
	Name     string
	Usage    string // one line for the list of commands
	About    string // paragraphs for the command's own help
	Examples []string
	// Flags declares the command's flags; nil for none. A flag's usage may
	// name its value in backquotes, as package flag has it.
	Flags func(*flag.FlagSet)
	// Run does the work. A *platform.Error is shown with its hint.
	Run func(ctx context.Context, stdout io.Writer) error
}

// Program is the whole command line.
type Program struct {
	// Version is shown by weir version. Empty means unknown.
	Version string
	// Commands are added to those of this package.
	Commands []Command
}

// Main runs one command line, without the program's name, and returns the
// exit code. It returns early, with 130, when ctx ends: whatever a server was
// asked to do goes on there.
func (p Program) Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	sh := &shell{program: p, commands: p.all(), out: newUI(stdin, stdout, stderr)}
	sh.out.format = formatOf(args) // for errors before the flags are parsed
	err := sh.run(ctx, args)
	return sh.out.fail(ctx, err)
}

// formatOf looks for a format for programs among arguments that are not parsed
// yet.
func formatOf(args []string) string {
	for i, a := range args {
		value, found := "", false
		switch {
		case a == "--":
			return formatTable
		case a == "-o" || a == "--output":
			if found = i+1 < len(args); found {
				value = args[i+1]
			}
		default:
			if value, found = strings.CutPrefix(a, "--output="); !found {
				value, found = strings.CutPrefix(a, "-o")
				value = strings.TrimPrefix(value, "=")
			}
		}
		if format, _, _ := strings.Cut(value, "="); found && isMachine(format) {
			return format
		}
	}
	return formatTable
}

// all returns the commands of this package and those handed in.
func (p Program) all() []*command {
	all := commands()
	for _, c := range p.Commands {
		all = append(all, c.adopt())
	}
	return all
}

// shell runs command lines.
type shell struct {
	program  Program
	commands []*command
	out      *ui
}

// run finds the command, puts its flags in front, and runs it.
func (sh *shell) run(ctx context.Context, args []string) error {
	line, err := sh.split(args)
	if err != nil {
		return err
	}
	if line.help || line.cmd == nil {
		return sh.help(line)
	}
	argv, err := reorder(line.cmd, line.args)
	if err != nil {
		return err
	}
	if argv == nil { // --help among the arguments
		return sh.help(commandLine{cmd: line.cmd})
	}
	app := &cli.App{
		Name: "weir", HelpName: "weir",
		Commands:  []*cli.Command{sh.bind(line.cmd)},
		HideHelp:  true,
		Reader:    sh.out.stdin,
		Writer:    sh.out.stdout,
		ErrWriter: sh.out.stderr,
		// Values such as A=1,2 are whole.
		DisableSliceFlagSeparator: true,
		// Errors are shown, and turned into an exit code, by Main.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	return app.RunContext(ctx, append([]string{"weir", line.cmd.name}, argv...))
}

// bind makes an urfave command of ours.
func (sh *shell) bind(cmd *command) *cli.Command {
	return &cli.Command{
		Name: cmd.name, Flags: cmd.allFlags(), HideHelp: true,
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return cmd.badValue(err) },
		Action: func(ctx *cli.Context) error {
			c := &call{Context: ctx, cmd: cmd, shell: sh, out: sh.out, args: ctx.Args().Slice()}
			if err := c.prepare(); err != nil {
				return err
			}
			return cmd.run(ctx.Context, c)
		},
	}
}
