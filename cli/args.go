package cli

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// commandLine is a command line whose command was found.
type commandLine struct {
	cmd  *command
	help bool     // asked for help, on cmd if it is not nil
	args []string // of cmd: flags and the rest in any order
}

// split finds the command among args. Global flags may stand before it.
func (sh *shell) split(args []string) (commandLine, error) {
	var line commandLine
	globals := newFlagTable(globalFlags())
	for len(args) > 0 {
		a := args[0]
		switch {
		case a == "--help" || a == "-h":
			line.help = true
			args = args[1:]
			continue
		case a == "--version":
			line.cmd = sh.find("version")
			line.args = append(line.args, args[1:]...)
			return line, nil
		case strings.HasPrefix(a, "-") && a != "-":
			taken, rest, err := globals.take(args, "")
			if err != nil {
				return line, err
			}
			line.args = append(line.args, taken...)
			args = rest
			continue
		case a == "help" || a == "h":
			line.help = true
			args = args[1:]
			continue
		}
		if line.cmd = sh.find(a); line.cmd == nil {
			return line, sh.unknown(a)
		}
		line.args = append(line.args, args[1:]...)
		return line, nil
	}
	return line, nil
}

// find returns the command with the given name or alias, or nil.
func (sh *shell) find(name string) *command {
	for _, c := range sh.commands {
		if c.hasName(name) {
			return c
		}
	}
	return nil
}

// elsewhere says what to type in place of commands that others have, or that
// are actions of a command here.
var elsewhere = map[string]string{
	"promote":        "did you mean weir rollout promote?",
	"abort":          "did you mean weir rollout abort?",
	"watch":          "did you mean weir rollout watch?",
	"why":            "did you mean weir rollout why?",
	"status":         "weir app APP, or weir rollout status APP",
	"history":        "weir events APP, or weir rollout history APP",
	"releases":       "weir revisions APP, or weir versions APP",
	"health":         "weir ps and weir versions APP show it",
	"token":          "did you mean weir oauth-token?",
	"token-gen":      "did you mean weir oauth-token?",
	"user":           "weir users, create-user, update-user, delete-user, passwd",
	"test":           "run the tests of the project before weir push, such as go test ./... && weir push",
	"install":        "docs/OPERATING.md has a systemd unit for weir serve",
	"caddy":          "weir serve --https gets certificates itself: docs/OPERATING.md",
	"apply":          "weir push -f FILE, for every app of the manifest",
	"apply-manifest": "weir push -f FILE, for every app of the manifest",
	"builds":         "weir curl /v3/builds",
	"cancel":         "weir cancel-deployment APP, or weir rollout abort APP",
	"config":         "weir serve --print-config",
	"continue":       "weir continue-deployment APP, or weir rollout promote APP",
	"copy-source":    "weir download-droplet APP -p FILE, then weir push OTHER_APP --droplet FILE",
	"create-org":     "weir curl -X POST /v3/organizations: docs/API.md",
	"create-space":   "weir curl -X POST /v3/spaces: docs/API.md",
	"create-service": "weir curl -X POST /v3/service_instances: docs/API.md",
	"cups":           "weir curl -X POST /v3/service_instances: docs/API.md",
	"describe":       "weir app APP, weir versions APP, weir events APP",
	"exec":           "there is no way into an instance; weir logs APP shows what it says",
	"get":            "weir apps, weir ps, weir routes: each with -o json, yaml, wide, name or jsonpath=TEMPLATE",
	"marketplace":    "weir curl /v3/service_instances: docs/API.md",
	"gate":           "weir push APP --steps 10,100 --gate approve, then weir rollout promote APP",
	"hotfix":         "weir push APP --hotfix REASON",
	"info":           "weir app APP, or weir version",
	"probe":          "weir push APP --steps 10,100 --probe PATH",
	"replay":         "did you mean weir rollout replay?",
	"retry":          "weir rollout retry APP brings its version once more; weir push APP pushes again",
	"revision":       "weir revisions APP lists them, weir diff APP 14 15 compares two",
	"rm":             "did you mean weir delete?",
	"remove":         "did you mean weir delete?",
	"run-task":       "there are no tasks: a process that needs no route has health-check-type process in the manifest",
	"simulate":       "did you mean weir rollout simulate?",
	"ssh":            "there is no way into an instance; weir logs APP shows what it says",
	"stacks":         "weir curl /v3/stacks",
	"tasks":          "there are no tasks: a process that needs no route has health-check-type process in the manifest",
	"top":            "did you mean weir ps?",
	"url":            "weir app APP shows its URLs",
	"set-org-role":   "weir update-user USER --role ROLE: roles hold everywhere",
	"set-space-role": "weir update-user USER --role ROLE: roles hold everywhere",
	"services":       "weir curl /v3/service_instances",
	"bind-service":   "weir curl -X POST /v3/service_credential_bindings: docs/API.md",
	"unbind-service": "weir curl -X DELETE /v3/service_credential_bindings/GUID: docs/API.md",
}

