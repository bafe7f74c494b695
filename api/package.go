package api

import (
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

type listPackages struct {
	List list `filters:"guids,types,states,app_guids,space_guids,organization_guids"`
}

func (a *API) listPackages(ctx context.Context, c call, req listPackages) (reply, error) {
	ps, total, err := a.store.Packages(ctx, req.List.Query)
	return ok(pageOf(c, req.List, ps, total, c.pkg)), err
}

type listAppPackages struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,types,states"`
}

func (a *API) listAppPackages(ctx context.Context, c call, req listAppPackages) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	return a.listPackages(ctx, c, listPackages{req.List})
}

type getAndWait struct {
	GUID string `path:"guid"`
	Wait *int   `query:"wait"`
}

func (a *API) getPackage(ctx context.Context, c call, req getAndWait) (reply, error) {
	p, err := waitFor(ctx, a.store, req.Wait, req.GUID, a.store.Package, func(p platform.Package) bool {
		return p.State != platform.PackageProcessingUpload && p.State != platform.PackageCopying
	})
	return ok(c.pkg(p)), err
}

type createPackage struct {
	SourceGUID string           `query:"source_guid"`
	Body       v3.PackageCreate `body:"json"`
}

func (a *API) createPackage(ctx context.Context, c call, req createPackage) (reply, error) {
	b := req.Body
	app := b.Relationships.GUID("app")
	if app == "" {
		return reply{}, platform.Invalidf("relationships.app.data.guid must name an app")
	}
	if _, err := a.store.App(ctx, app); err != nil {
		return reply{}, whenMissing(err, "App is invalid. Ensure it exists and you have access to it.")
	}
	if req.SourceGUID != "" {
		p, err := a.stager.CopyPackage(ctx, c.actor(), req.SourceGUID, app)
		return created(c.pkg(p)), whenMissing(err, "Source package not found")
	}
	p := platform.Package{AppGUID: app, Type: "bits"}
	switch b.Type {
	case "bits":
	case "git":
		if b.Data == nil || b.Data.URL == "" {
			return reply{}, platform.Invalidf("data.url can't be blank")
		}
		p.Git = &platform.GitSource{URL: b.Data.URL, Ref: b.Data.Ref}
	case "docker":
		return reply{}, platform.Invalidf("type must be 'bits' or 'git'; weir runs no docker images")
	default:
		return reply{}, platform.Invalidf("type must be 'bits' or 'git'")
	}
	var err error
	if p.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	p, err = a.stager.CreatePackage(ctx, c.actor(), p)
	return created(c.pkg(p)), err
}

type updateMetadata struct {
	GUID string            `path:"guid"`
	Body v3.MetadataUpdate `body:"json"`
}

func (a *API) updatePackage(ctx context.Context, c call, req updateMetadata) (reply, error) {
	p, err := a.stager.UpdatePackage(ctx, c.actor(), req.GUID, func(p *platform.Package) error {
		return applyMetadata(&p.Metadata, req.Body.Metadata)
	})
	return ok(c.pkg(p)), err
}

func (a *API) deletePackage(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Package(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "package.delete", func(ctx context.Context) error {
		return a.stager.DeletePackage(ctx, c.actor(), req.GUID)
	})
}

type listPackageDroplets struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,states"`
}

func (a *API) listPackageDroplets(ctx context.Context, c call, req listPackageDroplets) (reply, error) {
	if _, err := a.store.Package(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["package_guids"] = []string{req.GUID}
	return a.dropletPage(ctx, c, req.List)
}

// pkg presents a package. One fetched from git is shown as bits, which is
// what it is once it is here and what other clients can read.
func (u urls) pkg(p platform.Package) v3.Package {
	self := "/v3/packages/" + p.GUID
	out := v3.Package{
		Resource: resource(p.Resource), Type: "bits", State: p.State,
		Data:          v3.PackageData{Checksum: v3.Checksum{Type: "sha256", Value: orNull(p.Digest)}, Error: orNull(p.Error)},
		Relationships: v3.Relationships{"app": v3.To(p.AppGUID)},
		Metadata:      presentMetadata(p.Metadata),
		Links: v3.Links{
			"self":     u.link(self),
			"app":      u.link("/v3/apps/" + p.AppGUID),
			"upload":   u.linkWith("POST", self+"/upload"),
			"download": u.linkWith("GET", self+"/download"),
		},
	}
	if p.Git != nil {
		out.Data.Git = &v3.GitData{URL: p.Git.URL, Ref: p.Git.Ref, Commit: p.Git.Commit}
	}
	return out
}
