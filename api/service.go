package api

import (
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

type listServiceInstances struct {
	List list `filters:"guids,names,type,space_guids,organization_guids,service_plan_guids,service_plan_names" fields:"true"`
}

func (a *API) listServiceInstances(ctx context.Context, c call, req listServiceInstances) (reply, error) {
	for _, managed := range []string{"service_plan_guids", "service_plan_names"} {
		if _, ok := req.List.In[managed]; ok { // no instance of ours has a plan
			delete(req.List.In, managed)
			req.List.In["guids"] = []string{}
		}
	}
	ss, total, err := a.store.ServiceInstances(ctx, req.List.Query)
	return ok(pageOf(c, req.List, ss, total, c.serviceInstance)), err
}

type getServiceInstance struct {
	GUID string `path:"guid"`
	List list   `filters:"" fields:"true"` // only so that sparse fields are tolerated
}

func (a *API) getServiceInstance(ctx context.Context, c call, req getServiceInstance) (reply, error) {
	s, err := a.store.ServiceInstance(ctx, req.GUID)
	return ok(c.serviceInstance(s)), err
}

func (a *API) getServiceCredentials(ctx context.Context, _ call, req byGUID) (reply, error) {
	s, err := a.store.ServiceInstance(ctx, req.GUID)
	return ok(credentials(s)), err
}

func credentials(s platform.ServiceInstance) map[string]any {
	if s.Credentials == nil {
		return map[string]any{}
	}
	return s.Credentials
}

type createServiceInstance struct {
	Body v3.ServiceInstanceCreate `body:"json"`
}

func (a *API) createServiceInstance(ctx context.Context, c call, req createServiceInstance) (reply, error) {
	b := req.Body
	if b.Type != "user-provided" {
		return reply{}, platform.Invalidf("type must be 'user-provided'; weir has no service brokers")
	}
	if b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	s := platform.ServiceInstance{
		SpaceGUID: b.Relationships.GUID("space"), Name: b.Name, Tags: b.Tags, Credentials: b.Credentials,
	}
	if _, err := a.store.Space(ctx, s.SpaceGUID); err != nil {
		return reply{}, whenMissing(err, "Invalid space. Ensure that the space exists and you have access to it.")
	}
	set(&s.SyslogDrainURL, b.SyslogDrainURL)
	set(&s.RouteServiceURL, b.RouteServiceURL)
	var err error
	if s.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	s, err = a.engine.CreateServiceInstance(ctx, c.actor(), s)
	return created(c.serviceInstance(s)), err
}

type updateServiceInstance struct {
	GUID string                   `path:"guid"`
	Body v3.ServiceInstanceUpdate `body:"json"`
}

func (a *API) updateServiceInstance(ctx context.Context, c call, req updateServiceInstance) (reply, error) {
	b := req.Body
	if b.Name != nil && *b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	s, err := a.engine.UpdateServiceInstance(ctx, c.actor(), req.GUID, func(s *platform.ServiceInstance) error {
		set(&s.Name, b.Name)
		set(&s.Tags, b.Tags)
		set(&s.Credentials, b.Credentials)
		set(&s.SyslogDrainURL, b.SyslogDrainURL)
		set(&s.RouteServiceURL, b.RouteServiceURL)
		return applyMetadata(&s.Metadata, b.Metadata)
	})
	return ok(c.serviceInstance(s)), err
}

type deleteServiceInstance struct {
	GUID  string `path:"guid"`
	Purge bool   `query:"purge"`
}

func (a *API) deleteServiceInstance(ctx context.Context, c call, req deleteServiceInstance) (reply, error) {
	return noContent(), a.engine.DeleteServiceInstance(ctx, c.actor(), req.GUID)
}

func (u urls) serviceInstance(s platform.ServiceInstance) v3.ServiceInstance {
	self := "/v3/service_instances/" + s.GUID
	tags := s.Tags
	if tags == nil {
		tags = []string{}
	}
	return v3.ServiceInstance{
		Resource: resource(s.Resource), Name: s.Name, Tags: tags, Type: "user-provided",
		SyslogDrainURL: orNull(s.SyslogDrainURL), RouteServiceURL: orNull(s.RouteServiceURL),
		LastOperation: lastOperation(s.Resource),
		Relationships: v3.Relationships{"space": v3.To(s.SpaceGUID)},
		Metadata:      presentMetadata(s.Metadata),
		Links: v3.Links{
			"self":                        u.link(self),
			"space":                       u.link("/v3/spaces/" + s.SpaceGUID),
			"credentials":                 u.link(self + "/credentials"),
			"service_credential_bindings": u.link("/v3/service_credential_bindings?service_instance_guids=" + s.GUID),
			"service_route_bindings":      u.link("/v3/service_route_bindings?service_instance_guids=" + s.GUID),
		},
	}
}

// lastOperation says that a thing is there: ours are made in one step.
func lastOperation(r platform.Resource) v3.LastOperation {
	typ := "create"
	if r.UpdatedAt.After(r.CreatedAt) {
		typ = "update"
	}
	return v3.LastOperation{
		Type: typ, State: "succeeded", Description: "Operation succeeded",
		CreatedAt: v3.At(r.CreatedAt), UpdatedAt: v3.At(r.UpdatedAt),
	}
}

type listBindings struct {
	List list `filters:"guids,names,type,app_guids,app_names,service_instance_guids,service_instance_names,service_plan_guids,service_plan_names,service_offering_guids,service_offering_names,include=app|service_instance"`
}

func (a *API) listBindings(ctx context.Context, c call, req listBindings) (reply, error) {
	for _, managed := range []string{"service_plan_guids", "service_plan_names", "service_offering_guids", "service_offering_names"} {
		if _, ok := req.List.In[managed]; ok {
			delete(req.List.In, managed)
			req.List.In["guids"] = []string{}
		}
	}
	bs, total, err := a.store.ServiceBindings(ctx, req.List.Query)
	if err != nil {
		return reply{}, err
	}
	page := pageOf(c, req.List, bs, total, c.binding)
	page.Included, err = a.includeOfBindings(ctx, c, req.List.includes, bs)
	return ok(page), err
}

func (a *API) includeOfBindings(ctx context.Context, c call, inc includes, bs []platform.ServiceBinding) (*v3.Included, error) {
	if len(inc) == 0 {
		return nil, nil
	}
	var apps, instances []string
	for _, b := range bs {
		apps, instances = append(apps, b.AppGUID), append(instances, b.ServiceInstanceGUID)
	}
	out := &v3.Included{}
	if inc.has("app") {
		found, _, err := a.store.Apps(ctx, store.Query{In: map[string][]string{"guids": distinct(apps)}})
		if err != nil {
			return nil, err
		}
		for _, app := range found {
			out.Apps = append(out.Apps, c.app(app))
		}
	}
	if inc.has("service_instance") {
		found, _, err := a.store.ServiceInstances(ctx, store.Query{In: map[string][]string{"guids": distinct(instances)}})
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			out.ServiceInstances = append(out.ServiceInstances, c.serviceInstance(s))
		}
	}
	return out, nil
}

