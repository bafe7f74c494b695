package buildpacks_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/buildpacks"
)

// pathWithout makes a PATH that has the usual small programs and those named
// in with, so that a toolchain of this machine is not found.
func pathWithout(t *testing.T, with map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range strings.Fields("bash sh cat cp mv rm rmdir mkdir mktemp ls ln chmod touch env basename dirname sed grep awk cut tr head tail find sort sha256sum readlink uname date sleep tar gzip") {
		if p, err := exec.LookPath(name); err == nil {
			os.Symlink(p, filepath.Join(dir, name))
		}
	}
	for name, script := range with {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return "PATH=" + dir
}

func TestPacks_MissingToolchain(t *testing.T) {
	for _, c := range []struct {
		pack  string
		files map[string]string
		want  string
	}{
		{"go", map[string]string{"go.mod": "module x"}, "Go is needed to build this app, and there is no \"go\" on this machine's PATH"},
		{"nodejs", map[string]string{"package.json": "{}"}, "Node.js is needed to build this app"},
		{"python", map[string]string{"main.py": ""}, "Python is needed to build this app"},
	} {
		s := newStage(t, c.files)
		r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true}, pathWithout(t, nil))
		if r.Code != buildpacks.CodeSupplyFailed || r.Pack != c.pack || len(r.Tail) == 0 {
			t.Errorf("%s: %+v", c.pack, r)
		}
		s.wants(c.want)
		s.wants("install ")
	}
}

// plain is a main package without imports, which compiles in no time.
const plain = "package main\n\nfunc main() { println(\"up\") }\n"

func TestGo_FindsItsProgramsAndTheWebProcess(t *testing.T) {
	needs(t, "go")
	for _, c := range []struct {
		name  string
		files map[string]string
		env   []string
		web   string
		built []string
	}{
		{"top", map[string]string{"go.mod": "module example.com/shop/v2\n\ngo 1.22\n", "main.go": plain, "cmd/tool/main.go": plain}, nil, "exec ./bin/shop", []string{"shop", "tool"}},
		{"only one in cmd", map[string]string{"go.mod": "module example.com/shop\n\ngo 1.22\n", "lib.go": "package shop", "cmd/serve/main.go": plain}, nil, "exec ./bin/serve", []string{"serve"}},
		{"one called web", map[string]string{"go.mod": "module m\n\ngo 1.22\n", "cmd/web/main.go": plain, "cmd/job/main.go": plain}, nil, "exec ./bin/web", []string{"job", "web"}},
		{"none is telling", map[string]string{"go.mod": "module m\n\ngo 1.22\n", "cmd/a/main.go": plain, "cmd/b/main.go": plain}, nil, "", []string{"a", "b"}},
		{"deeper", map[string]string{"go.mod": "module m\n\ngo 1.22\n", "x/y/main.go": plain}, nil, "exec ./bin/y", []string{"y"}},
		{"named by variable", map[string]string{"go.mod": "module m\n\ngo 1.22\n", "main.go": plain, "cmd/a/main.go": plain}, []string{"GO_INSTALL_PACKAGE_SPEC=./cmd/a"}, "exec ./bin/a", []string{"a"}},
		{"named by comment", map[string]string{"go.mod": "module m\n\n// +heroku install ./cmd/a ./cmd/b\ngo 1.22\n", "main.go": plain, "cmd/a/main.go": plain, "cmd/b/main.go": plain}, nil, "", []string{"a", "b"}},
		{"no go.mod", map[string]string{"main.go": plain}, nil, "exec ./bin/app", []string{"app"}},
		{"vendored", map[string]string{
			"go.mod":  "module m\n\ngo 1.22\n\nrequire example.com/dep v1.0.0\n",
			"main.go": "package main\n\nimport \"example.com/dep\"\n\nfunc main() { dep.Hello() }\n",
			"go.sum":  "", "vendor/example.com/dep/dep.go": "package dep\n\nfunc Hello() { println(\"dep\") }\n",
			"vendor/modules.txt": "# example.com/dep v1.0.0\n## explicit\nexample.com/dep\n",
		}, []string{"GOPROXY=off"}, "exec ./bin/m", []string{"m"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.files)
			s.useGoCache("go")
			r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true}, c.env...)
			if r.Code != 0 || r.ProcessTypes["web"] != c.web {
				t.Errorf("%+v\n%s", r, &s.out)
			}
			var built []string
			entries, _ := os.ReadDir(filepath.Join(s.dir, buildpacks.AppDir, "bin"))
			for _, e := range entries {
				built = append(built, e.Name())
			}
			if !cmp.Equal(built, c.built) {
				t.Errorf("%s\n%s", cmp.Diff(c.built, built), &s.out)
			}
		})
	}
}

