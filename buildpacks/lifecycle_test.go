package buildpacks_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/buildpacks"
	"weir/buildpacks/staticserver"
)

// stage is a directory in which a build runs.
type stage struct {
	t   *testing.T
	dir string
	out bytes.Buffer
}

// newStage makes a stage with the files of an app.
func newStage(t *testing.T, files map[string]string) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir()}
	for _, dir := range []string{buildpacks.AppDir, buildpacks.PacksDir, buildpacks.HomeDir, buildpacks.TempDir, buildpacks.EnvDir} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write(buildpacks.AppDir, files)
	return s
}

// write writes files; those below bin/ are scripts and become executable.
func (s *stage) write(dir string, files map[string]string) {
	s.t.Helper()
	for name, content := range files {
		p := filepath.Join(s.dir, dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

// pack adds a buildpack made of scripts; their first line is supplied.
func (s *stage) pack(name string, scripts map[string]string) buildpacks.PlanPack {
	s.t.Helper()
	files := map[string]string{}
	for script, text := range scripts {
		if strings.HasPrefix(script, "bin/") {
			text = "#!/bin/bash\nset -e\n" + text
		}
		files[script] = text
	}
	s.write(filepath.Join(buildpacks.PacksDir, name), files)
	return buildpacks.PlanPack{Key: name, Name: name, Dir: name}
}

// builtIn adds built-in buildpacks; none named means all.
func (s *stage) builtIn(names ...string) []buildpacks.PlanPack {
	s.t.Helper()
	var packs []buildpacks.PlanPack
	add := func(b buildpacks.BuiltIn) {
		if err := b.Extract(filepath.Join(s.dir, buildpacks.PacksDir, b.Name)); err != nil {
			s.t.Fatal(err)
		}
		packs = append(packs, buildpacks.PlanPack{Key: b.Name, Name: b.Name, Version: b.Version, Dir: b.Name, LooksFor: b.LooksFor})
	}
	if len(names) == 0 {
		for _, b := range buildpacks.All() {
			add(b)
		}
	}
	for _, name := range names {
		b, ok := buildpacks.Find(name)
		if !ok {
			s.t.Fatalf("no built-in buildpack %s", name)
		}
		add(b)
	}
	return packs
}

// build carries out a plan with a clean environment.
func (s *stage) build(p buildpacks.Plan, env ...string) buildpacks.Result {
	s.t.Helper()
	if err := buildpacks.WritePlan(s.dir, p); err != nil {
		s.t.Fatal(err)
	}
	clean := append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(s.dir, buildpacks.HomeDir),
		"TMPDIR=" + filepath.Join(s.dir, buildpacks.TempDir), "LANG=C.UTF-8", "TZ=UTC", "SOURCE_DATE_EPOCH=315532800", "CF_STACK=weir",
	}, env...)
	cmd := exec.Command(os.Args[0], s.dir)
	cmd.Env = append(clean, "BUILDPACK_BUILD=1", "GORACE=atexit_sleep_ms=0") // the race detector lingers by default
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	if err := cmd.Run(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			s.t.Fatal(err)
		}
	}
	r, err := buildpacks.ReadResult(s.dir)
	if err != nil {
		s.t.Fatalf("%v; output:\n%s", err, &s.out)
	}
	if got := cmd.ProcessState.ExitCode(); got != r.Code {
		s.t.Errorf("exit code %d, result says %d", got, r.Code)
	}
	return r
}

func (s *stage) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Error(err)
	}
	return string(data)
}

func (s *stage) wants(text string) {
	s.t.Helper()
	if !strings.Contains(s.out.String(), text) {
		s.t.Errorf("the build's output lacks %q:\n%s", text, &s.out)
	}
}

