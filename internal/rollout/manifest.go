package rollout

import (
	"context"

	"weir/internal/platform"
)

// PrepareManifest checks the manifest and creates the apps it names that the
// space does not have. All problems come back at once, joined with
// errors.Join when there are several; each is a *platform.Error.
func (e *Engine) PrepareManifest(ctx context.Context, who platform.Actor, space string, m platform.Manifest) error {
	return errNotYet
}

// ApplyManifest makes the apps what a prepared manifest says. It is run as a
// job: what it cannot do is its error, what it left out are its warnings.
func (e *Engine) ApplyManifest(ctx context.Context, who platform.Actor, space string, m platform.Manifest) (warnings []string, err error) {
	return nil, errNotYet
}

// DiffManifest says what ApplyManifest would change.
func (e *Engine) DiffManifest(ctx context.Context, space string, m platform.Manifest) ([]platform.ManifestDiff, error) {
	return nil, errNotYet
}

// AppManifest describes an app by a manifest with one application. Applying
// it to the same app changes nothing.
func (e *Engine) AppManifest(ctx context.Context, app string) (platform.Manifest, error) {
	return platform.Manifest{}, errNotYet
}
