package stager_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/droplets/archive"
	"weir/internal/platform"
	"weir/internal/store"
	"weir/stager"
)

func TestPackage_IsUploadedOnce(t *testing.T) {
	w := newWorld(t)
	app := w.app("a")
	p, err := w.CreatePackage(t.Context(), w.actor, platform.Package{AppGUID: app.GUID, Resource: platform.Resource{Metadata: platform.Metadata{Labels: map[string]string{"k": "v"}}}})
	if err != nil || p.State != platform.PackageAwaitingUpload || p.Metadata.Labels["k"] != "v" {
		t.Fatalf("%+v, %v", p, err)
	}
	// An upload that breaks off changes nothing.
	broken := io.MultiReader(strings.NewReader("PK\x03\x04"), iotestErr{})
	if _, err := w.UploadPackage(t.Context(), w.actor, p.GUID, broken, nil); err == nil {
		t.Error("half an upload was accepted")
	}
	if p, err = w.UploadPackage(t.Context(), w.actor, p.GUID, zipped(t, map[string]string{"a": "1"}), nil); err != nil || p.State != platform.PackageReady || p.Size != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	_, err = w.UploadPackage(t.Context(), w.actor, p.GUID, zipped(t, map[string]string{"a": "2"}), nil)
	if e, ok := errors.AsType[*platform.Error](err); !ok || e.Title != "PackageBitsAlreadyUploaded" {
		t.Errorf("the second upload: %v", err)
	}
	if _, err := w.CreatePackage(t.Context(), w.actor, platform.Package{AppGUID: "none"}); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("a package of no app: %v", err)
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestPackage_BadArchiveFailsIt(t *testing.T) {
	w := newWorld(t)
	p, err := w.CreatePackage(t.Context(), w.actor, platform.Package{AppGUID: w.app("a").GUID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.UploadPackage(t.Context(), w.actor, p.GUID, strings.NewReader("this is no archive"), nil); err == nil {
		t.Fatal("it was accepted")
	}
	if p, _ = w.store.Package(t.Context(), p.GUID); p.State != platform.PackageFailed || p.Error == "" {
		t.Errorf("%+v", p)
	}
}

func TestPackage_FromGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on this machine to make a repository with")
	}
	w := newWorld(t)
	repo := gitRepo(t, map[string]string{"index.html": "from git"})
	app := w.app("fetched")
	p, err := w.CreatePackage(t.Context(), w.actor, platform.Package{AppGUID: app.GUID, Git: &platform.GitSource{URL: "file://" + repo, Ref: "main"}})
	if err != nil || p.State != platform.PackageProcessingUpload {
		t.Fatalf("%+v, %v", p, err)
	}
	p = w.waitPackage(p)
	if p.State != platform.PackageReady || len(p.Git.Commit) != 40 || p.Size == 0 {
		t.Fatalf("%+v", p)
	}
	if d := w.staged(p); d.Buildpacks[0].Name != "static" {
		t.Errorf("%+v", d)
	}
	if _, err := w.UploadPackage(t.Context(), w.actor, p.GUID, zipped(t, nil), nil); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("an upload to it: %v", err)
	}
	bad, err := w.CreatePackage(t.Context(), w.actor, platform.Package{AppGUID: app.GUID, Git: &platform.GitSource{URL: "https://user:hunter2@127.0.0.1:1/x.git", Ref: "main"}})
	if err != nil {
		t.Fatal(err)
	}
	bad = w.waitPackage(bad)
	if bad.State != platform.PackageFailed || bad.Error == "" || strings.Contains(bad.Error+bad.Git.URL, "hunter2") {
		t.Errorf("%+v %+v", bad, bad.Git)
	}
	w.clean()
}

