package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

type manifestOf struct {
	GUID string `path:"guid"`
	Body []byte `body:"yaml"`
}

// applyManifest checks a manifest and makes the apps it names, then answers;
// the rest is done by a job.
func (a *API) applyManifest(ctx context.Context, c call, req manifestOf) (reply, error) {
	m, err := a.parseFor(ctx, req)
	if err != nil {
		return reply{}, err
	}
	if err := a.engine.PrepareManifest(ctx, c.actor(), req.GUID, m); err != nil {
		return reply{}, err
	}
	job, err := a.startJob(ctx, "space.apply_manifest", false, func(ctx context.Context) ([]string, error) {
		return a.engine.ApplyManifest(ctx, c.actor(), req.GUID, m)
	})
	return c.accepted(job), err
}

// parseFor reads a manifest for a space and checks the buildpacks it names.
func (a *API) parseFor(ctx context.Context, req manifestOf) (platform.Manifest, error) {
	if _, err := a.store.Space(ctx, req.GUID); err != nil {
		return platform.Manifest{}, err
	}
	m, err := parseManifest(req.Body)
	if err != nil {
		return m, err
	}
	for _, app := range m.Applications {
		l := platform.Lifecycle{Type: "buildpack", Buildpacks: app.Buildpacks}
		set(&l.Stack, app.Stack)
		if err := a.stager.CheckLifecycle(ctx, l); err != nil {
			return m, forApplication(app.Name, err)
		}
	}
	return m, nil
}

// forApplication puts the app's name before a refusal.
func forApplication(name string, err error) error {
	if platform.KindOf(err) != platform.KindInvalid {
		return err
	}
	_, one := presentOne(err, "")
	return &platform.Error{
		Kind: platform.KindInvalid, Msg: fmt.Sprintf("For application '%s': %s", name, one.Detail), Hint: one.Hint, Err: err,
	}
}

func (a *API) diffManifest(ctx context.Context, _ call, req manifestOf) (reply, error) {
	m, err := a.parseFor(ctx, req)
	if err != nil {
		return reply{}, err
	}
	changes, err := a.engine.DiffManifest(ctx, req.GUID, m)
	if err != nil {
		return reply{}, err
	}
	out := v3.ManifestDiff{Diff: []v3.ManifestChange{}}
	for _, d := range changes {
		out.Diff = append(out.Diff, v3.ManifestChange{Op: d.Op, Path: d.Path, Was: diffValue(d.Was), Value: diffValue(d.Value)})
	}
	return created(out), nil
}

// diffValue encodes one side of a difference. Numbers and booleans become
// text, because go-cfclient reads nothing else and the cf CLI shows either.
func diffValue(v any) json.RawMessage {
	switch x := v.(type) {
	case nil:
		return nil
	case int:
		v = strconv.Itoa(x)
	case int64:
		v = strconv.FormatInt(x, 10)
	case bool:
		v = strconv.FormatBool(x)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

func (a *API) getAppManifest(ctx context.Context, _ call, req byGUID) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	m, err := a.engine.AppManifest(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	b, err := encodeManifest(m)
	return reply{status: 200, yaml: b}, err
}
