package client

import (
	"context"
	"net/http"

	v3 "weir/api/v3"
)

// Organizations lists organizations. Filters: names, guids.
func (c *Client) Organizations(ctx context.Context, q Query) ([]v3.Organization, error) {
	return List[v3.Organization](ctx, c, "/v3/organizations", q)
}

// Organization reads an organization.
func (c *Client) Organization(ctx context.Context, guid string) (v3.Organization, error) {
	var o v3.Organization
	err := c.get(ctx, "/v3/organizations/"+guid, nil, &o)
	return o, err
}

// CreateOrganization makes an organization.
func (c *Client) CreateOrganization(ctx context.Context, o v3.OrganizationCreate) (v3.Organization, error) {
	var out v3.Organization
	_, err := c.do(ctx, http.MethodPost, "/v3/organizations", o, &out)
	return out, err
}

// UpdateOrganization changes an organization.
func (c *Client) UpdateOrganization(ctx context.Context, guid string, u v3.OrganizationUpdate) (v3.Organization, error) {
	var out v3.Organization
	_, err := c.do(ctx, http.MethodPatch, "/v3/organizations/"+guid, u, &out)
	return out, err
}

// DeleteOrganization removes an organization with everything in it.
func (c *Client) DeleteOrganization(ctx context.Context, guid string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/organizations/"+guid, nil)
}

// Spaces lists spaces. Filters: names, guids, organization_guids.
func (c *Client) Spaces(ctx context.Context, q Query) ([]v3.Space, error) {
	return List[v3.Space](ctx, c, "/v3/spaces", q)
}

// Space reads a space.
func (c *Client) Space(ctx context.Context, guid string) (v3.Space, error) {
	var s v3.Space
	err := c.get(ctx, "/v3/spaces/"+guid, nil, &s)
	return s, err
}

// CreateSpace makes a space in an organization.
func (c *Client) CreateSpace(ctx context.Context, org, name string) (v3.Space, error) {
	var out v3.Space
	_, err := c.do(ctx, http.MethodPost, "/v3/spaces", v3.SpaceCreate{
		Name: name, Relationships: v3.Relationships{"organization": v3.To(org)},
	}, &out)
	return out, err
}

// UpdateSpace changes a space.
func (c *Client) UpdateSpace(ctx context.Context, guid string, u v3.SpaceUpdate) (v3.Space, error) {
	var out v3.Space
	_, err := c.do(ctx, http.MethodPatch, "/v3/spaces/"+guid, u, &out)
	return out, err
}

// DeleteSpace removes a space with everything in it.
func (c *Client) DeleteSpace(ctx context.Context, guid string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/spaces/"+guid, nil)
}

// ApplyManifest makes a space like a manifest (YAML). Apps that did not exist
// do when it returns; the rest is a job to be followed with WaitJob.
func (c *Client) ApplyManifest(ctx context.Context, space string, manifest []byte) (job string, err error) {
	resp, err := c.decode(ctx, yamlRequest("/v3/spaces/"+space+"/actions/apply_manifest", manifest), nil)
	return jobOf(resp), err
}

// DiffManifest tells what ApplyManifest would change.
func (c *Client) DiffManifest(ctx context.Context, space string, manifest []byte) ([]v3.ManifestChange, error) {
	var d v3.ManifestDiff
	_, err := c.decode(ctx, yamlRequest("/v3/spaces/"+space+"/manifest_diff", manifest), &d)
	return d.Diff, err
}

func yamlRequest(path string, manifest []byte) request {
	r := request{method: http.MethodPost, path: path, header: http.Header{"Content-Type": {"application/x-yaml"}}}
	r.bytes(manifest)
	return r
}

// ServiceInstances lists service instances. Filters: names, guids, space_guids …
func (c *Client) ServiceInstances(ctx context.Context, q Query) ([]v3.ServiceInstance, error) {
	return List[v3.ServiceInstance](ctx, c, "/v3/service_instances", q)
}

// CreateServiceInstance makes a user-provided service instance.
func (c *Client) CreateServiceInstance(ctx context.Context, s v3.ServiceInstanceCreate) (v3.ServiceInstance, error) {
	var out v3.ServiceInstance
	_, err := c.do(ctx, http.MethodPost, "/v3/service_instances", s, &out)
	return out, err
}

// UpdateServiceInstance changes a service instance.
func (c *Client) UpdateServiceInstance(ctx context.Context, guid string, u v3.ServiceInstanceUpdate) (v3.ServiceInstance, error) {
	var out v3.ServiceInstance
	_, err := c.do(ctx, http.MethodPatch, "/v3/service_instances/"+guid, u, &out)
	return out, err
}

// DeleteServiceInstance removes a service instance that no app is bound to.
func (c *Client) DeleteServiceInstance(ctx context.Context, guid string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v3/service_instances/"+guid, nil, nil)
	return err
}

// CredentialBindings lists bindings. Filters: app_guids, service_instance_guids, type …
func (c *Client) CredentialBindings(ctx context.Context, q Query) ([]v3.CredentialBinding, error) {
	return List[v3.CredentialBinding](ctx, c, "/v3/service_credential_bindings", q)
}

// BindService gives an app the credentials of a service instance.
func (c *Client) BindService(ctx context.Context, app, instance string, name *string) (v3.CredentialBinding, error) {
	var out v3.CredentialBinding
	_, err := c.do(ctx, http.MethodPost, "/v3/service_credential_bindings", v3.CredentialBindingCreate{
		Type: "app", Name: name,
		Relationships: v3.Relationships{"app": v3.To(app), "service_instance": v3.To(instance)},
	}, &out)
	return out, err
}

// DeleteCredentialBinding removes a binding.
func (c *Client) DeleteCredentialBinding(ctx context.Context, guid string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v3/service_credential_bindings/"+guid, nil, nil)
	return err
}

// FeatureFlags lists the switches of the platform.
func (c *Client) FeatureFlags(ctx context.Context) ([]v3.FeatureFlag, error) {
	return List[v3.FeatureFlag](ctx, c, "/v3/feature_flags", nil)
}