func (sh *shell) unknown(name string) error {
	var names []string
	for _, c := range sh.commands {
		if !c.hidden {
			names = append(names, c.name)
		}
	}
	hint := "weir help lists the commands"
	switch s := nearest(name, names); {
	case elsewhere[name] != "":
		hint = elsewhere[name]
	case s != "":
		hint = "did you mean weir " + s + "?"
	}
	return withHint(usagef("there is no command %q", name), hint)
}

// reorder puts the flags of cmd in front of its other arguments, each in the
// form --name=value, and a "--" between the two: urfave/cli stops looking for
// flags at the first argument that is none, so that the -m of
// "push web -m 1G" would be lost. It returns nil if help was asked for.
func reorder(cmd *command, args []string) ([]string, error) {
	table := newFlagTable(cmd.allFlags())
	flags, rest := []string{}, []string{}
	for len(args) > 0 {
		a := args[0]
		switch {
		case a == "--":
			rest = append(rest, args[1:]...)
			args = nil
		case a == "--help" || a == "-h" && table.byName["h"] == nil:
			return nil, nil
		case a == "-" || !strings.HasPrefix(a, "-"):
			rest = append(rest, a)
			args = args[1:]
		default:
			taken, left, err := table.take(args, cmd.dashO)
			if err != nil {
				return nil, withHint(err, hintOf(err, "weir "+cmd.name+" --help lists its flags"))
			}
			flags = append(flags, taken...)
			args = left
		}
	}
	return append(append(flags, "--"), rest...), nil
}

// flagInfo is what reordering has to know of a flag.
type flagInfo struct {
	name string // the canonical one
	bool bool
	// takes, of a flag that may stand alone, says whether the next argument is
	// its value.
	takes func(string) bool
}

// flagTable knows the flags of a command by all their names.
type flagTable struct {
	byName map[string]*flagInfo
	names  []string
}

func newFlagTable(flags []cli.Flag) flagTable {
	t := flagTable{byName: map[string]*flagInfo{}}
	for _, f := range flags {
		info := &flagInfo{name: f.Names()[0]}
		switch v := f.(type) {
		case *cli.BoolFlag:
			info.bool = true
		case *cli.GenericFlag:
			b, ok := v.Value.(interface{ IsBoolFlag() bool })
			info.bool = ok && b.IsBoolFlag()
			if o, ok := v.Value.(interface{ takes(string) bool }); ok {
				info.takes = o.takes
			}
		}
		for _, n := range f.Names() {
			if t.byName[n] == nil { // a command's own flag goes before a global one
				t.byName[n] = info
				t.names = append(t.names, n)
			}
		}
	}
	return t
}

