package api

import (
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

type listEvents struct {
	List list `filters:"types,target_guids,target_guids[not],space_guids,organization_guids"`
}

func (a *API) listEvents(ctx context.Context, c call, req listEvents) (reply, error) {
	es, total, err := a.store.Events(ctx, req.List.Query)
	return ok(pageOf(c, req.List, es, total, c.event)), err
}

func (a *API) getEvent(ctx context.Context, c call, req byGUID) (reply, error) {
	e, err := a.store.Event(ctx, req.GUID)
	return ok(c.event(e)), err
}

func (u urls) event(e platform.Event) v3.AuditEvent {
	data := e.Data
	if data == nil {
		data = map[string]any{}
	}
	return v3.AuditEvent{
		Resource: resource(e.Resource), Type: e.Type,
		Actor:  v3.EventParty{GUID: e.Actor.GUID, Type: e.Actor.Type, Name: e.Actor.Name},
		Target: v3.EventParty{GUID: e.TargetGUID, Type: e.TargetType, Name: e.TargetName},
		Data:   data, Space: refTo(e.SpaceGUID), Organization: refTo(e.OrgGUID),
		Links: v3.Links{"self": u.link("/v3/audit_events/" + e.GUID)},
	}
}
