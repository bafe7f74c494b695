package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors says how high each package stands. Imports go down only, never
// sideways and never up; docs/ARCHITECTURE.md draws it.
var floors = map[string]int{
	"main": 5, "internal/acceptance": 5, "internal/bench": 5,
	"internal/judge/sim": 5,

	"internal/server": 4,

	"api": 3, "api/uaa": 3, "api/logcache": 3,

	"stager": 2, "internal/rollout": 2, "internal/shadow": 2, "internal/release": 2, "internal/keeper": 2, "cli": 2,
	"internal/runner/local": 2, "internal/runner/runnertest": 2,

	"droplets": 1, "buildpacks": 1, "router": 1, "router/certs": 1, "api/client": 1,
	"internal/store": 1, "internal/logs": 1, "internal/auth": 1,
	"internal/runner": 1, "internal/source": 1,

	"api/v3": 0, "isolation": 0, "droplets/archive": 0, "router/wire": 0,
	"internal/judge": 0,

	"internal/platform": -1, // the ground everybody stands on
}

// sideways lists the imports between packages of one floor that are meant:
// a package and its own parts, and the one process that two packages share.
var sideways = map[string]string{
	"api → api/uaa":                           "api mounts its own parts",
	"api → api/logcache":                      "api mounts its own parts",
	"internal/runner/local → internal/keeper": "local is the client of the keeper's protocol",
}

// doors says which packages alone may import a library, so that replacing it
// is the work of one package. A door ends in "/" to mean everything below it.
var doors = []struct {
	library, why string
	packages     []string
}{
	{"github.com/gin-gonic/gin", "the HTTP framework is the API's business", []string{"api", "api/"}},
	{"github.com/urfave/cli", "the command line is parsed in one place", []string{"cli"}},
	{"github.com/pelletier/go-toml", "other systems' files are read by the command that imports them", []string{"cli"}},
	{"github.com/mholt/archiver", "archives are hostile: only the guarded wrapper reads them", []string{"droplets/archive"}},
	{"modernc.org/sqlite", "SQL stays in the store", []string{"internal/store"}},
	{"database/sql", "SQL stays in the store", []string{"internal/store"}},
	{"github.com/pressly/goose", "SQL stays in the store", []string{"internal/store"}},
	{"github.com/go-git/go-git", "git is read in one place", []string{"internal/source"}},
	{"golang.org/x/sys", "kernel calls stay with isolation and the keeper", []string{"isolation", "internal/keeper", "*_linux.go"}},
	{"github.com/caddyserver/certmagic", "certificates are got in one place", []string{"router/certs"}},
	{"github.com/libdns", "certificates are got in one place", []string{"router/certs"}},
	{"github.com/quic-go/quic-go", "HTTP/3 is served in one place", []string{"router"}},
	{"go.uber.org/zap", "only the certificate library logs with it", []string{"router/certs"}},
	{"github.com/golang-jwt/jwt", "tokens are made and judged in one place", []string{"internal/auth"}},
}

// cliMayUse are the packages of ours the command line may know: it speaks to
// a server over HTTP like anybody else.
var cliMayUse = []string{"api/v3", "api/client", "droplets/archive", "internal/source", "internal/platform"}

func TestFloors_ImportsGoDownOnly(t *testing.T) {
	for _, imp := range imports(t) {
		to, ours := strings.CutPrefix(imp.path, "weir/")
		if !ours || imp.test {
			continue
		}
		from, to := floorOf(t, imp.pkg), to
		target := floorOf(t, to)
		if sideways[imp.pkg+" → "+to] != "" || strings.HasPrefix(to, imp.pkg+"/") && from == target {
			continue
		}
		if target >= from {
			t.Errorf("%s: %s (floor %d) imports %s (floor %d): imports go down only; move the shared piece to a lower floor or pass it in from internal/server",
				imp.file, imp.pkg, from, to, target)
		}
		if imp.pkg == "cli" && !slices.Contains(cliMayUse, to) {
			t.Errorf("%s: the command line imports %s: it may know the API's client and wire types, not the server", imp.file, to)
		}
	}
}

func TestFloors_EachLibraryHasOneDoor(t *testing.T) {
	for _, imp := range imports(t) {
		for _, d := range doors {
			if imp.path != d.library && !strings.HasPrefix(imp.path, d.library+"/") || imp.test {
				continue
			}
			open := slices.ContainsFunc(d.packages, func(p string) bool {
				return p == imp.pkg || strings.HasSuffix(p, "/") && strings.HasPrefix(imp.pkg, p) ||
					strings.HasPrefix(p, "*") && strings.HasSuffix(imp.file, p[1:])
			})
			if !open {
				t.Errorf("%s: %s imports %s, whose door is %s: %s", imp.file, imp.pkg, imp.path, strings.Join(d.packages, ", "), d.why)
			}
		}
	}
}

func TestFloors_SpeakOfWhatIsThere(t *testing.T) {
	all := imports(t)
	for pkg := range floors {
		if !slices.ContainsFunc(all, func(i imported) bool { return i.pkg == pkg }) {
			t.Errorf("the floors list %s, which is no package", pkg)
		}
	}
	for pair := range sideways {
		from, to, _ := strings.Cut(pair, " → ")
		if !slices.ContainsFunc(all, func(i imported) bool { return i.pkg == from && i.path == "weir/"+to }) {
			t.Errorf("%s is allowed, and nobody does it", pair)
		}
	}
	for _, d := range doors {
		if !slices.ContainsFunc(all, func(i imported) bool { return i.path == d.library || strings.HasPrefix(i.path, d.library+"/") }) {
			t.Errorf("there is a door for %s, which nobody imports", d.library)
		}
	}
}

// imported is one import line of the tree.
type imported struct {
	file, pkg, path string
	test            bool
}

func imports(t *testing.T) []imported {
	t.Helper()
	var all []imported
	err := filepath.WalkDir(".", func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if skip := file == "examples" || e.Name() == "testdata" || file == "internal/tools" || strings.HasPrefix(e.Name(), ".") && file != "."; skip {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(file))
		if pkg == "." {
			pkg = "main"
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, imported{file, pkg, p, strings.HasSuffix(file, "_test.go")})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// floorOf returns the floor of a package, or of the nearest one above it in
// the tree, so that a part of a package stands where the package does.
func floorOf(t *testing.T, pkg string) int {
	t.Helper()
	for p := pkg; p != "."; p = path.Dir(p) {
		if f, ok := floors[p]; ok {
			return f
		}
	}
	t.Errorf("package %s has no floor: add it to the table in floors_test.go and to docs/ARCHITECTURE.md", pkg)
	return 0
}