// take reads the flag at the head of args and returns it in the form
// --name=value, with the arguments after it. dashO is the command's.
func (t flagTable) take(args []string, dashO string) (taken, rest []string, err error) {
	head, rest := args[0], args[1:]
	name, value, hasValue := strings.Cut(strings.TrimLeft(head, "-"), "=")
	f := t.byName[name]
	if f == nil && !strings.HasPrefix(head, "--") {
		if taken, ok := t.cluster(head[1:], &rest); ok {
			return taken, rest, nil
		}
	}
	if f == nil || strings.HasPrefix(head, "---") {
		return nil, nil, t.unknown(head)
	}
	if f.takes != nil {
		if !hasValue && len(rest) > 0 && f.takes(rest[0]) {
			value, rest = rest[0], rest[1:]
		}
		return []string{"--" + f.name + "=" + cmp.Or(value, "true")}, rest, nil
	}
	if f.bool {
		if !hasValue {
			return []string{"--" + f.name}, rest, nil
		}
		if value != "true" && value != "false" {
			return nil, nil, usagef("flag %s is true or false, not %q", dashed(name), value)
		}
		return []string{"--" + f.name + "=" + value}, rest, nil
	}
	if !hasValue {
		if len(rest) == 0 || t.isFlag(rest[0]) {
			return nil, nil, usagef("flag %s needs a value", dashed(name))
		}
		value, rest = rest[0], rest[1:]
	}
	if f.name == "output" && dashO != "" && !isFormat(value) {
		return []string{"--" + dashO + "=" + value}, rest, nil
	}
	return []string{"--" + f.name + "=" + value}, rest, nil
}

// cluster reads short flags written together: -fr, and values without a
// blank: -m256M, -rfm 1G.
func (t flagTable) cluster(s string, rest *[]string) (taken []string, ok bool) {
	for i, letter := range s {
		f := t.byName[string(letter)]
		if f == nil {
			return nil, false
		}
		if f.bool {
			taken = append(taken, "--"+f.name)
			continue
		}
		value := s[i+len(string(letter)):]
		if value == "" {
			if len(*rest) == 0 || t.isFlag((*rest)[0]) {
				return nil, false
			}
			value, *rest = (*rest)[0], (*rest)[1:]
		}
		return append(taken, "--"+f.name+"="+strings.TrimPrefix(value, "=")), true
	}
	return taken, true
}

// isFlag reports whether s is one of the flags as such: a value that merely
// begins with a dash, such as -1, is not.
func (t flagTable) isFlag(s string) bool {
	if !strings.HasPrefix(s, "-") {
		return false
	}
	name, _, _ := strings.Cut(strings.TrimLeft(s, "-"), "=")
	return t.byName[name] != nil || name == "help"
}

var numeric = regexp.MustCompile(`^-[0-9]`)

func (t flagTable) unknown(given string) error {
	name, _, _ := strings.Cut(given, "=")
	err := usagef("unknown flag %s", name)
	if numeric.MatchString(given) {
		return withHint(err, "a value that begins with a dash goes after --")
	}
	if s := nearest(strings.TrimLeft(name, "-"), t.names); s != "" {
		return withHint(err, "did you mean "+dashed(s)+"?")
	}
	return err
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// unread is how the flag package says that a value is none of its flag's.
var unread = regexp.MustCompile(`^invalid value (".*") for flag -([a-z0-9-]+): `)

// badValue says of a flag's value what it should have been.
func (cmd *command) badValue(err error) error {
	m := unread.FindStringSubmatch(err.Error())
	if m == nil {
		return usagef("%v", err)
	}
	i := slices.IndexFunc(cmd.allFlags(), func(f cli.Flag) bool { return slices.Contains(f.Names(), m[2]) })
	if i < 0 {
		return usagef("%v", err)
	}
	kind, hint := "", ""
	switch cmd.allFlags()[i].(type) {
	case *cli.IntFlag:
		kind = "whole number"
	case *cli.Uint64Flag:
		kind = "whole number of 0 or more"
	case *cli.DurationFlag:
		kind, hint = "duration", "write a number with a unit: 30s, 5m or 1h"
	default:
		return usagef("%v", err)
	}
	return withHint(usagef("%s %s is no %s", dashed(m[2]), m[1], kind), cmp.Or(hint, "weir "+cmd.name+" --help lists its flags"))
}
