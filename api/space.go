package api

import (
	"context"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

type listSpaces struct {
	List list `filters:"guids,names,organization_guids,include=organization|org"`
}

func (a *API) listSpaces(ctx context.Context, c call, req listSpaces) (reply, error) {
	ss, total, err := a.store.Spaces(ctx, req.List.Query)
	if err != nil {
		return reply{}, err
	}
	page := pageOf(c, req.List, ss, total, c.space)
	if len(req.List.includes) > 0 {
		page.Included, err = a.includeOrgs(ctx, c, ss)
	}
	return ok(page), err
}

type getSpace struct {
	GUID    string   `path:"guid"`
	Include includes `include:"organization,org"`
}

func (a *API) getSpace(ctx context.Context, c call, req getSpace) (reply, error) {
	s, err := a.store.Space(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	out := c.space(s)
	if len(req.Include) > 0 {
		out.Included, err = a.includeOrgs(ctx, c, []platform.Space{s})
	}
	return ok(out), err
}

type createSpace struct {
	Body v3.SpaceCreate `body:"json"`
}

func (a *API) createSpace(ctx context.Context, c call, req createSpace) (reply, error) {
	b := req.Body
	if b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	org := b.Relationships.GUID("organization")
	if _, err := a.store.Organization(ctx, org); err != nil {
		return reply{}, whenMissing(err, "Invalid organization. Ensure the organization exists and you have access to it.")
	}
	s := platform.Space{Resource: platform.NewResource(time.Now()), OrganizationGUID: org, Name: b.Name}
	var err error
	if s.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	err = a.store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertSpace(ctx, s); err != nil {
			return err
		}
		return tx.InsertEvent(ctx, spaceEvent(c.actor(), "audit.space.create", s))
	})
	return created(c.space(s)), err
}

type updateSpace struct {
	GUID string         `path:"guid"`
	Body v3.SpaceUpdate `body:"json"`
}

func (a *API) updateSpace(ctx context.Context, c call, req updateSpace) (reply, error) {
	b := req.Body
	if b.Name != nil && *b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	var s platform.Space
	err := a.store.Tx(ctx, func(tx *store.Tx) (err error) {
		if s, err = tx.Space(ctx, req.GUID); err != nil {
			return err
		}
		set(&s.Name, b.Name)
		if err := applyMetadata(&s.Metadata, b.Metadata); err != nil {
			return err
		}
		s.UpdatedAt = time.Now()
		if err := tx.UpdateSpace(ctx, s); err != nil {
			return err
		}
		return tx.InsertEvent(ctx, spaceEvent(c.actor(), "audit.space.update", s))
	})
	return ok(c.space(s)), err
}

func (a *API) deleteSpace(ctx context.Context, c call, req byGUID) (reply, error) {
	s, err := a.store.Space(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "space.delete", func(ctx context.Context) error {
		return a.removeSpace(ctx, c.actor(), s)
	})
}

// removeSpace removes a space with everything in it: apps, then what apps
// may be bound to, then the row.
func (a *API) removeSpace(ctx context.Context, who platform.Actor, s platform.Space) error {
	in := store.Query{In: map[string][]string{"space_guids": {s.GUID}}}
	apps, _, err := a.store.Apps(ctx, in)
	if err != nil {
		return err
	}
	for _, app := range apps {
		if err := gone(a.engine.DeleteApp(ctx, who, app.GUID)); err != nil {
			return err
		}
	}
	routes, _, err := a.store.Routes(ctx, in)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := gone(a.engine.DeleteRoute(ctx, who, r.GUID)); err != nil {
			return err
		}
	}
	services, _, err := a.store.ServiceInstances(ctx, in)
	if err != nil {
		return err
	}
	for _, i := range services {
		if err := gone(a.engine.DeleteServiceInstance(ctx, who, i.GUID)); err != nil {
			return err
		}
	}
	return a.store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.DeleteSpace(ctx, s.GUID); err != nil {
			return err
		}
		return tx.InsertEvent(ctx, spaceEvent(who, "audit.space.delete-request", s))
	})
}

func spaceEvent(who platform.Actor, typ string, s platform.Space) platform.Event {
	return platform.Event{
		Resource: platform.NewResource(time.Now()), Type: typ, Actor: who,
		TargetGUID: s.GUID, TargetType: "space", TargetName: s.Name,
		SpaceGUID: s.GUID, OrgGUID: s.OrganizationGUID,
	}
}

// includeSpaces reads the spaces, and their organizations, that include= asks
// for.
func (a *API) includeSpaces(ctx context.Context, c call, inc includes, guids []string) (*v3.Included, error) {
	withOrg := inc.has("space.organization") || inc.has("org")
	if !withOrg && !inc.has("space") {
		return nil, nil
	}
	ss, _, err := a.store.Spaces(ctx, store.Query{In: map[string][]string{"guids": distinct(guids)}})
	if err != nil {
		return nil, err
	}
	out := &v3.Included{}
	if withOrg {
		if out, err = a.includeOrgs(ctx, c, ss); err != nil {
			return nil, err
		}
	}
	for _, s := range ss {
		out.Spaces = append(out.Spaces, c.space(s))
	}
	return out, nil
}

func (a *API) includeOrgs(ctx context.Context, c call, spaces []platform.Space) (*v3.Included, error) {
	guids := make([]string, 0, len(spaces))
	for _, s := range spaces {
		guids = append(guids, s.OrganizationGUID)
	}
	os, _, err := a.store.Organizations(ctx, store.Query{In: map[string][]string{"guids": distinct(guids)}})
	out := &v3.Included{}
	for _, o := range os {
		out.Organizations = append(out.Organizations, c.org(o))
	}
	return out, err
}

func (u urls) space(s platform.Space) v3.Space {
	self := "/v3/spaces/" + s.GUID
	return v3.Space{
		Resource: resource(s.Resource), Name: s.Name,
		Relationships: v3.Relationships{"organization": v3.To(s.OrganizationGUID), "quota": v3.To("")},
		Metadata:      presentMetadata(s.Metadata),
		Links: v3.Links{
			"self":           u.link(self),
			"organization":   u.link("/v3/organizations/" + s.OrganizationGUID),
			"features":       u.link(self + "/features"),
			"apply_manifest": u.linkWith("POST", self+"/actions/apply_manifest"),
		},
	}
}