func TestGo_SaysWhyItCannotBuild(t *testing.T) {
	needs(t, "go")
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no main package", map[string]string{"go.mod": "module m\n\ngo 1.22\n", "lib.go": "package lib"}, "there is no main package to build"},
		{"does not compile", map[string]string{"go.mod": "module m\n\ngo 1.22\n", "main.go": "package main\n\nfunc main() { nonsense() }\n"}, "undefined: nonsense"},
		{"newer Go", map[string]string{"go.mod": "module m\n\ngo 1.999.0\n", "main.go": plain}, "this app asks for Go 1.999.0; this machine has go1."},
		{"missing module", map[string]string{"go.mod": "module m\n\ngo 1.22\n", "main.go": "package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n"}, "no required module provides package example.com/dep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.files)
			s.useGoCache("go")
			r := s.build(buildpacks.Plan{Packs: s.builtIn("go")}, "GOPROXY=off")
			if r.Code != buildpacks.CodeFinalizeFailed {
				t.Errorf("%+v", r)
			}
			s.wants(c.want)
		})
	}
}

func TestNodejs_InstallsBuildsAndPrunes(t *testing.T) {
	needs(t, "node", "npm")
	files := example(t, "hello-node")
	files["package.json"] = `{"name":"hello-node","version":"1.0.0","private":true,"engines":{"node":">=18"},
 "scripts":{"build":"node build.js","start":"node server.js && true"},
 "dependencies":{"greet":"file:vendor/greet"},"devDependencies":{"maker":"file:vendor/maker"}}`
	files["vendor/maker/package.json"] = `{"name":"maker","version":"1.0.0"}`
	files["vendor/maker/index.js"] = "module.exports = 'made';"
	files["build.js"] = "require('fs').writeFileSync('built.txt', require('maker') + ' ' + process.env.NODE_ENV);"
	files["package-lock.json"] = strings.Replace(files["package-lock.json"], `"dependencies": {`, `"devDependencies": {"maker": "file:vendor/maker"}, "dependencies": {`, 1)
	files["package-lock.json"] = strings.Replace(files["package-lock.json"], `"node_modules/greet": {`, `"node_modules/maker": {"resolved": "vendor/maker", "link": true, "dev": true}, "vendor/maker": {"version": "1.0.0", "dev": true}, "node_modules/greet": {`, 1)
	s := newStage(t, files)
	r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true})
	if r.Code != 0 || r.ProcessTypes["web"] != "npm start" {
		t.Fatalf("%+v\n%s", r, &s.out)
	}
	if got := s.read("droplet/app/built.txt"); got != "made production" {
		t.Errorf("the build script wrote %q", got)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "droplet/app/node_modules/maker")); err == nil {
		t.Error("a development package is in the droplet")
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "droplet/app/node_modules/greet")); err != nil {
		t.Error("a package of the app is missing:", err)
	}
	s.wants("-----> Running script build")
}

