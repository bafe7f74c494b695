package main

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weir/cli"
	"weir/router"
)

// Every command line of weir in the documentation must be one: the command,
// its flags and their values, as many arguments as it takes.
func TestDocs_CommandLinesCanBeTyped(t *testing.T) {
	program := cli.Program{Commands: []cli.Command{serveCommand(), reloadCommand()}}
	lines := 0
	for _, name := range documents(t) {
		for _, l := range commandLines(t, name) {
			err := program.Check(shellWords(l.text), l.typed)
			if err != nil && (l.typed || !strings.HasSuffix(err.Error(), "needs a value")) { // a text may speak of a flag alone
				t.Errorf("%s:%d: weir %s: %v", name, l.number, l.text, err)
			}
			lines++
		}
	}
	if lines < 100 {
		t.Errorf("only %d command lines were found", lines)
	}
}

// What the help says of route options is what there is.
func TestHelp_ListsTheRouteOptions(t *testing.T) {
	var out strings.Builder
	program := cli.Program{Commands: []cli.Command{serveCommand()}}
	if code := program.Main(t.Context(), []string{"update-route", "--help"}, strings.NewReader(""), &out, &out); code != 0 {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	_, listed, _ := strings.Cut(out.String(), "Options of a route")
	listed, _, _ = strings.Cut(listed, "Flags:")
	for _, name := range router.OptionNames() {
		if !strings.Contains(listed, "\n  "+name+"=") {
			t.Errorf("the help does not have %s", name)
		}
	}
}

// Pages that are named must be there.
func TestDocs_LinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)|` + "`((?:docs|examples)/[A-Za-z0-9/_.-]+)`")
	for _, name := range documents(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			to := m[2]
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(name), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s names %s, which is not there", name, to)
			}
		}
	}
}

func documents(t *testing.T) (names []string) {
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	return names
}

// docLine is a command line of a page.
type docLine struct {
	number int
	text   string // without "weir"
	typed  bool   // behind a "$ ": somebody typed it, so it is whole
}

var (
	program = regexp.MustCompile(`^(\$ )?(?:[./a-z]*bin/)?weir ([a-z-].*)$`)
	inline  = regexp.MustCompile("`weir ([a-z-][^`]*)`")
	// comment is what a line says behind a command: "  # text", or a text that
	// stands two blanks or more away.
	comment = regexp.MustCompile(`\s+#.*$|\s{2,}[^-\s].*$`)
	// rest is what a shell does with a command, and what a page leaves out.
	rest = regexp.MustCompile(`\s*(?:\||;|&&|&$|>|2>|<\(|…|\.\.\.).*$`)
)

// commandLines finds what begins with weir in blocks and between backquotes. In
// a block with prompts only the lines behind one are commands.
func commandLines(t *testing.T, name string) (lines []docLine) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var block []docLine
	inBlock, prompts, number := false, false, 0
	for s := bufio.NewScanner(f); s.Scan(); {
		number++
		text := s.Text()
		if strings.HasPrefix(text, "```") {
			for _, l := range block {
				if l.typed || !prompts {
					lines = append(lines, l)
				}
			}
			block, inBlock, prompts = nil, !inBlock, false
			continue
		}
		if !inBlock {
			for _, m := range inline.FindAllStringSubmatch(text, -1) {
				lines = append(lines, docLine{number, strip(m[1]), false})
			}
			continue
		}
		prompts = prompts || strings.HasPrefix(text, "$ ")
		if m := program.FindStringSubmatch(text); m != nil {
			block = append(block, docLine{number, strip(m[2]), m[1] != ""})
		}
	}
	return lines
}

func strip(text string) string {
	return strings.TrimSpace(rest.ReplaceAllString(comment.ReplaceAllString(text, ""), ""))
}

// shellWords splits a line as a shell does, as far as pages need it.
func shellWords(line string) (words []string) {
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == ' ':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
