package rollout

import (
	"context"

	"weir/internal/platform"
)

// CreateApp stores a new stopped app with its web process. It fills GUID,
// times and State; a name taken in the space is a KindInvalid error.
func (e *Engine) CreateApp(ctx context.Context, who platform.Actor, app platform.App) (platform.App, error) {
	return platform.App{}, errNotYet
}

// UpdateApp lets change edit the app's name, lifecycle, metadata and features
// and stores the result. Env, state and droplet have their own methods.
func (e *Engine) UpdateApp(ctx context.Context, who platform.Actor, guid string, change func(*platform.App) error) (platform.App, error) {
	return platform.App{}, errNotYet
}

// SetEnv merges vars into the app's environment, a nil value removing the
// variable, and returns the whole. It acts at the next start.
func (e *Engine) SetEnv(ctx context.Context, who platform.Actor, guid string, vars map[string]*string) (map[string]string, error) {
	return nil, errNotYet
}

// DeleteApp stops the app and removes it with everything that belongs to it.
// Routes stay, without the app. It returns when no instance is left.
func (e *Engine) DeleteApp(ctx context.Context, who platform.Actor, guid string) error {
	return errNotYet
}

// Start starts a stopped app on its current droplet and returns the deployment
// that does it. For a started app it changes nothing and returns the
// deployment on its way or, failing that, the one that serves.
func (e *Engine) Start(ctx context.Context, who platform.Actor, guid string) (platform.App, platform.Deployment, error) {
	return platform.App{}, platform.Deployment{}, errNotYet
}

// Stop takes the app's instances out of the route table and stops them. It
// returns when no new request reaches them; they end in the background.
func (e *Engine) Stop(ctx context.Context, who platform.Actor, guid string) (platform.App, error) {
	return platform.App{}, errNotYet
}

// Restart replaces all instances by new ones on the current droplet, new ones
// first, and returns the deployment that does it. It starts a stopped app.
func (e *Engine) Restart(ctx context.Context, who platform.Actor, guid string) (platform.App, platform.Deployment, error) {
	return platform.App{}, platform.Deployment{}, errNotYet
}

// SetCurrentDroplet makes a staged droplet of the app the one the next start
// runs, and adds the processes it brings.
func (e *Engine) SetCurrentDroplet(ctx context.Context, who platform.Actor, app, droplet string) error {
	return errNotYet
}

// AppEnv is what an app is told through its environment.
type AppEnv struct {
	Variables       map[string]string // set by the owner
	VCAPApplication map[string]any
	VCAPServices    map[string]any
}

// Env returns the app's environment as the next start would build it, without
// what differs per instance.
func (e *Engine) Env(ctx context.Context, app string) (AppEnv, error) {
	return AppEnv{}, errNotYet
}
