package client

import (
	"context"
	"net/http"
	"net/url"

	v3 "weir/api/v3"
)

// AppVersions lists the versions of an app, the main one first.
func (c *Client) AppVersions(ctx context.Context, app string) ([]v3.Version, error) {
	return List[v3.Version](ctx, c, "/v3/apps/"+app+"/versions", nil)
}

// Versions lists versions. Filters: app_guids, space_guids.
func (c *Client) Versions(ctx context.Context, q Query) ([]v3.Version, error) {
	return List[v3.Version](ctx, c, "/v3/versions", q)
}

// Version reads a version.
func (c *Client) Version(ctx context.Context, guid string) (v3.Version, error) {
	var v v3.Version
	err := c.get(ctx, "/v3/versions/"+guid, nil, &v)
	return v, err
}

// CreateVersion starts a version beside the main one of an app.
func (c *Client) CreateVersion(ctx context.Context, app string, v v3.VersionCreate) (v3.Version, error) {
	var out v3.Version
	_, err := c.do(ctx, http.MethodPost, "/v3/apps/"+app+"/versions", v, &out)
	return out, err
}

// StartVersion starts a stopped version again.
func (c *Client) StartVersion(ctx context.Context, guid string) (v3.Version, error) {
	return c.actOnVersion(ctx, guid, "start", false)
}

// StopVersion stops a version beside the main one and keeps it. One that gets
// requests is refused unless force.
func (c *Client) StopVersion(ctx context.Context, guid string, force bool) (v3.Version, error) {
	return c.actOnVersion(ctx, guid, "stop", force)
}

func (c *Client) actOnVersion(ctx context.Context, guid, action string, force bool) (v3.Version, error) {
	var out v3.Version
	_, err := c.do(ctx, http.MethodPost, "/v3/versions/"+guid+"/actions/"+action+forced(force), nil, &out)
	return out, err
}

// DeleteVersion stops a version beside the main one and forgets it. One that
// gets requests is refused unless force.
func (c *Client) DeleteVersion(ctx context.Context, guid string, force bool) error {
	_, err := c.do(ctx, http.MethodDelete, "/v3/versions/"+guid+forced(force), nil, nil)
	return err
}

func forced(force bool) string {
	if !force {
		return ""
	}
	return "?" + url.Values{"force": {"true"}}.Encode()
}

// WaitVersion waits until a version is healthy, has failed or is stopped.
func (c *Client) WaitVersion(ctx context.Context, guid string) (v3.Version, error) {
	return follow(ctx, c, "/v3/versions/"+guid, func(v v3.Version) bool {
		return v.Health == v3.HealthHealthy || v.Health == v3.HealthFailed || v.Health == v3.HealthStopped
	})
}

// UpdateVersion scales a version, makes it a shadow, or a live one again.
func (c *Client) UpdateVersion(ctx context.Context, guid string, u v3.VersionUpdate) (v3.Version, error) {
	var out v3.Version
	_, err := c.do(ctx, http.MethodPatch, "/v3/versions/"+guid, u, &out)
	return out, err
}

// Split reads the state of an app's traffic.
func (c *Client) Split(ctx context.Context, app string) (v3.Split, error) {
	var s v3.Split
	err := c.get(ctx, "/v3/apps/"+app+"/split", nil, &s)
	return s, err
}

// SetSplit sets weights of versions of an app in one route table.
func (c *Client) SetSplit(ctx context.Context, app string, u v3.SplitUpdate) (v3.Traffic, error) {
	return c.traffic(ctx, http.MethodPatch, "/v3/apps/"+app+"/split", u)
}

// PromoteVersion makes a version the main one, with all requests.
func (c *Client) PromoteVersion(ctx context.Context, guid string, p v3.Promote) (v3.Traffic, error) {
	return c.traffic(ctx, http.MethodPost, "/v3/versions/"+guid+"/actions/promote", p)
}

// Undo takes the newest change of an app's traffic back.
func (c *Client) Undo(ctx context.Context, app string, u v3.Undo) (v3.Traffic, error) {
	return c.traffic(ctx, http.MethodPost, "/v3/apps/"+app+"/actions/undo", u)
}

// Swap exchanges the routes of two apps of a space.
func (c *Client) Swap(ctx context.Context, space string, s v3.Swap) (v3.Traffic, error) {
	return c.traffic(ctx, http.MethodPost, "/v3/spaces/"+space+"/actions/swap", s)
}

// traffic sends a change of where requests go; the router runs it when it
// returns.
func (c *Client) traffic(ctx context.Context, method, path string, body any) (v3.Traffic, error) {
	var t v3.Traffic
	_, err := c.do(ctx, method, path, body, &t)
	return t, err
}

// Rollback takes an app back to a state it was promoted to before.
func (c *Client) Rollback(ctx context.Context, app string, r v3.RollbackRequest) (v3.Rollback, error) {
	var out v3.Rollback
	_, err := c.do(ctx, http.MethodPost, "/v3/apps/"+app+"/actions/rollback", r, &out)
	return out, err
}

// AppTraffic reads how the router treats the requests of an app.
func (c *Client) AppTraffic(ctx context.Context, app string) (v3.AppTraffic, error) {
	var t v3.AppTraffic
	err := c.get(ctx, "/v3/apps/"+app+"/traffic", nil, &t)
	return t, err
}

// UpdateAppTraffic changes it; the router does so when it returns.
func (c *Client) UpdateAppTraffic(ctx context.Context, app string, u v3.AppTrafficUpdate) (v3.AppTraffic, error) {
	var t v3.AppTraffic
	_, err := c.do(ctx, http.MethodPatch, "/v3/apps/"+app+"/traffic", u, &t)
	return t, err
}

// RevisionDiff compares two revisions of an app, by number; "pending" is what
// the next start would take.
func (c *Client) RevisionDiff(ctx context.Context, app, from, to string) (v3.RevisionDiff, error) {
	var d v3.RevisionDiff
	err := c.get(ctx, "/v3/apps/"+app+"/revisions/diff", Query(nil).Set("from", from).Set("to", to), &d)
	return d, err
}
