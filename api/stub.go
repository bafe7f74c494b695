package api

import (
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

// Some things of Cloud Foundry do not exist in weir. Clients read them all the
// same and give up on a 404, so their lists are there, and empty.

// emptyList asks for the list of something weir has none of. It takes any
// filter, for none could find anything.
type emptyList struct {
	List list `filters:"*"`
}

func (a *API) listNothing(_ context.Context, c call, req emptyList) (reply, error) {
	return ok(pageOfAll(c, req.List, []struct{}{})), nil
}

type emptyListOf struct {
	GUID string `path:"guid"`
	List list   `filters:"*"`
}

// Sidecars: an app has the processes it has, and no others beside them.
func (a *API) listProcessSidecars(ctx context.Context, c call, req emptyListOf) (reply, error) {
	_, err := a.store.Process(ctx, req.GUID)
	return ok(pageOfAll(c, req.List, []v3.Sidecar{})), err
}

func (a *API) listAppSidecars(ctx context.Context, c call, req emptyListOf) (reply, error) {
	_, err := a.store.App(ctx, req.GUID)
	return ok(pageOfAll(c, req.List, []v3.Sidecar{})), err
}

func (a *API) listSpaceSecurityGroups(ctx context.Context, c call, req emptyListOf) (reply, error) {
	_, err := a.store.Space(ctx, req.GUID)
	return ok(pageOfAll(c, req.List, []struct{}{})), err
}

func (a *API) orgIsolationSegment(ctx context.Context, c call, req byGUID) (reply, error) {
	_, err := a.store.Organization(ctx, req.GUID)
	return ok(v3.ToOne{Links: v3.Links{
		"self": c.link("/v3/organizations/" + req.GUID + "/relationships/default_isolation_segment"),
	}}), err
}

func (a *API) spaceIsolationSegment(ctx context.Context, c call, req byGUID) (reply, error) {
	_, err := a.store.Space(ctx, req.GUID)
	return ok(v3.ToOne{Links: v3.Links{
		"self": c.link("/v3/spaces/" + req.GUID + "/relationships/isolation_segment"),
	}}), err
}

// quotaGUID names the quota every organization has: one without limits.
const quotaGUID = "00a70000-0000-4000-8000-000000000001"

func (a *API) quota(ctx context.Context, c call) (v3.OrganizationQuota, error) {
	os, _, err := a.store.Organizations(ctx, store.Query{})
	q := v3.OrganizationQuota{
		Resource: v3.Resource{GUID: quotaGUID}, Name: "default",
		Services:      v3.QuotaServices{PaidServicesAllowed: true},
		Relationships: map[string]v3.ToMany{"organizations": {Data: []v3.Ref{}}},
		Links:         v3.Links{"self": c.link("/v3/organization_quotas/" + quotaGUID)},
	}
	var orgs []v3.Ref
	for i, o := range os {
		if i == 0 { // as old as the first organization
			q.CreatedAt, q.UpdatedAt = v3.At(o.CreatedAt), v3.At(o.CreatedAt)
		}
		orgs = append(orgs, v3.Ref{GUID: o.GUID})
	}
	q.Relationships["organizations"] = v3.ToMany{Data: orgs}
	return q, err
}

type listQuotas struct {
	List list `filters:"guids,names,organization_guids"`
}

func (a *API) listOrgQuotas(ctx context.Context, c call, req listQuotas) (reply, error) {
	q, err := a.quota(ctx, c)
	if err != nil {
		return reply{}, err
	}
	if !admits(req.List, "guids", q.GUID) || !admits(req.List, "names", q.Name) {
		return ok(pageOfAll(c, req.List, []v3.OrganizationQuota{})), nil
	}
	return ok(pageOfAll(c, req.List, []v3.OrganizationQuota{q})), nil
}

func (a *API) getOrgQuota(ctx context.Context, c call, req byGUID) (reply, error) {
	if req.GUID != quotaGUID {
		return reply{}, platform.NotFound("Organization quota")
	}
	q, err := a.quota(ctx, c)
	return ok(q), err
}
