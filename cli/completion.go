package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/api/client"
)

// completeCommand is what the completion scripts call: weir __complete --
// followed by the words typed so far, the last being the one to complete.
const completeCommand = "__complete"

var completionScripts = map[string]string{
	"bash": `_weir() {
  local line=${COMP_LINE:0:COMP_POINT} words cur
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  cur=${words[${#words[@]}-1]}
  local IFS=$'\n'
  COMPREPLY=($(weir __complete -- "${words[@]:1}" 2>/dev/null))
  case "${COMPREPLY[0]-}" in *[=:]) compopt -o nospace 2>/dev/null ;; esac
  if [[ $COMP_WORDBREAKS == *[:=]* && $cur == *[:=]* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*[:=]}"}"}")
  fi
}
complete -o default -F _weir weir
`,
	"zsh": `#compdef weir
_weir() {
  local -a found
  found=("${(@f)$(weir __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -z "$found" ]]; then _files; return; fi
  local -a open=("${(@M)found:#*[=:]}") whole=("${(@)found:#*[=:]}")
  (( $#whole )) && compadd -a whole
  (( $#open )) && compadd -S '' -a open
}
if [[ "$funcstack[1]" = "_weir" ]]; then _weir "$@"; else compdef _weir weir; fi
`,
	"fish": `function __weir_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (weir __complete -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c weir -f -a '(__weir_complete)'
`,
}

func runCompletion(_ context.Context, c *call) error {
	script, ok := completionScripts[c.arg(0)]
	if !ok {
		return withHint(usagef("no completion for %q", c.arg(0)), "choose bash, zsh or fish")
	}
	v := map[string]any{"shell": c.arg(0), "script": script}
	return c.out.print("Completion", v, []string{strings.TrimSuffix(script, "\n")}, func(p *page) { p.buf.WriteString(script) })
}

// completionTime is how long the server may take: a shell waits meanwhile.
const completionTime = 2 * time.Second

func runComplete(ctx context.Context, c *call) error {
	ctx, stop := context.WithTimeout(ctx, completionTime)
	defer stop()
	words := c.args
	if len(words) == 0 {
		words = []string{""}
	}
	var b strings.Builder
	for _, s := range c.completions(ctx, words[:len(words)-1], words[len(words)-1]) {
		b.WriteString(s + "\n")
	}
	return c.out.write([]byte(b.String()))
}

// completions returns what word may become after the words before it.
func (c *call) completions(ctx context.Context, before []string, word string) []string {
	line, err := c.shell.split(before)
	if _, flag := positionOf(newFlagTable(globalFlags()), before); flag == "output" && (err != nil || line.cmd == nil) {
		return matching(outputFormats(), word) // weir -o json apps
	}
	if err != nil {
		return nil
	}
	if line.cmd == nil && strings.HasPrefix(word, "-") {
		return matching(append(flagNames(globalFlags()), "--help", "--version"), word)
	}
	if line.cmd == nil {
		var names []string
		for _, cmd := range c.shell.commands {
			if !cmd.hidden {
				names = append(names, cmd.name)
			}
		}
		return matching(append(names, "help"), word)
	}
	table := newFlagTable(line.cmd.allFlags())
	place, flag := positionOf(table, line.args)
	if flag != "" {
		return matching(c.valuesOf(ctx, line, table, flag), word)
	}
	if strings.HasPrefix(word, "-") {
		given, _, hasValue := strings.Cut(word, "=")
		if f := table.byName[strings.TrimLeft(given, "-")]; hasValue && f != nil { // --output=y
			values := c.valuesOf(ctx, line, table, f.name)
			for i, v := range values {
				values[i] = given + "=" + v
			}
			return matching(values, word)
		}
		return matching(append(flagNames(line.cmd.allFlags()), "--help"), word)
	}
	kind := argumentAt(line.cmd, place)
	if kind == "APP" && strings.Contains(word, ":") {
		kind = "APP:VERSION" // stop web:v2
	}
	if list := versionWords(kind, ""); list != "" {
		return matching(c.versionValues(ctx, list, appArgument(line.cmd, table, line.args)), word)
	}
	return matching(c.argumentValues(ctx, kind), word)
}

// valuesOf returns what may be the value of a flag of a command line.
func (c *call) valuesOf(ctx context.Context, line commandLine, table flagTable, flag string) []string {
	if list := versionWords("", flag); list != "" {
		return c.versionValues(ctx, list, appArgument(line.cmd, table, line.args))
	}
	return c.flagValues(ctx, line.cmd, flag)
}