// TestMain runs a build when a test asks this program to, as a runner would.
func TestMain(m *testing.M) {
	if os.Getenv("BUILDPACK_BUILD") != "" {
		os.Unsetenv("BUILDPACK_BUILD")
		os.Exit(buildpacks.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	if os.Getenv("STATIC_SERVER") != "" && len(os.Args) > 1 && os.Args[1] == "static-server" {
		os.Exit(staticserver.Main(os.Args[2:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestBuild_HerokuContract(t *testing.T) {
	s := newStage(t, map[string]string{"a.txt": "a", "Procfile": "worker: from-procfile\n"})
	p := s.pack("classic", map[string]string{
		"bin/detect": `test -f "$1/a.txt" && echo " Classic "`,
		"bin/compile": `
[ $# = 3 ] && [ "$PWD" = "$(cd "$(dirname "$0")/.." && pwd)" ]
echo "-----> compiling"
echo oops >&2
cp "$3/SECRET" "$1/secret"
echo "$STACK" >"$1/stack"
cat "$2/count" 2>/dev/null || true
echo built >>"$2/count"
mkdir -p "$1/.profile.d" && echo 'export X=1' >"$1/.profile.d/x.sh"`,
		"bin/release": "echo noise >&2\nprintf -- '---\nconfig_vars:\n  RACK_ENV: it'\"'\"'s\n  PORT: 80\naddons: []\ndefault_process_types:\n  web: run $PORT\n  worker: from-release\n'",
	})
	s.write(buildpacks.EnvDir, map[string]string{"SECRET": "hush"})
	r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{p}, Detect: true}, "STACK=weir")
	want := buildpacks.Result{
		Matches:      []buildpacks.Match{{Name: "classic", Output: "Classic"}},
		Used:         []buildpacks.Used{{Key: "classic", Name: "classic", DetectOutput: "Classic"}},
		ProcessTypes: map[string]string{"web": "run $PORT", "worker": "from-procfile"},
		ScriptTime:   r.ScriptTime,
	}
	if !cmp.Equal(r, want) || r.ScriptTime <= 0 {
		t.Error(cmp.Diff(want, r), s.out.String())
	}
	s.wants("-----> Detected classic: Classic\n")
	s.wants("-----> compiling\noops\n")
	if s.read("droplet/app/secret") != "hush" || s.read("droplet/app/stack") != "weir\n" || s.read("cache/heroku/count") != "built\n" {
		t.Error("compile did not get its arguments")
	}
	if got := s.read("droplet/profile.d/001_config_vars.sh"); !strings.Contains(got, `|| export RACK_ENV='it'\''s'`) {
		t.Errorf("config vars: %s", got)
	}
	if got := s.read("droplet/staging_info.yml"); got != `{"detected_buildpack":"classic","start_command":"run $PORT"}`+"\n" {
		t.Errorf("staging_info.yml: %s", got)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "droplet/deps/0")); !os.IsNotExist(err) {
		t.Error("a classic buildpack has a directory under deps")
	}
}

func TestBuild_CloudFoundryContract(t *testing.T) {
	s := newStage(t, map[string]string{"a.txt": "a"})
	first := s.pack("libs", map[string]string{
		"VERSION": "1.2.3\n",
		"bin/supply": `
[ $# = 4 ] && [ "$4" = 0 ]
mkdir -p "$3/$4/bin" "$3/$4/profile.d"
printf '#!/bin/sh\necho from-libs\n' >"$3/$4/bin/tool" && chmod +x "$3/$4/bin/tool"
ln -s "$3/$4/bin/tool" "$3/$4/bin/other"
echo 'export LIBS=1' >"$3/$4/profile.d/libs.sh"
printf 'processes:\n- type: web\n  command: from-libs\n- type: clock\n  command: tick\n- type: agent\n  command: watch\n  limits: {memory: 16}\n  platforms: {cloudfoundry: {sidecar_for: [web]}}\n' >"$3/$4/launch.yml"`,
	})
	last := s.pack("main", map[string]string{
		"bin/supply": `echo supplied >"$3/$4/marker"; echo "name: Main" >"$3/$4/config.yml"; echo 'version: "2.0"' >>"$3/$4/config.yml"`,
		"bin/finalize": `
[ $# = 5 ] && [ "$4" = 1 ] && [ -f "$3/1/marker" ] && [ -d "$5" ]
tool
echo 'export MAIN=1' >"$5/main.sh"`,
		"bin/compile": "echo must not run; exit 1",
		"bin/release": "echo '--- {default_process_types: {web: from-main}}'",
	})
	r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{first, last}})
	if r.Code != 0 {
		t.Fatalf("%+v\n%s", r, &s.out)
	}
	if want := []buildpacks.Used{
		{Key: "libs", Name: "libs", Version: "1.2.3"},
		{Key: "main", Name: "main", Version: "2.0", DetectOutput: "Main"},
	}; !cmp.Equal(r.Used, want) {
		t.Error(cmp.Diff(want, r.Used))
	}
	if want := map[string]string{"web": "from-main", "clock": "tick"}; !cmp.Equal(r.ProcessTypes, want) {
		t.Error(cmp.Diff(want, r.ProcessTypes))
	}
	if want := []buildpacks.Sidecar{{Name: "agent", Command: "watch", ProcessTypes: []string{"web"}, MemoryMB: 16}}; !cmp.Equal(r.Sidecars, want) {
		t.Error(cmp.Diff(want, r.Sidecars))
	}
	s.wants("from-libs\n")
	if target, _ := os.Readlink(filepath.Join(s.dir, "droplet/deps/0/bin/other")); target != "tool" {
		t.Errorf("an absolute link into the droplet leads to %q after the build", target)
	}
	if !strings.Contains(s.read("droplet/profile.d/000_multi-supply.sh"), "DEPS_DIR") {
		t.Error("nothing makes the supplied tools usable at run time")
	}
}

func TestBuild_NumbersManyBuildpacksWithTwoDigits(t *testing.T) {
	s := newStage(t, nil)
	var packs []buildpacks.PlanPack
	for i := range 10 {
		packs = append(packs, s.pack(fmt.Sprintf("p%d", i), map[string]string{
			"bin/supply":   `echo "supply $4"`,
			"bin/finalize": `echo "finalize $4"`,
		}))
	}
	if r := s.build(buildpacks.Plan{Packs: packs}); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	s.wants("supply 00\nsupply 01\n")
	s.wants("supply 09\nfinalize 09\n")
}

func TestBuild_ExportReachesTheBuildpacksThatFollow(t *testing.T) {
	s := newStage(t, nil)
	one := s.pack("one", map[string]string{
		"bin/detect":  "echo One",
		"bin/compile": `printf 'export TOOL="a b"\ndeclare -x OTHER="it'"'"'s\n2"\n' >"$(dirname "$0")/../export"`,
	})
	two := s.pack("two", map[string]string{
		"bin/detect":  "echo Two",
		"bin/compile": `echo "[$TOOL] [$OTHER]"`,
	})
	if r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{one, two}, Strict: true}); r.Code != 0 {
		t.Fatalf("%+v\n%s", r, &s.out)
	}
	s.wants("[a b] [it's\n2]\n")
}

