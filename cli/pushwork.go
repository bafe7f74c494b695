package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/api/client"
	v3 "weir/api/v3"
	"weir/internal/source"
)

// upload makes the package: files the server has not yet go up as a zip, or
// the server fetches a repository.
func (p *push) upload(ctx context.Context, app v3.App) error {
	if p.item.git != "" {
		return p.fetchGit(ctx, app)
	}
	tree := p.item.tree
	p.result.Commit = tree.Commit
	if tree.Commit != "" {
		p.c.out.step("Reading commit %.12s of %s", tree.Commit, p.item.ref)
	}
	matched, err := p.match(ctx, tree)
	if err != nil {
		return err
	}
	pkg, err := p.createPackage(ctx, app.GUID, tree.Commit)
	if err != nil {
		return err
	}
	p.result.Package = pkg.GUID
	pkg, err = p.send(ctx, pkg.GUID, tree, matched)
	if err != nil {
		return err
	}
	return p.waitPackage(ctx, pkg)
}

const sha1OfNothing = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// match asks which files the server has.
func (p *push) match(ctx context.Context, tree *source.Tree) (map[string]v3.FileResource, error) {
	var all []v3.FileResource
	matched := map[string]v3.FileResource{}
	for _, f := range tree.Files {
		if !f.IsRegular() {
			continue
		}
		r := v3.FileResource{
			Path: f.Path, Mode: fmt.Sprintf("%o", f.Mode.Perm()), SizeInBytes: f.Size,
			Checksum: v3.ChecksumValue{Value: f.SHA1},
		}
		if f.Size == 0 { // every server has what is in it
			r.Checksum.Value = sha1OfNothing
			matched[f.Path] = r
			continue
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return matched, nil
	}
	p.c.out.setStatus("Comparing %s with the server…", plural(len(all), "file"))
	known, err := p.MatchResources(ctx, all)
	p.c.out.clearStatus()
	for _, r := range known {
		matched[r.Path] = r
		p.result.Upload.MatchedFiles++
		p.result.Upload.MatchedBytes += r.SizeInBytes
	}
	return matched, err
}

func (p *push) createPackage(ctx context.Context, app, commit string) (v3.Package, error) {
	if commit == "" {
		return p.CreatePackage(ctx, app)
	}
	return p.CreatePackageWith(ctx, v3.PackageCreate{
		Type: "bits", Relationships: v3.Relationships{"app": v3.To(app)},
		Metadata: &v3.MetadataPatch{Annotations: map[string]*string{"source-version": &commit}},
	})
}

// send uploads what the server does not have.
func (p *push) send(ctx context.Context, pkg string, tree *source.Tree, matched map[string]v3.FileResource) (v3.Package, error) {
	known := make([]v3.FileResource, 0, len(matched))
	rest := 0
	up := &p.result.Upload
	for _, f := range tree.Files {
		if r, ok := matched[f.Path]; ok {
			known = append(known, r)
			continue
		}
		rest++
		if f.IsRegular() {
			up.Files++
			up.Bytes += f.Size
		}
	}
	text := fmt.Sprintf("Uploading %s, %s", plural(up.Files, "file"), formatBytes(up.Bytes))
	if up.MatchedFiles > 0 {
		text += fmt.Sprintf(" (the server has %s, %s)", plural(up.MatchedFiles, "file"), formatBytes(up.MatchedBytes))
	}
	p.c.out.step("%s", text)
	if rest == 0 {
		return p.UploadPackage(ctx, pkg, client.Upload{}, known)
	}
	bar := p.c.out.startBar("Uploading", up.Bytes)
	defer bar.end()
	r, w := io.Pipe()
	packed := make(chan error, 1) // the packer ends whether or not we listen
	go func() {
		err := tree.WriteZip(ctx, w, func(f source.File) bool { _, ok := matched[f.Path]; return !ok }, bar.add)
		w.CloseWithError(err)
		packed <- err
	}()
	got, err := p.UploadPackage(ctx, pkg, client.Upload{Bits: r, Size: -1, Name: "package.zip"}, known)
	r.Close()
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) && err != nil {
		err = perr // a file could not be read: that is why the upload broke off
	}
	return got, err
}

