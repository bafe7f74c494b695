package api

import (
	"context"
	"strings"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

type listDomains struct {
	List list `filters:"guids,names,organization_guids"`
}

func (a *API) listDomains(ctx context.Context, c call, req listDomains) (reply, error) {
	lower(req.List.In["names"])
	ds, total, err := a.store.Domains(ctx, req.List.Query)
	return ok(pageOf(c, req.List, ds, total, c.domain)), err
}

type listOrgDomains struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,names,organization_guids"`
}

// listOrgDomains lists what an organization may use: its own domains and the
// shared ones.
func (a *API) listOrgDomains(ctx context.Context, c call, req listOrgDomains) (reply, error) {
	if _, err := a.store.Organization(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	if _, ok := req.List.In["organization_guids"]; !ok {
		req.List.In["organization_guids"] = []string{"", req.GUID}
	}
	return a.listDomains(ctx, c, listDomains{req.List})
}

// getDefaultDomain is the domain under which an organization's apps get their
// routes: the first shared one.
func (a *API) getDefaultDomain(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Organization(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	ds, _, err := a.store.Domains(ctx, store.Query{In: map[string][]string{"organization_guids": {"", req.GUID}}})
	if err != nil {
		return reply{}, err
	}
	for _, shared := range []bool{true, false} {
		for _, d := range ds {
			if !d.Internal && (d.OrganizationGUID == "") == shared {
				return ok(c.domain(d)), nil
			}
		}
	}
	return reply{}, platform.NotFound("Domain")
}

func (a *API) getDomain(ctx context.Context, c call, req byGUID) (reply, error) {
	d, err := a.store.Domain(ctx, req.GUID)
	return ok(c.domain(d)), err
}

type createDomain struct {
	Body v3.DomainCreate `body:"json"`
}

func (a *API) createDomain(ctx context.Context, c call, req createDomain) (reply, error) {
	b := req.Body
	if b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	if b.RouterGroup != nil {
		return reply{}, platform.Invalidf("router_group: weir has no TCP router")
	}
	d := platform.Domain{Name: strings.ToLower(b.Name)}
	set(&d.Internal, b.Internal)
	if r := b.Relationships; r != nil {
		if r.SharedOrganizations != nil && len(r.SharedOrganizations.Data) > 0 {
			return reply{}, platform.Invalidf("relationships.shared_organizations: a domain belongs to one organization or to all")
		}
		if r.Organization != nil && r.Organization.Data != nil {
			d.OrganizationGUID = r.Organization.Data.GUID
			if _, err := a.store.Organization(ctx, d.OrganizationGUID); err != nil {
				return reply{}, whenMissing(err, "Organization with guid '"+d.OrganizationGUID+"' does not exist or you do not have access to it.")
			}
		}
	}
	var err error
	if d.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	d, err = a.engine.CreateDomain(ctx, c.actor(), d)
	return created(c.domain(d)), err
}

func (a *API) updateDomain(ctx context.Context, c call, req updateMetadata) (reply, error) {
	d, err := a.engine.UpdateDomain(ctx, c.actor(), req.GUID, func(m *platform.Metadata) error {
		return applyMetadata(m, req.Body.Metadata)
	})
	return ok(c.domain(d)), err
}

func (a *API) deleteDomain(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Domain(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "domain.delete", func(ctx context.Context) error {
		return a.engine.DeleteDomain(ctx, c.actor(), req.GUID)
	})
}

func (u urls) domain(d platform.Domain) v3.Domain {
	self := "/v3/domains/" + d.GUID
	out := v3.Domain{
		Resource: resource(d.Resource), Name: d.Name, Internal: d.Internal,
		SupportedProtocols: []string{"http"},
		Relationships: v3.DomainRelationships{
			Organization:        v3.ToOne{Data: refTo(d.OrganizationGUID)},
			SharedOrganizations: v3.ToMany{Data: []v3.Ref{}},
		},
		Metadata: presentMetadata(d.Metadata),
		Links: v3.Links{
			"self":               u.link(self),
			"route_reservations": u.link(self + "/route_reservations"),
		},
	}
	if d.OrganizationGUID != "" {
		out.Links["organization"] = u.link("/v3/organizations/" + d.OrganizationGUID)
	}
	return out
}
