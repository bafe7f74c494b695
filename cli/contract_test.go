package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// sample returns a value that a flag takes, and "" for a switch.
func sample(f cli.Flag) string {
	switch f.(type) {
	case *cli.BoolFlag:
		return ""
	case *cli.IntFlag, *cli.Uint64Flag, *cli.DurationFlag, *cli.Float64Flag:
		return "7"
	}
	return "x=y"
}

// Flags may stand before or after the arguments of every command, under each
// of their names, with the value behind a blank or an equals sign.
func TestContract_FlagsStandBeforeOrAfterTheName(t *testing.T) {
	for _, c := range commands() {
		if c.hidden {
			continue
		}
		least, most := c.limits()
		if most == 0 {
			continue
		}
		words := slices.Repeat([]string{"name"}, max(1, least))
		for _, f := range c.allFlags() {
			for _, name := range f.Names() {
				given := []string{dashed(name)}
				if v := sample(f); v != "" {
					given = append(given, v)
				}
				before, err1 := reorder(c, append(slices.Clone(given), words...))
				after, err2 := reorder(c, append(slices.Clone(words), given...))
				if err1 != nil || err2 != nil || !cmp.Equal(before, after) {
					if g, ok := f.(*cli.GenericFlag); ok && g != nil {
						continue // --shadow takes the next word if it is a percentage
					}
					t.Errorf("weir %s %v: %q, %v; behind the name %q, %v", c.name, given, before, err1, after, err2)
				}
			}
		}
	}
}

// Whoever mistypes a command or a flag is told what was meant.
func TestContract_MistypedNamesAreGuessed(t *testing.T) {
	sh := testShell()
	known := func(s string, names []string) bool { return slices.Contains(names, s) }
	var names []string
	for _, c := range sh.commands {
		names = append(names, c.name)
		names = append(names, c.aliases...)
	}
	for _, c := range sh.commands {
		if c.hidden || len(c.name) < 4 {
			continue
		}
		for _, typo := range []string{swapLetters(c.name), c.name + "x"} {
			if known(typo, names) {
				continue
			}
			_, err := sh.split([]string{typo})
			if err == nil || !strings.HasPrefix(asFailure(err).hint, "did you mean weir ") || asFailure(err).exit != exitUsage {
				t.Errorf("weir %s: %v", typo, err)
			}
		}
		flags := newFlagTable(c.allFlags())
		for _, f := range c.allFlags() {
			name := f.Names()[0]
			typo := swapLetters(name)
			if len(name) < 4 || flags.byName[typo] != nil {
				continue
			}
			if _, err := reorder(c, []string{"--" + typo, "1"}); err == nil || !strings.HasPrefix(asFailure(err).hint, "did you mean --") {
				t.Errorf("weir %s --%s: %v", c.name, typo, err)
			}
		}
	}
}

// swapLetters makes the commonest mistake: two letters in the wrong order.
func swapLetters(s string) string {
	b := []byte(s)
	for i := len(b) / 2; i > 0; i-- {
		if b[i] != b[i-1] {
			b[i], b[i-1] = b[i-1], b[i]
			break
		}
	}
	return string(b)
}

// A shell can complete every argument that names something the server knows.
func TestContract_ArgumentsAreCompleted(t *testing.T) {
	// What nobody can know before it is typed, and what the shell itself knows.
	free := strings.Fields("NAME NEW_NAME VALUE NAME=VALUE PATH FILE SOURCE URL USER PASSWORD INDEX POSITION PERCENT TIME WINDOW GUID DROPLET_GUID DOMAIN_NAME WORD")
	c := &call{shell: testShell()}
	for _, cmd := range commands() {
		for i := range strings.Fields(cmd.args) {
			word := argumentAt(cmd, i)
			if slices.Contains(free, word) || versionWords(word, "") != "" || completable[word] {
				continue
			}
			if len(c.argumentValues(t.Context(), word)) == 0 {
				t.Errorf("weir %s: %s cannot be completed", cmd.name, word)
			}
		}
	}
	for _, cmd := range commands() {
		for _, flag := range []string{"output", "strategy", "health-check-type", "on-fail", "on-silence", "concurrency"} {
			if newFlagTable(cmd.allFlags()).byName[flag] != nil && len(c.flagValues(t.Context(), cmd, flag)) == 0 {
				t.Errorf("weir %s --%s cannot be completed", cmd.name, flag)
			}
		}
		if offered := c.flagValues(t.Context(), cmd, "strategy"); cmd.canRollOut() != slices.Contains(offered, "blue-green") {
			t.Errorf("weir %s --strategy is completed with %q", cmd.name, offered)
		}
	}
}

// completable are the words that need a server: completion.txtar has them.
var completable = map[string]bool{"APP": true, "OTHER_APP": true, "DOMAIN": true, "BUILDPACK": true, "USER": true}

// A default that says nothing is not shown, one that says something is.
func TestContract_DefaultsAreShownIfTheySaySomething(t *testing.T) {
	for _, c := range commands() {
		for _, row := range describeFlags(c.allFlags()) {
			for _, empty := range []string{"(default 0)", "(default 0s)", "(default false)", "(default )", "m0s)"} {
				if strings.Contains(row[1], empty) {
					t.Errorf("weir %s %s: %s", c.name, row[0], row[1])
				}
			}
		}
	}
}