func (w *world) waitPackage(p platform.Package) platform.Package {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if err := w.store.Wait(ctx, func(ctx context.Context) (bool, error) {
		var err error
		p, err = w.store.Package(ctx, p.GUID)
		return p.State != platform.PackageProcessingUpload, err
	}); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// gitRepo makes a repository with one commit on main.
func gitRepo(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(p), 0o755)
		if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "-m", "x"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

func TestPackage_CopyDeleteAndMetadata(t *testing.T) {
	w := newWorld(t)
	one, two := w.app("one"), w.app("two")
	p := w.upload(one, map[string]string{"index.html": "x"})
	c, err := w.CopyPackage(t.Context(), w.actor, p.GUID, two.GUID)
	if err != nil || c.AppGUID != two.GUID || c.Digest != p.Digest || c.GUID == p.GUID || c.State != platform.PackageReady {
		t.Fatalf("%+v, %v", c, err)
	}
	if p, err = w.UpdatePackage(t.Context(), w.actor, p.GUID, func(p *platform.Package) error {
		p.Metadata.Labels, p.State = map[string]string{"a": "b"}, "BROKEN"
		return nil
	}); err != nil || p.Metadata.Labels["a"] != "b" || p.State != platform.PackageReady {
		t.Errorf("%+v, %v", p, err)
	}
	d := w.staged(p)
	if err := w.DeletePackage(t.Context(), w.actor, p.GUID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Droplet(t.Context(), d.GUID); err != nil {
		t.Errorf("the droplet went with its package: %v", err)
	}
	if err := w.DeletePackage(t.Context(), w.actor, p.GUID); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("deleting it again: %v", err)
	}
}

func TestDroplet_DownloadAndUploadAreTheSame(t *testing.T) {
	w := newWorld(t)
	app, other := w.app("a"), w.app("b")
	d := w.staged(w.upload(app, map[string]string{"index.html": "x", "Procfile": "worker: w"}))
	var exported bytes.Buffer
	if err := w.droplets.Export(t.Context(), d.Digest, archive.TarGz, &exported); err != nil {
		t.Fatal(err)
	}
	up, err := w.CreateDroplet(t.Context(), w.actor, platform.Droplet{AppGUID: other.GUID, ProcessTypes: map[string]string{"extra": "e"}})
	if err != nil || up.State != platform.DropletAwaitingUpload {
		t.Fatalf("%+v, %v", up, err)
	}
	up, err = w.UploadDroplet(t.Context(), w.actor, up.GUID, &exported)
	if err != nil || up.State != platform.DropletStaged {
		t.Fatalf("%+v, %v", up, err)
	}
	if want := map[string]string{"web": d.ProcessTypes["web"], "worker": "w", "extra": "e"}; !cmp.Equal(up.ProcessTypes, want) {
		t.Error(cmp.Diff(want, up.ProcessTypes))
	}
	if _, err := w.UploadDroplet(t.Context(), w.actor, up.GUID, strings.NewReader("")); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("the second upload: %v", err)
	}
	noDroplet, _ := w.CreateDroplet(t.Context(), w.actor, platform.Droplet{AppGUID: other.GUID})
	if _, err := w.UploadDroplet(t.Context(), w.actor, noDroplet.GUID, zipped(t, map[string]string{"index.html": "x"})); err == nil {
		t.Error("an archive of something else was taken for a droplet")
	}
	if noDroplet, _ = w.store.Droplet(t.Context(), noDroplet.GUID); noDroplet.State != platform.DropletFailed || noDroplet.Error == "" {
		t.Errorf("%+v", noDroplet)
	}
}

func TestDroplet_CopyAndDelete(t *testing.T) {
	w := newWorld(t)
	app, other := w.app("a"), w.app("b")
	d := w.staged(w.upload(app, map[string]string{"index.html": "x"}))
	c, err := w.CopyDroplet(t.Context(), w.actor, d.GUID, other.GUID)
	if err != nil || c.Digest != d.Digest || c.AppGUID != other.GUID || c.State != platform.DropletStaged {
		t.Fatalf("%+v, %v", c, err)
	}
	app.DropletGUID = d.GUID
	if err := w.store.UpdateApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteDroplet(t.Context(), w.actor, d.GUID); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("deleting the current droplet: %v", err)
	}
	if err := w.DeleteDroplet(t.Context(), w.actor, c.GUID); err != nil {
		t.Errorf("deleting another: %v", err)
	}
}