type getBinding struct {
	GUID    string   `path:"guid"`
	Include includes `include:"app,service_instance"`
}

func (a *API) getBinding(ctx context.Context, c call, req getBinding) (reply, error) {
	b, err := a.store.ServiceBinding(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	out := c.binding(b)
	out.Included, err = a.includeOfBindings(ctx, c, req.Include, []platform.ServiceBinding{b})
	return ok(out), err
}

func (a *API) getBindingDetails(ctx context.Context, _ call, req byGUID) (reply, error) {
	b, err := a.store.ServiceBinding(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	s, err := a.store.ServiceInstance(ctx, b.ServiceInstanceGUID)
	return ok(v3.BindingDetails{
		Credentials: credentials(s), SyslogDrainURL: orNull(s.SyslogDrainURL), VolumeMounts: []string{},
	}), err
}

type createBinding struct {
	Body v3.CredentialBindingCreate `body:"json"`
}

func (a *API) createBinding(ctx context.Context, c call, req createBinding) (reply, error) {
	b := req.Body
	if b.Type != "app" {
		return reply{}, platform.Invalidf("type must be 'app'; user-provided services have no keys")
	}
	if b.Strategy != nil && *b.Strategy != "" && *b.Strategy != "single" {
		return reply{}, platform.Invalidf("strategy must be 'single'")
	}
	if p := string(b.Parameters); p != "" && p != "null" && p != "{}" {
		return reply{}, platform.Invalidf("parameters are not supported for user-provided service instances")
	}
	binding := platform.ServiceBinding{
		AppGUID: b.Relationships.GUID("app"), ServiceInstanceGUID: b.Relationships.GUID("service_instance"),
	}
	set(&binding.Name, b.Name)
	app, err := a.store.App(ctx, binding.AppGUID)
	if err != nil {
		return reply{}, whenMissing(err, "The app could not be found: '"+binding.AppGUID+"'")
	}
	instance, err := a.store.ServiceInstance(ctx, binding.ServiceInstanceGUID)
	if err != nil {
		return reply{}, whenMissing(err, "The service instance could not be found: '"+binding.ServiceInstanceGUID+"'")
	}
	if app.SpaceGUID != instance.SpaceGUID {
		return reply{}, platform.Invalidf("The service instance and the app are in different spaces")
	}
	if binding.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	binding, err = a.engine.CreateServiceBinding(ctx, c.actor(), binding)
	return created(c.binding(binding)), err
}

func (a *API) updateBinding(ctx context.Context, c call, req updateMetadata) (reply, error) {
	b, err := a.engine.UpdateServiceBinding(ctx, c.actor(), req.GUID, func(m *platform.Metadata) error {
		return applyMetadata(m, req.Body.Metadata)
	})
	return ok(c.binding(b)), err
}

func (a *API) deleteBinding(ctx context.Context, c call, req byGUID) (reply, error) {
	return noContent(), a.engine.DeleteServiceBinding(ctx, c.actor(), req.GUID)
}

func (u urls) binding(b platform.ServiceBinding) v3.CredentialBinding {
	self := "/v3/service_credential_bindings/" + b.GUID
	return v3.CredentialBinding{
		Resource: resource(b.Resource), Name: orNull(b.Name), Type: "app",
		LastOperation: lastOperation(b.Resource),
		Relationships: v3.Relationships{
			"app": v3.To(b.AppGUID), "service_instance": v3.To(b.ServiceInstanceGUID),
		},
		Metadata: presentMetadata(b.Metadata),
		Links: v3.Links{
			"self":             u.link(self),
			"details":          u.link(self + "/details"),
			"app":              u.link("/v3/apps/" + b.AppGUID),
			"service_instance": u.link("/v3/service_instances/" + b.ServiceInstanceGUID),
		},
	}
}