// flagNames returns the long names of those flags that the help shows.
func flagNames(flags []cli.Flag) (names []string) {
	for _, f := range flags {
		if v, hides := f.(cli.VisibleFlag); !hides || v.IsVisible() {
			names = append(names, "--"+f.Names()[0])
		}
	}
	return names
}

// outputFormats are what may follow -o.
func outputFormats() []string { return append(slices.Clone(formats), formatPath+"=") }

func matching(list []string, prefix string) []string {
	list = slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, prefix) })
	slices.Sort(list)
	return slices.Compact(list)
}

// positionOf counts the positional arguments among args, and names the flag
// whose value comes next, if one does.
func positionOf(t flagTable, args []string) (place int, flag string) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if !strings.HasPrefix(a, "-") || a == "-" {
			place++
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if f := t.byName[name]; f != nil && !f.bool && !hasValue {
			if i++; i == len(args) {
				return place, f.name
			}
		}
	}
	return place, ""
}

// argumentAt returns the word of the usage line at a place.
func argumentAt(cmd *command, place int) string {
	words := strings.Fields(cmd.args)
	if last := len(words) - 1; last >= 0 && place > last && strings.Contains(words[last], "...") {
		place = last
	}
	if place >= len(words) {
		return ""
	}
	word := strings.Trim(words[place], "[].")
	return strings.TrimSuffix(word, "[:VERSION")
}

func (c *call) flagValues(ctx context.Context, cmd *command, flag string) []string {
	switch flag {
	case "output":
		return outputFormats()
	case "strategy":
		names := []string{"rolling", "canary"}
		if cmd.canRollOut() {
			names = append(names, rolloutPresets...)
		}
		return names
	case "role":
		return []string{"admin", "reader", "auditor", "none"}
	case "on-fail":
		return []string{"rollback", "pause", "report"}
	case "on-silence":
		return []string{"extend", "promote", "rollback"}
	case "concurrency":
		return []string{"supersede", "queue", "refuse"}
	case "route":
		return c.argumentValues(ctx, "ROUTE")
	case "health-check-type":
		return checkTypes
	case "buildpack":
		return c.argumentValues(ctx, "BUILDPACK")
	case "domain":
		return c.argumentValues(ctx, "DOMAIN")
	case "space":
		return c.argumentValues(ctx, "SPACE")
	case "org":
		return c.argumentValues(ctx, "ORG")
	case "hostname":
		return c.argumentValues(ctx, "HOST")
	case "weight":
		if cmd.name != "update-route" {
			return nil
		}
		names := c.argumentValues(ctx, "APP")
		for i := range names {
			names[i] += "="
		}
		return names
	}
	return nil
}

// argumentValues asks the server for what may stand for a word of a usage
// line. Whatever goes wrong, there is just nothing to offer.
func (c *call) argumentValues(ctx context.Context, word string) (names []string) {
	switch word {
	case "SHELL":
		return []string{"bash", "zsh", "fish"}
	case "port|http|process":
		return checkTypes
	case "on|off":
		return []string{"on", "off"}
	case "MODE":
		return []string{"cookie", "ip", "header:", "off"}
	case "ACTION":
		return slices.Collect(maps.Keys(rolloutActions))
	case "OTHER_APP":
		word = "APP"
	case "APP", "DOMAIN", "HOST", "ROUTE", "BUILDPACK", "ORG", "SPACE", "USER":
	default:
		return nil
	}
	s, sp, err := c.open(ctx)
	if err != nil {
		return nil
	}
	inSpace := client.Query(nil).In("space_guids", sp.GUID)
	switch word {
	case "APP":
		list, _ := s.Apps(ctx, inSpace)
		for _, a := range list {
			names = append(names, a.Name)
		}
	case "DOMAIN":
		list, _ := s.OrganizationDomains(ctx, sp.Org.GUID)
		for _, d := range list {
			names = append(names, d.Name)
		}
	case "HOST":
		list, _ := s.Routes(ctx, inSpace)
		for _, r := range list {
			names = append(names, r.Host)
		}
	case "ROUTE":
		list, _ := s.Routes(ctx, inSpace)
		for _, r := range list {
			names = append(names, r.URL)
		}
	case "BUILDPACK":
		list, _ := s.Buildpacks(ctx, nil)
		for _, b := range list {
			names = append(names, b.Name)
		}
	case "USER":
		list, _ := s.Users(ctx, nil)
		for _, u := range list {
			names = append(names, u.PresentationName)
		}
	case "ORG", "SPACE":
		list, _ := s.spaces(ctx)
		for _, x := range list {
			if word == "ORG" {
				names = append(names, x.Org.Name)
			} else {
				names = append(names, x.Name)
			}
		}
	}
	return names
}
