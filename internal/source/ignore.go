package source

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// ignoreFiles are read from the app's root, later ones over earlier ones.
var ignoreFiles = []string{".cfignore", ".weirignore"}

// builtIn is never part of an app unless an ignore file takes it back with "!".
var builtIn = []string{
	".cfignore", ".weirignore", ".DS_Store", ".git", ".gitignore", ".hg", ".svn", "_darcs",
	"manifest.yml", "manifest.yaml",
}

// Ignore decides which files are not part of an app.
type Ignore struct{ matcher gitignore.Matcher }

// NewIgnore returns the built-in rules followed by those of the given texts,
// in gitignore syntax. The last rule that matches decides.
func NewIgnore(texts ...string) Ignore {
	var patterns []gitignore.Pattern
	for _, name := range builtIn {
		patterns = append(patterns, gitignore.ParsePattern(name, nil))
	}
	for _, text := range texts {
		for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
			if p := ignoreLine(line); p != "" {
				patterns = append(patterns, gitignore.ParsePattern(p, nil))
			}
		}
	}
	return Ignore{gitignore.NewMatcher(patterns)}
}

// ignoreLine returns the pattern in one line, or "" if there is none.
func ignoreLine(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if strings.HasPrefix(line, "#") {
		return ""
	}
	if !strings.HasSuffix(line, `\ `) {
		line = strings.TrimRight(line, " \t")
	}
	if strings.Trim(line, "!/") == "" {
		return ""
	}
	// gitignore's escapes of a leading "#" or "!"; the matcher knows the rest.
	if strings.HasPrefix(line, `\#`) {
		return line[1:]
	}
	return line
}

// Match reports whether the file at the slash-separated path is left out.
// What lies under a directory that matches is not asked for: it is left out
// with it, as git does.
func (i Ignore) Match(path string, isDir bool) bool {
	return i.matcher.Match(strings.Split(path, "/"), isDir)
}