func TestBuildpacks_BuiltInOnesAreRows(t *testing.T) {
	w := newWorld(t)
	names := func() (all []string) {
		rows, _, err := w.store.Buildpacks(t.Context(), store.Query{OrderBy: "position"})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			if r.Position != i+1 {
				t.Errorf("%s is at position %d, not %d", r.Name, r.Position, i+1)
			}
			all = append(all, r.Name)
		}
		return all
	}
	builtIn := []string{"staticfile", "go", "nodejs", "python", "static", "procfile", "binary"}
	if got := names(); !cmp.Equal(got, builtIn) {
		t.Error(cmp.Diff(builtIn, got))
	}
	w.stop()
	w.start() // a second start adds nothing
	if got := names(); !cmp.Equal(got, builtIn) {
		t.Error(cmp.Diff(builtIn, got))
	}
	mine, err := w.CreateBuildpack(t.Context(), w.actor, platform.Buildpack{Name: "mine", Position: 3, Enabled: true})
	if err != nil || mine.Position != 3 || mine.State != "AWAITING_UPLOAD" {
		t.Fatalf("%+v, %v", mine, err)
	}
	if want, got := []string{"staticfile", "go", "mine", "nodejs", "python", "static", "procfile", "binary"}, names(); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if mine, err = w.UpdateBuildpack(t.Context(), w.actor, mine.GUID, func(b *platform.Buildpack) error { b.Position = 99; return nil }); err != nil || mine.Position != 8 {
		t.Errorf("%+v, %v", mine, err)
	}
	for _, c := range []platform.Buildpack{{Name: "go"}, {Name: ""}, {Name: "a/b"}, {Name: "https://x"}, {Name: "mine"}, {Name: "x", Position: -1}} {
		if _, err := w.CreateBuildpack(t.Context(), w.actor, c); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("creating %+v: %v", c, err)
		}
	}
	rows, _, _ := w.store.Buildpacks(t.Context(), store.Query{In: map[string][]string{"names": {"go"}}})
	if err := w.DeleteBuildpack(t.Context(), w.actor, rows[0].GUID); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("deleting a built-in one: %v", err)
	}
	if _, err := w.UploadBuildpack(t.Context(), w.actor, rows[0].GUID, "x.zip", zipped(t, nil)); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("uploading a built-in one: %v", err)
	}
	if _, err := w.UpdateBuildpack(t.Context(), w.actor, rows[0].GUID, func(b *platform.Buildpack) error { b.Name = "golang"; return nil }); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("renaming a built-in one: %v", err)
	}
	if err := w.DeleteBuildpack(t.Context(), w.actor, mine.GUID); err != nil {
		t.Error(err)
	}
	if got := names(); !cmp.Equal(got, builtIn) {
		t.Error(cmp.Diff(builtIn, got))
	}
}

