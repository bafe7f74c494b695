package api

import (
	"context"
	"net/http"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

type listBuilds struct {
	List list `filters:"guids,states,app_guids,package_guids"`
}

func (a *API) listBuilds(ctx context.Context, c call, req listBuilds) (reply, error) {
	bs, total, err := a.store.Builds(ctx, req.List.Query)
	return ok(pageOf(c, req.List, bs, total, c.build)), err
}

type listAppBuilds struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,states"`
}

func (a *API) listAppBuilds(ctx context.Context, c call, req listAppBuilds) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	return a.listBuilds(ctx, c, listBuilds{req.List})
}

func (a *API) getBuild(ctx context.Context, c call, req getAndWait) (reply, error) {
	b, err := waitFor(ctx, a.store, req.Wait, req.GUID, a.store.Build, func(b platform.Build) bool {
		return b.State != platform.BuildStaging
	})
	return ok(c.build(b)), err
}

type createBuild struct {
	Body v3.BuildCreate `body:"json"`
}

func (a *API) createBuild(ctx context.Context, c call, req createBuild) (reply, error) {
	b := req.Body
	pkg, err := a.store.Package(ctx, b.Package.GUID)
	if err != nil {
		return reply{}, whenMissing(err, "Unable to use package. Ensure that the package exists and you have access to it.")
	}
	app, err := a.store.App(ctx, pkg.AppGUID)
	if err != nil {
		return reply{}, err
	}
	build := platform.Build{AppGUID: pkg.AppGUID, PackageGUID: pkg.GUID, Lifecycle: app.Lifecycle, CreatedBy: c.actor()}
	if err := a.applyLifecycle(ctx, &build.Lifecycle, b.Lifecycle); err != nil {
		return reply{}, err
	}
	for _, size := range []struct {
		name string
		in   *int
		to   *int
	}{{"staging_memory_in_mb", b.StagingMemoryMB, &build.MemoryMB}, {"staging_disk_in_mb", b.StagingDiskMB, &build.DiskMB}} {
		if size.in == nil {
			continue
		}
		if *size.in < 1 {
			return reply{}, platform.Invalidf("%s must be greater than 0", size.name)
		}
		*size.to = *size.in
	}
	if build.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	build, err = a.stager.CreateBuild(ctx, c.actor(), build)
	return created(c.build(build)), err
}

func (a *API) updateBuild(ctx context.Context, c call, req updateMetadata) (reply, error) {
	b, err := a.stager.UpdateBuild(ctx, c.actor(), req.GUID, func(b *platform.Build) error {
		return applyMetadata(&b.Metadata, req.Body.Metadata)
	})
	return ok(c.build(b)), err
}

func (u urls) build(b platform.Build) v3.Build {
	out := v3.Build{
		Resource: resource(b.Resource), State: b.State, Error: orNull(b.Error),
		StagingMemoryMB: b.MemoryMB, StagingDiskMB: b.DiskMB, StagingLogRateLimit: -1,
		Lifecycle: presentLifecycle(b.Lifecycle),
		Package:   v3.Ref{GUID: b.PackageGUID}, Droplet: refTo(b.DropletGUID),
		Relationships: v3.Relationships{"app": v3.To(b.AppGUID)},
		Metadata:      presentMetadata(b.Metadata),
		Links: v3.Links{
			"self": u.link("/v3/builds/" + b.GUID),
			"app":  u.link("/v3/apps/" + b.AppGUID),
		},
	}
	if b.CreatedBy.GUID != "" {
		out.CreatedBy = &v3.CreatedBy{GUID: b.CreatedBy.GUID, Name: b.CreatedBy.Name, Email: b.CreatedBy.Name}
	}
	if b.DropletGUID != "" {
		out.Links["droplet"] = u.link("/v3/droplets/" + b.DropletGUID)
	}
	return out
}

type listDroplets struct {
	List list `filters:"guids,states,app_guids,package_guids,space_guids,organization_guids"`
}

