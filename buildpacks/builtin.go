package buildpacks

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed packs lib
var embedded embed.FS

// order is the order in which the built-in buildpacks are tried: a marker
// file made for one buildpack first, then languages, then what fits anything.
var order = []string{"staticfile", "go", "nodejs", "python", "static", "procfile", "binary"}

// aliases are other names people know the built-in buildpacks by.
var aliases = map[string]string{
	"node":            "nodejs",
	"heroku/nodejs":   "nodejs",
	"heroku/go":       "go",
	"heroku/python":   "python",
	"null":            "procfile",
	"heroku/procfile": "procfile",
}

// BuiltIn is a buildpack that is part of weir.
type BuiltIn struct {
	Name    string
	Version string
	// LooksFor tells a person what makes it detect an app.
	LooksFor string
	// Digest is the SHA-256 of its files, as hex.
	Digest string
	// Markers are files that tell it will most likely be the one for an app.
	Markers []string
	// Warms names the program whose compiled library its script bin/warm
	// prepares. Empty means that it has no such script.
	Warms string
	// ReadsOnly says that its scripts run nothing of the app and never write
	// to a file of it.
	ReadsOnly bool
}

var builtIns = sync.OnceValue(func() []BuiltIn {
	packs := make([]BuiltIn, 0, len(order))
	for _, name := range order {
		p, err := describe(name)
		if err != nil {
			panic(fmt.Sprintf("built-in buildpack %s: %v", name, err)) // embedded: a test would have seen it
		}
		packs = append(packs, p)
	}
	return packs
})

// All returns the built-in buildpacks in order of detection.
func All() []BuiltIn { return append([]BuiltIn(nil), builtIns()...) }

// Find returns the built-in buildpack of the given name. Names as Cloud
// Foundry and Heroku have them ("go_buildpack", "heroku/go") are understood.
func Find(name string) (BuiltIn, bool) {
	name = strings.TrimSuffix(name, "_buildpack")
	if a, ok := aliases[name]; ok {
		name = a
	}
	for _, p := range builtIns() {
		if p.Name == name {
			return p, true
		}
	}
	return BuiltIn{}, false
}

// describe reads what a built-in buildpack says about itself.
func describe(name string) (BuiltIn, error) {
	data, err := embedded.ReadFile(path.Join("packs", name, "manifest.yml"))
	if err != nil {
		return BuiltIn{}, err
	}
	var m struct {
		Version   string   `yaml:"version"`
		LooksFor  string   `yaml:"looks_for"`
		Markers   []string `yaml:"markers"`
		Warms     string   `yaml:"warms"`
		ReadsOnly bool     `yaml:"reads_only"`
	}
	if err := yaml.Unmarshal(data, &m); err != nil {
		return BuiltIn{}, err
	}
	sum := sha256.New()
	err = eachFile(name, func(file string, content []byte) error {
		fmt.Fprintf(sum, "%s %d\n", file, len(content))
		sum.Write(content)
		return nil
	})
	return BuiltIn{
		Name: name, Version: m.Version, LooksFor: m.LooksFor, Digest: hex.EncodeToString(sum.Sum(nil)),
		Markers: m.Markers, Warms: m.Warms, ReadsOnly: m.ReadsOnly,
	}, err
}

// Extract writes the buildpack into dir, which must not exist.
func (b BuiltIn) Extract(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	made := map[string]bool{}
	return eachFile(b.Name, func(file string, content []byte) error {
		target := filepath.Join(dir, filepath.FromSlash(file))
		if parent := filepath.Dir(target); !made[parent] {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
			made[parent] = true
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(file, "bin/") {
			mode = 0o755
		}
		return os.WriteFile(target, content, mode)
	})
}

// eachFile calls fn for each file of a built-in buildpack, in order of path:
// its own and, under lib/, those that all of them share.
func eachFile(name string, fn func(file string, content []byte) error) error {
	for _, part := range []struct{ dir, prefix string }{{path.Join("packs", name), ""}, {"lib", "lib"}} {
		err := fs.WalkDir(embedded, part.dir, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			content, err := embedded.ReadFile(p)
			if err != nil {
				return err
			}
			return fn(path.Join(part.prefix, strings.TrimPrefix(p, part.dir+"/")), content)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
