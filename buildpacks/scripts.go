package buildpacks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// scripts is a buildpack on disk: where it lies and which scripts it has.
type scripts struct {
	dir string // holds bin/
	has map[string]bool
}

// scriptNames are the scripts of both contracts.
var scriptNames = []string{"detect", "supply", "finalize", "compile", "release"}

// errMalformed is what Cloud Foundry says of a directory without bin/.
var errMalformed = errors.New("malformed buildpack does not contain a /bin dir")

// openScripts finds bin/ in dir, or in the only directory below it that has
// one (an archive often wraps everything in one directory), and makes the
// scripts executable: some public buildpacks are published without the bits.
func openScripts(dir string) (scripts, error) {
	root, err := findRoot(dir)
	if err != nil {
		return scripts{}, err
	}
	bin := filepath.Join(root, "bin")
	entries, err := os.ReadDir(bin)
	if err != nil {
		return scripts{}, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode()&0o111 != 0o111 {
			if err := os.Chmod(filepath.Join(bin, e.Name()), info.Mode().Perm()|0o755); err != nil {
				return scripts{}, fmt.Errorf("making a buildpack's script executable: %w", err)
			}
		}
	}
	s := listScripts(root)
	return s, s.check()
}

// Check reports whether dir holds a buildpack of one of the two contracts. It
// changes nothing.
func Check(dir string) error {
	root, err := findRoot(dir)
	if err != nil {
		return err
	}
	return listScripts(root).check()
}

// listScripts tells which scripts of the contracts are there.
func listScripts(root string) scripts {
	s := scripts{dir: root, has: map[string]bool{}}
	for _, name := range scriptNames {
		if info, err := os.Stat(s.path(name)); err == nil && info.Mode().IsRegular() {
			s.has[name] = true
		}
	}
	return s
}

func (s scripts) check() error {
	if !s.has["supply"] && !s.has["finalize"] && !s.has["compile"] {
		return errors.New("malformed buildpack has none of bin/supply, bin/finalize and bin/compile")
	}
	return nil
}

func findRoot(dir string) (string, error) {
	if isDir(filepath.Join(dir, "bin")) {
		return dir, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	found := ""
	for _, e := range entries {
		if sub := filepath.Join(dir, e.Name()); e.IsDir() && isDir(filepath.Join(sub, "bin")) {
			if found != "" {
				return "", errMalformed
			}
			found = sub
		}
	}
	if found == "" {
		return "", errMalformed
	}
	return found, nil
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == fs.ModeDir
}

func (s scripts) path(name string) string { return filepath.Join(s.dir, "bin", name) }

// version returns what the buildpack says its version is: the file VERSION of
// Cloud Foundry's packs, or "".
func (s scripts) version() string {
	data, err := readSmall(filepath.Join(s.dir, "VERSION"))
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	return first
}

// supplied is what a buildpack says about itself after it ran, in
// deps/<index>/config.yml.
type supplied struct {
	Name    string `yaml:"name"`
	Version string `yaml:"version"`
}

func readSupplied(depDir string) supplied {
	var s supplied
	if data, err := readSmall(filepath.Join(depDir, "config.yml")); err == nil {
		_ = yaml.Unmarshal(data, &s) // informative only: a bad file says nothing
	}
	return s
}

// maxText bounds the small text files buildpacks and apps leave for us.
const maxText = 1 << 20

// readSmall reads a regular file of at most maxText bytes.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", filepath.Base(path))
	}
	if info.Size() > maxText {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", filepath.Base(path), info.Size(), maxText)
	}
	return os.ReadFile(path)
}
