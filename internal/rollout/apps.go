package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// maxName is the longest name of an app.
const maxName = 255

// checkAppName refuses names that would break a table or a URL.
func checkAppName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return platform.Invalidf("Name can't be blank")
	case len(name) > maxName:
		return platform.Invalidf("Name is too long (maximum is %d characters)", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return platform.Invalidf("Name must not contain escaped or control characters")
	}
	return nil
}

// CreateApp stores a new stopped app with its web process. It fills GUID,
// times and State; a name taken in the space is a KindInvalid error.
func (e *Engine) CreateApp(ctx context.Context, who platform.Actor, app platform.App) (platform.App, error) {
	if err := checkAppName(app.Name); err != nil {
		return platform.App{}, err
	}
	if err := checkEnv(app.Env); err != nil {
		return platform.App{}, err
	}
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		app, err = e.insertApp(ctx, tx, who, app)
		return err
	})
	if err != nil {
		return platform.App{}, err
	}
	e.line(app.GUID, "API", "Created app with guid %s", app.GUID)
	return app, nil
}

// insertApp adds an app and its web process.
func (e *Engine) insertApp(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App) (platform.App, error) {
	metadata := app.Metadata
	app.Resource = platform.NewResource(time.Now().UTC())
	app.Metadata = metadata
	app.State = platform.AppStopped
	app.DropletGUID, app.DeploymentGUID = "", ""
	if app.Lifecycle.Type == "" {
		app.Lifecycle.Type = "buildpack"
	}
	if _, err := tx.Space(ctx, app.SpaceGUID); err != nil {
		return app, invalidReference(err, "Invalid space. Ensure that the space exists and you have access to it.")
	}
	if err := tx.InsertApp(ctx, app); err != nil {
		return app, err
	}
	err := e.event(ctx, tx, who, "audit.app.create", appTarget(app), map[string]any{"request": map[string]any{"name": app.Name}})
	if err != nil {
		return app, err
	}
	_, err = e.insertProcess(ctx, tx, who, app, platform.WebProcess)
	return app, err
}

// UpdateApp lets change edit the app's name, lifecycle, metadata and features
// and stores the result. Env, state and droplet have their own methods.
func (e *Engine) UpdateApp(ctx context.Context, who platform.Actor, guid string, change func(*platform.App) error) (app platform.App, err error) {
	renamed := false
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		before, err := tx.App(ctx, guid)
		if err != nil {
			return err
		}
		app = before
		if err := change(&app); err != nil {
			return err
		}
		app.Env, app.State, app.Split, app.Traffic = before.Env, before.State, before.Split, before.Traffic
		app.DropletGUID, app.DeploymentGUID = before.DropletGUID, before.DeploymentGUID
		if renamed = app.Name != before.Name; renamed {
			if err := checkAppName(app.Name); err != nil {
				return err
			}
		}
		if err := tx.UpdateApp(ctx, app); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.update", appTarget(app), map[string]any{"request": updateRequest(before, app)})
	})
	if err != nil {
		return platform.App{}, err
	}
	if renamed {
		e.line(guid, "API", "Updated app with guid %s: name is %q", guid, app.Name)
		return app, e.published(ctx, []string{guid}, nil)
	}
	return app, nil
}

// updateRequest is what an update of an app changed.
func updateRequest(before, after platform.App) map[string]any {
	m := map[string]any{}
	if before.Name != after.Name {
		m["name"] = after.Name
	}
	if !slices.Equal(before.Lifecycle.Buildpacks, after.Lifecycle.Buildpacks) || before.Lifecycle.Stack != after.Lifecycle.Stack {
		m["lifecycle"] = map[string]any{"buildpacks": after.Lifecycle.Buildpacks, "stack": after.Lifecycle.Stack}
	}
	if !maps.Equal(before.Features, after.Features) {
		m["features"] = after.Features
	}
	return m
}

// checkEnv refuses variables that the platform sets itself, or that no
// environment can hold.
func checkEnv(env map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if err := checkVariable(name, env[name]); err != nil {
			return err
		}
	}
	return nil
}

func checkVariable(name, value string) error {
	switch {
	case name == "" || strings.ContainsAny(name, "=\x00"):
		return platform.Invalidf("Environment variable names must not be empty or contain '=' (got %q)", name)
	case strings.HasPrefix(name, "VCAP_"):
		return platform.Invalidf("Environment variable names cannot start with 'VCAP_' (got %q)", name)
	case name == "PORT":
		return platform.Invalidf("Environment variable names cannot be 'PORT': the platform sets it")
	case strings.Contains(value, "\x00"):
		return platform.Invalidf("The value of environment variable %q contains a NUL byte", name)
	}
	return nil
}