func TestBuild_CachesBelongToTheirBuildpack(t *testing.T) {
	s := newStage(t, nil)
	finalize := map[string]string{"bin/finalize": `ls "$2"; touch "$2/$RANDOM"`}
	a, b := s.pack("a", finalize), s.pack("https://example.com/B.git", finalize)
	b.Dir = "b"
	s.write("buildpacks/b", map[string]string{"bin/finalize": "#!/bin/sh\n:"})
	s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{a}})
	if entries, _ := os.ReadDir(filepath.Join(s.dir, "cache/pack-a")); len(entries) != 1 {
		t.Errorf("cache of a: %v", entries)
	}
	s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{b}})
	entries, _ := os.ReadDir(filepath.Join(s.dir, "cache"))
	if len(entries) != 1 || entries[0].Name() == "pack-a" {
		t.Errorf("after a build with another buildpack the cache holds %v", entries)
	}
}

func TestBuild_FindsAPackInTheOnlyDirectoryAndMakesItExecutable(t *testing.T) {
	s := newStage(t, nil)
	s.write("buildpacks/wrapped/pack-main", map[string]string{"bin/compile": "#!/bin/sh\necho wrapped works\n", "bin/.keep": ""})
	p := buildpacks.PlanPack{Key: "wrapped", Name: "wrapped", Dir: "wrapped"}
	if r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{p}}); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	s.wants("wrapped works")
	s.wants("Warning: no start command")
}

