package stager_test

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/buildpacks"
	"weir/buildpacks/staticserver"
	"weir/droplets"
	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/store"
	"weir/stager"
)

// TestMain plays weir's own program for builds: its sub-commands come first.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "buildpack-build":
			os.Exit(buildpacks.Main(os.Args[2:], os.Stdout, os.Stderr))
		case "static-server":
			os.Exit(staticserver.Main(os.Args[2:], os.Stdout, os.Stderr))
		}
	}
	goleak.VerifyTestMain(m)
}

// world is a stager with all it works with, in a directory of its own.
type world struct {
	*stager.Stager
	t        testing.TB
	dir      string
	cfg      stager.Config
	store    *store.Store
	droplets *droplets.Store
	logs     *logs.Store
	runner   stager.Runner
	actor    platform.Actor
	stop     func() // stops the stager; start makes another
}

func newWorld(t testing.TB, change ...func(*stager.Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), actor: platform.Actor{GUID: "u1", Name: "someone", Type: "user"}}
	var err error
	if w.store, err = store.Open(t.Context(), filepath.Join(w.dir, "weir.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if err := w.store.EnsureDefaults(t.Context(), "apps.localhost"); err != nil {
		t.Fatal(err)
	}
	if w.droplets, err = droplets.Open(filepath.Join(w.dir, "droplets"), droplets.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.droplets.Close() })
	if w.logs, err = logs.Open(filepath.Join(w.dir, "logs"), logs.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.logs.Close() })
	w.runner = newDirect(filepath.Join(w.dir, "instances"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = stager.Config{
		Store: w.store, Droplets: w.droplets, Runner: w.runner, Logs: w.logs,
		Dir: filepath.Join(w.dir, "staging"), CacheDir: filepath.Join(w.dir, "cache"),
		Exe: exe, Path: os.Getenv("PATH"), LocalSources: true,
		Logger:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		BuildEnv: []string{"GORACE=atexit_sleep_ms=0"}, // the race detector lingers by default
	}
	for _, c := range change {
		c(&w.cfg)
	}
	w.start()
	return w
}

// start runs a stager until the test ends or stop is called.
func (w *world) start() {
	w.t.Helper()
	w.Stager = stager.New(w.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the stager ended with %v", err)
		}
	}
	w.t.Cleanup(w.stop)
	// The built-in buildpacks are there once it has begun.
	limited, enough := context.WithTimeout(w.t.Context(), time.Minute)
	defer enough()
	if err := w.store.Wait(limited, func(ctx context.Context) (bool, error) {
		_, n, err := w.store.Buildpacks(ctx, store.Query{})
		return n >= len(buildpacks.All()), err
	}); err != nil {
		w.t.Fatal("the stager did not start: ", err)
	}
}

// app adds an app with these buildpacks.
func (w *world) app(name string, packs ...string) platform.App {
	w.t.Helper()
	spaces, _, err := w.store.Spaces(w.t.Context(), store.Query{})
	if err != nil {
		w.t.Fatal(err)
	}
	a := platform.App{
		Resource: platform.NewResource(time.Now()), SpaceGUID: spaces[0].GUID, Name: name, State: platform.AppStopped,
		Lifecycle: platform.Lifecycle{Type: "buildpack", Buildpacks: packs},
	}
	if err := w.store.InsertApp(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
	return a
}

// upload makes a READY package of the files.
func (w *world) upload(app platform.App, files map[string]string) platform.Package {
	w.t.Helper()
	p, err := w.CreatePackage(w.t.Context(), w.actor, platform.Package{AppGUID: app.GUID})
	if err != nil {
		w.t.Fatal(err)
	}
	p, err = w.UploadPackage(w.t.Context(), w.actor, p.GUID, zipped(w.t, files), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// zipped packs files; scripts below bin/ and *.sh are executable.
func zipped(t testing.TB, files map[string]string) io.Reader {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasPrefix(name, "bin/") || strings.HasSuffix(name, ".sh") {
			h.SetMode(0o755)
		}
		f, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, files[name])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(buf.Bytes())
}

// build stages a package and waits for the end.
func (w *world) build(p platform.Package) platform.Build {
	w.t.Helper()
	b, err := w.CreateBuild(w.t.Context(), w.actor, platform.Build{PackageGUID: p.GUID})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.wait(b)
}

func (w *world) wait(b platform.Build) platform.Build {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	err := w.store.Wait(ctx, func(ctx context.Context) (bool, error) {
		var err error
		b, err = w.store.Build(ctx, b.GUID)
		return b.State != platform.BuildStaging, err
	})
	if err != nil {
		w.t.Fatalf("waiting for the build: %v\n%s", err, w.log(b.AppGUID))
	}
	return b
}

// staged stages a package and returns its droplet.
func (w *world) staged(p platform.Package) platform.Droplet {
	w.t.Helper()
	b := w.build(p)
	if b.State != platform.BuildStaged {
		w.t.Fatalf("build %s: %s\n%s", b.State, b.Error, w.log(b.AppGUID))
	}
	d, err := w.store.Droplet(w.t.Context(), b.DropletGUID)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// log returns the staging log of an app.
func (w *world) log(app string) string {
	w.t.Helper()
	lines, err := w.logs.Read(context.Background(), app, logs.ReadOptions{SourceTypes: []string{"STG"}})
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range lines {
		b.Write(e.Payload)
		b.WriteByte('\n')
	}
	return b.String()
}

func (w *world) logHas(app, text string) {
	w.t.Helper()
	// The last lines are written after the build's row.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		got := w.log(app)
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("the staging log lacks %q:\n%s", text, got)
			return
		}
	}
}

// clean checks that nothing is left where builds run. A build's directory is
// removed after its row has said how it ended, so that nobody waits for that.
func (w *world) clean() {
	w.t.Helper()
	for _, dir := range []string{w.cfg.Dir, filepath.Join(w.dir, "instances")} {
		var left []string
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			left = nil
			filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
				if err == nil && p != dir {
					left = append(left, p)
				}
				return nil
			})
			if len(left) == 0 {
				break
			}
		}
		if len(left) > 0 {
			w.t.Errorf("left behind: %v", left)
		}
	}
}

// pack writes a buildpack of scripts into a directory and returns its path.
func (w *world) pack(scripts map[string]string) string {
	w.t.Helper()
	dir := w.t.TempDir()
	for name, text := range scripts {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("#!/bin/bash\nset -e\n"+text), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

// example returns the files of an example app.
func example(t testing.TB, name string) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := filepath.Join("..", "examples", name)
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(root, p)
		files[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
