package store

import (
	"context"

	"weir/internal/platform"
)

var deployments = &table[platform.Deployment]{
	name: "deployments",
	noun: "Deployment",
	columns: func(d *platform.Deployment) []column {
		return append(resource(
			&d.Resource,
			column{name: "app_guid", value: &d.AppGUID},
			column{name: "strategy", value: &d.Strategy},
			column{name: "label", value: &d.Label},
			column{name: "how", value: &d.How},
			column{name: "status_value", value: &d.Value},
			column{name: "status_reason", value: &d.Reason},
			column{name: "revision_guid", value: &d.RevisionGUID},
			column{name: "revision_version", value: &d.RevisionVersion},
			column{name: "droplet_guid", value: &d.DropletGUID},
			column{name: "previous_droplet_guid", value: &d.PreviousDropletGUID},
			column{name: "previous_guid", value: &d.PreviousGUID},
			column{name: "max_in_flight", value: &d.MaxInFlight},
			column{name: "canary_steps", value: asJSON{&d.CanarySteps}},
			column{name: "canary_step", value: &d.CanaryStep},
			column{name: "error", value: &d.Error},
			column{name: "status_changed", value: stamp{&d.StatusChanged}},
			column{name: "last_healthy", value: stamp{&d.LastHealthy}},
		), actor("created_by", &d.CreatedBy)...)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"app_guids":          is("t.app_guid"),
		"droplet_guids":      is("t.droplet_guid"),
		"revision_guids":     is("t.revision_guid"),
		"strategies":         is("t.strategy"),
		"states":             is("t.status_reason"), // the older name of the same
		"status_values":      is("t.status_value"),
		"status_reasons":     is("t.status_reason"),
		"space_guids":        within("t.app_guid", appsOfSpace),
		"organization_guids": within("t.app_guid", appsOfOrg),
	},
}

// Deployment returns the deployment with the given GUID.
func (r Rows) Deployment(ctx context.Context, guid string) (platform.Deployment, error) {
	return deployments.get(ctx, r, guid)
}

// Deployments returns one page of the deployments that q selects, and how many it selects.
func (r Rows) Deployments(ctx context.Context, q Query) ([]platform.Deployment, int, error) {
	return deployments.list(ctx, r, q)
}

// InsertDeployment adds a deployment.
func (r Rows) InsertDeployment(ctx context.Context, d platform.Deployment) error {
	return deployments.insert(ctx, r, d)
}

// UpdateDeployment rewrites a deployment.
func (r Rows) UpdateDeployment(ctx context.Context, d platform.Deployment) error {
	return deployments.update(ctx, r, d.GUID, d)
}

// DeleteDeployment removes a deployment.
// Its instances go with it.
func (r Rows) DeleteDeployment(ctx context.Context, guid string) error {
	return deployments.delete(ctx, r, guid)
}

// ActiveDeployment returns the app's deployment that is still moving, the
// newest if there are several; ok is false if there is none.
func (r Rows) ActiveDeployment(ctx context.Context, appGUID string) (d platform.Deployment, ok bool, err error) {
	var found []platform.Deployment
	err = r.run.read(ctx, func(c *conn) (err error) {
		found, err = deployments.query(ctx, c, " WHERE t.app_guid = ? AND t.status_value = ? ORDER BY t.created_at DESC, t.seq DESC LIMIT 1",
			appGUID, platform.DeploymentActive)
		return err
	})
	if err != nil || len(found) == 0 {
		return platform.Deployment{}, false, err
	}
	return found[0], true, nil
}