func (p *push) fetchGit(ctx context.Context, app v3.App) error {
	url, ref := source.SplitRef(p.item.git)
	if p.item.ref != "" {
		ref = p.item.ref
	}
	pkg, err := p.CreateGitPackage(ctx, app.GUID, url, ref)
	if err != nil {
		return err
	}
	p.result.Package = pkg.GUID
	shown := url
	if pkg.Data.Git != nil && pkg.Data.Git.URL != "" {
		shown = pkg.Data.Git.URL // without credentials
	}
	p.c.out.step("The server fetches %s %s", shown, ref)
	p.at("the server is fetching the repository", "weir restage "+p.name+" builds and starts it once fetched")
	return p.waitPackage(ctx, pkg)
}

// waitPackage waits until the server has taken the files in.
func (p *push) waitPackage(ctx context.Context, pkg v3.Package) error {
	if pkg.State != v3.PackageReady {
		var err error
		pkg, err = persist(ctx, func(ctx context.Context) (v3.Package, error) { return p.WaitPackage(ctx, pkg.GUID) })
		if err != nil {
			return err
		}
	}
	if git := pkg.Data.Git; git != nil {
		p.result.Commit = git.Commit
		if git.Commit != "" {
			p.c.out.step("Fetched commit %.12s", git.Commit)
		}
	}
	if pkg.State == v3.PackageReady {
		return nil
	}
	why := "the server could not take the files in"
	if pkg.Data.Error != nil && *pkg.Data.Error != "" {
		why = *pkg.Data.Error
	}
	return newFailure(exitFailed, "failed", why, "")
}

// uploadDroplet makes a droplet of a file.
func (p *push) uploadDroplet(ctx context.Context, app v3.App) error {
	f, err := os.Open(p.item.droplet)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	d, err := p.CreateDroplet(ctx, v3.DropletCreate{Relationships: v3.Relationships{"app": v3.To(app.GUID)}})
	if err != nil {
		return err
	}
	p.result.Droplet = d.GUID
	p.c.out.step("Uploading droplet %s, %s", filepath.Base(p.item.droplet), formatBytes(info.Size()))
	bar, last := p.c.out.startBar("Uploading", info.Size()), int64(0)
	job, err := p.UploadDroplet(ctx, d.GUID, client.Upload{
		Bits: f, Size: info.Size(), Name: filepath.Base(p.item.droplet),
		Progress: func(sent int64) { bar.add(sent - last); last = sent },
	})
	bar.end()
	if err != nil {
		return err
	}
	_, err = persist(ctx, func(ctx context.Context) (v3.Job, error) { return p.WaitJob(ctx, job) })
	return err
}

// stage builds a package and shows the staging log.
func (p *push) stage(ctx context.Context, app v3.App, pkg string) error {
	f, err := p.stagingLog(ctx, app)
	if err != nil {
		return err
	}
	build, err := p.CreateBuild(ctx, pkg, p.lifecycle)
	if err != nil {
		if asFailure(err).exit == exitConflict {
			return withHint(err, "another push of "+p.name+" is being built: weir push "+p.name+" --attach watches it")
		}
		return err
	}
	p.c.out.step("Building %s", app.Name)
	return p.followBuild(ctx, f, build)
}

// watchBuild is stage for a build that somebody else began.
func (p *push) watchBuild(ctx context.Context, app v3.App, build v3.Build) error {
	f, err := p.stagingLog(ctx, app)
	if err != nil {
		return err
	}
	if build.State == v3.BuildStaging {
		p.c.out.step("Build of %s is on its way", app.Name)
	}
	return p.followBuild(ctx, f, build)
}