func TestNodejs_UnchangedLockFileNeedsNoInstallation(t *testing.T) {
	needs(t, "node", "npm")
	files := example(t, "hello-node")
	first := newStage(t, files)
	if r := first.build(buildpacks.Plan{Packs: first.builtIn("nodejs")}); r.Code != 0 {
		t.Fatal(first.out.String())
	}
	files["server.js"] += "// changed\n"
	second := newStage(t, files)
	if err := os.Rename(filepath.Join(first.dir, buildpacks.CacheDir), filepath.Join(second.dir, buildpacks.CacheDir)); err != nil {
		t.Fatal(err)
	}
	if r := second.build(buildpacks.Plan{Packs: second.builtIn("nodejs")}, "npm_config_offline=true"); r.Code != 0 {
		t.Fatal(second.out.String())
	}
	second.wants("-----> Packages unchanged since the last build")
	third := newStage(t, files)
	third.write(buildpacks.AppDir, map[string]string{"package.json": strings.Replace(files["package.json"], "1.0.0", "1.0.1", 1)})
	if err := os.Rename(filepath.Join(second.dir, buildpacks.CacheDir), filepath.Join(third.dir, buildpacks.CacheDir)); err != nil {
		t.Fatal(err)
	}
	third.build(buildpacks.Plan{Packs: third.builtIn("nodejs")})
	third.wants("-----> Installing packages (package-lock.json)")
	if kept, _ := os.ReadDir(filepath.Join(third.dir, "cache/pack-nodejs/modules")); len(kept) != 1 {
		t.Errorf("the cache keeps %d sets of packages", len(kept))
	}
}

func TestNodejs_StartCommand(t *testing.T) {
	needs(t, "node")
	for _, c := range []struct{ pkg, extra, want string }{
		{`{"scripts":{"start":"node --enable-source-maps dist/server.js"}}`, "", "exec node --enable-source-maps dist/server.js"},
		{`{"scripts":{"start":"node a.js; echo","prestart":""}}`, "", "npm start"},
		{`{"scripts":{"start":"node a.js","prestart":"x"}}`, "", "npm start"},
		{`{"scripts":{"start":"node $(id).js"}}`, "", "npm start"},
		{`{}`, "server.js", "exec node server.js"},
		{`{"main":"lib/x.js"}`, "lib/x.js", "exec node lib/x.js"},
		{`{"main":"missing.js"}`, "index.js", "exec node index.js"},
		{`{}`, "", ""},
	} {
		files := map[string]string{"package.json": c.pkg}
		if c.extra != "" {
			files[c.extra] = ""
		}
		s := newStage(t, files)
		if r := s.build(buildpacks.Plan{Packs: s.builtIn("nodejs")}); r.Code != 0 || r.ProcessTypes["web"] != c.want {
			t.Errorf("%s %s: %q, want %q\n%s", c.pkg, c.extra, r.ProcessTypes["web"], c.want, &s.out)
		}
	}
}

func TestNodejs_SaysWhyItCannotBuild(t *testing.T) {
	needs(t, "node", "npm")
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"broken package.json", map[string]string{"package.json": "{\n \"a\": 1,\n}"}, "package.json cannot be read:"},
		{"another Node", map[string]string{"package.json": `{"engines":{"node":"4.x"}}`}, "this app wants Node.js 4.x (engines.node of package.json); this machine has v"},
		{"another Node by .nvmrc", map[string]string{"package.json": `{}`, ".nvmrc": "v6.1.0\n"}, "this app wants Node.js v6.1.0 (.nvmrc); this machine has v"},
		{"lock file out of step", map[string]string{
			"package.json":      `{"name":"x","version":"1.0.0","dependencies":{"left-pad":"1.0.0"}}`,
			"package-lock.json": `{"name":"x","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"x","version":"1.0.0"}}}`,
		}, "the packages could not be installed"},
		{"build script", map[string]string{"package.json": `{"scripts":{"build":"echo the reason && exit 3"}}`}, "the reason"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.files)
			r := s.build(buildpacks.Plan{Packs: s.builtIn("nodejs")},
				"npm_config_registry=http://127.0.0.1:9", "npm_config_fetch_retries=0")
			if r.Code != buildpacks.CodeSupplyFailed {
				t.Errorf("%+v", r)
			}
			s.wants(c.want)
		})
	}
}

