package client

import (
	"context"
	"io"
	"net/http"
	"net/url"

	v3 "weir/api/v3"
)

// Apps lists apps. Filters: names, guids, space_guids, organization_guids,
// stacks, label_selector …
func (c *Client) Apps(ctx context.Context, q Query) ([]v3.App, error) {
	return List[v3.App](ctx, c, "/v3/apps", q)
}

// App reads an app by GUID.
func (c *Client) App(ctx context.Context, guid string) (v3.App, error) {
	var a v3.App
	err := c.get(ctx, "/v3/apps/"+guid, nil, &a)
	return a, err
}

// AppByName finds an app in a space; ok is false if there is none of that name.
func (c *Client) AppByName(ctx context.Context, space, name string) (a v3.App, ok bool, err error) {
	return first[v3.App](ctx, c, "/v3/apps", Query(nil).In("names", name).In("space_guids", space))
}

// CreateApp makes an app without running anything.
func (c *Client) CreateApp(ctx context.Context, a v3.AppCreate) (v3.App, error) {
	var out v3.App
	_, err := c.do(ctx, http.MethodPost, "/v3/apps", a, &out)
	return out, err
}

// UpdateApp changes an app's name, lifecycle or metadata.
func (c *Client) UpdateApp(ctx context.Context, guid string, u v3.AppUpdate) (v3.App, error) {
	var out v3.App
	_, err := c.do(ctx, http.MethodPatch, "/v3/apps/"+guid, u, &out)
	return out, err
}

// DeleteApp removes an app with all that belongs to it; follow the job with
// WaitJob.
func (c *Client) DeleteApp(ctx context.Context, guid string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/apps/"+guid, nil)
}

// StartApp starts an app on its current droplet. deployment names the move it
// began, to be followed with WaitDeployment; it is empty if the app ran already.
func (c *Client) StartApp(ctx context.Context, guid string) (a v3.App, deployment string, err error) {
	return c.appAction(ctx, guid, "start")
}

// StartAppAs is StartApp with a label for the version that it brings; empty
// means the usual one.
func (c *Client) StartAppAs(ctx context.Context, guid, label string) (a v3.App, deployment string, err error) {
	if label == "" {
		return c.StartApp(ctx, guid)
	}
	return c.appAction(ctx, guid, "start?"+url.Values{"label": {label}}.Encode())
}

// RestartApp starts an app anew, without an interruption.
func (c *Client) RestartApp(ctx context.Context, guid string) (a v3.App, deployment string, err error) {
	return c.appAction(ctx, guid, "restart")
}

// StopApp stops an app.
func (c *Client) StopApp(ctx context.Context, guid string) (v3.App, error) {
	a, _, err := c.appAction(ctx, guid, "stop")
	return a, err
}

func (c *Client) appAction(ctx context.Context, guid, action string) (v3.App, string, error) {
	var a v3.App
	resp, err := c.do(ctx, http.MethodPost, "/v3/apps/"+guid+"/actions/"+action, nil, &a)
	if err != nil {
		return a, "", err
	}
	return a, resp.Header.Get(v3.DeploymentHeader), nil
}

// SetCurrentDroplet says which droplet the next start of the app runs.
func (c *Client) SetCurrentDroplet(ctx context.Context, app, droplet string) error {
	_, err := c.do(ctx, http.MethodPatch, "/v3/apps/"+app+"/relationships/current_droplet", v3.To(droplet), nil)
	return err
}

// CurrentDroplet reads the droplet the next start of the app runs.
func (c *Client) CurrentDroplet(ctx context.Context, app string) (v3.Droplet, error) {
	var d v3.Droplet
	err := c.get(ctx, "/v3/apps/"+app+"/droplets/current", nil, &d)
	return d, err
}

// AppEnv reads everything an app finds in its environment.
func (c *Client) AppEnv(ctx context.Context, app string) (v3.AppEnv, error) {
	var e v3.AppEnv
	err := c.get(ctx, "/v3/apps/"+app+"/env", nil, &e)
	return e, err
}