func (a *API) listDroplets(ctx context.Context, c call, req listDroplets) (reply, error) {
	return a.dropletPage(ctx, c, req.List)
}

type listAppDroplets struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,states,current"`
}

func (a *API) listAppDroplets(ctx context.Context, c call, req listAppDroplets) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	return a.dropletPage(ctx, c, req.List)
}

func (a *API) dropletPage(ctx context.Context, c call, l list) (reply, error) {
	ds, total, err := a.store.Droplets(ctx, l.Query)
	return ok(pageOf(c, l, ds, total, c.droplet)), err
}

func (a *API) getDroplet(ctx context.Context, c call, req byGUID) (reply, error) {
	d, err := a.store.Droplet(ctx, req.GUID)
	return ok(c.droplet(d)), err
}

type createDroplet struct {
	SourceGUID string           `query:"source_guid"`
	Body       v3.DropletCreate `body:"json"`
}

func (a *API) createDroplet(ctx context.Context, c call, req createDroplet) (reply, error) {
	b := req.Body
	app := b.Relationships.GUID("app")
	if app == "" {
		return reply{}, platform.Invalidf("relationships.app.data.guid must name an app")
	}
	if _, err := a.store.App(ctx, app); err != nil {
		return reply{}, whenMissing(err, "App with guid \""+app+"\" does not exist, or you do not have access to it.")
	}
	if req.SourceGUID != "" {
		d, err := a.stager.CopyDroplet(ctx, c.actor(), req.SourceGUID, app)
		return created(c.droplet(d)), whenMissing(err, "Source droplet not found")
	}
	d := platform.Droplet{AppGUID: app, ProcessTypes: b.ProcessTypes}
	var err error
	if d.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	d, err = a.stager.CreateDroplet(ctx, c.actor(), d)
	return created(c.droplet(d)), err
}

func (a *API) updateDroplet(ctx context.Context, c call, req updateMetadata) (reply, error) {
	d, err := a.stager.UpdateDroplet(ctx, c.actor(), req.GUID, func(d *platform.Droplet) error {
		return applyMetadata(&d.Metadata, req.Body.Metadata)
	})
	return ok(c.droplet(d)), err
}

func (a *API) deleteDroplet(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Droplet(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "droplet.delete", func(ctx context.Context) error {
		return a.stager.DeleteDroplet(ctx, c.actor(), req.GUID)
	})
}

func (u urls) droplet(d platform.Droplet) v3.Droplet {
	self := "/v3/droplets/" + d.GUID
	out := v3.Droplet{
		Resource: resource(d.Resource), State: d.State, Error: orNull(d.Error),
		Lifecycle:    v3.DropletLifecycle{Type: "buildpack"},
		ProcessTypes: orEmpty(d.ProcessTypes), Size: d.Size,
		Buildpacks: []v3.DropletBuildpack{}, Stack: orNull(d.Stack),
		Relationships: v3.Relationships{"app": v3.To(d.AppGUID)},
		Metadata:      presentMetadata(d.Metadata),
		Links: v3.Links{
			"self":                   u.link(self),
			"app":                    u.link("/v3/apps/" + d.AppGUID),
			"assign_current_droplet": u.linkWith(http.MethodPatch, "/v3/apps/"+d.AppGUID+"/relationships/current_droplet"),
			"download":               u.link(self + "/download"),
		},
	}
	if d.PackageGUID != "" {
		out.Links["package"] = u.link("/v3/packages/" + d.PackageGUID)
	}
	if d.Digest != "" {
		out.Checksum = &v3.Checksum{Type: "sha256", Value: &d.Digest}
	}
	if d.State == platform.DropletAwaitingUpload {
		out.Links["upload"] = u.linkWith(http.MethodPost, self+"/upload")
	}
	for _, b := range d.Buildpacks {
		out.Buildpacks = append(out.Buildpacks, v3.DropletBuildpack{
			Name: b.Name, DetectOutput: b.DetectOutput, Version: b.Version, BuildpackName: b.BuildpackName,
		})
	}
	return out
}
