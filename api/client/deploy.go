package client

import (
	"context"
	"net/http"

	v3 "weir/api/v3"
)

// CreateDeployment moves an app to a droplet or a revision.
func (c *Client) CreateDeployment(ctx context.Context, d v3.DeploymentCreate) (v3.Deployment, error) {
	var out v3.Deployment
	_, err := c.do(ctx, http.MethodPost, "/v3/deployments", d, &out)
	return out, err
}

// ActiveDeployment finds the deployment of an app that is still moving.
func (c *Client) ActiveDeployment(ctx context.Context, app string) (d v3.Deployment, ok bool, err error) {
	return first[v3.Deployment](ctx, c, "/v3/deployments",
		Query(nil).In("app_guids", app).In("status_values", v3.DeploymentActive).Set("order_by", "-created_at"))
}

// MovingDeployment finds what of an app is still moving, starts and restarts
// among it.
func (c *Client) MovingDeployment(ctx context.Context, app string) (d v3.Deployment, ok bool, err error) {
	return first[v3.Deployment](ctx, c, "/v3/deployments",
		Query(nil).In("app_guids", app).In("status_values", v3.DeploymentActive).In("strategies", "start", "rolling", "canary").
			Set("order_by", "-created_at"))
}

// CancelDeployment takes an app back to what it ran before.
func (c *Client) CancelDeployment(ctx context.Context, guid string) error {
	_, err := c.do(ctx, http.MethodPost, "/v3/deployments/"+guid+"/actions/cancel", nil, nil)
	return err
}

// ContinueDeployment takes a paused deployment to its next step.
func (c *Client) ContinueDeployment(ctx context.Context, guid string) error {
	_, err := c.do(ctx, http.MethodPost, "/v3/deployments/"+guid+"/actions/continue", nil, nil)
	return err
}

// Revisions lists the revisions of an app. Filters: versions, deployable.
func (c *Client) Revisions(ctx context.Context, app string, q Query) ([]v3.Revision, error) {
	return List[v3.Revision](ctx, c, "/v3/apps/"+app+"/revisions", q)
}

// DeployedRevisions lists the revisions an app runs now.
func (c *Client) DeployedRevisions(ctx context.Context, app string) ([]v3.Revision, error) {
	return List[v3.Revision](ctx, c, "/v3/apps/"+app+"/revisions/deployed", nil)
}