func TestBuildpacks_UploadedOneBuilds(t *testing.T) {
	w := newWorld(t)
	bp, err := w.CreateBuildpack(t.Context(), w.actor, platform.Buildpack{Name: "notes", Position: 1, Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	app := w.app("a", "notes")
	p := w.upload(app, map[string]string{"notes.txt": "x", "index.html": ""})
	if b := w.build(p); !strings.Contains(b.Error, `buildpack "notes" has no files yet`) {
		t.Errorf("before the upload: %s %s", b.State, b.Error)
	}
	if _, err := w.UploadBuildpack(t.Context(), w.actor, bp.GUID, "x.zip", zipped(t, map[string]string{"README": ""})); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("an archive that is no buildpack: %v", err)
	}
	bp, err = w.UploadBuildpack(t.Context(), w.actor, bp.GUID, "dir/notes-v1.zip", zipped(t, map[string]string{
		"notes-main/bin/detect":  "#!/bin/sh\ntest -f \"$1/notes.txt\" && echo Notes\n",
		"notes-main/bin/compile": "#!/bin/sh\necho own copy >mark && cat mark\n",
		"notes-main/bin/release": "#!/bin/sh\necho 'default_process_types: {web: cat notes.txt}'\n",
		"notes-main/VERSION":     "7.1",
	}))
	if err != nil || bp.State != "READY" || bp.Filename != "notes-v1.zip" {
		t.Fatalf("%+v, %v", bp, err)
	}
	for _, app := range []platform.App{app, w.app("detected")} {
		d := w.staged(w.upload(app, map[string]string{"notes.txt": "x", "index.html": ""}))
		if len(d.Buildpacks) != 1 || d.Buildpacks[0].Name != "notes" || d.Buildpacks[0].Version != "7.1" || d.ProcessTypes["web"] != "cat notes.txt" {
			t.Errorf("%s: %+v", app.Name, d)
		}
	}
	if _, err := w.UpdateBuildpack(t.Context(), w.actor, bp.GUID, func(b *platform.Buildpack) error { b.Enabled, b.Locked = false, true; return nil }); err != nil {
		t.Fatal(err)
	}
	if d := w.staged(w.upload(w.app("undetected"), map[string]string{"notes.txt": "x", "index.html": ""})); d.Buildpacks[0].Name != "static" {
		t.Errorf("a disabled buildpack was used: %+v", d)
	}
	_, err = w.UploadBuildpack(t.Context(), w.actor, bp.GUID, "x.zip", zipped(t, nil))
	if e, ok := errors.AsType[*platform.Error](err); !ok || e.Title != "BuildpackLocked" {
		t.Errorf("uploading a locked one: %v", err)
	}
	w.clean()
}

func TestBuildpacks_FromGitAndTheFileOfTheApp(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on this machine to make a repository with")
	}
	w := newWorld(t)
	repo := gitRepo(t, map[string]string{
		"bin/detect": "#!/bin/sh\n[ -f \"$1/go-ahead\" ] && echo Git\n", "bin/compile": "#!/bin/sh\necho compiled by git\n",
	})
	url := "file://" + repo
	app := w.app("explicit", url+"#main")
	d := w.staged(w.upload(app, map[string]string{"x": ""}))
	if b := d.Buildpacks[0]; b.Name != url+"#main" || len(b.Version) != 12 {
		t.Errorf("%+v", b)
	}
	w.logHas(app.GUID, "-----> Fetching buildpack "+url+"\n")
	w.logHas(app.GUID, "compiled by git\n")
	listed := w.app("listed")
	d = w.staged(w.upload(listed, map[string]string{".buildpacks": "# list\n" + url + "\nprocfile\n", "Procfile": "web: x", "go-ahead": ""}))
	if len(d.Buildpacks) != 2 || d.Buildpacks[1].Name != "procfile" {
		t.Errorf("%+v", d.Buildpacks)
	}
	if b := w.build(w.upload(listed, map[string]string{".buildpacks": url + "\nprocfile\n", "Procfile": "web: x"})); !strings.HasPrefix(b.Error, "NoAppDetectedError - ") {
		t.Errorf("one of the file that does not detect: %s", b.Error)
	}
	if b := w.build(w.upload(w.app("missing", url+"#nowhere"), map[string]string{"x": ""})); !strings.HasPrefix(b.Error, "StagingError - ") {
		t.Errorf("a ref that does not exist: %s", b.Error)
	}
	w.clean()
}

func TestLocalSources_AreTheOperatorsChoice(t *testing.T) {
	w := newWorld(t, func(c *stager.Config) { c.LocalSources = false })
	for _, key := range []string{"/etc", "file:///etc", "../x"} {
		if err := w.CheckLifecycle(t.Context(), platform.Lifecycle{Buildpacks: []string{key}}); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%s: %v", key, err)
		}
		b := w.build(w.upload(w.app("a"+key), map[string]string{".buildpacks": key + "\n"}))
		if !strings.Contains(b.Error, "must be an existing admin buildpack or a valid git URI") {
			t.Errorf(".buildpacks with %s: %s %s", key, b.State, b.Error)
		}
	}
}