// SetEnv merges vars into the app's environment, a nil value removing the
// variable, and returns the whole. It acts at the next start.
func (e *Engine) SetEnv(ctx context.Context, who platform.Actor, guid string, vars map[string]*string) (env map[string]string, err error) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if v := vars[name]; v != nil {
			if err := checkVariable(name, *v); err != nil {
				return nil, err
			}
		}
	}
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, guid)
		if err != nil {
			return err
		}
		app.Env = merged(app.Env, vars)
		env = app.Env
		if err := tx.UpdateApp(ctx, app); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.update", appTarget(app), map[string]any{
			"request": map[string]any{"environment_variables": "[PRIVATE DATA HIDDEN]"},
		})
	})
	if err != nil {
		return nil, err
	}
	e.line(guid, "API", "Updated the environment of the app; it acts at the next start")
	return env, nil
}

// merged returns a copy of have with the keys of change set, or removed where
// nil.
func merged(have map[string]string, change map[string]*string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, have)
	for k, v := range change {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = *v
	}
	return out
}

// DeleteApp stops the app and removes it with everything that belongs to it.
// Routes stay, without the app. It returns when no instance is left.
func (e *Engine) DeleteApp(ctx context.Context, who platform.Actor, guid string) error {
	var routes []string
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, guid)
		if err != nil {
			return err
		}
		if err := e.event(ctx, tx, who, "audit.app.delete-request", appTarget(app), nil); err != nil {
			return err
		}
		return e.stop(ctx, tx, &app)
	})
	if err != nil {
		return err
	}
	e.line(guid, "API", "Deleting app with guid %s", guid)
	e.wake(guid)
	// Nothing may be left that runs without a row.
	err = e.store.Wait(ctx, func(ctx context.Context) (bool, error) {
		_, left, err := e.store.Instances(ctx, store.Query{In: map[string][]string{"app_guids": {guid}}, PerPage: 1})
		return left == 0, err
	})
	if err != nil {
		return err
	}
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, guid)
		if err != nil {
			return err
		}
		if app.State != platform.AppStopped {
			return &platform.Error{Kind: platform.KindConflict, Msg: fmt.Sprintf("app %q was started while it was being deleted", app.Name)}
		}
		found, _, err := tx.Routes(ctx, store.Query{In: map[string][]string{"app_guids": {guid}}})
		if err != nil {
			return err
		}
		for _, r := range found {
			routes = append(routes, r.GUID)
		}
		return tx.DeleteApp(ctx, guid)
	})
	if isNotFound(err) { // somebody else was quicker
		return nil
	}
	if err != nil {
		return err
	}
	if e.cfg.Logs != nil {
		if err := e.cfg.Logs.Delete(guid); err != nil {
			e.log.Warn("the log of a deleted app stays", "app", guid, "err", err)
		}
	}
	e.log.Info("app was deleted", "app", guid)
	return e.published(ctx, []string{guid}, routes)
}

// Start starts a stopped app on its current droplet and returns the deployment
// that does it. For a started app it changes nothing and returns the
// deployment on its way or, failing that, the one that serves.
func (e *Engine) Start(ctx context.Context, who platform.Actor, guid string) (platform.App, platform.Deployment, error) {
	return e.startApp(ctx, who, guid, "", false)
}

// StartAs is Start with a label for the version that it brings; empty means
// the usual one.
func (e *Engine) StartAs(ctx context.Context, who platform.Actor, guid, label string) (platform.App, platform.Deployment, error) {
	return e.startApp(ctx, who, guid, label, false)
}

// Restart replaces all instances by new ones on the current droplet, new ones
// first, and returns the deployment that does it. It starts a stopped app.
func (e *Engine) Restart(ctx context.Context, who platform.Actor, guid string) (platform.App, platform.Deployment, error) {
	return e.startApp(ctx, who, guid, "", true)
}

func (e *Engine) startApp(ctx context.Context, who platform.Actor, guid, label string, again bool) (app platform.App, d platform.Deployment, err error) {
	begun := false
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if app, err = tx.App(ctx, guid); err != nil {
			return err
		}
		if app.State == platform.AppStarted && !again {
			d, err = e.present(ctx, tx, app)
			return err
		}
		typ, how := "audit.app.start", "start"
		if again {
			typ, how = "audit.app.restart", "restart"
		}
		if d, err = e.begin(ctx, tx, who, beginning{app: app, strategy: platform.StrategyStart, label: label, how: how}); err != nil {
			return err
		}
		begun = true
		if app, err = tx.App(ctx, guid); err != nil {
			return err
		}
		return e.event(ctx, tx, who, typ, appTarget(app), map[string]any{"request": map[string]any{"state": "STARTED"}})
	})
	if err != nil {
		return platform.App{}, platform.Deployment{}, err
	}
	if begun {
		e.line(guid, "API", "Starting app with guid %s, revision %d", guid, d.RevisionVersion)
		e.wake(guid)
	}
	return app, d, nil
}

// present returns the deployment on its way, or the one that serves.
func (e *Engine) present(ctx context.Context, tx *store.Tx, app platform.App) (platform.Deployment, error) {
	active, ok, err := tx.ActiveDeployment(ctx, app.GUID)
	if err != nil || ok || app.DeploymentGUID == "" {
		return active, err
	}
	d, err := tx.Deployment(ctx, app.DeploymentGUID)
	if isNotFound(err) {
		return d, nil
	}
	return d, err
}

