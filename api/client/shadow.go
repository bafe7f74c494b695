package client

import (
	"context"
	"net/http"

	v3 "weir/api/v3"
)

// ShadowReport reads what comparing a shadow version has found.
func (c *Client) ShadowReport(ctx context.Context, version string) (v3.ShadowReport, error) {
	var r v3.ShadowReport
	err := c.get(ctx, "/v3/versions/"+version+"/shadow_report", nil, &r)
	return r, err
}

// ResetShadowReport begins the report of a shadow version anew.
func (c *Client) ResetShadowReport(ctx context.Context, version string) (v3.ShadowReport, error) {
	var r v3.ShadowReport
	_, err := c.do(ctx, http.MethodPost, "/v3/versions/"+version+"/actions/reset_shadow_report", nil, &r)
	return r, err
}