func TestPython_WithoutPipUnpacksWheels(t *testing.T) {
	needs(t, "python3")
	real, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	// -S keeps site-packages, and pip with it, out of sight.
	path := pathWithout(t, map[string]string{"python3": fmt.Sprintf("#!/bin/sh\nexec %s -S \"$@\"\n", real)})
	files := example(t, "hello-python")
	files["requirements.txt"] = "# words\nHello.Words ~=1.0  # the dot and the case do not matter\n"
	s := newStage(t, files)
	r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true}, path)
	if r.Code != 0 {
		t.Fatalf("%+v\n%s", r, &s.out)
	}
	s.wants("This Python has no pip: unpacking the wheels of vendor/")
	if got := s.answers(r.ProcessTypes["web"], "/"); got != "Hello from hello-python, instance 0\n" {
		t.Errorf("it answers %q", got)
	}
	for requirements, want := range map[string]string{
		"hello-words==2.0.0":  "hello-words==2.0.0 is not among the wheels in vendor",
		"other":               "other is not among the wheels in vendor",
		"hello-words>1.5":     "hello-words>1.5 is not among the wheels in vendor",
		"-e git+https://x#eg": "of the requirements needs pip",
	} {
		files["requirements.txt"] = requirements
		s := newStage(t, files)
		if r := s.build(buildpacks.Plan{Packs: s.builtIn("python")}, path); r.Code != buildpacks.CodeSupplyFailed {
			t.Errorf("%s: %+v", requirements, r)
		}
		s.wants(want)
	}
	s = newStage(t, map[string]string{"main.py": "", "requirements.txt": "flask"})
	s.build(buildpacks.Plan{Packs: s.builtIn("python")}, path)
	s.wants("this machine's Python has no pip")
}

func TestPython_LeavesToPipWhatIsNotPlain(t *testing.T) {
	needs(t, "python3")
	python := mustLook(t, "python3")
	files := example(t, "hello-python")
	for requirements, status := range map[string]int{
		"hello-words==1.0.0": 0, "hello-words": 0, "hello_words >=0.9,<2": 0, "Hello.Words!=1.1.0 # x": 0, "hello-words==1.0": 0,
		"hello-words==1.*": 3, "hello-words~=1.0": 3, "hello-words[x]": 3, "hello-words; python_version>'2'": 3, "other": 3,
		"-r more.txt": 3, "hello-words>=1.0.0 \\\n": 3, "hello-words>1.0.0": 3, "https://example.com/x.tar.gz": 3,
	} {
		files["requirements.txt"] = requirements
		s := newStage(t, files)
		app, target := filepath.Join(s.dir, buildpacks.AppDir), filepath.Join(s.dir, "target")
		cmd := exec.Command(python, "packs/python/lib/wheels.py", filepath.Join(app, "requirements.txt"), filepath.Join(app, "vendor"), target, "sure")
		out, _ := cmd.CombinedOutput()
		_, err := os.Stat(target)
		if got := cmd.ProcessState.ExitCode(); got != status || (err == nil) != (status == 0) {
			t.Errorf("%q: status %d, want %d\n%s", requirements, got, status, out)
		}
	}
}

func TestPython_ChoosesWhatToRun(t *testing.T) {
	needs(t, "python3")
	const wsgi = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'wsgi answers']\n"
	const script = "import http.server, os\nif __name__ == '__main__':\n    http.server.test(port=int(os.environ['PORT']), bind='127.0.0.1')\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"program", map[string]string{"main.py": script}, "exec python main.py"},
		{"program and app", map[string]string{"app.py": wsgi + script}, "exec python app.py"},
		{"wsgi", map[string]string{"wsgi.py": wsgi}, `exec python "$DEPS_DIR/0/bin/weir-wsgi.py" wsgi:application`},
		{"Procfile", map[string]string{"main.py": script, "Procfile": "web: python main.py x"}, "python main.py x"},
		{"nothing", map[string]string{"requirements.txt": "", "lib.py": ""}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.files)
			r := s.build(buildpacks.Plan{Packs: s.builtIn("python")})
			if r.Code != 0 || r.ProcessTypes["web"] != c.want {
				t.Errorf("%+v\n%s", r, &s.out)
			}
			if c.name == "wsgi" {
				if got := s.answers(r.ProcessTypes["web"], "/"); got != "wsgi answers" {
					t.Errorf("it answers %q", got)
				}
			}
		})
	}
}

