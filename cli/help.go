package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// help writes the help of a command, or of all. "weir help push" comes with
// the command in line.args or line.cmd.
func (sh *shell) help(line commandLine) error {
	p := sh.out.page()
	if line.cmd == nil {
		sh.overview(p)
	} else {
		line.cmd.help(p)
	}
	return sh.out.write(p.bytes())
}

func (sh *shell) overview(p *page) {
	p.line("weir - push apps to a machine you own")
	p.blank()
	p.line(p.paint(bold, "Examples:"))
	for _, e := range []string{
		"weir serve                        start the platform on this machine",
		"weir login                        log in to it",
		"weir push hello                   build and run the app in this directory",
		"weir logs hello                   see what it says",
		"weir map-route hello apps.localhost -n live",
	} {
		p.line("  " + e)
	}
	for _, cat := range sh.allCategories() {
		var rows [][2]string
		for _, c := range sh.commands {
			if c.category == cat && !c.hidden {
				rows = append(rows, [2]string{strings.Join(append([]string{c.name}, c.aliases...), ", "), c.usage})
			}
		}
		if len(rows) == 0 {
			continue
		}
		p.blank()
		p.line(p.paint(bold, cat+":"))
		columns(p, rows)
	}
	p.blank()
	p.line(p.paint(bold, "Flags of every command:"))
	columns(p, describeFlags(globalFlags()))
	p.blank()
	for _, line := range fold("weir COMMAND --help tells more, weir help concepts what the words mean. Flags may stand before or after the other arguments.", p.within(80)) {
		p.line(line)
	}
}

// allCategories returns the known categories and those of added commands.
func (sh *shell) allCategories() []string {
	all := append([]string(nil), categories...)
	for _, c := range sh.commands {
		if c.category != "" && !slices.Contains(all, c.category) {
			all = append(all, c.category)
		}
	}
	return all
}

func (c *command) help(p *page) {
	p.line("weir " + c.name + " - " + c.usage)
	p.blank()
	p.line(p.paint(bold, "Examples:"))
	for _, e := range c.examples {
		p.line("  " + exampleLine(e))
	}
	p.blank()
	p.line(p.paint(bold, "Usage:"))
	p.line(strings.TrimRight("  weir "+c.name+" "+c.args, " ") + " [flags]")
	if len(c.aliases) > 0 {
		p.line("  also called " + strings.Join(c.aliases, ", "))
	}
	if c.about != "" {
		p.blank()
		for i, par := range strings.Split(c.about, "\n\n") {
			if i > 0 {
				p.blank()
			}
			wrap(p, par, 78)
		}
	}
	if c.noJSON != "" {
		wrap(p, "It has no -o json, yaml and the like: "+c.noJSON+".", 78)
	}
	if c.topic != nil {
		p.blank()
		c.topic(p)
	}
	if rows := describeFlags(c.flags); len(rows) > 0 {
		p.blank()
		p.line(p.paint(bold, "Flags:"))
		columns(p, rows)
	}
	p.blank()
	p.line("Every command also has -o FORMAT, -q, -v and --no-color: weir --help.")
}

// exampleLine completes an example; those that begin with something else than
// a command of weir are whole.
func exampleLine(e string) string {
	for _, prefix := range []string{"weir ", "source ", "WEIR_"} {
		if strings.HasPrefix(e, prefix) {
			return e
		}
	}
	return "weir " + e
}

// describeFlags returns name and explanation of the visible flags.
func describeFlags(flags []cli.Flag) (rows [][2]string) {
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if v, hides := f.(cli.VisibleFlag); !ok || hides && !v.IsVisible() {
			continue
		}
		var names []string
		for _, n := range f.Names() {
			if len(n) == 1 {
				names = append([]string{"-" + n}, names...)
			} else {
				names = append(names, "--"+n)
			}
		}
		value, usage := unquote(d.GetUsage())
		left := strings.Join(names, ", ")
		if value != "" {
			left += " " + value
		}
		if v := d.GetDefaultText(); d.TakesValue() && d.GetValue() != "" && v != "" && v != "0" && v != "0s" && !strings.Contains(usage, "default") {
			if _, generic := f.(*cli.GenericFlag); !generic {
				usage += " (default " + tidyDuration(strings.Trim(v, `"`)) + ")"
			}
		}
		rows = append(rows, [2]string{left, usage})
	}
	return rows
}

// tidyDuration writes 24h0m0s as 24h.
func tidyDuration(s string) string {
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

// unquote returns the word in backquotes and the text without them.
func unquote(usage string) (value, text string) {
	before, rest, ok := strings.Cut(usage, "`")
	if !ok {
		return "", usage
	}
	value, after, ok := strings.Cut(rest, "`")
	if !ok {
		return "", usage
	}
	return value, before + value + after
}

// columns writes two columns, the second wrapped at the width of a terminal.
func columns(p *page, rows [][2]string) {
	width := 0
	for _, r := range rows {
		width = max(width, min(len(r[0]), 30))
	}
	for _, r := range rows {
		left := fmt.Sprintf("  %-*s  ", width, r[0])
		if len(r[0]) > width {
			p.line("  " + r[0])
			left = strings.Repeat(" ", width+4)
		}
		for i, text := range fold(r[1], max(30, p.within(104)-width-4)) {
			if i > 0 {
				left = strings.Repeat(" ", width+4)
			}
			p.line(left + text)
		}
	}
}

func wrap(p *page, text string, width int) {
	for _, line := range fold(text, p.within(width+2)-2) {
		p.line("  " + line)
	}
}

// fold breaks a text into lines of at most width bytes.
func fold(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