func TestBuild_SaysWhatWentWrong(t *testing.T) {
	compile := func(text string) map[string]string { return map[string]string{"bin/compile": text} }
	for _, c := range []struct {
		name    string
		scripts map[string]string
		code    int
		message string
		check   func(buildpacks.Result) bool
	}{
		{"nothing detects", map[string]string{"bin/detect": "echo no luck >&2; exit 1", "bin/compile": ":"}, 222, "not successfully detected", nil},
		{"compile exits 14", compile("echo one; echo; echo two; exit 14"), 223, "bin/compile of buildpack p exited with status 14", func(r buildpacks.Result) bool {
			return r.ExitStatus == 14 && cmp.Equal(r.Tail, []string{"one", "two"}) && r.Script == "compile"
		}},
		{"compile is killed", compile("kill -9 $$"), 223, "bin/compile of buildpack p was ended by killed", func(r buildpacks.Result) bool { return r.ExitStatus == -1 }},
		{"supply exits 3", map[string]string{"bin/supply": "exit 3", "bin/finalize": ":"}, 225, "bin/supply of buildpack p exited with status 3", nil},
		{"finalize exits 4", map[string]string{"bin/finalize": "exit 4"}, 226, "bin/finalize of buildpack p exited with status 4", nil},
		{"release exits 5", map[string]string{"bin/compile": ":", "bin/release": "echo why >&2; exit 5"}, 224, "bin/release of buildpack p: exit status 5", func(r buildpacks.Result) bool { return cmp.Equal(r.Tail, []string{"why"}) }},
		{"release prints nonsense", map[string]string{"bin/compile": ":", "bin/release": "echo '{'"}, 224, "not YAML", nil},
		{"launch.yml is nonsense", map[string]string{"bin/finalize": `echo "processes: 7" >"$3/$4/launch.yml"`}, 224, "launch.yml of buildpack p", nil},
		{"only supply", map[string]string{"bin/supply": ":"}, 225, "another one must follow it", nil},
		{"no scripts", map[string]string{"bin/detect": ":"}, 1, "none of bin/supply, bin/finalize and bin/compile", nil},
		{"no bin", map[string]string{"README": ""}, 1, "malformed buildpack does not contain a /bin dir", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, nil)
			p := s.pack("p", c.scripts)
			r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{p}, Detect: c.code == 222})
			if r.Code != c.code || !strings.Contains(r.Message, c.message) || c.check != nil && !c.check(r) {
				t.Errorf("got %+v\n%s", r, &s.out)
			}
		})
	}
}

func TestBuild_ScriptWithoutInterpreter(t *testing.T) {
	s := newStage(t, nil)
	s.write("buildpacks/p", map[string]string{"bin/compile": "#!/no/such/ruby\n"})
	r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{{Key: "p", Name: "p", Dir: "p"}}})
	if r.Code != 223 || !strings.Contains(r.Message, "interpreter of this machine") {
		t.Errorf("%+v", r)
	}
}

func TestBuild_DoesNotWaitForADaemonHoldingTheOutput(t *testing.T) {
	s := newStage(t, nil)
	p := s.pack("p", map[string]string{"bin/compile": `sleep 30 & echo $! >"$1/pid"`})
	r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{p}})
	exec.Command("kill", strings.TrimSpace(s.read("droplet/app/pid"))).Run()
	if r.Code != 0 || r.ScriptTime.Seconds() > 10 {
		t.Errorf("%+v", r)
	}
}