func TestPython_SaysWhichVersionIsMissing(t *testing.T) {
	needs(t, "python3")
	for file, content := range map[string]string{".python-version": "2.7.18\n", "runtime.txt": "python-2.7.18"} {
		s := newStage(t, map[string]string{"main.py": "", file: content})
		if r := s.build(buildpacks.Plan{Packs: s.builtIn("python")}, pathWithout(t, map[string]string{"python3": "#!/bin/sh\nexec " + mustLook(t, "python3") + " \"$@\"\n"})); r.Code != buildpacks.CodeSupplyFailed {
			t.Errorf("%+v", r)
		}
		s.wants("this app wants Python 2.7.18 (" + file + "); this machine has 3.")
	}
}

func mustLook(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStatic_Roots(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		code  int
		want  string
	}{
		{map[string]string{"index.html": ""}, 0, `exec "$WEIR_EXE" static-server .`},
		{map[string]string{"dist/index.html": ""}, 0, `exec "$WEIR_EXE" static-server dist`},
		{map[string]string{"Staticfile": "root: \"www/site\"\r\n", "www/site/x.html": ""}, 0, `exec "$WEIR_EXE" static-server www/site`},
		{map[string]string{"Staticfile": "root: missing\n"}, buildpacks.CodeFinalizeFailed, ""},
		{map[string]string{"Staticfile": "root: ../..\n"}, buildpacks.CodeFinalizeFailed, ""},
		{map[string]string{"Staticfile": "root: $(id)\n", "$(id)/x": ""}, buildpacks.CodeFinalizeFailed, ""},
	} {
		s := newStage(t, c.files)
		if r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true}); r.Code != c.code || r.ProcessTypes["web"] != c.want {
			t.Errorf("%v: %+v\n%s", c.files, r, &s.out)
		}
	}
}

func TestBinary_FindsTheProgram(t *testing.T) {
	build := func(files map[string]string, executable ...string) (buildpacks.Result, *stage) {
		s := newStage(t, files)
		for _, name := range executable {
			os.Chmod(filepath.Join(s.dir, buildpacks.AppDir, name), 0o755)
		}
		return s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true}), s
	}
	r, s := build(map[string]string{"start.sh": "#!/bin/sh\nexec python3 -m http.server --bind 127.0.0.1 $PORT\n", "other": ""}, "other")
	if r.Code != 0 || r.ProcessTypes["web"] != "exec ./start.sh" {
		t.Errorf("%+v", r)
	}
	needs(t, "python3")
	if got := s.answers(r.ProcessTypes["web"], "/"); !strings.Contains(got, "start.sh") {
		t.Errorf("it answers %q", got)
	}
	if r, _ := build(map[string]string{"my server": "#!/bin/sh\n", "data": ""}, "my server"); r.ProcessTypes["web"] != `exec ./my\ server` {
		t.Errorf("%+v", r)
	}
	if r, _ := build(map[string]string{"a": "", "b": ""}, "a", "b"); r.Code != buildpacks.CodeNotDetected {
		t.Errorf("%+v", r)
	}
}

// TestBinary_BuiltElsewhere pushes what the example's own script builds.
func TestBinary_BuiltElsewhere(t *testing.T) {
	needs(t, "go")
	dist := t.TempDir()
	cmd := exec.Command("../examples/hello-binary/build.sh", dist)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dist, "hello-binary"))
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, map[string]string{"hello-binary": string(data)})
	os.Chmod(filepath.Join(s.dir, buildpacks.AppDir, "hello-binary"), 0o755)
	r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true})
	if got := s.answers(r.ProcessTypes["web"], "/"); got != "Hello from hello-binary, instance 0\n" {
		t.Errorf("it answers %q", got)
	}
}
