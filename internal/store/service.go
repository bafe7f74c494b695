package store

import (
	"context"

	"weir/internal/platform"
)

var serviceInstances = &table[platform.ServiceInstance]{
	name: "service_instances",
	noun: "Service instance",
	columns: func(s *platform.ServiceInstance) []column {
		return resource(
			&s.Resource,
			column{name: "space_guid", value: &s.SpaceGUID},
			column{name: "name", value: &s.Name},
			column{name: "tags", value: asJSON{&s.Tags}},
			column{name: "credentials", value: exactJSON{&s.Credentials}},
			column{name: "syslog_drain_url", value: &s.SyslogDrainURL},
			column{name: "route_service_url", value: &s.RouteServiceURL},
		)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"names":              is("t.name"),
		"type":               is("'user-provided'"), // the only one there is
		"space_guids":        is("t.space_guid"),
		"organization_guids": within("t.space_guid", spacesOfOrg),
	},
	orders: map[string]string{"name": "t.name"},
	unique: []unique[platform.ServiceInstance]{{
		key: "space_guid, name",
		err: func(s platform.ServiceInstance) *platform.Error {
			return platform.Invalidf("The service instance name is taken: %s.", s.Name)
		},
	}},
}

var serviceBindings = &table[platform.ServiceBinding]{
	name: "service_bindings",
	noun: "Service credential binding",
	columns: func(b *platform.ServiceBinding) []column {
		return resource(
			&b.Resource,
			column{name: "app_guid", value: &b.AppGUID},
			column{name: "service_instance_guid", value: &b.ServiceInstanceGUID},
			column{name: "name", value: &b.Name},
		)
	},
	filters: map[string]filter{
		"guids":                  is("t.guid"),
		"names":                  is("t.name"),
		"type":                   is("'app'"), // the only one there is
		"app_guids":              is("t.app_guid"),
		"app_names":              within("t.app_guid", "SELECT a.guid FROM apps a WHERE a.name {in}"),
		"space_guids":            within("t.app_guid", appsOfSpace),
		"service_instance_guids": is("t.service_instance_guid"),
		"service_instance_names": within("t.service_instance_guid", "SELECT s.guid FROM service_instances s WHERE s.name {in}"),
	},
	orders: map[string]string{"name": "t.name"},
	unique: []unique[platform.ServiceBinding]{
		{
			key: "app_guid, service_instance_guid",
			err: func(platform.ServiceBinding) *platform.Error {
				return platform.Invalidf("The app is already bound to the service instance")
			},
		},
		{
			key: "app_guid, name",
			err: func(b platform.ServiceBinding) *platform.Error {
				return platform.Invalidf("The binding name is invalid. App binding names must be unique. "+
					"The app already has a binding with name '%s'.", b.Name)
			},
		},
	},
}

// ServiceInstance returns the service instance with the given GUID.
func (r Rows) ServiceInstance(ctx context.Context, guid string) (platform.ServiceInstance, error) {
	return serviceInstances.get(ctx, r, guid)
}

// ServiceInstances returns one page of the service instances that q selects, and how many it selects.
func (r Rows) ServiceInstances(ctx context.Context, q Query) ([]platform.ServiceInstance, int, error) {
	return serviceInstances.list(ctx, r, q)
}

// InsertServiceInstance adds a service instance.
func (r Rows) InsertServiceInstance(ctx context.Context, s platform.ServiceInstance) error {
	return serviceInstances.insert(ctx, r, s)
}

// UpdateServiceInstance rewrites a service instance.
func (r Rows) UpdateServiceInstance(ctx context.Context, s platform.ServiceInstance) error {
	return serviceInstances.update(ctx, r, s.GUID, s)
}

// DeleteServiceInstance removes a service instance. It must have no bindings.
func (r Rows) DeleteServiceInstance(ctx context.Context, guid string) error {
	return serviceInstances.delete(ctx, r, guid)
}

// ServiceBinding returns the service binding with the given GUID.
func (r Rows) ServiceBinding(ctx context.Context, guid string) (platform.ServiceBinding, error) {
	return serviceBindings.get(ctx, r, guid)
}

// ServiceBindings returns one page of the service bindings that q selects, and how many it selects.
func (r Rows) ServiceBindings(ctx context.Context, q Query) ([]platform.ServiceBinding, int, error) {
	return serviceBindings.list(ctx, r, q)
}

// InsertServiceBinding adds a service binding.
func (r Rows) InsertServiceBinding(ctx context.Context, b platform.ServiceBinding) error {
	return serviceBindings.insert(ctx, r, b)
}

// UpdateServiceBinding rewrites a service binding.
func (r Rows) UpdateServiceBinding(ctx context.Context, b platform.ServiceBinding) error {
	return serviceBindings.update(ctx, r, b.GUID, b)
}

// DeleteServiceBinding removes a service binding.
func (r Rows) DeleteServiceBinding(ctx context.Context, guid string) error {
	return serviceBindings.delete(ctx, r, guid)
}
