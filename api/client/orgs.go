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

// Spaces lists spaces. Filters: names, guids, organization_guids.
func (c *Client) Spaces(ctx context.Context, q Query) ([]v3.Space, error) {
	return List[v3.Space](ctx, c, "/v3/spaces", q)
}

// ApplyManifest makes a space like a manifest (YAML). Apps that did not exist
// do when it returns; the rest is a job to be followed with WaitJob.
func (c *Client) ApplyManifest(ctx context.Context, space string, manifest []byte) (job string, err error) {
	r := request{
		method: http.MethodPost, path: "/v3/spaces/" + space + "/actions/apply_manifest",
		header: http.Header{"Content-Type": {"application/x-yaml"}},
	}
	r.bytes(manifest)
	resp, err := c.decode(ctx, r, nil)
	return jobOf(resp), err
}
