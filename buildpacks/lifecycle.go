package buildpacks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Main is the sub-command a runner executes inside a stage: "buildpack-build
// STAGE". It returns the exit code, one of the Code constants.
func Main(args []string, out, errOut io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(errOut, "usage: weir buildpack-build STAGE")
		return CodeOther
	}
	return Build(context.Background(), args[0], out).Code
}

// Build carries the stage's plan out. Everything the scripts write goes to
// out as it comes. The result is also left in the stage.
func Build(ctx context.Context, stage string, out io.Writer) Result {
	b := &build{ctx: ctx, out: out, env: os.Environ()}
	stage, err := filepath.Abs(stage) // the scripts run in directories of their own
	if err == nil {
		b.stage = stage
		err = b.run()
	}
	if err != nil {
		if b.result.Code == CodeOK {
			b.result.Code = CodeOther
		}
		b.result.Message = err.Error()
	}
	if err := writeJSON(filepath.Join(stage, ResultFile), b.result); err != nil {
		fmt.Fprintln(out, "the build's result could not be written:", err)
		b.result.Code = CodeOther
	}
	return b.result
}

// build is one run of the lifecycle.
type build struct {
	ctx    context.Context
	stage  string
	out    io.Writer
	env    []string // of the scripts; buildpacks add to it by "export"
	plan   Plan
	packs  []pack
	result Result

	mu         sync.Mutex // guards scriptTime
	scriptTime time.Duration
}

// pack is a buildpack of the plan with its scripts.
type pack struct {
	PlanPack
	scripts
	index  int    // position among those used
	output string // of detect
}