func (p *push) stagingLog(ctx context.Context, app v3.App) (*follower, error) {
	return p.newFollower(ctx, app.GUID,
		func(l v3.LogLine) bool { return l.SourceType == "STG" },
		func(l v3.LogLine) {
			p.c.out.follow(l, "   "+plainLine(l))
		})
}

func (p *push) followBuild(ctx context.Context, f *follower, build v3.Build) error {
	p.result.Build = build.GUID
	p.at("it is being built", p.reattach()+" and starts it")
	limited, stop := p.patience(ctx)
	defer stop()
	err := f.while(limited, func(ctx context.Context) (err error) {
		build, err = persist(ctx, func(ctx context.Context) (v3.Build, error) { return p.WaitBuild(ctx, build.GUID) })
		return err
	})
	if err != nil {
		return p.gaveUp(ctx, err, "the build goes on")
	}
	if build.State == v3.BuildFailed {
		return p.buildFailed(f, build)
	}
	p.result.Droplet = guidOf(build.Droplet)
	p.at("it is built and not started", p.reattach()+" and starts it")
	return nil
}

// patience limits how long the push is watched.
func (p *push) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := defaultWait
	if d := p.c.Duration("wait-timeout"); d > 0 {
		limit = d
	}
	return context.WithDeadline(ctx, p.began.Add(limit))
}

// gaveUp explains a wait that ended for want of patience.
func (p *push) gaveUp(ctx context.Context, err error, state string) error {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &failure{
		exit: exitTimedOut, code: "timed-out", retryable: true, err: err, hint: p.reattach(),
		msg: fmt.Sprintf("gave up watching %s after %s; %s", p.name, time.Since(p.began).Round(time.Second), state),
	}
}

func (p *push) buildFailed(f *follower, build v3.Build) error {
	why := "the build failed"
	if build.Error != nil {
		why = *build.Error
	}
	why, hint, _ := strings.Cut(why, "\nhint: ")
	if hint == "" {
		hint = "weir logs " + p.name + " --recent shows the staging log"
	}
	p.repeat(f)
	return newFailure(exitFailed, "staging-failed", why, hint)
}

// repeat shows the last log lines where they were not shown as they came.
func (p *push) repeat(f *follower) {
	if !p.c.out.quiet || p.c.out.machine() {
		return
	}
	for _, line := range f.lastLines() {
		p.c.out.say("", "   "+line)
	}
}

func (p *push) newestBuild(ctx context.Context, app string) (v3.Build, bool, error) {
	list, err := p.Builds(ctx, client.Query(nil).In("app_guids", app).Newest())
	if err != nil || len(list) == 0 {
		return v3.Build{}, false, err
	}
	return list[0], true, nil
}

// run makes the droplet run and waits until it does.
func (p *push) run(ctx context.Context, app v3.App) error {
	deployment, err := p.begin(ctx, app)
	if err != nil {
		return err
	}
	p.result.Deployment = deployment
	if p.c.Bool("no-wait") {
		p.c.out.step("App %s is starting; not waiting for it", app.Name)
		return p.finish(ctx, app)
	}
	return p.await(ctx, app, deployment)
}

// begin starts a stopped app on the new droplet, or deploys it to a running one.
func (p *push) begin(ctx context.Context, app v3.App) (deployment string, err error) {
	label := p.c.flagText("version")
	if p.c.cmd.name != "push" {
		label = ""
	}
	if app.State == v3.AppStarted {
		d, err := p.c.strategy()
		if err != nil {
			return "", err
		}
		d.Label = label
		d.Droplet = &v3.Ref{GUID: p.result.Droplet}
		d.Relationships = v3.Relationships{"app": v3.To(app.GUID)}
		p.c.out.step("Deploying %s beside what runs", app.Name)
		got, err := p.CreateDeployment(ctx, d)
		return got.GUID, err
	}
	if err := p.SetCurrentDroplet(ctx, app.GUID, p.result.Droplet); err != nil {
		return "", err
	}
	p.c.out.step("Starting %s", app.Name)
	_, deployment, err = p.StartAppAs(ctx, app.GUID, label)
	return deployment, err
}