func TestBuild_TellsAllMatchesAndWhyTheFirstWon(t *testing.T) {
	s := newStage(t, map[string]string{"Staticfile": "", "go.mod": "module x", "package.json": "{}", "requirements.txt": "", "index.html": "", "Procfile": "web: x"})
	r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true})
	var names []string
	for _, m := range r.Matches {
		names = append(names, m.Name)
	}
	if want := []string{"staticfile", "go", "nodejs", "python", "static", "procfile"}; !cmp.Equal(names, want) {
		t.Error(cmp.Diff(want, names))
	}
	s.wants("-----> Detected staticfile: static files (Staticfile)")
	s.wants("Also matching, later in order: go: Go (go.mod); nodejs: Node.js (package.json)")
	s.wants("staticfile comes first in the order of detection")
}

func TestBuild_NothingDetectedListsWhatWasLookedFor(t *testing.T) {
	s := newStage(t, map[string]string{"notes.txt": ""})
	r := s.build(buildpacks.Plan{Packs: s.builtIn(), Detect: true})
	for _, want := range []string{"go (go.mod, go.work or main.go)", "nodejs (package.json)", "procfile (a Procfile)"} {
		if r.Code != 222 || !strings.Contains(r.Message, want) {
			t.Errorf("code %d, message lacks %q: %s", r.Code, want, r.Message)
		}
	}
}

func TestBuild_LinkedFilesAreCopiedForWhoWritesToThem(t *testing.T) {
	for _, readsOnly := range []bool{true, false} {
		s := newStage(t, map[string]string{"a.txt": "original", "sub/run.sh": "original", "own.txt": "own"})
		outside := t.TempDir()
		for _, name := range []string{"a.txt", "sub/run.sh"} {
			p := filepath.Join(s.dir, buildpacks.AppDir, name)
			if err := os.Chmod(p, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(p, filepath.Join(outside, filepath.Base(name))); err != nil {
				t.Fatal(err)
			}
		}
		p := s.pack("p", map[string]string{"bin/compile": `stat -c %h:%a "$1/a.txt" "$1/sub/run.sh" "$1/own.txt"; ` + map[bool]string{false: `echo x >>"$1/a.txt"; echo x >>"$1/sub/run.sh"`, true: ":"}[readsOnly]})
		p.ReadsOnly = readsOnly
		if r := s.build(buildpacks.Plan{Packs: []buildpacks.PlanPack{p}, Linked: true}); r.Code != 0 {
			t.Fatalf("%+v\n%s", r, &s.out)
		}
		s.wants(map[bool]string{true: "2:755\n2:755\n1:644\n", false: "1:755\n1:755\n1:644\n"}[readsOnly])
		for _, name := range []string{"a.txt", "run.sh"} {
			if data, _ := os.ReadFile(filepath.Join(outside, name)); string(data) != "original" {
				t.Errorf("the build changed a file of others to %q", data)
			}
		}
		if entries, _ := os.ReadDir(filepath.Join(s.dir, buildpacks.AppDir)); len(entries) != 3 {
			t.Errorf("left: %v", entries)
		}
	}
}

func TestReadResult_TrustsNothing(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(secret, []byte(`{"code":0}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, buildpacks.ResultFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := buildpacks.ReadResult(dir); err == nil {
		t.Error("a link out of the stage was read")
	}
	os.Remove(filepath.Join(dir, buildpacks.ResultFile))
	if err := os.WriteFile(filepath.Join(dir, buildpacks.ResultFile), bytes.Repeat([]byte(" "), 5<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := buildpacks.ReadResult(dir); err == nil {
		t.Error("an endless result was read")
	}
}

func TestFind_KnowsOtherNames(t *testing.T) {
	for name, want := range map[string]string{"go": "go", "go_buildpack": "go", "heroku/nodejs": "nodejs", "node": "nodejs", "binary_buildpack": "binary", "rust": ""} {
		if got, _ := buildpacks.Find(name); got.Name != want {
			t.Errorf("Find(%q) = %q, want %q", name, got.Name, want)
		}
	}
	seen := map[string]bool{}
	for _, b := range buildpacks.All() {
		if b.Version == "" || b.LooksFor == "" || len(b.Digest) != 64 || seen[b.Digest] {
			t.Errorf("%+v", b)
		}
		seen[b.Digest] = true
	}
}