func TestSweep_ExpiresWhatNobodyNeeds(t *testing.T) {
	w := newWorld(t, func(c *stager.Config) { c.SweepEvery = time.Hour })
	app := w.app("a")
	var ds []platform.Droplet
	for _, text := range []string{"1", "2", "3"} {
		ds = append(ds, w.staged(w.upload(app, map[string]string{"index.html": text})))
	}
	app.DropletGUID = ds[0].GUID
	if err := w.store.UpdateApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	// Without a grace a stager must not sweep while something is uploaded.
	w.stop()
	w.cfg.SweepGrace = time.Nanosecond
	w.start()
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{platform.DropletStaged, platform.DropletExpired, platform.DropletStaged} { // current, in between, newest
		d, err := w.store.Droplet(t.Context(), ds[i].GUID)
		_, there := w.droplets.Tree(d.Digest)
		if err != nil || d.State != want || there != (want == platform.DropletStaged) {
			t.Errorf("droplet %d is %s, its tree there: %v, %v", i+1, d.State, there, err)
		}
		p, err := w.store.Package(t.Context(), ds[i].PackageGUID)
		wantPackage := platform.PackageReady
		if want == platform.DropletExpired {
			wantPackage = platform.PackageExpired
		}
		if err != nil || p.State != wantPackage {
			t.Errorf("package %d is %s, %v", i+1, p.State, err)
		}
	}
}

func TestSweep_ComesAtOnceWhenThereWasNoRoom(t *testing.T) {
	w := newWorld(t, func(c *stager.Config) { c.SweepEvery, c.SweepGrace = time.Hour, time.Second })
	old := w.app("old")
	d := w.staged(w.upload(old, map[string]string{"index.html": "large"}))
	if err := w.store.DeleteApp(t.Context(), old.GUID); err != nil {
		t.Fatal(err)
	}
	app := w.app("new", w.pack(map[string]string{"bin/compile": "echo no space left on device; exit 1"}))
	p := w.upload(app, map[string]string{"notes.txt": "x"})
	for deadline := time.Now().Add(time.Minute); ; {
		if b := w.build(p); !strings.Contains(b.Error, "NoSpace") {
			t.Fatalf("%s: %s", b.State, b.Error)
		}
		if _, there := w.droplets.Tree(d.Digest); !there {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("what an app left that was deleted is still there")
		}
	}
}

func TestBuild_GetsAsMuchMemoryAsAnInstance(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ asked, web, want int }{
		"no web process": {0, 0, 1024},
		"small":          {0, 64, 1024},
		"large":          {0, 3072, 3072},
		"asked for":      {512, 3072, 512},
	} {
		app := w.app(strings.ReplaceAll(name, " ", "-"))
		if c.web > 0 {
			web := platform.NewProcess(platform.NewResource(time.Now()), app.GUID, platform.WebProcess)
			web.MemoryMB = c.web
			if err := w.store.InsertProcess(t.Context(), web); err != nil {
				t.Fatal(err)
			}
		}
		p := w.upload(app, map[string]string{"index.html": name})
		b, err := w.CreateBuild(t.Context(), w.actor, platform.Build{PackageGUID: p.GUID, MemoryMB: c.asked})
		if err != nil || b.MemoryMB != c.want {
			t.Errorf("%s: %d MiB, want %d (%v)", name, b.MemoryMB, c.want, err)
		}
		w.wait(b)
	}
}

func TestPassEnv(t *testing.T) {
	got := stager.PassEnv([]string{
		"HOME=/root", "GOPROXY=off", "npm_config_registry=https://r", "NPM_CONFIG_PREFIX=/x", "npm_config_userconfig=/root/.npmrc",
		"PIP_INDEX_URL=https://p", "https_proxy=http://p", "SSL_CERT_FILE=/c", "AWS_SECRET_ACCESS_KEY=x", "nonsense",
	})
	want := []string{"GOPROXY=off", "npm_config_registry=https://r", "PIP_INDEX_URL=https://p", "https_proxy=http://p", "SSL_CERT_FILE=/c"}
	if !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}
