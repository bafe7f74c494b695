package api

import (
	"context"
	"errors"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

// Organizations and spaces are rows that nothing runs in the background for:
// this package writes them itself.

type listOrgs struct {
	List list `filters:"guids,names"`
}

func (a *API) listOrgs(ctx context.Context, c call, req listOrgs) (reply, error) {
	os, total, err := a.store.Organizations(ctx, req.List.Query)
	return ok(pageOf(c, req.List, os, total, c.org)), err
}

func (a *API) getOrg(ctx context.Context, c call, req byGUID) (reply, error) {
	o, err := a.store.Organization(ctx, req.GUID)
	return ok(c.org(o)), err
}

type createOrg struct {
	Body v3.OrganizationCreate `body:"json"`
}

func (a *API) createOrg(ctx context.Context, c call, req createOrg) (reply, error) {
	b := req.Body
	if b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	o := platform.Organization{Resource: platform.NewResource(time.Now()), Name: b.Name}
	set(&o.Suspended, b.Suspended)
	var err error
	if o.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	err = a.store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertOrganization(ctx, o); err != nil {
			return err
		}
		return tx.InsertEvent(ctx, orgEvent(c.actor(), "audit.organization.create", o))
	})
	return created(c.org(o)), err
}

type updateOrg struct {
	GUID string                `path:"guid"`
	Body v3.OrganizationUpdate `body:"json"`
}

func (a *API) updateOrg(ctx context.Context, c call, req updateOrg) (reply, error) {
	b := req.Body
	if b.Name != nil && *b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	var o platform.Organization
	err := a.store.Tx(ctx, func(tx *store.Tx) (err error) {
		if o, err = tx.Organization(ctx, req.GUID); err != nil {
			return err
		}
		set(&o.Name, b.Name)
		set(&o.Suspended, b.Suspended)
		if err := applyMetadata(&o.Metadata, b.Metadata); err != nil {
			return err
		}
		o.UpdatedAt = time.Now()
		if err := tx.UpdateOrganization(ctx, o); err != nil {
			return err
		}
		return tx.InsertEvent(ctx, orgEvent(c.actor(), "audit.organization.update", o))
	})
	return ok(c.org(o)), err
}

// deleteOrg removes an organization with its spaces and private domains.
func (a *API) deleteOrg(ctx context.Context, c call, req byGUID) (reply, error) {
	o, err := a.store.Organization(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "organization.delete", func(ctx context.Context) error {
		spaces, _, err := a.store.Spaces(ctx, store.Query{In: map[string][]string{"organization_guids": {o.GUID}}})
		if err != nil {
			return err
		}
		for _, s := range spaces {
			if err := a.removeSpace(ctx, c.actor(), s); err != nil {
				return err
			}
		}
		domains, _, err := a.store.Domains(ctx, store.Query{In: map[string][]string{"organization_guids": {o.GUID}}})
		if err != nil {
			return err
		}
		for _, d := range domains {
			if err := gone(a.engine.DeleteDomain(ctx, c.actor(), d.GUID)); err != nil {
				return err
			}
		}
		return a.store.Tx(ctx, func(tx *store.Tx) error {
			if err := tx.DeleteOrganization(ctx, o.GUID); err != nil {
				return err
			}
			return tx.InsertEvent(ctx, orgEvent(c.actor(), "audit.organization.delete-request", o))
		})
	})
}

// gone forgives that something to be deleted is not there any more.
func gone(err error) error {
	if platform.KindOf(err) == platform.KindNotFound {
		return nil
	}
	return err
}

func orgEvent(who platform.Actor, typ string, o platform.Organization) platform.Event {
	return platform.Event{
		Resource: platform.NewResource(time.Now()), Type: typ, Actor: who,
		TargetGUID: o.GUID, TargetType: "organization", TargetName: o.Name, OrgGUID: o.GUID,
	}
}

func (a *API) getOrgUsage(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Organization(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	inOrg := map[string][]string{"organization_guids": {req.GUID}}
	count := store.Query{In: inOrg, Page: 1, PerPage: 1}
	var u v3.UsageCounts
	var errs [4]error
	_, u.Routes, errs[0] = a.store.Routes(ctx, count)
	_, u.Domains, errs[1] = a.store.Domains(ctx, count)
	_, u.ServiceInstances, errs[2] = a.store.ServiceInstances(ctx, count)
	started, _, err := a.store.Apps(ctx, store.Query{In: map[string][]string{
		"organization_guids": {req.GUID}, "states": {string(platform.AppStarted)},
	}})
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		return reply{}, err
	}
	ps, _, err := a.store.Processes(ctx, store.Query{In: map[string][]string{"app_guids": guidsOf(started)}})
	for _, p := range ps {
		u.StartedInstances += p.Instances
		u.MemoryMB += p.Instances * p.MemoryMB
	}
	return ok(v3.UsageSummary{UsageSummary: u, Links: v3.Links{
		"self":         c.link("/v3/organizations/" + req.GUID + "/usage_summary"),
		"organization": c.link("/v3/organizations/" + req.GUID),
	}}), err
}

func guidsOf(apps []platform.App) []string {
	guids := make([]string, 0, len(apps))
	for _, app := range apps {
		guids = append(guids, app.GUID)
	}
	return guids
}

func (u urls) org(o platform.Organization) v3.Organization {
	self := "/v3/organizations/" + o.GUID
	return v3.Organization{
		Resource: resource(o.Resource), Name: o.Name, Suspended: o.Suspended,
		Relationships: v3.Relationships{"quota": v3.To(quotaGUID)},
		Metadata:      presentMetadata(o.Metadata),
		Links: v3.Links{
			"self":           u.link(self),
			"domains":        u.link(self + "/domains"),
			"default_domain": u.link(self + "/domains/default"),
			"quota":          u.link("/v3/organization_quotas/" + quotaGUID),
		},
	}
}