// EnvVars reads the variables the owner of an app set.
func (c *Client) EnvVars(ctx context.Context, app string) (map[string]string, error) {
	var e v3.EnvVars
	err := c.get(ctx, "/v3/apps/"+app+"/environment_variables", nil, &e)
	return e.Var, err
}

// SetEnv sets variables of an app, and removes those whose value is nil. The
// next start sees them.
func (c *Client) SetEnv(ctx context.Context, app string, vars map[string]*string) (map[string]string, error) {
	var e v3.EnvVars
	_, err := c.do(ctx, http.MethodPatch, "/v3/apps/"+app+"/environment_variables", v3.EnvVarsUpdate{Var: vars}, &e)
	return e.Var, err
}

// AppRoutes lists the routes that lead to an app.
func (c *Client) AppRoutes(ctx context.Context, app string) ([]v3.Route, error) {
	return List[v3.Route](ctx, c, "/v3/apps/"+app+"/routes", nil)
}

// AppManifest reads an app as a manifest, in YAML.
func (c *Client) AppManifest(ctx context.Context, app string) ([]byte, error) {
	r := request{
		method: http.MethodGet, path: "/v3/apps/" + app + "/manifest",
		header: http.Header{"Accept": {"application/x-yaml"}},
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	c.trace(r, resp, b, err)
	return b, err
}

// Processes lists the processes of an app.
func (c *Client) Processes(ctx context.Context, app string) ([]v3.Process, error) {
	return List[v3.Process](ctx, c, "/v3/apps/"+app+"/processes", nil)
}

// AllProcesses lists processes of any app. Filters: app_guids, space_guids,
// types …; Set("embed", "process_instances") adds their instances.
func (c *Client) AllProcesses(ctx context.Context, q Query) ([]v3.Process, error) {
	return List[v3.Process](ctx, c, "/v3/processes", q)
}

// Process reads a process of an app by its type, with its command.
func (c *Client) Process(ctx context.Context, app, typ string) (v3.Process, error) {
	var p v3.Process
	err := c.get(ctx, "/v3/apps/"+app+"/processes/"+typ, nil, &p)
	return p, err
}

// ProcessByGUID reads a process, with its command.
func (c *Client) ProcessByGUID(ctx context.Context, guid string) (v3.Process, error) {
	var p v3.Process
	err := c.get(ctx, "/v3/processes/"+guid, nil, &p)
	return p, err
}

// UpdateProcess changes the command and health checks of a process.
func (c *Client) UpdateProcess(ctx context.Context, guid string, u v3.ProcessUpdate) (v3.Process, error) {
	var p v3.Process
	_, err := c.do(ctx, http.MethodPatch, "/v3/processes/"+guid, u, &p)
	return p, err
}

// Scale changes the number and size of a process' instances.
func (c *Client) Scale(ctx context.Context, app, typ string, s v3.ProcessScale) (v3.Process, error) {
	var p v3.Process
	_, err := c.do(ctx, http.MethodPost, "/v3/apps/"+app+"/processes/"+typ+"/actions/scale", s, &p)
	return p, err
}

// Stats reads what the instances of a process are doing.
func (c *Client) Stats(ctx context.Context, process string) ([]v3.InstanceStats, error) {
	var s v3.ProcessStats
	err := c.get(ctx, "/v3/processes/"+process+"/stats", nil, &s)
	return s.Resources, err
}

// RestartInstance stops one instance, which is then started anew.
func (c *Client) RestartInstance(ctx context.Context, app, typ, index string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v3/apps/"+app+"/processes/"+typ+"/instances/"+index, nil, nil)
	return err
}

// Events lists the audit log. Filters: target_guids, types, space_guids,
// created_ats[gt] …
func (c *Client) Events(ctx context.Context, q Query) ([]v3.AuditEvent, error) {
	return List[v3.AuditEvent](ctx, c, "/v3/audit_events", q)
}
