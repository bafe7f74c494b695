package cli

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Hints at other commands name commands that there are.
func TestElsewhere_LeadsToCommands(t *testing.T) {
	sh := testShell()
	command := regexp.MustCompile(`\bweir ([a-z-]+)`)
	for word, hint := range elsewhere {
		if sh.find(word) != nil {
			t.Errorf("weir %s exists", word)
		}
		for _, m := range command.FindAllStringSubmatch(hint, -1) {
			if sh.find(m[1]) == nil && m[1] != "serve" { // which is the program's
				t.Errorf("weir %s: %s", word, hint)
			}
		}
	}
	for word, hint := range elsewhereActions {
		if rolloutActions[word] != nil {
			t.Errorf("weir rollout %s exists", word)
		}
		for _, m := range command.FindAllStringSubmatch(hint, -1) {
			if sh.find(m[1]) == nil {
				t.Errorf("weir rollout %s: %s", word, hint)
			}
		}
	}
}

// The help of a command fits into a narrow terminal, but for lines that are to
// be copied.
func TestHelp_FitsIntoTheTerminal(t *testing.T) {
	for _, c := range commands() {
		p := &page{width: 64}
		examples := c.examples
		c.topic = nil // a page of its own, as it is
		c.help(p)
		for line := range strings.Lines(p.buf.String()) {
			line = strings.TrimSuffix(line, "\n")
			isExample := false
			for _, e := range examples {
				isExample = isExample || strings.Contains(line, e)
			}
			if utf8.RuneCountInString(line) > 64 && !isExample && !strings.HasPrefix(line, "  weir ") && !strings.HasPrefix(line, "weir ") && !strings.HasPrefix(line, "Every command") {
				t.Errorf("weir %s --help: %q", c.name, line)
			}
		}
	}
}

func TestPage_ShortensLongListsOnTerminalsOnly(t *testing.T) {
	list := strings.Fields("a b c d e f")
	for _, c := range []struct {
		page page
		n    int
		want string
	}{
		{page{width: 80}, 6, "a, b, c, and 3 more"},
		{page{width: 80}, 4, "a, b, c, d"},
		{page{width: 80, wide: true}, 6, "a, b, c, d, e, f"},
		{page{}, 6, "a, b, c, d, e, f"},
	} {
		if got := c.page.some(list[:c.n]); got != c.want {
			t.Errorf("%+v: %s, want %s", c.page, got, c.want)
		}
	}
}

func TestMain_NamesTheArgumentThatIsMissing(t *testing.T) {
	for _, name := range []string{"shadow", "stop", "scale", "logs"} {
		if code, _, errs := run(t, name); code != exitUsage || !strings.HasPrefix(errs, "weir: APP is missing\n") {
			t.Errorf("weir %s: exit %d, %s", name, code, errs)
		}
	}
}