func (b *build) run() error {
	defer func() { b.result.ScriptTime = b.scriptTime }()
	data, err := os.ReadFile(filepath.Join(b.stage, PlanFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &b.plan); err != nil {
		return fmt.Errorf("reading the plan of the build: %w", err)
	}
	if err := b.open(); err != nil {
		return err
	}
	if b.plan.Warm {
		return b.warm()
	}
	if err := b.choose(); err != nil {
		return err
	}
	if b.plan.Linked && slices.ContainsFunc(b.packs, func(p pack) bool { return !p.ReadsOnly }) {
		if err := ownCopies(b.ctx, filepath.Join(b.stage, AppDir)); err != nil {
			return fmt.Errorf("copying the app's files: %w", err)
		}
	}
	if err := b.prepare(); err != nil {
		return err
	}
	for i := range b.packs {
		if err := b.apply(&b.packs[i], i == len(b.packs)-1); err != nil {
			return err
		}
	}
	return b.finish()
}

// open finds the scripts of each buildpack of the plan.
func (b *build) open() error {
	for _, p := range b.plan.Packs {
		s, err := openScripts(filepath.Join(b.stage, PacksDir, filepath.Base(p.Dir)))
		if err != nil {
			b.result.Pack = p.Name
			return fmt.Errorf("buildpack %s: %w", p.Name, err)
		}
		if v := s.version(); p.Version == "" {
			p.Version = v
		}
		b.packs = append(b.packs, pack{PlanPack: p, scripts: s})
	}
	if len(b.packs) == 0 {
		b.result.Code = CodeNotDetected
		return errors.New("there is no buildpack to try")
	}
	return nil
}

// warm fills the cache of a buildpack with what all apps have in common.
func (b *build) warm() error {
	if err := b.prepare(); err != nil {
		return err
	}
	p := &b.packs[0]
	cache := filepath.Join(b.stage, CacheDir, b.cacheName(*p))
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	return b.script(p, "warm", CodeOther, cache)
}

// prepare makes the directories of the droplet and of the caches.
func (b *build) prepare() error {
	for _, dir := range []string{DepsDir, ProfileDir, "droplet/tmp", "droplet/logs", CacheDir, HomeDir, TempDir, EnvDir} {
		if err := os.MkdirAll(filepath.Join(b.stage, dir), 0o755); err != nil {
			return err
		}
	}
	keep := map[string]bool{}
	for i := range b.packs {
		b.packs[i].index = i
		keep[b.cacheName(b.packs[i])] = true
	}
	entries, err := os.ReadDir(filepath.Join(b.stage, CacheDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if keep[e.Name()] {
			continue
		}
		if err := RemoveAll(filepath.Join(b.stage, CacheDir, e.Name())); err != nil {
			return fmt.Errorf("removing the cache of a buildpack no longer used: %w", err)
		}
	}
	return nil
}

// cacheName is the directory of a buildpack under the cache. One that follows
// Heroku's contract shares its cache with its kind, as there.
func (b *build) cacheName(p pack) string {
	if !p.has["supply"] && !p.has["finalize"] {
		return "heroku"
	}
	return CacheName(p.Key)
}

// apply runs one buildpack. The last one makes the droplet runnable.
func (b *build) apply(p *pack, last bool) error {
	cache := filepath.Join(b.stage, CacheDir, b.cacheName(*p))
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	app, deps := filepath.Join(b.stage, AppDir), filepath.Join(b.stage, DepsDir)
	index := b.indexName(p.index)
	dep := filepath.Join(deps, index)
	if p.has["supply"] && (!last || p.has["finalize"]) {
		if err := os.MkdirAll(dep, 0o755); err != nil {
			return err
		}
		if err := b.script(p, "supply", CodeSupplyFailed, app, cache, deps, index); err != nil {
			return err
		}
	}
	switch {
	case last && p.has["finalize"]:
		if err := os.MkdirAll(dep, 0o755); err != nil {
			return err
		}
		if err := b.script(p, "finalize", CodeFinalizeFailed, app, cache, deps, index, filepath.Join(b.stage, ProfileDir)); err != nil {
			return err
		}
	case p.has["compile"] && (last || !p.has["supply"]):
		if err := b.script(p, "compile", CodeCompileFailed, app, cache, filepath.Join(b.stage, EnvDir)); err != nil {
			return err
		}
		if err := b.sourceExport(p); err != nil {
			return err
		}
	case last || !p.has["supply"]:
		b.result.Code, b.result.Pack = CodeSupplyFailed, p.Name
		return fmt.Errorf("buildpack %s cannot be used here: it has neither bin/finalize nor bin/compile, so another one must follow it", p.Name)
	}
	used := Used{Key: p.Key, Name: p.Name, Version: p.Version, DetectOutput: p.output}
	if s := readSupplied(dep); s.Name != "" || s.Version != "" {
		used.Version = cmp.Or(s.Version, used.Version)
		used.DetectOutput = cmp.Or(used.DetectOutput, s.Name)
	}
	b.result.Used = append(b.result.Used, used)
	b.addSupplied(dep)
	return nil
}

// indexName numbers a buildpack's directory under deps, with as many digits
// as the count of buildpacks has.
func (b *build) indexName(i int) string {
	width := len(fmt.Sprint(len(b.packs)))
	return fmt.Sprintf("%0*d", width, i)
}

// addSupplied lets the buildpacks that follow find what this one supplied.
func (b *build) addSupplied(dep string) {
	for _, v := range []struct {
		dir   string
		names []string
	}{
		{"bin", []string{"PATH"}},
		{"lib", []string{"LD_LIBRARY_PATH", "LIBRARY_PATH"}},
		{"include", []string{"CPATH"}},
		{"pkgconfig", []string{"PKG_CONFIG_PATH"}},
	} {
		dir := filepath.Join(dep, v.dir)
		if !isDir(dir) {
			continue
		}
		for _, name := range v.names {
			b.setenv(name, strings.TrimSuffix(dir+":"+b.getenv(name), ":"))
		}
	}
}

func (b *build) getenv(name string) string {
	for _, kv := range b.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (b *build) setenv(name, value string) {
	b.env = slices.DeleteFunc(slices.Clone(b.env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	b.env = append(b.env, name+"="+value)
}

// sourceExport takes over what the buildpack's file "export" sets for those
// that follow it. It is a bash script, so bash reads it.
func (b *build) sourceExport(p *pack) error {
	file := filepath.Join(p.dir, "export")
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	cmd := exec.CommandContext(b.ctx, "bash", "-c", `set -a; . "$1" >&2 && exec env -0`, "export", file)
	cmd.Dir, cmd.Env = p.dir, b.env
	data, err := cmd.Output()
	if err != nil {
		b.result.Code, b.result.Pack, b.result.Script = CodeCompileFailed, p.Name, "export"
		return fmt.Errorf("the file export of buildpack %s could not be read by bash: %w", p.Name, err)
	}
	env := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	b.env = slices.DeleteFunc(env, func(kv string) bool {
		return strings.HasPrefix(kv, "_=") || strings.HasPrefix(kv, "SHLVL=") || strings.HasPrefix(kv, "PWD=")
	})
	return nil
}
