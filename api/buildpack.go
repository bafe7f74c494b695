package api

import (
	"context"
	"net/http"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

type listBuildpacks struct {
	List list `filters:"guids,names,stacks,states,lifecycle"`
}

func (a *API) listBuildpacks(ctx context.Context, c call, req listBuildpacks) (reply, error) {
	if req.List.OrderBy == "" {
		req.List.OrderBy = "position"
	}
	bs, total, err := a.store.Buildpacks(ctx, req.List.Query)
	return ok(pageOf(c, req.List, bs, total, c.buildpack)), err
}

func (a *API) getBuildpack(ctx context.Context, c call, req byGUID) (reply, error) {
	b, err := a.store.Buildpack(ctx, req.GUID)
	return ok(c.buildpack(b)), err
}

type createBuildpack struct {
	Body v3.BuildpackCreate `body:"json"`
}

func (a *API) createBuildpack(ctx context.Context, c call, req createBuildpack) (reply, error) {
	b := req.Body
	if b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	if b.Lifecycle != nil && *b.Lifecycle != "buildpack" {
		return reply{}, platform.Invalidf("lifecycle must be 'buildpack'")
	}
	bp := platform.Buildpack{Name: b.Name, Enabled: true}
	set(&bp.Position, b.Position)
	set(&bp.Enabled, b.Enabled)
	set(&bp.Locked, b.Locked)
	set(&bp.Stack, b.Stack)
	if b.Position != nil && *b.Position < 1 {
		return reply{}, platform.Invalidf("position must be greater than or equal to 1")
	}
	var err error
	if bp.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	bp, err = a.stager.CreateBuildpack(ctx, c.actor(), bp)
	return created(c.buildpack(bp)), err
}

// set stores a value if there is one.
func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

type updateBuildpack struct {
	GUID string             `path:"guid"`
	Body v3.BuildpackUpdate `body:"json"`
}

func (a *API) updateBuildpack(ctx context.Context, c call, req updateBuildpack) (reply, error) {
	b := req.Body
	if b.Name != nil && *b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	if b.Position != nil && *b.Position < 1 {
		return reply{}, platform.Invalidf("position must be greater than or equal to 1")
	}
	bp, err := a.stager.UpdateBuildpack(ctx, c.actor(), req.GUID, func(bp *platform.Buildpack) error {
		set(&bp.Name, b.Name)
		set(&bp.Position, b.Position)
		set(&bp.Enabled, b.Enabled)
		set(&bp.Locked, b.Locked)
		set(&bp.Stack, b.Stack)
		return applyMetadata(&bp.Metadata, b.Metadata)
	})
	return ok(c.buildpack(bp)), err
}

func (a *API) deleteBuildpack(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Buildpack(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "buildpack.delete", func(ctx context.Context) error {
		return a.stager.DeleteBuildpack(ctx, c.actor(), req.GUID)
	})
}

func (u urls) buildpack(b platform.Buildpack) v3.Buildpack {
	self := "/v3/buildpacks/" + b.GUID
	return v3.Buildpack{
		Resource: resource(b.Resource), Name: b.Name, State: b.State,
		Filename: orNull(b.Filename), Stack: orNull(b.Stack), Position: b.Position,
		Lifecycle: "buildpack", Enabled: b.Enabled, Locked: b.Locked,
		Metadata: presentMetadata(b.Metadata),
		Links: v3.Links{
			"self":   u.link(self),
			"upload": u.linkWith(http.MethodPost, self+"/upload"),
		},
	}
}
