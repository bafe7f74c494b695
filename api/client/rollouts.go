package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	v3 "weir/api/v3"
)

// CreateRollout begins a rollout of a new version of an app.
func (c *Client) CreateRollout(ctx context.Context, app string, r v3.RolloutCreate) (v3.Rollout, error) {
	var out v3.Rollout
	_, err := c.do(ctx, http.MethodPost, "/v3/apps/"+app+"/rollouts", r, &out)
	return out, err
}

// CheckRollout asks whether a rollout with that plan could begin now.
func (c *Client) CheckRollout(ctx context.Context, app string, plan json.RawMessage) error {
	_, err := c.do(ctx, http.MethodPost, "/v3/apps/"+app+"/rollouts", v3.RolloutCreate{Plan: plan, DryRun: true}, nil)
	return err
}

// AppRollouts lists the rollouts of an app, the oldest first.
func (c *Client) AppRollouts(ctx context.Context, app string) ([]v3.Rollout, error) {
	return List[v3.Rollout](ctx, c, "/v3/apps/"+app+"/rollouts", nil)
}

// Rollout reads a rollout. With wait it answers once the rollout is over or
// paused, or after so many seconds.
func (c *Client) Rollout(ctx context.Context, guid string, wait int) (v3.Rollout, error) {
	var q Query
	if wait > 0 {
		q = Query(nil).Set("wait", strconv.Itoa(wait))
	}
	var r v3.Rollout
	err := c.get(ctx, "/v3/rollouts/"+guid, q, &r)
	return r, err
}

// ActOnRollout pauses, resumes, promotes or aborts a rollout, or retries it, which
// returns the new one.
func (c *Client) ActOnRollout(ctx context.Context, guid, action string, a v3.RolloutAction) (v3.Rollout, error) {
	var out v3.Rollout
	_, err := c.do(ctx, http.MethodPost, "/v3/rollouts/"+guid+"/actions/"+action, a, &out)
	return out, err
}

// ReportToRollout tells the judge of a rollout of bad events.
func (c *Client) ReportToRollout(ctx context.Context, guid string, r v3.EventReport) (v3.Rollout, error) {
	var out v3.Rollout
	_, err := c.do(ctx, http.MethodPost, "/v3/rollouts/"+guid+"/actions/report", r, &out)
	return out, err
}

// RolloutEvents reads what happened in a rollout.
func (c *Client) RolloutEvents(ctx context.Context, guid string) ([]v3.RolloutEvent, error) {
	var h v3.RolloutHistory
	err := c.get(ctx, "/v3/rollouts/"+guid+"/events", nil, &h)
	return h.Resources, err
}

// ReplayRollout has the server tell a new judge everything once more.
func (c *Client) ReplayRollout(ctx context.Context, guid string) (v3.RolloutReplay, error) {
	var r v3.RolloutReplay
	err := c.get(ctx, "/v3/rollouts/"+guid+"/replay", nil, &r)
	return r, err
}

// SimulateRollout asks how soon a regression would be found.
func (c *Client) SimulateRollout(ctx context.Context, app string, s v3.RolloutSimulate) (v3.RolloutSimulated, error) {
	var out v3.RolloutSimulated
	_, err := c.do(ctx, http.MethodPost, "/v3/apps/"+app+"/actions/simulate_rollout", s, &out)
	return out, err
}

// Freezes lists the freezes that hold in a space.
func (c *Client) Freezes(ctx context.Context, space string) ([]v3.Freeze, error) {
	var l v3.FreezeList
	err := c.get(ctx, "/v3/freezes", Query(url.Values{"space_guid": {space}}), &l)
	return l.Resources, err
}

// CreateFreeze adds a freeze.
func (c *Client) CreateFreeze(ctx context.Context, f v3.FreezeCreate) (v3.Freeze, error) {
	var out v3.Freeze
	_, err := c.do(ctx, http.MethodPost, "/v3/freezes", f, &out)
	return out, err
}

// DeleteFreeze removes a freeze.
func (c *Client) DeleteFreeze(ctx context.Context, guid string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v3/freezes/"+guid, nil, nil)
	return err
}