// Stop takes the app's instances out of the route table and stops them. It
// returns when no new request reaches them; they end in the background.
func (e *Engine) Stop(ctx context.Context, who platform.Actor, guid string) (app platform.App, err error) {
	stopped := false
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if app, err = tx.App(ctx, guid); err != nil {
			return err
		}
		if app.State == platform.AppStopped {
			return nil
		}
		stopped = true
		if err := e.stop(ctx, tx, &app); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.stop", appTarget(app), map[string]any{"request": map[string]any{"state": "STOPPED"}})
	})
	if err != nil {
		return platform.App{}, err
	}
	if !stopped {
		return app, nil
	}
	e.line(guid, "API", "Stopping app with guid %s", guid)
	e.wake(guid)
	return app, e.published(ctx, []string{guid}, nil)
}

// stop makes the app stopped, ends its active deployment and takes its
// instances out of what the route table is made from, all in one.
func (e *Engine) stop(ctx context.Context, tx *store.Tx, app *platform.App) error {
	active, ok, err := tx.ActiveDeployment(ctx, app.GUID)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	if ok {
		active.Value, active.Reason, active.StatusChanged = platform.DeploymentFinalized, platform.ReasonSuperseded, now
		if active.Strategy != platform.StrategyStart {
			active.Reason, active.Error = platform.ReasonCanceled, "the app was stopped"
		}
		if err := tx.UpdateDeployment(ctx, active); err != nil {
			return err
		}
	}
	instances, _, err := tx.Instances(ctx, store.Query{In: map[string][]string{"app_guids": {app.GUID}}})
	if err != nil {
		return err
	}
	for _, i := range instances {
		if !isServing(i) {
			continue
		}
		i.State, i.Since, i.Ready = platform.InstanceStopping, now, false
		if err := tx.UpdateInstance(ctx, i); err != nil {
			return err
		}
	}
	if app.State == platform.AppStopped {
		return nil
	}
	app.State = platform.AppStopped
	if err := tx.UpdateApp(ctx, *app); err != nil {
		return err
	}
	*app, err = tx.App(ctx, app.GUID)
	return err
}

// SetCurrentDroplet makes a staged droplet of the app the one the next start
// runs, and adds the processes it brings.
func (e *Engine) SetCurrentDroplet(ctx context.Context, who platform.Actor, app, droplet string) error {
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		a, err := tx.App(ctx, app)
		if err != nil {
			return err
		}
		moving, err := isMoving(ctx, tx, app)
		if err != nil {
			return err
		}
		if moving {
			return &platform.Error{
				Kind: platform.KindInvalid,
				Msg: "Unable to assign current droplet while the app has a deployment in progress. " +
					"Wait for the deployment to complete or cancel it.",
			}
		}
		_, err = e.takeDroplet(ctx, tx, who, &a, droplet)
		return err
	})
	if err != nil {
		return err
	}
	e.line(app, "API", "Updated app with guid %s: droplet is %s", app, droplet)
	return nil
}

// isMoving reports whether a deployment that Cloud Foundry's clients see is on
// its way. A start or restart is not one: it never stands in the way.
func isMoving(ctx context.Context, tx *store.Tx, app string) (bool, error) {
	d, ok, err := tx.ActiveDeployment(ctx, app)
	return ok && d.Strategy != platform.StrategyStart, err
}

// AppEnv is what an app is told through its environment.
type AppEnv struct {
	Variables       map[string]string // set by the owner
	VCAPApplication map[string]any
	VCAPServices    map[string]any
}

// Env returns the app's environment as the next start would build it, without
// what differs per instance.
func (e *Engine) Env(ctx context.Context, guid string) (AppEnv, error) {
	var env AppEnv
	err := e.store.View(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, guid)
		if err != nil {
			return err
		}
		web, err := tx.ProcessByType(ctx, guid, platform.WebProcess)
		if err != nil && !isNotFound(err) {
			return err
		}
		n, err := namesOf(ctx, tx, app)
		if err != nil {
			return err
		}
		services, err := boundServices(ctx, tx, guid)
		if err != nil {
			return err
		}
		env = AppEnv{
			Variables:       app.Env,
			VCAPApplication: e.vcapApplication(app, web, 0, app.GUID, n),
			VCAPServices:    vcapServices(services),
		}
		return nil
	})
	return env, err
}

// StagingEnv returns the variables of an app that its builds get to see:
// those of the owner, VCAP_APPLICATION, VCAP_SERVICES and DATABASE_URL.
func (e *Engine) StagingEnv(ctx context.Context, app string) (map[string]string, error) {
	told, err := e.Env(ctx, app)
	if err != nil {
		return nil, err
	}
	var services []platform.BoundService
	err = e.store.View(ctx, func(tx *store.Tx) error {
		services, err = boundServices(ctx, tx, app)
		return err
	})
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	if u := databaseURL(services); u != "" {
		env["DATABASE_URL"] = u
	}
	maps.Copy(env, told.Variables)
	env["VCAP_APPLICATION"] = asJSON(told.VCAPApplication)
	env["VCAP_SERVICES"] = asJSON(told.VCAPServices)
	return env, nil
}
